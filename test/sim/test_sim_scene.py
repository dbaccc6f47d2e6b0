"""Worlds and scenes: what a seed gives, where objects come to rest, what is drawn, what moves."""

from __future__ import annotations

import numpy as np
import pytest

mujoco = pytest.importorskip("mujoco")

from sam_perception.errors import InvalidInputError, ModelUnavailableError  # noqa: E402
from sam_perception.sim import layout  # noqa: E402
from sam_perception.sim.library import import_mujoco  # noqa: E402
from sam_perception.sim.scene import Scene, Split, World, arrange, build_world  # noqa: E402
from sam_perception.sim.world import HIDDEN_GROUP, SEEN_GROUP  # noqa: E402

try:
    import_mujoco()
except ModelUnavailableError as error:
    pytest.skip(str(error), allow_module_level=True)

SCENES = range(8)


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(Split.TRAIN, 11)


@pytest.fixture(scope="module")
def held_out() -> World:
    return build_world(Split.HELD_OUT, 11)


def _look(scene: Scene) -> dict[str, np.ndarray]:
    """All that decides what a camera sees of a scene."""
    model = scene.world.model
    seen, lit = model.geom_group == SEEN_GROUP, model.light_active.astype(bool)
    return {
        "poses": scene.data.qpos.copy(),
        "room": scene.data.mocap_pos.copy(),
        "seen": seen.copy(),
        "materials": model.geom_matid[seen].copy(),
        "colors": model.geom_rgba[seen].copy(),
        "gloss": model.mat_specular.copy(),
        "lamps": np.concatenate([model.light_pos[lit], model.light_dir[lit], model.light_diffuse[lit]]),
        "shadows": model.light_castshadow[lit].copy(),
        "ambient": model.vis.headlight.ambient.copy(),
    }


def _corners(scene: Scene, label: int) -> np.ndarray:
    half = scene.objects[label - 1].size_m / 2
    signs = np.array([[x, y, z, 1] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    return (signs * [*half, 1]) @ scene.table_T_object(label).T[:, :3]


def test_a_scene_is_the_same_whatever_was_shown_before(world):
    first = _look(arrange(world, 3))
    arrange(world, 4)
    again = _look(arrange(world, 3))
    elsewhere = _look(arrange(build_world(Split.TRAIN, 11), 3))
    for name, values in first.items():
        assert np.array_equal(values, again[name]), name
        assert np.array_equal(values, elsewhere[name]), name


def test_seeds_differ(world):
    one, other = _look(arrange(world, 3)), _look(arrange(world, 4))
    assert not np.array_equal(one["poses"], other["poses"])
    assert not np.array_equal(one["ambient"], other["ambient"])


def test_objects_rest_on_the_table(world):
    """Nothing below it, nothing beside it, nothing that moves on, nothing deep inside another."""
    for seed in SCENES:
        scene = arrange(world, seed)
        half = np.array(scene.table_size_m) / 2
        for thing in scene.objects:
            place = scene.table_T_object(thing.label)[:3, 3]
            assert (np.abs(place[:2]) < half).all()
            assert _corners(scene, thing.label)[:, 2].max() > 0
            shape = next(known.shape for known in world.objects if known.body_id == thing.body_id)
            vertices = np.concatenate([part.mesh.vertices for part in shape.parts])
            pose = scene.table_T_object(thing.label)
            assert (vertices @ pose[2, :3] + pose[2, 3]).min() > -0.012  # the stem of a fruit is soft
        assert scene.data.contact.dist.min(initial=0.0) > -0.004


def test_no_object_hangs_in_the_air(world):
    """Each touches the table or another object, by MuJoCo's own contacts."""
    for seed in SCENES:
        scene = arrange(world, seed)
        touching = set(world.model.geom_bodyid[scene.data.contact.geom].ravel().tolist())
        floating = [thing.name for thing in scene.objects if thing.body_id not in touching]
        assert len(floating) <= 0.1 * len(scene.objects)


def test_scenes_are_sparse_and_crowded(world):
    counts, touching = [], []
    for seed in range(20):
        scene = arrange(world, seed)
        bodies = {thing.body_id for thing in scene.objects}
        pairs = world.model.geom_bodyid[scene.data.contact.geom]
        counts.append(len(scene.objects))
        touching.append(len({tuple(sorted(pair)) for pair in pairs.tolist() if set(pair) <= bodies}))
    assert min(counts) <= 5 and max(counts) >= 10
    assert 3 <= min(counts) + 2 and max(counts) <= 15
    assert sum(n >= 2 for n in touching) >= 5
    assert sum(n == 0 for n in touching) >= 2


def test_piled_scenes_have_more_that_stands_on_or_in_something_else(world):
    """By MuJoCo's contacts: objects that touch others and not the table. Without the option nothing changes."""

    def lifted(piled):
        count = 0
        for seed in range(20):
            scene = arrange(world, seed, piled)
            bodies = {thing.body_id for thing in scene.objects}
            pairs = [set(pair) for pair in world.model.geom_bodyid[scene.data.contact.geom].tolist()]
            on_table = {body for pair in pairs if pair - bodies for body in pair}
            count += len({body for pair in pairs for body in pair} & bodies - on_table)
            assert len(scene.objects) >= 2
        return count

    assert lifted(0.5) >= 1.3 * lifted(0.0) > 0
    one, same = _look(arrange(world, 3)), _look(arrange(world, 3, 0.01))  # fewer than any layout has
    assert all(np.array_equal(values, same[name]) for name, values in one.items())


def test_piled_scenes_set_hollow_things_down_first_so_that_others_come_to_lie_in_them(world, monkeypatch):
    """By MuJoCo's contacts: objects that touch a hollow one, and not the table."""

    def held():
        count = 0
        for seed in range(20):
            scene = arrange(world, seed, 0.5)
            bodies = {thing.body_id for thing in scene.objects}
            hollow = {thing.body_id for thing in scene.objects if thing.family in ("bowl", "tub", "pan", "plate")}
            pairs = [set(pair) for pair in world.model.geom_bodyid[scene.data.contact.geom].tolist()]
            on_table = {body for pair in pairs if pair - bodies for body in pair}
            count += len({body for pair in pairs if pair & hollow for body in pair - hollow} & bodies - on_table)
        return count

    hollow_first = held()
    monkeypatch.setattr(layout, "_HOLLOW", ())
    assert hollow_first > 1.5 * held()


def test_labels_count_from_one_and_name_what_is_seen(world):
    scene = arrange(world, 5)
    assert [thing.label for thing in scene.objects] == list(range(1, len(scene.objects) + 1))
    assert len({thing.name for thing in scene.objects}) == len(scene.objects)
    for known in world.objects:
        member = next((thing for thing in scene.objects if thing.body_id == known.body_id), None)
        assert set(scene.geom_labels[list(known.geom_ids)]) == {member.label if member else 0}
        assert set(world.model.geom_group[list(known.geom_ids)]) == {SEEN_GROUP if member else HIDDEN_GROUP}


def test_hidden_objects_touch_nothing(world):
    scene = arrange(world, 6)
    shown = {thing.body_id for thing in scene.objects}
    for known in world.objects:
        if known.body_id not in shown:
            assert not world.model.geom_contype[list(known.collider_ids)].any()


def test_the_table_lies_at_height_zero(world):
    """By a ray of MuJoCo from above, beside all objects."""
    scene = arrange(world, 7)
    geom = np.zeros(1, np.int32)
    corner = np.array(scene.table_size_m) * (0.33 if scene.table_is_round else 0.47)
    groups = np.array([0, 1, 0, 0, 0, 0], np.uint8)
    start = np.array([*corner, 1.0])
    distance = mujoco.mj_ray(world.model, scene.data, start, np.array([0.0, 0.0, -1.0]), groups, 1, -1, geom)
    assert distance == pytest.approx(1.0, abs=2e-3)
    assert int(geom[0]) in scene.table.geom_ids


def test_splits_share_no_shape_and_no_texture(world, held_out):
    trained = {part.mesh.vertices.tobytes() for thing in world.objects for part in thing.shape.parts}
    kept = {part.mesh.vertices.tobytes() for thing in held_out.objects for part in thing.shape.parts}
    assert not trained & kept
    assert not np.array_equal(world.model.tex_data[: 256 * 256], held_out.model.tex_data[: 256 * 256])


def test_two_objects_of_one_shape_share_its_mesh(world):
    shapes = [id(thing.shape) for thing in world.objects]
    twins = [k for k, shape in enumerate(shapes) if shapes.count(shape) > 1]
    assert twins
    first, second = (k for k, shape in enumerate(shapes) if shape == shapes[twins[0]])
    geoms = [world.objects[k].geom_ids[0] for k in (first, second)]
    assert len(set(world.model.geom_dataid[geoms])) == 1


def test_moving_objects_stay_on_the_table_and_repeat(world):
    def positions() -> np.ndarray:
        scene = arrange(world, 2)
        for _ in range(20):
            scene.advance(0.1)
        return np.array([scene.table_T_object(thing.label)[:3, 3] for thing in scene.objects])

    still = arrange(world, 2)
    start = np.array([still.table_T_object(thing.label)[:3, 3] for thing in still.objects])
    moved = positions()
    assert np.linalg.norm(moved - start, axis=1).max() > 0.01
    assert (np.abs(moved[:, :2]) < np.array(still.table_size_m) / 2).all()
    assert np.array_equal(moved, positions())


def test_wrong_arguments_are_told(world):
    scene = arrange(world, 0)
    with pytest.raises(InvalidInputError, match="label"):
        scene.table_T_object(0)
    with pytest.raises(InvalidInputError, match="seconds"):
        scene.advance(0)
