"""What a model answers: a binary mask held as a crop of its image, and the functions that measure and draw it."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Sequence
from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError

STABILITY_OFFSET = 1.0


class RunLengths(TypedDict):
    """COCO's run-length encoding: ``size`` is [height, width]; ``counts`` a list (uncompressed) or str (compressed)."""

    size: list[int]
    counts: list[int] | str


@dataclasses.dataclass(frozen=True, eq=False)
class Mask:
    """One object's pixels: a bool crop, and where it lies in the image.

    Attributes:
        crop: (h, w) bool, the tight crop around the object; (0, 0) when the mask is empty.
        x: column of the crop's left edge in the image.
        y: row of the crop's top edge in the image.
        image_size: (height, width) of the full image.
        score: the model's own estimate of the mask's IoU, 0..1.
        stability: IoU between the mask at a stricter and at a looser threshold, 0..1; 1 when there are no logits.
        logits: (h', w') float32 low-resolution logits, to be fed back as ``Prompt.logits``; None when the model has
            none.
        object_id: which object this is; 0: not numbered yet.
        label: what it is called; empty when nobody said.

    Raises:
        InvalidInputError: a crop that is not 2-D bool, that leaves the image, or a score that is not finite.
    """

    crop: NDArray[np.bool_]
    x: int
    y: int
    image_size: tuple[int, int]
    score: float = 1.0
    stability: float = 1.0
    logits: NDArray[np.float32] | None = None
    object_id: int = 0
    label: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.crop, np.ndarray) or self.crop.dtype != np.bool_:
            actual = getattr(self.crop, "dtype", type(self.crop).__name__)
            raise InvalidInputError.for_field("Mask.crop", "a numpy array of dtype bool", actual)
        if self.crop.ndim != 2:
            raise InvalidInputError.for_field("Mask.crop", "shape (h, w)", self.crop.shape)
        height, width = self.image_size
        bottom, right = self.y + self.crop.shape[0], self.x + self.crop.shape[1]
        if self.x < 0 or self.y < 0 or right > width or bottom > height:
            raise InvalidInputError.for_field(
                "Mask.crop",
                f"a crop inside the {width}x{height} image",
                f"x {self.x}..{right}, y {self.y}..{bottom}",
            )
        for name in ("score", "stability"):
            value = float(getattr(self, name))
            if not np.isfinite(value):
                raise InvalidInputError.for_field(f"Mask.{name}", "a finite number", value)
            object.__setattr__(self, name, value)

    @classmethod
    def from_array(
        cls,
        array: NDArray[np.bool_],
        *,
        score: float = 1.0,
        stability: float = 1.0,
        logits: NDArray[np.float32] | None = None,
        object_id: int = 0,
        label: str = "",
    ) -> Mask:
        """Take an (H, W) bool mask of the whole image and keep the tight crop of it.

        Raises:
            InvalidInputError: not a 2-D bool array.
        """
        if not isinstance(array, np.ndarray) or array.dtype != np.bool_ or array.ndim != 2:
            actual = f"{getattr(array, 'dtype', type(array).__name__)} {getattr(array, 'shape', '')}"
            raise InvalidInputError.for_field("Mask array", "a bool array of shape (H, W)", actual)
        x, y, width, height = cv2.boundingRect(array.view(np.uint8))
        crop = array[y : y + height, x : x + width].copy()
        return cls(crop, x, y, (array.shape[0], array.shape[1]), score, stability, logits, object_id, label)

    @classmethod
    def from_rle(cls, rle: RunLengths, *, score: float = 1.0, object_id: int = 0, label: str = "") -> Mask:
        """Read COCO's run-length encoding, compressed (str or bytes) or not (list of counts)."""
        return cls.from_array(decode_rle(rle), score=score, object_id=object_id, label=label)

    def to_array(self) -> NDArray[np.bool_]:
        """(H, W) bool mask of the whole image."""
        array = np.zeros(self.image_size, dtype=np.bool_)
        array[self.rows, self.columns] = self.crop
        return array

    def to_rle(self, *, compressed: bool = True) -> RunLengths:
        """COCO's run-length encoding: ``{"size": [height, width], "counts": ...}``."""
        return encode_rle(self.to_array(), compressed=compressed)

    @property
    def rows(self) -> slice:
        """Rows of the image that the crop covers."""
        return slice(self.y, self.y + self.crop.shape[0])

    @property
    def columns(self) -> slice:
        """Columns of the image that the crop covers."""
        return slice(self.x, self.x + self.crop.shape[1])

    @property
    def area(self) -> int:
        """Pixels that are set."""
        return int(np.count_nonzero(self.crop))

    @property
    def is_empty(self) -> bool:
        """Whether no pixel is set."""
        return not self.crop.any()

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x_min, y_min, x_max, y_max) of the pixels that are set, x_max and y_max exclusive; zeros when empty."""
        x, y, width, height = cv2.boundingRect(np.ascontiguousarray(self.crop).view(np.uint8))
        if width == 0:
            return 0, 0, 0, 0
        return self.x + x, self.y + y, self.x + x + width, self.y + y + height

    def boundary(self, thickness: int = 1) -> NDArray[np.bool_]:
        """(H, W) bool: pixels of the mask fewer than ``thickness`` steps (4-neighbourhood) from its outermost ones.

        The image's edge counts as a border.
        """
        padded = np.pad(self.crop, 1).view(np.uint8)
        cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
        inner = cv2.erode(padded, cross, iterations=thickness, borderValue=0)[1:-1, 1:-1].view(np.bool_)
        return dataclasses.replace(self, crop=self.crop & ~inner).to_array()

    def contours(self) -> list[NDArray[np.int32]]:
        """Outlines in pixels of the image, each (N, 2) int32 x, y; holes included."""
        found, _ = cv2.findContours(
            self.crop.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(self.x, self.y)
        )
        return [contour.reshape(-1, 2).astype(np.int32) for contour in found]


def iou(first: Mask, second: Mask) -> float:
    """Intersection over union of two masks of one image; 1 when both are empty."""
    if first.image_size != second.image_size:
        raise InvalidInputError.for_field("iou", f"masks of one image size {first.image_size}", second.image_size)
    x0, x1 = max(first.x, second.x), min(first.columns.stop, second.columns.stop)
    y0, y1 = max(first.y, second.y), min(first.rows.stop, second.rows.stop)
    shared = 0
    if x1 > x0 and y1 > y0:
        a = first.crop[y0 - first.y : y1 - first.y, x0 - first.x : x1 - first.x]
        b = second.crop[y0 - second.y : y1 - second.y, x0 - second.x : x1 - second.x]
        shared = int(np.count_nonzero(a & b))
    union = first.area + second.area - shared
    return shared / union if union else 1.0


def stability_score(
    logits: NDArray[np.float32], threshold: float = 0.0, offset: float = STABILITY_OFFSET
) -> NDArray[np.float32]:
    """IoU of each mask thresholded at ``threshold + offset`` and ``threshold - offset``.

    Args:
        logits: (..., H, W).
        threshold: above it a pixel is set.
        offset: how much stricter and looser the two thresholds are.

    Returns:
        (...,) in 0..1. Source: "Segment Anything", appendix B (automatic mask generation, stable masks).
    """
    strict = np.count_nonzero(logits > threshold + offset, axis=(-2, -1))
    loose = np.count_nonzero(logits > threshold - offset, axis=(-2, -1))
    return np.where(loose > 0, strict / np.maximum(loose, 1), 0.0).astype(np.float32)


def label_image(masks: Sequence[Mask], image_size: tuple[int, int]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(H, W) image whose pixel is an object's id, 0 for none; uint8, or uint16 past id 255. Better scores lie on top.

    Raises:
        InvalidInputError: an id above 65535.
    """
    largest = max((mask.object_id for mask in masks), default=0)
    if largest > np.iinfo(np.uint16).max:
        raise InvalidInputError.for_field("label_image", "object ids up to 65535, what 16 bits hold", largest)
    labels = np.zeros(image_size, dtype=np.uint8 if largest <= 255 else np.uint16)
    for mask in sorted(masks, key=lambda mask: mask.score):
        labels[mask.rows, mask.columns][mask.crop] = mask.object_id
    return labels


def large_components(mask: Mask, least_share: float = 1.0) -> Mask:
    """The 8-connected parts of a mask that are at least this share of its largest; an empty mask stays as it is."""
    if mask.is_empty:  # OpenCV's connectedComponents crashes on an array without pixels
        return mask
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.crop.astype(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0  # what is not the mask
    return _cropped(mask, (areas >= least_share * areas.max())[labels] & (labels > 0))


def _cropped(mask: Mask, keep: NDArray[np.bool_]) -> Mask:
    """The mask with only those pixels of its crop."""
    x, y, width, height = cv2.boundingRect(keep.view(np.uint8))
    crop = keep[y : y + height, x : x + width].copy()
    return dataclasses.replace(mask, crop=crop, x=mask.x + x, y=mask.y + y)


def components_at(mask: Mask, points: NDArray[np.float64], reach_px: float = 6.0) -> Mask:
    """The 8-connected parts of a mask that hold one of some points, or are the nearest to it.

    Args:
        mask: any mask; it stays as it is when no part is near a point.
        points: (N, 2) x, y in pixels of the image.
        reach_px: how far from a point its part may lie.
    """
    if mask.is_empty:
        return mask
    count, labels = cv2.connectedComponents(mask.crop.astype(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    rows, columns = np.nonzero(labels)
    kept = set()
    for x, y in points:
        away = np.hypot(columns + mask.x - np.floor(x), rows + mask.y - np.floor(y))
        nearest = int(away.argmin())
        if away[nearest] <= reach_px:
            kept.add(int(labels[rows[nearest], columns[nearest]]))
    return _cropped(mask, np.isin(labels, list(kept))) if kept else mask


def object_color(object_id: int) -> tuple[int, int, int]:
    """RGB colour of an object, distinct for neighbouring ids (hues a golden angle apart)."""
    hue = int((object_id * 137.508 + 20) % 360) // 2
    red, green, blue = cv2.cvtColor(np.array([[[hue, 200, 255]]], dtype=np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)


def draw_overlay(color: NDArray[np.uint8], masks: Sequence[Mask], opacity: float = 0.45) -> NDArray[np.uint8]:
    """(H, W, 3) RGB image with every mask tinted in its object's colour and outlined."""
    picture = color.copy()
    for mask in masks:
        if mask.is_empty:
            continue
        tint = np.array(object_color(mask.object_id), dtype=np.float32)
        region = picture[mask.rows, mask.columns]
        region[mask.crop] = (region[mask.crop] * (1 - opacity) + tint * opacity).astype(np.uint8)
        cv2.drawContours(picture, mask.contours(), -1, object_color(mask.object_id), 2, cv2.LINE_AA)
    return picture


def encode_rle(array: NDArray[np.bool_], *, compressed: bool = True) -> RunLengths:
    """COCO run lengths of an (H, W) bool mask: column-major, starting with the run of zeros."""
    flat = np.asarray(array, dtype=np.bool_).ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends = np.concatenate([edges, [flat.size]])
    counts = np.diff(ends, prepend=0).tolist()
    if flat.size and flat[0]:
        counts.insert(0, 0)
    size = [int(array.shape[0]), int(array.shape[1])]
    return {"size": size, "counts": _pack(counts) if compressed else counts}


def decode_rle(rle: RunLengths) -> NDArray[np.bool_]:
    """(H, W) bool mask of COCO run lengths.

    Raises:
        InvalidInputError: a missing key, counts that cannot be read, or counts that do not fill the image.
    """
    try:
        height, width = (operator.index(value) for value in rle["size"])
        counts = rle["counts"]
    except (KeyError, TypeError, ValueError):
        raise InvalidInputError.for_field("rle", '{"size": [height, width], "counts": ...}', f"{rle!r:.80}") from None
    if isinstance(counts, bytes):
        counts = counts.decode("ascii", errors="replace")
    runs = _runs(_unpack(counts) if isinstance(counts, str) else counts)
    total = sum(runs.tolist())  # numpy's sum would wrap around
    if min(height, width) < 0 or (runs < 0).any() or total != height * width:
        raise InvalidInputError.for_field(
            "rle.counts", f"runs that add up to {height}x{width} = {height * width} pixels", total
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape((height, width), order="F")


def _pack(counts: Sequence[int]) -> str:
    """COCO's text form: each count (from the fourth on its difference to the one two before) in 5-bit groups.

    Source: rleToString in cocoapi's common/maskApi.c.
    """
    characters = []
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        while True:
            group = value & 0x1F
            value >>= 5
            more = value != (-1 if group & 0x10 else 0)
            characters.append(chr((group | (0x20 if more else 0)) + 48))
            if not more:
                break
    return "".join(characters)


def _runs(counts: Sequence[int]) -> NDArray[np.integer]:
    try:
        runs = np.asarray(counts)
    except ValueError:  # lists of unequal length
        runs = np.asarray(None)
    if runs.ndim != 1 or (runs.size and runs.dtype.kind not in "ui"):
        raise InvalidInputError.for_field("rle.counts", "a list of whole numbers or COCO's text", f"{counts!r:.80}")
    return runs.astype(np.int64) if runs.size == 0 else runs


def _unpack(text: str) -> list[int]:
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64:
            raise InvalidInputError.for_field("rle.counts", "COCO's compressed text", f"the character {character!r}")
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise InvalidInputError("rle.counts: expected whole counts, got text that ends inside one")
    return counts
