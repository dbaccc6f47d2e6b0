"""Draws the worst answers of an evaluation on one sheet: what was there, what was asked, what came back."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.evaluation.segmentation import Case, Evaluation
from sam_perception.masks import Mask
from sam_perception.prompts import FOREGROUND, Prompt

Image = NDArray[np.uint8]
Color = tuple[int, int, int]

COLUMNS = 5
PICTURE_PX = 192
GAP_PX = 14
BETWEEN_PX = 3
CAPTION_PX = 40
HEADING_PX = 44
MARGIN_OF_OBJECT = 0.3  # around both masks and the prompt, so that one sees what the object stands among
SMALLEST_VIEW_PX = 48

# Okabe and Ito's colours, which people with colour vision deficiencies tell apart.
RIGHT, MISSED, TOO_MUCH = (0, 158, 115), (0, 114, 178), (230, 95, 0)
PAPER, INK, FAINT = (250, 250, 250), (20, 20, 20), (110, 110, 110)
OUTLINE, PROMPT, NOT_THERE = (255, 255, 255), (255, 230, 0), (200, 200, 200)
TINT = 0.6

_TILE_WIDTH = 2 * PICTURE_PX + BETWEEN_PX
_LEGEND = ((RIGHT, "found"), (MISSED, "missed"), (TOO_MUCH, "too much"), (OUTLINE, "true outline"))


def draw_sheet(evaluation: Evaluation, titles: dict[str, str], other: Evaluation | None = None) -> Image:
    """(H, W, 3) RGB: for each kind of prompt its worst objects, each as the image with the prompt beside the answer.

    Args:
        evaluation: whose ``worst`` are shown.
        titles: heading for each kind of prompt.
        other: a second model's; its IoU of the same objects is written beside.
    """
    others = {} if other is None else {(result.scene, result.object_id): result.iou for result in other.results}
    parts = [_legend(_sheet_width())]
    for kind, cases in evaluation.worst.items():
        parts.append(_heading(titles[kind], _sheet_width()))
        captions = []
        for case in cases:
            beside = others.get((case.result.scene, case.result.object_id), {}).get(kind)
            compared = "" if other is None or beside is None else f", {other.model} {beside:.2f}"
            captions.append(f"{case.result.scene} #{case.result.object_id}, {case.result.area_px} px{compared}")
        tiles = [_tile(case, caption) for case, caption in zip(cases, captions, strict=True)]
        parts += [_row(tiles[first : first + COLUMNS]) for first in range(0, len(tiles), COLUMNS)]
    return np.concatenate(parts)


def _sheet_width() -> int:
    return COLUMNS * (_TILE_WIDTH + GAP_PX) + GAP_PX


def _tile(case: Case, caption: str) -> Image:
    """Caption above two views of the same crop."""
    x, y, side = _view(case)
    scale = PICTURE_PX / side
    plain = cv2.resize(_crop(case.color, x, y, side), (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_CUBIC)
    truth, found = (_enlarged(mask, x, y, side) for mask in (case.truth, case.predicted))
    asked = np.asarray(plain, np.uint8)
    # Grey, so that no colour of the scene is taken for one of ours.
    answered = np.asarray(cv2.cvtColor(cv2.cvtColor(asked, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
    for region, color in ((truth & found, RIGHT), (truth & ~found, MISSED), (found & ~truth, TOO_MUCH)):
        answered[region] = (answered[region] * (1 - TINT) + np.array(color) * TINT).astype(np.uint8)
    contours, _ = cv2.findContours(truth.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(answered, contours, -1, OUTLINE, 1)
    _draw_prompt(asked, case.prompt, x, y, scale)
    words = np.full((CAPTION_PX, _TILE_WIDTH, 3), PAPER, dtype=np.uint8)
    _write(words, f"{case.iou:.2f}", 0, 24, 0.75, INK, thickness=2)
    _write(words, case.result.name, 62, 16, 0.5, INK)
    _write(words, caption, 62, 33, 0.4, FAINT)
    between = np.full((PICTURE_PX, BETWEEN_PX, 3), PAPER, dtype=np.uint8)
    return np.concatenate([words, np.concatenate([asked, between, answered], axis=1)])


def _view(case: Case) -> tuple[int, int, int]:
    """x, y of the top left, and side of a square around both masks and the prompt, inside the image if it fits."""
    corners = [mask.box for mask in (case.truth, case.predicted) if not mask.is_empty]
    corners += [(x, y, x + 1, y + 1) for x, y in case.prompt.point_array]
    if case.prompt.box_array is not None:
        corners.append(tuple(case.prompt.box_array))
    array = np.array(corners, dtype=np.float64)
    low, high = array[:, :2].min(axis=0), array[:, 2:].max(axis=0)
    object_side = max(case.truth.crop.shape)
    side = max(int(np.ceil((high - low).max() + MARGIN_OF_OBJECT * object_side)), SMALLEST_VIEW_PX)
    x, y = np.floor((low + high) / 2 - side / 2).astype(int)
    height, width = case.truth.image_size
    return _moved_inside(int(x), side, width), _moved_inside(int(y), side, height), side


def _moved_inside(start: int, length: int, limit: int) -> int:
    """Where a stretch begins once it lies inside 0..limit, or around it when it is too long."""
    return min(max(start, 0), limit - length) if length <= limit else (limit - length) // 2


def _crop(image: Image, x: int, y: int, side: int) -> Image:
    """A square of an image, grey where it reaches beyond it."""
    height, width = image.shape[:2]
    square = np.full((side, side, 3), NOT_THERE, dtype=np.uint8)
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
    square[top - y : bottom - y, left - x : right - x] = image[top:bottom, left:right]
    return square


def _enlarged(mask: Mask, x: int, y: int, side: int) -> NDArray[np.bool_]:
    """A mask's part of a square, at the size of the picture and with a smooth outline."""
    padded = np.pad(mask.to_array(), side).astype(np.float32)
    square = padded[y + side : y + 2 * side, x + side : x + 2 * side]
    return np.asarray(cv2.resize(square, (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_LINEAR) > 0.5)


def _draw_prompt(picture: Image, prompt: Prompt, x: int, y: int, scale: float) -> None:
    if prompt.box_array is not None:
        x0, y0, x1, y1 = np.rint((prompt.box_array - [x, y, x, y]) * scale).astype(int)
        for color, thickness in (((0, 0, 0), 4), (PROMPT, 2)):
            cv2.rectangle(picture, (int(x0), int(y0)), (int(x1) - 1, int(y1) - 1), color, thickness)
    for point, label in zip(prompt.point_array, prompt.label_array, strict=True):
        u, v = np.rint((point + 0.5 - [x, y]) * scale).astype(int)
        fill = PROMPT if label == FOREGROUND else (255, 0, 0)
        cv2.circle(picture, (int(u), int(v)), 6, (0, 0, 0), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(picture, (int(u), int(v)), 4, fill, cv2.FILLED, cv2.LINE_AA)


def _row(tiles: Sequence[Image]) -> Image:
    height, width = tiles[0].shape[:2]
    row = np.full((height + GAP_PX, _sheet_width(), 3), PAPER, dtype=np.uint8)
    for i, tile in enumerate(tiles):
        left = GAP_PX + i * (width + GAP_PX)
        row[:height, left : left + width] = tile
    return row


def _heading(text: str, width: int) -> Image:
    strip = np.full((HEADING_PX, width, 3), PAPER, dtype=np.uint8)
    _write(strip, text, GAP_PX, 26, 0.7, INK, thickness=2)
    return strip


def _legend(width: int) -> Image:
    strip = np.full((HEADING_PX, width, 3), PAPER, dtype=np.uint8)
    left = GAP_PX
    for color, text in _LEGEND:
        cv2.rectangle(strip, (left, 14), (left + 22, 30), color, cv2.FILLED)
        cv2.rectangle(strip, (left, 14), (left + 22, 30), FAINT, 1)
        left = _write(strip, text, left + 30, 28, 0.5, INK) + 24
    text = "left: the image and what was asked (yellow: click or box)   right: the answer   number: IoU"
    _write(strip, text, left + 20, 28, 0.5, INK)
    return strip


def _write(picture: Image, text: str, x: int, y: int, scale: float, color: Color, thickness: int = 1) -> int:
    """Write on a baseline, cut to the picture; returns where it ends."""
    text = text.encode("ascii", "replace").decode()  # OpenCV's letters
    while text and x + _text_width(text, scale, thickness) > picture.shape[1]:
        text = text[:-1]
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, color, thickness, cv2.LINE_AA)
    return x + _text_width(text, scale, thickness)


def _text_width(text: str, scale: float, thickness: int) -> int:
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)[0][0])
