"""The families of objects, and which of them a world holds."""

from __future__ import annotations

from collections.abc import Callable

from sam_perception.sim import objects_containers as containers
from sam_perception.sim import objects_food as food
from sam_perception.sim import objects_shapes as shapes
from sam_perception.sim import objects_tools as tools
from sam_perception.sim.objects_parts import Draw, Shape

# How often each builder is drawn; what a table usually holds comes more often.
_BUILDERS: tuple[tuple[Callable[[Draw], Shape], float], ...] = (
    (containers.carton, 3.2),
    (containers.can, 1.6),
    (containers.canister, 1.2),
    (containers.bottle, 2.0),
    (containers.jar, 0.8),
    (containers.mug, 2.0),
    (containers.cup, 1.4),
    (containers.bowl, 1.8),
    (containers.plate, 0.8),
    (containers.tub, 1.2),
    (containers.pan, 0.4),
    (shapes.block, 1.0),
    (shapes.brick, 0.9),
    (shapes.polyhedron, 0.5),
    (shapes.extrusion, 1.0),
    (shapes.turned, 0.7),
    (shapes.book, 0.7),
    (shapes.device, 0.9),
    (shapes.card, 0.5),
    (shapes.small, 0.9),
    (shapes.vehicle, 0.6),
    (shapes.creature, 0.9),
    (shapes.cable, 0.4),
    (tools.screwdriver, 0.8),
    (tools.hammer, 0.6),
    (tools.drill, 1.0),
    (tools.scissors, 0.9),
    (tools.pliers, 0.6),
    (tools.wrench, 0.6),
    (tools.pen, 1.3),
    (tools.flashlight, 0.5),
    (tools.clamp, 0.9),
    (tools.tape, 0.7),
    (tools.cutlery, 1.1),
    (tools.sprayer, 0.6),
    (food.fruit, 1.6),
    (food.banana, 0.9),
    (food.pear, 0.6),
    (food.carrot, 0.4),
    (food.sphere, 0.8),
    (food.lump, 0.8),
    (food.bag, 1.0),
    (food.ring, 0.5),
    (food.pointer, 0.5),
    (food.puzzle, 0.5),
)


def make_objects(draw: Draw, count: int) -> list[Shape]:
    """That many objects, each with its frame in the middle of its bounding box; common things may come twice."""
    builders = [builder for builder, _ in _BUILDERS]
    total = sum(weight for _, weight in _BUILDERS)
    shares = [weight / total for _, weight in _BUILDERS]
    chosen: list[int] = []
    while len(chosen) < count:  # in two rounds, each without repetition
        size = min(len(builders), max(1, count // 2), count - len(chosen))
        chosen += [int(k) for k in draw.rng.choice(len(builders), size=size, replace=False, p=shares)]
    return [builders[k](draw).centered() for k in chosen]
