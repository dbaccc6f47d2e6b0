"""Views of a folder that `sam-perception sim dataset` fills, as inputs and targets of training."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from sam_perception.errors import InvalidInputError
from sam_perception.models.tabletop_input import network_input
from sam_perception.models.tabletop_prior import surfaces
from sam_perception.training.augmentation import Intrinsics, TrainingView, augment
from sam_perception.training.config import Phase
from sam_perception.training.side_targets import side_targets

_FILE_KEYS = ("file_name", "depth_file_name", "labels_file_name")

Sample = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""One view of a ``Batch``: image, surfaces, truths, side targets."""


@dataclasses.dataclass(frozen=True)
class ViewFiles:
    """Where one view lies, and its camera."""

    color: Path
    depth: Path
    labels: Path
    camera: Intrinsics


@dataclasses.dataclass
class Batch:
    """B views with the same number of objects each.

    Attributes:
        images: (B, 8, S, S) float32 network input.
        surfaces: (B, K, S / 2, S / 2) int16, see ``models.tabletop_prior``.
        truths: (B, P, S, S) bool masks; a view with fewer objects has some of them again.
        side_targets: (B, 4, S / 4, S / 4) float32.
    """

    images: torch.Tensor
    surfaces: torch.Tensor
    truths: torch.Tensor
    side_targets: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in dataclasses.fields(self)))


def find_views(folder: Path) -> list[ViewFiles]:
    """The views of all worlds that are finished, in order; a data set that is still growing has some already.

    Raises:
        InvalidInputError: no view in that folder.
    """
    views = []
    for path in sorted((folder / "annotations").glob("*.json")):
        for image in json.loads(path.read_text())["images"]:
            camera = Intrinsics(**{name: float(image["camera"][name]) for name in ("fx", "fy", "cx", "cy")})
            color, depth, labels = (folder / image[key] for key in _FILE_KEYS)
            views.append(ViewFiles(color, depth, labels, camera))
    if not views:
        expected = "a folder that `sam-perception sim dataset` has filled"
        raise InvalidInputError.for_field("data", expected, f"{folder}, which has no finished world")
    return views


class TrainingViews(IterableDataset):
    """Augmented views without end, in an order that the seed and the step decide.

    Args:
        folders: of data sets; looked into again at each start of iteration.
        phase: says the input's size S, the number of objects P of each view, the smallest of them, and the window.
        seed: of the run.
        first: how many views earlier iterations have used up.
    """

    def __init__(self, folders: list[Path], phase: Phase, seed: int, first: int = 0) -> None:
        self._folders, self._phase = folders, phase
        self._seed, self._first = seed, first

    def __iter__(self) -> Iterator[Sample]:
        cv2.setNumThreads(1)
        worker = get_worker_info()
        number, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        views = [view for folder in self._folders for view in find_views(folder)]
        position = self._first + number
        while True:
            epoch, place = divmod(position, len(views))
            order = np.random.default_rng([self._seed, epoch]).permutation(len(views))
            sample = self._sample(views[order[place]], np.random.default_rng([self._seed, 1, position]))
            position += step
            if sample is not None:
                yield sample

    def _sample(self, files: ViewFiles, rng: np.random.Generator) -> Sample | None:
        """One augmented view; None when no object is left in it."""
        side, count = self._phase.input_size, self._phase.objects
        view = augment(read_view(files), rng, side, self._phase.window)
        small = np.asarray(cv2.resize(view.labels, (side, side), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
        counts = np.bincount(small.ravel(), minlength=2)
        numbers = np.flatnonzero(counts[1:] >= self._phase.smallest_object) + 1
        if not numbers.size:
            return None
        chosen = rng.permutation(numbers)[:count]
        chosen = np.concatenate([chosen, rng.choice(chosen, count - len(chosen))])
        image = network_input(
            torch.from_numpy(np.ascontiguousarray(view.color)),
            None if view.depth_m is None else torch.from_numpy(view.depth_m),
            dataclasses.astuple(view.camera),
            side,
        )
        truths = torch.from_numpy(small[None] == chosen[:, None, None])
        return image, surfaces(image), truths, torch.from_numpy(side_targets(small))


def read_view(files: ViewFiles) -> TrainingView:
    """Read one view.

    Raises:
        InvalidInputError: a file that cannot be read.
    """
    color, depth, labels = (_read(path) for path in (files.color, files.depth, files.labels))
    return TrainingView(color[..., ::-1], depth.astype(np.float32) / 1000, labels, files.camera)


def _read(path: Path) -> NDArray[Any]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise InvalidInputError.for_field("data", "a readable PNG", path)
    return np.asarray(image)


def collate(samples: list[Sample]) -> Batch:
    """Stack samples."""
    return Batch(*(torch.stack(parts) for parts in zip(*samples, strict=True)))
