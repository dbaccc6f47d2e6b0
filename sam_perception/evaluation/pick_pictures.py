"""Pictures of picks: what the camera saw with the gripper's outline in it, beside how it ended."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.evaluation.picks import PickCase
from sam_perception.grasping.outlines import draw_gripper
from sam_perception.masks import Mask

Image = NDArray[np.uint8]
Color = tuple[int, int, int]

PICTURE_PX = (320, 240)
COLUMNS = 2
LINE_PX, GAP_PX = 18, 12
TITLE_LINES, TITLE_SCALE = 2, 0.42
LEFT_PX = 2
CAPTION_PX = (TITLE_LINES + 1) * LINE_PX + 4
MASK_COLOR = (255, 230, 0)  # beside the gripper's, told apart with any colour vision
PAPER, INK, FAINT = (250, 250, 250), (20, 20, 20), (110, 110, 110)

_VIEW_MARGIN = 2.2  # of the mask's larger side


def draw_case(case: PickCase) -> Image:
    """One attempt: a caption, the camera's image with mask and gripper, and how it ended in the physics."""
    attempt, camera = case.attempt, case.view.frame.intrinsics
    assert camera is not None
    picture = case.view.frame.color.copy()
    contours, _ = cv2.findContours(case.mask.to_array().astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, MASK_COLOR, 1)
    if case.candidate is not None:
        draw_gripper(picture, camera, case.candidate, case.gripper)
    seen = _crop(picture, case.mask if not case.mask.is_empty else Mask.from_array(case.view.truth(case.label)))
    words = np.full((CAPTION_PX, 2 * PICTURE_PX[0], 3), PAPER, np.uint8)
    numbers = f"{attempt.kind} {attempt.scene}.{attempt.step}, {attempt.planner}, {attempt.masks} mask"
    grasp = f", quality {attempt.quality:.2f}, opened {1e3 * attempt.width_m:.0f} mm" if attempt.executed else ""
    why = attempt.detail if attempt.reason == "no grasp" else f"{attempt.reason} - {attempt.detail}"
    title = wrapped(f"{attempt.object}: {why}", TITLE_SCALE, words.shape[1])[:TITLE_LINES]
    for k, line in enumerate(title):
        _write(words, line, 15 + k * LINE_PX, TITLE_SCALE, INK)
    _write(words, f"{numbers}, IoU {attempt.mask_iou:.2f}{grasp}", 15 + len(title) * LINE_PX, 0.4, FAINT)
    return np.concatenate([words, np.concatenate([seen, _ended(case)], axis=1)])


def sheet(pictures: Sequence[Image]) -> Image:
    """(H, W, 3) RGB: pictures of ``draw_case`` two in a row; a line of text when there are none."""
    width, height = 2 * PICTURE_PX[0], CAPTION_PX + PICTURE_PX[1]
    rows = max(1, -(-len(pictures) // COLUMNS))
    paper = np.full((rows * (height + GAP_PX) + GAP_PX, COLUMNS * (width + GAP_PX) + GAP_PX, 3), PAPER, np.uint8)
    if not pictures:
        _write(paper, "No pick failed.", 40, 0.6, INK)
    for k, picture in enumerate(pictures):
        top, left = GAP_PX + k // COLUMNS * (height + GAP_PX), GAP_PX + k % COLUMNS * (width + GAP_PX)
        paper[top : top + height, left : left + width] = picture
    return paper


def _ended(case: PickCase) -> Image:
    if not case.attempt.executed:
        case.world.stand_back()
    return case.world.picture(PICTURE_PX[1], PICTURE_PX[0], case.label)


def _crop(picture: Image, mask: Mask) -> Image:
    """The part around a mask, enlarged or reduced to PICTURE_PX."""
    x0, y0, x1, y1 = mask.box
    height, width = picture.shape[:2]
    aspect = PICTURE_PX[0] / PICTURE_PX[1]
    high = min(max(_VIEW_MARGIN * (y1 - y0), _VIEW_MARGIN * (x1 - x0) / aspect, 120.0), height, width / aspect)
    wide = high * aspect
    left = int(np.clip((x0 + x1 - wide) / 2, 0, width - wide))
    top = int(np.clip((y0 + y1 - high) / 2, 0, height - high))
    part = picture[top : top + int(high), left : left + int(wide)]
    return np.asarray(cv2.resize(part, PICTURE_PX, interpolation=cv2.INTER_AREA), np.uint8)


def wrapped(text: str, scale: float, width: int) -> list[str]:
    """The text in lines that are as wide as a picture at most, where its words allow."""
    lines: list[str] = []
    for word in text.split():
        if lines and _width(f"{lines[-1]} {word}", scale) <= width - 2 * LEFT_PX:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _width(text: str, scale: float) -> int:
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0])


def _write(picture: Image, text: str, y: int, scale: float, color: Color) -> None:
    """Write on a baseline, cut to the picture."""
    text = text.encode("ascii", "replace").decode()  # OpenCV's letters
    while text and _width(text, scale) > picture.shape[1] - 2 * LEFT_PX:
        text = text[:-1]
    cv2.putText(picture, text, (LEFT_PX, y), cv2.FONT_HERSHEY_SIMPLEX, scale, color, 1, cv2.LINE_AA)
