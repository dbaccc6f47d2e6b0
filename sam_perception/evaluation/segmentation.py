"""Runs a model over a set of scenes, with the clicks and boxes of somebody who knows the true masks."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sam_perception.errors import InvalidInputError, UnsupportedPromptError
from sam_perception.evaluation.clicks import Click, first_click, jitter, next_click, tight_box
from sam_perception.evaluation.metrics import boundary_f1, iou
from sam_perception.evaluation.scenes import EvaluationObject, EvaluationScene, EvaluationSet
from sam_perception.frames import RgbdFrame
from sam_perception.masks import Mask
from sam_perception.models.base import Embedding, SegmentationModel
from sam_perception.prompts import FOREGROUND, Prompt

BOX = "box"
PROMPTS_AT_ONCE = 64  # in one decoder pass; a photograph of a crowd has hundreds of objects


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is asked of a model.

    Attributes:
        clicks: after how many clicks the mask is judged; ascending, may be empty.
        box: whether a box is asked, by itself.
        jitter_px: clicks are moved by up to this many pixels; the first of a set that gives clicks too.
        seed: of the jitter, and of the choice when not all scenes are used.
        min_area_px: smaller objects are left out.
        max_scenes: use this many scenes, chosen at random; None: all.
        max_objects: stop after this many objects, of scenes in random order; None: all.
        use_depth: False: the model gets colour alone.
        worst: how many of the worst objects to keep for a picture, for the first click and for the box.
    """

    clicks: tuple[int, ...] = (1, 3, 5)
    box: bool = True
    jitter_px: float = 0.0
    seed: int = 0
    min_area_px: int = 0
    max_scenes: int | None = None
    max_objects: int | None = None
    use_depth: bool = True
    worst: int = 10

    def for_model(self, model: SegmentationModel) -> Protocol:
        """The part of it that a model answers.

        Raises:
            UnsupportedPromptError: none.
        """
        able = dataclasses.replace(
            self,
            clicks=self.clicks if "points" in model.prompt_kinds else (),
            box=self.box and "box" in model.prompt_kinds,
        )
        if not able.kinds:
            raise UnsupportedPromptError(f"{model.name} answers neither clicks nor boxes, which this evaluation asks")
        return able

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the prompts in results: click_1, click_3, ..., box."""
        return tuple(map(click_kind, self.clicks)) + ((BOX,) if self.box else ())


@dataclasses.dataclass(frozen=True)
class ObjectResult:
    """How well one object was found; ``iou`` and ``boundary_f1`` are 0..1 by kind of prompt."""

    scene: str
    object_id: int
    name: str
    category: str
    area_px: int
    iou: dict[str, float]
    boundary_f1: dict[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One answer with all that is needed to look at it."""

    result: ObjectResult
    kind: str
    color: NDArray[np.uint8]
    truth: Mask
    predicted: Mask
    prompt: Prompt

    @property
    def iou(self) -> float:
        """Of this answer."""
        return self.result.iou[self.kind]


@dataclasses.dataclass(frozen=True)
class Timing:
    """Median wall times in ms, after one frame that is not counted.

    Attributes:
        encode_ms: of a frame.
        prompt_ms: of one prompt alone on an encoded frame.
        scene_ms: of the prompts for all objects of a frame at once.
        objects_per_scene: median.
    """

    encode_ms: float
    prompt_ms: float
    scene_ms: float
    objects_per_scene: float


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What became of one model on a set.

    Attributes:
        model: its name.
        device: where it ran.
        kinds: which prompts were asked.
        results: in the set's order.
        scenes: how many scenes had objects to ask for.
        scenes_with_depth: how many of them the model got depth of.
        timing: medians.
        worst: by kind of prompt (the fewest clicks, and the box) the objects with the lowest IoU, worst first.
    """

    model: str
    device: str
    kinds: tuple[str, ...]
    results: list[ObjectResult]
    scenes: int
    scenes_with_depth: int
    timing: Timing
    worst: dict[str, list[Case]]


def click_kind(count: int) -> str:
    """How results name the mask after so many clicks."""
    return f"click_{count}"


def evaluate(model: SegmentationModel, scenes: EvaluationSet, protocol: Protocol | None = None) -> Evaluation:
    """Ask a model for every object of a set, and compare with the true masks.

    Clicks go round by round, for all objects of a frame in one pass: first the set's own click, else the middle of the
    object; then each time the middle of the largest error. All clicks so far are given, and the logits of the last
    answer with them where the model takes those. An exact mask gets no further click. One mask is asked for, chosen
    as the model chooses it, as a user would get it.

    Raises:
        InvalidInputError: no object is left to ask for, or a file of the set cannot be used.
        UnsupportedPromptError: the model answers neither clicks nor boxes.
    """
    protocol = (protocol or Protocol()).for_model(model)
    run = _Run(model, protocol)
    for index, scene in _chosen(scenes, protocol, model.name):
        run.add(index, scene)
    return run.finished(scenes)


class _Run:
    """One model's way through a set."""

    def __init__(self, model: SegmentationModel, protocol: Protocol) -> None:
        self._model, self._protocol = model, protocol
        self._results: list[tuple[int, ObjectResult]] = []
        self._worst: dict[str, list[Case]] = {
            kind: [] for kind in dict.fromkeys((protocol.kinds[0], protocol.kinds[-1]))
        }
        self._encode_ms: list[float] = []
        self._prompt_ms: list[float] = []
        self._scene_ms: list[float] = []
        self._counts: list[int] = []
        self._with_depth = 0

    def add(self, index: int, scene: EvaluationScene) -> None:
        """Ask for all objects of a scene."""
        frame = scene.frame
        self._with_depth += frame.depth is not None
        if not self._counts:
            self._warm_up(frame)
        start = time.perf_counter()
        embedding = self._model.encode(frame)
        self._encode_ms.append((time.perf_counter() - start) * 1e3)
        self._counts.append(len(scene.objects))
        answers: dict[str, list[tuple[Prompt, Mask]]] = {}
        if self._protocol.clicks:
            answers |= self._by_clicks(index, scene, embedding)
        if self._protocol.box:
            prompts = [Prompt(box=item.box or tight_box(item.mask)) for item in scene.objects]
            prompts = [prompt.fitted_to(*frame.size) for prompt in prompts]
            answers[BOX] = list(zip(prompts, self._decode(embedding, prompts, timed=not answers), strict=True))
        for i, item in enumerate(scene.objects):
            self._judge(index, scene, item, {kind: answers[kind][i] for kind in self._protocol.kinds})

    def finished(self, scenes: EvaluationSet) -> Evaluation:
        """All of it."""
        if not self._results:
            limit = self._protocol.min_area_px
            size = f" of at least {limit} px: lower --min-area" if limit else ""
            raise InvalidInputError(f"{scenes.name}: there is no object to ask for{size}")
        timed = self._encode_ms, self._prompt_ms, self._scene_ms, self._counts
        encode_ms, prompt_ms, scene_ms, count = (statistics.median(values) for values in timed)
        return Evaluation(
            self._model.name,
            self._model.device,
            self._protocol.kinds,
            [result for _, result in sorted(self._results, key=lambda entry: entry[0])],
            len(self._counts),
            self._with_depth,
            Timing(encode_ms, prompt_ms, scene_ms, count),
            self._worst,
        )

    def _by_clicks(
        self, index: int, scene: EvaluationScene, embedding: Embedding
    ) -> dict[str, list[tuple[Prompt, Mask]]]:
        """By click_1, click_3, ... each object's prompt and mask."""
        objects, protocol, size = scene.objects, self._protocol, scene.frame.size
        rngs = [np.random.default_rng([protocol.seed, index, i]) for i in range(len(objects))]
        clicks = [
            [jitter(_first(item), protocol.jitter_px, size, rng)] for item, rng in zip(objects, rngs, strict=True)
        ]
        answers: dict[int, tuple[Prompt, Mask]] = {}
        kept: dict[str, list[tuple[Prompt, Mask]]] = {}
        open_objects = list(range(len(objects)))
        for count in range(1, max(protocol.clicks) + 1):
            prompts = [self._prompt(clicks[i], answers.get(i)) for i in open_objects]
            masks = self._decode(embedding, prompts, timed=count == 1)
            answers |= dict(zip(open_objects, zip(prompts, masks, strict=True), strict=True))
            if count in protocol.clicks:
                kept[click_kind(count)] = [answers[i] for i in range(len(objects))]
            if count == max(protocol.clicks):
                break
            found = {i: answers[i][1].to_array() for i in open_objects}
            open_objects = [i for i in open_objects if not np.array_equal(objects[i].mask, found[i])]
            for i in open_objects:
                click = next_click(objects[i].mask, found[i])
                clicks[i].append(jitter(click, protocol.jitter_px, size, rngs[i]))
        return kept

    def _prompt(self, clicks: list[Click], before: tuple[Prompt, Mask] | None) -> Prompt:
        logits = before[1].logits if before is not None and "logits" in self._model.prompt_kinds else None
        return Prompt(
            points=[(click.x, click.y) for click in clicks], labels=[click.label for click in clicks], logits=logits
        )

    def _decode(self, embedding: Embedding, prompts: Sequence[Prompt], timed: bool) -> list[Mask]:
        """The model's mask for each prompt."""
        if timed:
            start = time.perf_counter()
            self._model.decode(embedding, prompts[:1], multimask=False)
            self._prompt_ms.append((time.perf_counter() - start) * 1e3)
        start = time.perf_counter()
        masks = []
        for first in range(0, len(prompts), PROMPTS_AT_ONCE):
            some = prompts[first : first + PROMPTS_AT_ONCE]
            masks += [candidates[0] for candidates in self._model.decode(embedding, some, multimask=False)]
        if timed:
            self._scene_ms.append((time.perf_counter() - start) * 1e3)
        return masks

    def _warm_up(self, frame: RgbdFrame) -> None:
        """What happens once, happens before anything is timed."""
        middle = Prompt(points=[[frame.width // 2, frame.height // 2]])
        whole = Prompt(box=[0, 0, frame.width, frame.height])
        self._model.decode(self._model.encode(frame), [middle if self._protocol.clicks else whole], multimask=False)

    def _judge(
        self, index: int, scene: EvaluationScene, item: EvaluationObject, answers: dict[str, tuple[Prompt, Mask]]
    ) -> None:
        overlap, outline = {}, {}
        for kind, (_, mask) in answers.items():
            predicted = mask.to_array()
            overlap[kind], outline[kind] = iou(item.mask, predicted), boundary_f1(item.mask, predicted)
        result = ObjectResult(scene.name, item.id, item.name, item.category, item.area_px, overlap, outline)
        self._results.append((index, result))
        for kind, worst in self._worst.items():
            if len(worst) < self._protocol.worst or overlap[kind] < worst[-1].iou:
                prompt, mask = answers[kind]
                worst.append(Case(result, kind, scene.frame.color, Mask.from_array(item.mask), mask, prompt))
                worst.sort(key=lambda case: case.iou)
                del worst[self._protocol.worst :]


def _chosen(scenes: EvaluationSet, protocol: Protocol, title: str) -> Iterator[tuple[int, EvaluationScene]]:
    """Index and content of the scenes that have objects to ask for, those alone in them."""
    order = list(range(len(scenes)))
    if protocol.max_scenes is not None or protocol.max_objects is not None:
        order = np.random.default_rng(protocol.seed).permutation(len(scenes))[: protocol.max_scenes].tolist()
    left = protocol.max_objects
    with tqdm(total=len(order) if left is None else left, desc=title, disable=None, leave=False) as progress:
        for index in order:
            scene = scenes.scene(index)
            objects = tuple(item for item in scene.objects if item.area_px >= protocol.min_area_px)[:left]
            if objects:
                frame = scene.frame if protocol.use_depth else dataclasses.replace(scene.frame, depth=None)
                yield index, EvaluationScene(scene.name, frame, objects)
            progress.update(1 if left is None else len(objects))
            left = None if left is None else left - len(objects)
            if left == 0:
                return


def _first(item: EvaluationObject) -> Click:
    return Click(*item.click, FOREGROUND) if item.click is not None else first_click(item.mask)
