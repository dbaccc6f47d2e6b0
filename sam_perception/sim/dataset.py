"""Data sets of simulated scenes: rendered by several processes, resumed where they stopped, the same bytes each time.

A folder holds, with SSSSSS the scene, V the view and WWWWWW the world (40 scenes):

- ``dataset.json``: what was asked for, what made it, and the categories;
- ``images/SSSSSS-V.png`` (8-bit colour), ``depth/SSSSSS-V.png`` (uint16 mm, 0 = none), ``labels/SSSSSS-V.png`` (uint8);
- ``annotations/WWWWWW.json``: COCO, written when all files of that world are there, so that a reader may begin at once;
- ``annotations.json``: all of them in one COCO file, written last.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import importlib.metadata
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cv2

import sam_perception
from sam_perception.atomic_files import write_atomically
from sam_perception.errors import InvalidInputError, PerceptionError
from sam_perception.sim import coco
from sam_perception.sim.labelled_views import LabelledView, StageTimes
from sam_perception.sim.scene import SCENES_PER_WORLD, Split
from sam_perception.sim.view_files import write_images

FOLDERS = ("images", "depth", "labels", "annotations")
GENERATOR = 2
"""Raised with each change after which one seed gives other scenes or images."""
POLL_S = 0.2
DEFAULT_VIEWS = 4
DEFAULT_SIZE = (640, 480)


@dataclasses.dataclass(frozen=True)
class DatasetPlan:
    """What decides every byte of a data set.

    Attributes:
        scenes: how many; a folder may be continued with more.
        split: which objects and textures.
        seed: other seeds give other scenes.
        views: captures of each scene, each with a camera pose, light and exposure of its own.
        width: of the images, pixels.
        height: of the images, pixels.
        piled: share of objects that are set on or in another, where a scene's layout has fewer.

    Raises:
        InvalidInputError: a count, size, seed or share that is out of range.
    """

    scenes: int
    split: Split = Split.TRAIN
    seed: int = 0
    views: int = DEFAULT_VIEWS
    width: int = DEFAULT_SIZE[0]
    height: int = DEFAULT_SIZE[1]
    piled: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("scenes", 1, 1_000_000),
            ("views", 1, 100),
            ("seed", 0, 2**32 - 1),
            ("width", 64, 4096),
            ("height", 64, 4096),
            ("piled", 0, 1),
        ):
            if not low <= getattr(self, name) <= high:
                raise InvalidInputError.for_field(name, f"{low} to {high}", getattr(self, name))

    @property
    def shares(self) -> list[WorldShare]:
        """The plan world by world."""
        starts = range(0, self.scenes, SCENES_PER_WORLD)
        return [
            WorldShare(self, start // SCENES_PER_WORLD, range(start, min(start + SCENES_PER_WORLD, self.scenes)))
            for start in starts
        ]


@dataclasses.dataclass(frozen=True)
class WorldShare:
    """The scenes of a plan that one world gives."""

    plan: DatasetPlan
    world: int
    scenes: range


@dataclasses.dataclass(frozen=True)
class DatasetSummary:
    """What one call of ``write_dataset`` did.

    Attributes:
        scenes_written: now, and not by an earlier call.
        scenes_total: in the folder.
        wall_s: how long it took.
        stage_s: seconds by stage, of all processes together.
    """

    scenes_written: int
    scenes_total: int
    wall_s: float
    stage_s: dict[str, float]


ViewsOfShare = Callable[[WorldShare, StageTimes], Iterator[LabelledView]]


def write_dataset(
    folder: Path,
    plan: DatasetPlan,
    views_of_share: ViewsOfShare,
    families: tuple[str, ...],
    workers: int = 1,
    on_scenes: Callable[[int], object] = lambda count: None,
) -> DatasetSummary:
    """Write a data set, or what is missing of it.

    Args:
        folder: where to; made when it is not there.
        plan: what to render.
        views_of_share: renders one world's scenes; a function of a module, since other processes import it.
        families: every family that ``views_of_share`` may name; the categories.
        workers: processes; 1: this one.
        on_scenes: called with how many scenes there are, now and then.

    Raises:
        InvalidInputError: the folder holds another data set.
        PerceptionError: nothing can be rendered here, or a process died.
    """
    start = time.perf_counter()
    if workers < 1:
        raise InvalidInputError.for_field("workers", "1 or more", workers)
    _prepare(folder, plan, families)
    missing = [share for share in plan.shares if not _is_written(folder, share)]
    to_write = sum(len(share.scenes) for share in missing)
    done = plan.scenes - to_write
    on_scenes(done)
    job = _Job(folder, views_of_share, families)
    run = _in_this_process if workers == 1 or len(missing) < 2 else _in_processes
    times = StageTimes()
    run(job, missing, min(workers, len(missing)), times, lambda count: on_scenes(done + count))
    with times.stage("merging"):
        _merge(folder, plan, families)
    return DatasetSummary(to_write, plan.scenes, time.perf_counter() - start, times.seconds)


@dataclasses.dataclass(frozen=True)
class _Job:
    """What is the same for all worlds of one call."""

    folder: Path
    views_of_share: ViewsOfShare
    families: tuple[str, ...]

    def write(self, share: WorldShare, on_scene: Callable[[], object]) -> dict[str, float]:
        """Render one world's scenes and write them, the annotations last; return the seconds by stage."""
        times = StageTimes()
        content: dict[str, Any] = {
            "scenes": _range(share.scenes),
            "categories": coco.categories(self.families),
            "images": [],
            "annotations": [],
        }
        numbers = {entry["name"]: entry["id"] for entry in content["categories"]}
        for view in self.views_of_share(share, times):
            with times.stage("writing"):
                name = f"{coco.file_stem(view.scene, view.view)}.png"
                write_images(view, *(self.folder / kind / name for kind in ("images", "depth", "labels")))
                image_id = 1 + view.scene * share.plan.views + view.view
                content["images"].append(coco.image_entry(view, image_id))
                content["annotations"] += coco.annotation_entries(view, image_id, numbers)
            if view.view == share.plan.views - 1:
                on_scene()
        with times.stage("writing"):
            write_atomically(_annotations(self.folder, share.world), (coco.dump(content) + "\n").encode())
        return times.seconds


def _in_this_process(
    job: _Job, shares: list[WorldShare], workers: int, times: StageTimes, on_scenes: Callable[[int], object]
) -> None:
    count = 0

    def on_scene() -> None:
        nonlocal count
        count += 1
        on_scenes(count)

    for share in shares:
        times.add(job.write(share, on_scene))


def _in_processes(
    job: _Job, shares: list[WorldShare], workers: int, times: StageTimes, on_scenes: Callable[[int], object]
) -> None:
    context = multiprocessing.get_context("spawn")  # GL contexts do not survive a fork
    counter, stop = context.Value("q", 0), context.Event()
    executor = concurrent.futures.ProcessPoolExecutor(workers, context, _Worker.set_up, (counter, stop))
    futures = [executor.submit(_Worker.write, job, share) for share in shares]
    waiting = set(futures)
    try:
        while waiting:
            done, waiting = concurrent.futures.wait(waiting, POLL_S, concurrent.futures.FIRST_COMPLETED)
            on_scenes(counter.value)
            for future in done:
                times.add(future.result())
    except BrokenProcessPool:
        raise PerceptionError(
            "a process that renders has died, perhaps because the memory ran out: run the same command again, which "
            "goes on where it stopped, with fewer --workers"
        ) from None
    finally:
        stop.set()
        executor.shutdown(cancel_futures=True)


class _StoppedError(Exception):
    """Somebody pressed Ctrl-C, or another process failed."""


class _Worker:
    """What a process of the pool knows of the one that started it."""

    counter: Any
    stop: Any

    @classmethod
    def set_up(cls, counter: Any, stop: Any) -> None:
        """Called once in every process: Ctrl-C is the parent's to handle, and its end is ours."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        parent = multiprocessing.parent_process()
        assert parent is not None
        threading.Thread(target=cls._end_with, args=(parent,), daemon=True).start()
        cv2.setNumThreads(1)  # the processes are the parallelism
        os.environ.setdefault("LP_NUM_THREADS", "0")  # of Mesa's software renderer, read when GL is loaded
        cls.counter, cls.stop = counter, stop

    @classmethod
    def write(cls, job: _Job, share: WorldShare) -> dict[str, float]:
        """One world."""
        try:
            return job.write(share, cls._on_scene)
        except _StoppedError:
            return {}

    @staticmethod
    def _end_with(parent: Any) -> None:
        parent.join()
        os._exit(1)

    @classmethod
    def _on_scene(cls) -> None:
        with cls.counter.get_lock():
            cls.counter.value += 1
        if cls.stop.is_set():
            raise _StoppedError


def _prepare(folder: Path, plan: DatasetPlan, families: tuple[str, ...]) -> None:
    """Make the folders, or see that those which are there belong to this data set; remove half-written files."""
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError.for_field("--out", "a folder", f"the file {folder}")
    description = folder / "dataset.json"
    if description.exists():
        _check_same(description, plan, families)
    elif folder.is_dir() and any(folder.iterdir()):
        raise InvalidInputError.for_field(
            "--out", "a new or empty folder, or one that `sim dataset` began", f"{folder} with other files"
        )
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for left_over in (folder / name).glob(".*.tmp"):
            left_over.unlink(missing_ok=True)
    write_atomically(description, (json.dumps(_head(plan, families), indent=1) + "\n").encode())


def _check_same(description: Path, plan: DatasetPlan, families: tuple[str, ...]) -> None:
    try:
        there = json.loads(description.read_text(encoding="utf-8"))["info"]
        scenes = int(there["arguments"]["scenes"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InvalidInputError(f"{description} cannot be read: give another folder") from None
    ours = _head(plan, families)["info"]
    pairs = [(there.get(part, {}), ours[part]) for part in ("arguments", "made_by")]
    different = [
        f"{name} {theirs.get(name)}, not {expected.get(name)}"
        for theirs, expected in pairs
        for name in {**theirs, **expected}
        if name != "scenes" and theirs.get(name) != expected.get(name)
    ]
    if different:
        raise InvalidInputError(
            f"{description.parent} holds another data set ({'; '.join(different)}): give the same arguments, or another"
            " --out"
        )
    if scenes > plan.scenes:
        raise InvalidInputError.for_field("--scenes", f"at least the {scenes} of {description.parent}", plan.scenes)


def _head(plan: DatasetPlan, families: tuple[str, ...]) -> dict[str, Any]:
    arguments = {**dataclasses.asdict(plan), "split": plan.split.value}
    return {
        "info": {
            "description": f"Simulated tabletop scenes of sam_perception, {plan.split.value} objects, seed {plan.seed}",
            "made_by": {
                "sam_perception": sam_perception.__version__,
                "generator": GENERATOR,
                "mujoco": _version("mujoco"),
            },
            "arguments": arguments,
        },
        "licenses": [],
        "categories": coco.categories(families),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _annotations(folder: Path, world: int) -> Path:
    return folder / "annotations" / f"{world:06d}.json"


def _is_written(folder: Path, share: WorldShare) -> bool:
    """Whether the world's file is there with as many scenes as are asked for: it is written after all others."""
    try:
        content = json.loads(_annotations(folder, share.world).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return content["scenes"] == _range(share.scenes)


def _range(scenes: range) -> list[int]:
    return [scenes.start, scenes.stop]


def _merge(folder: Path, plan: DatasetPlan, families: tuple[str, ...]) -> None:
    """All worlds' files as one, written beside its place and renamed, like every file here."""
    temporary = folder / "annotations" / ".annotations.json.tmp"
    with contextlib.ExitStack() as stack:
        stack.callback(temporary.unlink, missing_ok=True)
        with temporary.open("w", encoding="utf-8") as out:
            files = [_annotations(folder, share.world) for share in plan.shares]
            coco.merge(files, _head(plan, families), out)
        temporary.replace(folder / "annotations.json")
