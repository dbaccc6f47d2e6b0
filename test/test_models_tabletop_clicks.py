"""Clicks that correct an answer are obeyed, on what looks like the clicked pixel and near it, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from sam_perception.evaluation.clicks import first_click, next_click  # noqa: E402
from sam_perception.models import ModelOptions, load_model, tabletop  # noqa: E402
from sam_perception.models.tabletop_clicks import corrects, obey_clicks  # noqa: E402
from sam_perception.models.tabletop_input import network_input  # noqa: E402
from sam_perception.prompts import Prompt  # noqa: E402

HEIGHT, WIDTH, SIDE = 120, 160, 64
SIZE = (HEIGHT, WIDTH)
SURE = 6.0


@pytest.fixture(scope="module")
def detail():
    """Left half red, right half blue."""
    color = np.zeros((*SIZE, 3), np.uint8)
    color[:, : WIDTH // 2] = (200, 40, 40)
    color[:, WIDTH // 2 :] = (40, 40, 200)
    return network_input(torch.from_numpy(color), None, None, SIDE)


def cell_of(x: float, y: float) -> tuple[int, int]:
    """Row and column of the stretched square in which a pixel of the image lies."""
    return int((y + 0.5) / HEIGHT * SIDE), int((x + 0.5) / WIDTH * SIDE)


@pytest.mark.parametrize(("label", "before"), [(1, -4.0), (0, 4.0), (1, 2.0), (0, -2.0)])
def test_a_correction_is_obeyed_by_what_is_near_and_alike(detail, label, before):
    logits = torch.full((1, 1, SIDE, SIDE), before)
    x, y = 73, 60  # the colour changes at 80, three of the square's pixels to the right
    after = obey_clicks(logits, detail, [Prompt(points=[(20, 20), (x, y)], labels=[label, label])], SIZE)[0, 0]
    sign = 2 * label - 1
    row, column = cell_of(x, y)
    assert sign * float(after[row, column]) == pytest.approx(SURE, abs=0.01)
    change = sign * (after - before)
    assert (change >= 0).all()
    assert 0.5 * change[row, column] < change[row, column - 1] < change[row, column]
    assert change[row, column - 3] > 0.1 * change[row, column]  # as red
    assert change[row, column + 3] < 0.01 * change[row, column]  # as near, but blue
    assert change[:, 3 * SIDE // 4 :].max() == 0  # far off
    assert change[row + 2, column] > change[row, column - 2]  # rows of the square are closer together in the image
    assert (logits == before).all()  # what was given stays


def test_what_agrees_with_its_clicks_is_left_as_it_is(detail):
    logits = torch.full((1, 1, SIDE, SIDE), 7.0)
    prompt = Prompt(points=[(20, 20), (120, 90)], labels=[1, 1])
    assert torch.equal(obey_clicks(logits, detail, [prompt], SIZE), logits)


def test_one_click_alone_corrects_nothing(detail):
    logits = torch.full((5, 1, SIDE, SIDE), -3.0)
    mask = np.zeros(SIZE, bool)
    mask[10:50, 10:50] = True
    click = {"points": [(20, 20)]}
    prompts = [
        Prompt(**click),
        Prompt(box=(5, 5, 60, 60)),
        Prompt(**click, box=(5, 5, 60, 60)),
        Prompt(**click, mask=mask),
        Prompt(**click, logits=np.zeros((16, 16), np.float32)),
    ]
    changed = (obey_clicks(logits, detail, prompts, SIZE) != logits).flatten(1).any(dim=1)
    assert changed.tolist() == [False, False, True, True, True]
    assert [corrects(prompt) for prompt in prompts[2:]] == [True, True, True]


@pytest.mark.parametrize("corner", [(0, 0), (WIDTH - 1, 0), (0, HEIGHT - 1), (WIDTH - 1, HEIGHT - 1)])
def test_clicks_in_the_corners_are_obeyed(detail, corner):
    logits = torch.full((1, 1, SIDE, SIDE), -3.0)
    after = obey_clicks(logits, detail, [Prompt(points=[(80, 60), corner], labels=[0, 1])], SIZE)[0, 0]
    assert float(after[cell_of(*corner)]) == pytest.approx(SURE, abs=0.1)
    assert float(after[cell_of(80, 60)]) == pytest.approx(-SURE, abs=0.1)


def test_corrections_of_the_shipped_model_are_mostly_obeyed(sample, monkeypatch):
    """Of those that somebody makes who knows the truth; more of them than the network obeys by itself."""
    model = load_model("tabletop", ModelOptions(device="cpu"))
    embedding = model.encode(sample.frame)
    truths = [sample.truth(described) for described in sample.objects]

    def obeyed() -> float:
        clicks = [[first_click(truth)] for truth in truths]
        kept = []
        for _ in range(4):
            prompts = [
                Prompt(points=[(x, y) for x, y, _ in one], labels=[label for *_, label in one]) for one in clicks
            ]
            found = [masks[0].to_array() for masks in model.decode(embedding, prompts, multimask=False)]
            kept += [answer[one[-1].y, one[-1].x] == one[-1].label for answer, one in zip(found, clicks, strict=True)]
            for one, truth, answer in zip(clicks, truths, found, strict=True):
                one.append(next_click(truth, answer))
        return float(np.mean(kept))

    with_it = obeyed()
    monkeypatch.setattr(tabletop, "obey_clicks", lambda logits, *others: logits)
    without = obeyed()
    assert with_it > 0.7 and with_it > without + 0.1, (with_it, without)
