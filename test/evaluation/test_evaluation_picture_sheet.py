"""The sheet of the worst answers shows what was found, missed and too much, in their true proportions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sam_perception.evaluation.picture_sheet import (
    HEADING_PX,
    MISSED,
    OUTLINE,
    PICTURE_PX,
    PROMPT,
    RIGHT,
    TINT,
    TOO_MUCH,
    draw_sheet,
)
from sam_perception.evaluation.segmentation import Case, Evaluation, ObjectResult, Timing
from sam_perception.masks import Mask
from sam_perception.prompts import Prompt

SIZE = (480, 640)
GREY = 120
TITLES = {"click_1": "by 1 click", "box": "by box"}


def mask_of(x0: int, y0: int, x1: int, y1: int) -> Mask:
    mask = np.zeros(SIZE, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return Mask.from_array(mask)


def case_of(
    truth: Mask, predicted: Mask, prompt: Prompt | None = None, name: str = "mug", kind: str = "click_1"
) -> Case:
    scores = {"click_1": 0.5, "box": 0.5}
    result = ObjectResult("00", 1, name, "", truth.area, scores, scores)
    color = np.full((*SIZE, 3), GREY, dtype=np.uint8)
    return Case(result, kind, color, truth, predicted, prompt or Prompt(points=[[320, 240]]))


def evaluation_of(**worst: list[Case]) -> Evaluation:
    results = [case.result for cases in worst.values() for case in cases]
    return Evaluation("tabletop", "cpu", tuple(worst), results, 1, 1, Timing(1, 1, 1, 1), worst)


def pixels_of(sheet: np.ndarray, color: tuple[int, int, int]) -> int:
    tinted = (np.full(3, GREY) * (1 - TINT) + np.array(color) * TINT).astype(np.uint8)
    return int(np.count_nonzero((sheet == tinted).all(axis=2)))


def test_areas_are_tinted_by_what_became_of_them() -> None:
    """An object of 100x100 px, of which the right 60 columns were found and 20 beside it too."""
    truth, predicted = mask_of(270, 190, 370, 290), mask_of(310, 190, 390, 290)
    sheet = draw_sheet(evaluation_of(click_1=[case_of(truth, predicted)]), TITLES)
    scale = PICTURE_PX / 150  # the view: 120 columns of both masks, and 30 % of the object's side around them
    for color, area in ((RIGHT, 6000), (MISSED, 4000), (TOO_MUCH, 2000)):
        assert pixels_of(sheet, color) == pytest.approx(area * scale**2, rel=0.1)  # less the outline


def test_the_view_is_around_all_that_matters() -> None:
    """A mask that runs far from the object, and a click beside it, are seen."""
    truth = mask_of(300, 220, 320, 240)
    far = draw_sheet(evaluation_of(click_1=[case_of(truth, mask_of(500, 400, 520, 420))]), TITLES)
    assert pixels_of(far, MISSED) > 50 and pixels_of(far, TOO_MUCH) > 50
    click = Prompt(points=[[600, 20]])
    sheet = draw_sheet(evaluation_of(click_1=[case_of(truth, truth, click)]), TITLES)
    assert np.count_nonzero((sheet == PROMPT).all(axis=2)) > 20


def test_a_box_is_drawn_on_the_image_that_was_asked_about() -> None:
    truth = mask_of(300, 220, 340, 260)
    boxed = case_of(truth, truth, Prompt(box=[300, 220, 340, 260]), kind="box")
    sheet = draw_sheet(evaluation_of(box=[boxed]), TITLES)
    rows, columns = np.nonzero((sheet == PROMPT).all(axis=2))
    side = PICTURE_PX * 40 / 52
    assert np.ptp(rows) == pytest.approx(side, abs=3) and np.ptp(columns) == pytest.approx(side, abs=3)


@pytest.mark.parametrize(
    "truth", [mask_of(0, 0, 640, 480), mask_of(0, 0, 5, 5), mask_of(639, 479, 640, 480), mask_of(630, 0, 640, 480)]
)
def test_objects_at_the_edge_and_empty_answers_are_drawn(truth: Mask) -> None:
    click = Prompt(points=[[truth.x, truth.y]])
    sheet = draw_sheet(evaluation_of(click_1=[case_of(truth, mask_of(0, 0, 0, 0), click)]), TITLES)
    below_the_legend = sheet[HEADING_PX:]
    assert (below_the_legend == OUTLINE).all(axis=2).any()
    assert pixels_of(below_the_legend, RIGHT) == pixels_of(below_the_legend, TOO_MUCH) == 0


def test_names_of_any_length_and_script_leave_the_sheet_as_it_is() -> None:
    truth = mask_of(300, 220, 340, 260)
    sheets = [
        draw_sheet(evaluation_of(click_1=[case_of(truth, truth, name=name)]), TITLES)
        for name in ("mug", "Schlüssel 钥匙", "a name " * 40)
    ]
    assert len({sheet.shape for sheet in sheets}) == 1
    assert not np.array_equal(sheets[0], sheets[1])


def test_every_kind_has_its_objects_below_its_title() -> None:
    case = case_of(mask_of(300, 220, 340, 260), mask_of(300, 220, 320, 260))
    heights = [
        draw_sheet(evaluation_of(**worst), TITLES).shape[0]
        for worst in ({"click_1": [case] * 5}, {"click_1": [case] * 6}, {"click_1": [case] * 5, "box": [case] * 5})
    ]
    assert heights[0] < heights[1] < heights[2]


def test_the_other_models_score_of_the_same_object_is_written_beside() -> None:
    case = case_of(mask_of(300, 220, 340, 260), mask_of(300, 220, 320, 260))
    evaluation = evaluation_of(click_1=[case])
    alone = draw_sheet(evaluation, TITLES)
    same, unknown = (
        dataclasses.replace(evaluation, results=[dataclasses.replace(case.result, object_id=number)])
        for number in (1, 2)
    )
    assert not np.array_equal(draw_sheet(evaluation, TITLES, same), alone)
    np.testing.assert_array_equal(draw_sheet(evaluation, TITLES, unknown), alone)
