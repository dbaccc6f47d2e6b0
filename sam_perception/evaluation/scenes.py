"""What an evaluation runs on: frames with the true masks of their objects."""

from __future__ import annotations

import abc
import dataclasses

import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError
from sam_perception.frames import RgbdFrame


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationObject:
    """One object of a scene.

    Attributes:
        id: its number in the set's own files.
        name: what it is called; the category's name where it has none of its own.
        mask: (H, W) bool, its visible pixels; not empty.
        click: (x, y) that the set gives for it; None: the middle of the mask is clicked.
        box: (x_min, y_min, x_max, y_max) that the set gives; None: the tight box of the mask.
        category: what kind of thing it is; empty when the set has no categories.

    Raises:
        InvalidInputError: a mask that is empty or no (H, W) bool array.
    """

    id: int
    name: str
    mask: NDArray[np.bool_]
    click: tuple[int, int] | None = None
    box: tuple[float, float, float, float] | None = None
    category: str = ""

    def __post_init__(self) -> None:
        if self.mask.dtype != np.bool_ or self.mask.ndim != 2 or not self.mask.any():
            actual = f"{self.mask.dtype} {self.mask.shape} with {np.count_nonzero(self.mask)} pixels"
            raise InvalidInputError.for_field(f"mask of object {self.id}", "(H, W) bool with pixels set", actual)

    @property
    def area_px(self) -> int:
        """Pixels of the mask."""
        return int(np.count_nonzero(self.mask))


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationScene:
    """One image.

    Attributes:
        name: how the set calls it.
        frame: colour, and depth and intrinsics where the set has them.
        objects: those to segment; there may be none.
    """

    name: str
    frame: RgbdFrame
    objects: tuple[EvaluationObject, ...]


class EvaluationSet(abc.ABC):
    """Scenes that are read when they are asked for.

    Attributes:
        name: for people.
        notes: sentences about what was left out when the set was opened.
    """

    name: str
    notes: tuple[str, ...] = ()

    @abc.abstractmethod
    def __len__(self) -> int:
        """How many scenes there are."""

    @abc.abstractmethod
    def scene(self, index: int) -> EvaluationScene:
        """Read one.

        Raises:
            InvalidInputError: a file is missing, damaged or does not fit the others; the message names it.
        """
