"""Prompts on a camera's frames: by stamp, clicks, the last prompts again on new frames, forgetting."""

import threading

import numpy as np
import pytest

from sam_perception.engine import SegmentationEngine
from sam_perception.errors import FrameNotHeldError, InvalidInputError
from sam_perception.masks import Mask
from sam_perception.models.base import Embedding, SegmentationModel
from sam_perception.prompts import Prompt
from sam_perception.segmentation_session import SegmentationSession

LONG_S = 30.0
HEIGHT, WIDTH = 12, 16


class StampEmbedding(Embedding):
    nbytes = 1

    def __init__(self, frame):
        self.frame = frame


class PointModel(SegmentationModel):
    """Answers the pixel under the first point; can be held up."""

    name, prompt_kinds = "pixel", frozenset({"points"})

    def __init__(self):
        self.may_encode = threading.Event()
        self.may_encode.set()
        self.encoding = threading.Event()

    def encode(self, frame):
        self.encoding.set()
        assert self.may_encode.wait(LONG_S)
        return StampEmbedding(frame)

    def decode(self, embedding, prompts, multimask):
        return [[_pixel(embedding.frame, prompt)] * (1 + 2 * multimask) for prompt in prompts]


def _pixel(frame, prompt):
    array = np.zeros(frame.size, np.bool_)
    x, y = prompt.point_array[0].astype(int)
    array[y, x] = True
    return Mask.from_array(array, object_id=prompt.object_id)


class Answers(list):
    """The results that the session gave out."""

    def __init__(self):
        super().__init__()
        self._news = threading.Condition()

    def take(self, result):
        with self._news:
            self.append(result)
            self._news.notify_all()

    def wait(self, wanted):
        with self._news:
            assert self._news.wait_for(lambda: any(wanted(result) for result in self), LONG_S), self.stamps

    @property
    def stamps(self):
        return [result.frame.stamp_ns for result in self]


class Warnings(list):
    def __init__(self):
        super().__init__()
        self._news = threading.Condition()

    def take(self, kind, text):
        with self._news:
            self.append((kind, text))
            self._news.notify_all()

    def wait(self):
        with self._news:
            assert self._news.wait_for(lambda: len(self), LONG_S)


@pytest.fixture
def model():
    return PointModel()


@pytest.fixture
def engine(model):
    with SegmentationEngine(model) as engine:
        yield engine
        model.may_encode.set()


@pytest.fixture
def answers():
    return Answers()


@pytest.fixture
def warnings():
    return Warnings()


@pytest.fixture
def session(engine, answers, warnings, model):
    session = SegmentationSession(engine, answers.take, warnings.take, wait_s=0.0)
    yield session
    model.may_encode.set()
    session.close()


def image(height=HEIGHT, width=WIDTH):
    return np.zeros((height, width, 3), np.uint8)


def at(x, y):
    return [Prompt(points=[[x, y]])]


def test_an_answer_goes_to_the_caller_and_to_the_listener(session, answers):
    session.add_color(1, "camera", image())
    session.add_color(2, "camera", image())
    result = session.segment(at(3, 4), 1)
    assert result.frame.stamp_ns == 1
    assert list(answers) == [result]
    assert session.segment(at(3, 4), None).frame.stamp_ns == 2


def test_a_request_for_a_frame_that_is_on_its_way_is_answered_on_it(session):
    session.wait_s = LONG_S
    session.add_color(1, "camera", image())
    sender = threading.Timer(0.05, session.add_color, (2, "camera", image()))
    sender.start()
    assert session.segment(at(3, 4), 2).frame.stamp_ns == 2
    sender.join()


def test_a_stamp_from_the_future_is_refused_with_how_far_ahead_it_is(session):
    session.add_color(5_000_000_000, "camera", image())
    with pytest.raises(FrameNotHeldError, match=r"2\.500 s newer than the newest, 5\.0{9}; held are 1 frames"):
        session.segment(at(3, 4), 7_500_000_000)


def test_a_click_is_answered_on_the_frame_that_it_names(session, answers):
    for stamp in (1, 2, 3):
        session.add_color(stamp, "camera", image())
    session.click(6, 2, 2)
    answers.wait(lambda result: result.frame.stamp_ns == 2)
    assert answers[0].masks[0].box == (6, 2, 7, 3)


def test_a_click_on_a_picture_that_is_gone_is_answered_on_the_newest_only_when_asked(session, answers, warnings):
    session.add_color(5, "camera", image())
    session.click(6, 2, 1)
    warnings.wait()
    assert warnings[0][0] == "clicks"
    assert "(6, 2)" in warnings[0][1]
    session.click(6, 2, 1, or_newest=True)
    answers.wait(lambda result: result.frame.stamp_ns == 5)


@pytest.mark.parametrize(("x", "y"), [(float("nan"), 1.0), (-1.0, 1.0), (float(WIDTH), 1.0)])
def test_a_click_that_is_no_pixel_is_warned_of_and_the_next_one_answered(session, answers, warnings, x, y):
    session.add_color(5, "camera", image())
    session.click(x, y, None)
    warnings.wait()
    session.click(1.0, 1.0, None)
    answers.wait(lambda result: True)
    assert len(answers) == 1


def test_more_clicks_than_can_wait_are_dropped_with_a_warning(session, answers, warnings, model):
    session.add_color(5, "camera", image())
    model.may_encode.clear()
    session.click(0, 0, None)
    assert model.encoding.wait(LONG_S)
    for x in range(1, 12):
        session.click(x, 0, None)
    assert "dropped" in warnings[0][1]
    model.may_encode.set()
    answers.wait(lambda result: result.masks[0].box[0] == 8)
    assert [result.masks[0].box[0] for result in answers] == list(range(9))


def test_continuous_asks_the_last_prompts_again_on_new_frames(session, answers):
    session.add_color(1, "camera", image())
    session.continuous = True
    session.add_color(2, "camera", image())
    session.segment([Prompt(points=[[3, 4]], object_id=7)], 1, multimask=True)
    session.add_color(3, "camera", image())
    answers.wait(lambda result: result.frame.stamp_ns == 3)
    assert answers[-1].masks[0].object_id == 7
    assert len(answers[-1].candidates[0]) == 3
    assert 2 not in answers.stamps
    session.continuous = False
    session.add_color(4, "camera", image())
    session.segment(at(1, 1), 4)
    assert answers.stamps.count(4) == 1


def test_continuous_skips_frames_that_came_while_it_was_busy(session, answers, model):
    session.add_color(1, "camera", image())
    session.segment(at(3, 4), 1)
    session.continuous = True
    model.may_encode.clear()
    model.encoding.clear()
    session.add_color(2, "camera", image())
    assert model.encoding.wait(LONG_S)
    for stamp in (3, 4, 5):
        session.add_color(stamp, "camera", image())
    model.may_encode.set()
    answers.wait(lambda result: result.frame.stamp_ns == 5)
    assert answers.stamps == [1, 2, 5]


def test_prompts_that_do_not_fit_a_new_frame_are_warned_of_and_kept(session, answers, warnings):
    session.continuous = True
    session.add_color(1, "camera", image())
    session.segment(at(15, 11), 1)
    session.add_color(2, "camera", image(4, 4))
    warnings.wait()
    assert warnings[0][0] == "continuous"
    session.add_color(3, "camera", image())
    answers.wait(lambda result: result.frame.stamp_ns == 3)


def test_after_clear_no_prompt_is_asked_again_and_no_late_answer_comes_out(session, answers, model):
    session.add_color(1, "camera", image())
    session.segment(at(3, 4) + at(5, 6), 1)
    session.continuous = True
    model.may_encode.clear()
    model.encoding.clear()
    session.add_color(2, "camera", image())
    assert model.encoding.wait(LONG_S)
    assert session.clear() == 2
    assert session.clear() == 0
    model.may_encode.set()
    session.add_color(3, "camera", image())
    session.close()
    assert answers.stamps == [1]


def test_prompts_that_had_no_answer_are_not_remembered(session):
    session.add_color(1, "camera", image())
    with pytest.raises(InvalidInputError):
        session.segment(at(99, 4), 1)
    assert session.clear() == 0


def test_a_closed_session_leaves_no_frame_in_the_engine_and_the_engine_open(session, engine):
    session.add_color(1, "camera", image())
    session.segment(at(3, 4), 1)
    session.close()
    session.close()
    assert engine.newest_frame is None
    assert engine.stats.embeddings_held == 0
    later = SegmentationSession(engine, lambda result: None, lambda kind, text: None)
    later.add_color(1, "camera", image())
    assert later.segment(at(3, 4), 1).frame.stamp_ns == 1
    later.close()


def test_depth_of_another_frame_is_told_of(session, warnings):
    session.add_color(1, "camera", image())
    session.add_depth(1, "infra", np.ones((HEIGHT, WIDTH), np.uint16))
    ((_, text),) = warnings
    assert "'infra'" in text
