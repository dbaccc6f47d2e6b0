"""Clicks that correct an answer are obeyed, on what looks like the clicked pixel and near it, and nowhere else.

And what they do not speak of stays.
"""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from sam_perception.evaluation.clicks import first_click, next_click  # noqa: E402
from sam_perception.models import ModelOptions, load_model, tabletop  # noqa: E402
from sam_perception.models.tabletop_clicks import corrects, obey_clicks, one_by_one, settle_clicks  # noqa: E402
from sam_perception.models.tabletop_input import network_input  # noqa: E402
from sam_perception.prompts import Prompt  # noqa: E402

HEIGHT, WIDTH, SIDE, FINE = 120, 160, 64, 256
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


@pytest.mark.parametrize(("label", "before", "far"), [(1, -4.0, 3), (0, 4.0, 3), (1, 2.0, 2), (0, -2.0, 2)])
def test_a_correction_is_obeyed_by_what_is_near_and_alike(detail, label, before, far):
    """The further, the more is wrong around it."""
    logits = torch.full((1, 1, SIDE, SIDE), before)
    x, y = 73, 60  # the colour changes at 80, three of the square's pixels to the right
    after = obey_clicks(logits, detail, [Prompt(points=[(20, 20), (x, y)], labels=[label, label])], SIZE)[0, 0]
    sign = 2 * label - 1
    row, column = cell_of(x, y)
    assert sign * float(after[row, column]) == pytest.approx(SURE, abs=0.01)
    change = sign * (after - before)
    assert (change >= 0).all()
    assert 0.5 * change[row, column] < change[row, column - 1] < change[row, column]
    assert change[row, column - far] > 0.1 * change[row, column]  # as red
    assert change[row, column - 6] < 0.1 * change[row, column] or far == 3
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


@pytest.fixture(scope="module")
def green():
    """All of one colour."""
    return network_input(torch.full((*SIZE, 3), 90, dtype=torch.uint8), None, None, FINE)


def answer_with(*parts: tuple[slice, slice]) -> torch.Tensor:
    """(1, 1, FINE, FINE) logits that are 5 on those rows and columns."""
    logits = torch.full((1, 1, FINE, FINE), -5.0)
    for rows, columns in parts:
        logits[0, 0, rows, columns] = 5.0
    return logits


def pixel_of(row: int, column: int) -> tuple[float, float]:
    """x and y of the image's pixel in the middle of one of the square's."""
    return (column + 0.5) * WIDTH / FINE - 0.5, (row + 0.5) * HEIGHT / FINE - 0.5


THING, NEIGHBOUR = (slice(80, 160), slice(40, 120)), (slice(80, 160), slice(120, 200))
AT_ITS_EDGE, IN_THE_NEIGHBOUR, ON_THE_THING = (120, 120), (120, 160), (120, 80)


@pytest.mark.parametrize("clicked", [AT_ITS_EDGE, IN_THE_NEIGHBOUR])
def test_what_changes_is_not_thicker_than_the_click_is_deep(green, clicked):
    """A click on the last pixel of an outline is no reason to take in a neighbour; one in the neighbour's middle is."""
    before, with_neighbour = answer_with(THING), answer_with(THING, NEIGHBOUR)
    points = [pixel_of(*ON_THE_THING), pixel_of(*clicked)]
    asked = Prompt(points=points, labels=[1, 1], logits=before[0, 0].numpy())
    after = obey_clicks(with_neighbour, green, [asked], SIZE)[0, 0] > 0
    assert after[clicked] and after[THING].all()
    taken = float(after[NEIGHBOUR].float().mean())
    assert taken == 1 if clicked == IN_THE_NEIGHBOUR else taken < 0.1


@pytest.mark.parametrize("clicked", [(120, 198), IN_THE_NEIGHBOUR])
def test_what_is_taken_away_is_not_thicker_than_the_click_is_deep(green, clicked):
    before = answer_with(THING, NEIGHBOUR)
    points = [pixel_of(*ON_THE_THING), pixel_of(*clicked)]
    asked = Prompt(points=points, labels=[1, 0], logits=before[0, 0].numpy())
    after = obey_clicks(answer_with(THING), green, [asked], SIZE)[0, 0] > 0
    assert not after[clicked] and after[THING].all()
    left = float(after[NEIGHBOUR].float().mean())
    assert left == 0 if clicked == IN_THE_NEIGHBOUR else left > 0.9


def test_what_no_click_speaks_of_stays_but_for_its_outline(green):
    elsewhere, thicker = (slice(200, 240), slice(40, 80)), (slice(79, 161), slice(39, 121))
    asked = Prompt(points=[pixel_of(*ON_THE_THING), pixel_of(100, 100)], logits=answer_with(THING)[0, 0].numpy())
    after = obey_clicks(answer_with(thicker, elsewhere), green, [asked], SIZE)[0, 0] > 0
    assert torch.equal(after, answer_with(thicker)[0, 0] > 0)
    asked = Prompt(points=[pixel_of(*ON_THE_THING)], logits=answer_with(THING, elsewhere)[0, 0].numpy())
    after = obey_clicks(answer_with(THING), green, [asked], SIZE)[0, 0] > 0
    assert torch.equal(after, answer_with(THING, elsewhere)[0, 0] > 0)


def test_an_earlier_answer_that_found_nothing_holds_nothing_back(green):
    asked = Prompt(points=[pixel_of(*ON_THE_THING)], logits=answer_with()[0, 0].numpy())
    after = obey_clicks(answer_with(THING, NEIGHBOUR), green, [asked], SIZE)[0, 0] > 0
    assert torch.equal(after, answer_with(THING, NEIGHBOUR)[0, 0] > 0)


def test_a_click_in_the_middle_divides_an_answer_between_the_clicks(green):
    asked = Prompt(points=[pixel_of(*ON_THE_THING), pixel_of(*IN_THE_NEIGHBOUR)], labels=[1, 0])
    after = obey_clicks(answer_with(THING, NEIGHBOUR), green, [asked], SIZE)[0, 0] > 0
    assert after[THING].float().mean() > 0.95
    assert after[NEIGHBOUR].float().mean() < 0.05


def test_the_colour_tells_where_an_answer_is_divided(detail):
    """Red ends in the middle, and the click on it is much nearer to that than the one on blue."""
    logits = torch.full((1, 1, SIDE, SIDE), -5.0)
    logits[0, 0, 20:44, 8:56] = 5.0
    asked = Prompt(points=[(72, 60), (110, 60)], labels=[1, 0])
    after = obey_clicks(logits, detail, [asked], SIZE)[0, 0, 20:44, 8:56] > 0
    assert after[:, :24].float().mean() > 0.95
    assert after[:, 24:].float().mean() < 0.05


def test_a_click_near_the_outline_divides_nothing(green):
    asked = Prompt(points=[pixel_of(*ON_THE_THING), pixel_of(120, 192)], labels=[1, 0])
    after = obey_clicks(answer_with(THING, NEIGHBOUR), green, [asked], SIZE)[0, 0] > 0
    assert not after[120, 192]
    assert after[NEIGHBOUR].float().mean() > 0.7


def described(prompts: list[Prompt]) -> list[tuple[bool, list[list[float]], list[int]]]:
    return [(each.box is not None, each.point_array.tolist(), each.label_array.tolist()) for each in prompts]


def test_clicks_are_taken_one_by_one():
    a, b, c = [1.0, 2.0], [3.0, 4.0], [5.0, 6.0]
    box = (0, 0, 9, 9)
    assert described(one_by_one(Prompt(points=[a, b, c], labels=[1, 0, 1]))) == [
        (False, [a], [1]),
        (False, [a, b], [1, 0]),
    ]
    assert described(one_by_one(Prompt(points=[a, b, c], labels=[0, 0, 1]))) == [
        (False, [c], [1]),  # what is beside the object says little before it is known where that is
        (False, [c, a], [1, 0]),
    ]
    assert described(one_by_one(Prompt(box=box, points=[a, b], labels=[0, 1], object_id=7))) == [
        (True, [], []),
        (True, [a], [0]),
    ]
    assert one_by_one(Prompt(box=box, points=[a], object_id=7))[0].object_id == 7
    logits, mask = np.zeros((4, 4), np.float32), np.ones(SIZE, bool)
    for alone in (
        Prompt(points=[a]),
        Prompt(points=[a, b], labels=[0, 0]),
        Prompt(box=box),
        Prompt(points=[a, b], logits=logits),
        Prompt(points=[a, b], mask=mask),
    ):
        assert one_by_one(alone) == []
    many = [[float(i), 0.0] for i in range(30)]
    assert [len(each.point_array) for each in one_by_one(Prompt(points=many))] == [22, 23, 24, 25, 26, 27, 28, 29]


def test_clicks_count_in_the_image_itself():
    """An outline that was drawn anew is put right where it is clicked, within a few pixels of that colour."""
    color = torch.full((3, *SIZE), 90.0)
    color[:, :, 80:] = 200.0
    logits = torch.full((2, 1, *SIZE), -2.0)
    settle_clicks(logits, color, [Prompt(points=[(20, 60), (79, 60)]), Prompt(points=[(79, 60)])])
    assert logits[0, 0, 60, 79] == pytest.approx(1.0)
    assert logits[0, 0, 60, 80] == pytest.approx(-2.0)
    assert (logits[0, 0] > -1.9).sum() < 40
    assert (logits[1] == -2.0).all()  # nothing is corrected by a single click


@pytest.fixture(scope="module")
def shipped():
    return load_model("tabletop", ModelOptions(device="cpu"))


def test_several_clicks_are_answered_as_if_each_had_corrected_the_answer_before(shipped, sample):
    """Whoever sends them at once gets what they would get who feed answers back; each prompt as if it were alone."""
    embedding = shipped.encode(sample.frame)
    block = sample.named("green block")
    clicks = [first_click(sample.truth(block))]
    logits, fed_back = None, []
    for _ in range(4):
        points, labels = [click[:2] for click in clicks], [click.label for click in clicks]
        asked = Prompt(points=points, labels=labels, logits=logits)
        ((answer,),) = shipped.decode(embedding, [asked], multimask=False)
        fed_back.append(answer.to_array())
        logits = answer.logits
        clicks.append(next_click(sample.truth(block), answer.to_array()))
    at_once = [
        Prompt(points=[click[:2] for click in clicks[:count]], labels=[click.label for click in clicks[:count]])
        for count in (4, 1, 3, 2)
    ]
    answers = [masks[0].to_array() for masks in shipped.decode(embedding, at_once, multimask=False)]
    for answer, count in zip(answers, (4, 1, 3, 2), strict=True):
        assert (answer != fed_back[count - 1]).mean() < 1e-4, count  # but for what batches of another size round


@pytest.mark.parametrize(("name", "other"), [("green block", "green cube"), ("green cube", "green block")])
def test_a_second_click_tells_things_of_one_colour_apart(shipped, sample, name, other):
    embedding = shipped.encode(sample.frame)
    truth, on, beside = (sample.truth(sample.named(each)) for each in (name, name, other))
    click, second = first_click(on), first_click(beside)
    one, two = shipped.decode(
        embedding,
        [Prompt(points=[click[:2]]), Prompt(points=[click[:2], second[:2]], labels=[1, 0])],
        multimask=False,
    )
    overlaps = [(found.to_array() & truth).sum() / (found.to_array() | truth).sum() for found in (one[0], two[0])]
    assert overlaps[1] > 0.75 and overlaps[1] > overlaps[0] + 0.2, overlaps


def test_the_shipped_model_obeys_all_corrections(shipped, sample, monkeypatch):
    """Of somebody who knows the truth; the network by itself obeys about half of them."""
    embedding = shipped.encode(sample.frame)
    truths = [sample.truth(described) for described in sample.objects]

    def obeyed() -> float:
        clicks = [[first_click(truth)] for truth in truths]
        kept = []
        for _ in range(4):
            prompts = [
                Prompt(points=[(x, y) for x, y, _ in one], labels=[label for *_, label in one]) for one in clicks
            ]
            found = [masks[0].to_array() for masks in shipped.decode(embedding, prompts, multimask=False)]
            kept += [answer[one[-1].y, one[-1].x] == one[-1].label for answer, one in zip(found, clicks, strict=True)]
            for one, truth, answer in zip(clicks, truths, found, strict=True):
                one.append(next_click(truth, answer))
        return float(np.mean(kept))

    with_it = obeyed()
    monkeypatch.setattr(tabletop, "obey_clicks", lambda logits, *others: logits)
    monkeypatch.setattr(tabletop, "settle_clicks", lambda logits, *others: logits)
    without = obeyed()
    assert with_it > 0.95 and without < 0.8, (with_it, without)
