"""What a caller asks for: one object, by any combination of points, box, mask, earlier logits and text."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_perception.errors import InvalidInputError

BACKGROUND = 0
FOREGROUND = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Prompt:
    """One object, described in pixels of the full image (x right, y down, pixel centres at whole numbers).

    Attributes:
        points: (N, 2) clicks as x, y.
        labels: (N,) FOREGROUND (1) or BACKGROUND (0) for each point; left out: all FOREGROUND.
        box: (x_min, y_min, x_max, y_max); parts outside the image are cut off when it is used.
        mask: (H, W) bool, a rough mask of the size of the image.
        logits: (h, w) float32, ``Mask.logits`` of an earlier answer, fed back for a refinement click.
        text: a phrase; needs a text detector.
        object_id: the id that the answer carries; 0 lets the engine number it.

    Raises:
        InvalidInputError: nothing given, wrong shape or dtype, values that are not finite, labels other than 0
            and 1 or not one for each point, a box with no area, an empty mask, mask and logits together.
    """

    points: NDArray[np.float64] | ArrayLike | None = None
    labels: NDArray[np.uint8] | ArrayLike | None = None
    box: NDArray[np.float64] | ArrayLike | None = None
    mask: NDArray[np.bool_] | None = None
    logits: NDArray[np.float32] | None = None
    text: str = ""
    object_id: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", _points(self.points))
        object.__setattr__(self, "labels", _labels(self.labels, len(self.point_array)))
        object.__setattr__(self, "box", _box(self.box))
        object.__setattr__(self, "mask", _mask(self.mask))
        object.__setattr__(self, "logits", _logits(self.logits))
        if not isinstance(self.text, str):
            raise InvalidInputError.for_field("Prompt.text", "a string", type(self.text).__name__)
        object.__setattr__(self, "text", self.text.strip())
        if isinstance(self.object_id, bool) or not isinstance(self.object_id, (int, np.integer)) or self.object_id < 0:
            raise InvalidInputError.for_field("Prompt.object_id", "an integer, 0 or more", repr(self.object_id))
        object.__setattr__(self, "object_id", int(self.object_id))
        if self.mask is not None and self.logits is not None:
            raise InvalidInputError("Prompt: expected mask or logits, got both; logits refine an earlier answer")
        if not self.kinds:
            raise InvalidInputError("Prompt: expected at least one of points, box, mask, logits or text, got none")

    @property
    def point_array(self) -> NDArray[np.float64]:
        """(N, 2) float64 points; N is 0 when there are none."""
        return np.asarray(self.points)

    @property
    def label_array(self) -> NDArray[np.uint8]:
        """(N,) uint8 labels of ``point_array``."""
        return np.asarray(self.labels)

    @property
    def box_array(self) -> NDArray[np.float64] | None:
        """(4,) float64 box or None."""
        return None if self.box is None else np.asarray(self.box)

    @property
    def kinds(self) -> frozenset[str]:
        """Which of ``points``, ``box``, ``mask``, ``logits``, ``text`` this prompt carries."""
        given = {
            "points": len(self.point_array) > 0,
            "box": self.box is not None,
            "mask": self.mask is not None,
            "logits": self.logits is not None,
            "text": bool(self.text),
        }
        return frozenset(kind for kind, present in given.items() if present)

    def fitted_to(self, height: int, width: int) -> Prompt:
        """This prompt checked against an image of that size, its box cut to the image.

        Raises:
            InvalidInputError: a point or the whole box lies outside the image, or the mask has another size.
        """
        for i, (x, y) in enumerate(self.point_array):
            if not (0 <= x < width and 0 <= y < height):
                raise InvalidInputError.for_field(
                    f"Prompt.points[{i}]", f"a pixel of the {width}x{height} image", f"({x:g}, {y:g})"
                )
        if self.mask is not None and self.mask.shape != (height, width):
            raise InvalidInputError.for_field("Prompt.mask", f"the image's shape {(height, width)}", self.mask.shape)
        box = self.box_array
        if box is None:
            return self
        cut = np.clip(box, 0, [width, height, width, height])
        if cut[2] <= cut[0] or cut[3] <= cut[1]:
            raise InvalidInputError.for_field(
                "Prompt.box", f"a box that overlaps the {width}x{height} image", _as_text(box)
            )
        return self if np.array_equal(cut, box) else dataclasses.replace(self, box=cut)


def _points(points: ArrayLike | None) -> NDArray[np.float64]:
    if points is None:
        return np.zeros((0, 2))
    array = _numbers("Prompt.points", points)
    if array.size == 0:
        return np.zeros((0, 2))
    if array.ndim != 2 or array.shape[1] != 2:
        raise InvalidInputError.for_field("Prompt.points", "shape (N, 2), x and y of each point", array.shape)
    return array


def _labels(labels: ArrayLike | None, count: int) -> NDArray[np.uint8]:
    if labels is None:
        return np.full(count, FOREGROUND, dtype=np.uint8)
    array = _numbers("Prompt.labels", labels)
    if array.size == 0 and count:
        return np.full(count, FOREGROUND, dtype=np.uint8)
    if array.shape != (count,) and not (array.size == 0 and count == 0):
        raise InvalidInputError.for_field("Prompt.labels", f"one for each of the {count} points", array.shape)
    wrong = array[(array != BACKGROUND) & (array != FOREGROUND)]
    if wrong.size:
        raise InvalidInputError.for_field("Prompt.labels", "0 (background) or 1 (foreground)", f"{wrong[0]:g}")
    return array.reshape(count).astype(np.uint8)


def _box(box: ArrayLike | None) -> NDArray[np.float64] | None:
    if box is None:
        return None
    array = _numbers("Prompt.box", box)
    if array.size == 0:
        return None
    if array.shape != (4,):
        raise InvalidInputError.for_field("Prompt.box", "shape (4,), x_min y_min x_max y_max", array.shape)
    if array[2] <= array[0] or array[3] <= array[1]:
        raise InvalidInputError.for_field("Prompt.box", "x_min < x_max and y_min < y_max", _as_text(array))
    return array


def _mask(mask: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    if mask is None:
        return None
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise InvalidInputError.for_field(
            "Prompt.mask", "a numpy array of dtype bool", getattr(mask, "dtype", type(mask))
        )
    if mask.ndim != 2:
        raise InvalidInputError.for_field("Prompt.mask", "shape (H, W)", mask.shape)
    if not mask.any():
        raise InvalidInputError("Prompt.mask: expected at least one pixel that is set, got an empty mask")
    return mask


def _logits(logits: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    if logits is None:
        return None
    array = _numbers("Prompt.logits", logits)
    if array.ndim != 2 or array.size == 0:
        raise InvalidInputError.for_field(
            "Prompt.logits", "shape (h, w), Mask.logits of an earlier answer", array.shape
        )
    return array.astype(np.float32)


def _numbers(field: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "uifb" and array.size:
            raise TypeError(array.dtype)
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise InvalidInputError.for_field(field, "an array of numbers", f"{values!r:.60}") from None
    if not np.isfinite(array).all():
        raise InvalidInputError.for_field(field, "finite numbers", "NaN or inf")
    return array


def _as_text(box: NDArray[np.float64]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "]"
