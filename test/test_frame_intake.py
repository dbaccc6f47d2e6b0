"""The camera's images as they come from several threads: pairing, waiting for a stamp, late depth."""

import threading

import numpy as np
import pytest

from sam_perception.errors import InvalidInputError
from sam_perception.frame_intake import FrameIntake

COLOR = np.zeros((4, 6, 3), np.uint8)
DEPTH = np.ones((4, 6), np.uint16)
LONG_S = 30.0


@pytest.fixture
def taken():
    return []


@pytest.fixture
def intake(taken):
    return FrameIntake(taken.append, lambda reason: None)


def feed_pair(intake, stamp_ns):
    intake.add_color(stamp_ns, "camera", COLOR)
    intake.add_depth(stamp_ns, "camera", DEPTH)


def test_an_image_goes_on_with_the_depth_of_its_stamp(intake, taken):
    feed_pair(intake, 1)
    feed_pair(intake, 2)
    assert [(frame.stamp_ns, frame.depth is not None) for frame in taken] == [(1, False), (1, True), (2, True)]


def test_who_asks_for_a_stamp_before_its_image_is_here_gets_it_when_it_comes(intake, taken):
    intake.add_color(1, "camera", COLOR)
    waiting = threading.Thread(target=intake.wait_for, args=(5, LONG_S))
    waiting.start()
    intake.add_color(4, "camera", COLOR)
    waiting.join(0.05)
    assert waiting.is_alive()
    intake.add_color(5, "camera", COLOR)
    waiting.join(LONG_S / 2)
    assert not waiting.is_alive()
    assert taken[-1].stamp_ns == 5


def test_a_stamp_that_has_passed_is_not_waited_for(intake):
    intake.add_color(10, "camera", COLOR)
    asking = threading.Thread(target=intake.wait_for, args=(3, LONG_S), daemon=True)
    asking.start()
    asking.join(LONG_S / 2)
    assert not asking.is_alive()


def test_who_asks_for_any_frame_waits_for_the_first_only(intake):
    waiting = threading.Thread(target=intake.wait_for, args=(None, LONG_S))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    intake.add_color(1, "camera", COLOR)
    waiting.join(LONG_S / 2)
    assert not waiting.is_alive()
    asking = threading.Thread(target=intake.wait_for, args=(None, LONG_S), daemon=True)
    asking.start()
    asking.join(LONG_S / 2)
    assert not asking.is_alive()


def test_an_image_whose_depth_does_not_come_in_time_goes_on_without(intake, taken):
    feed_pair(intake, 1)
    intake.add_color(2, "camera", COLOR)
    assert [frame.stamp_ns for frame in taken] == [1, 1]
    intake.wait_for(2, 0.0)
    assert [(frame.stamp_ns, frame.depth is not None) for frame in taken[2:]] == [(2, False)]


def test_waiting_in_vain_for_another_stamp_does_not_take_an_image_from_its_depth(intake, taken):
    feed_pair(intake, 1)
    intake.add_color(2, "camera", COLOR)
    intake.wait_for(3, 0.0)
    intake.add_depth(2, "camera", DEPTH)
    assert taken[-1].stamp_ns == 2
    assert taken[-1].depth is not None


def test_the_slop_between_stamps_can_be_changed(intake, taken):
    feed_pair(intake, 1)
    intake.set_depth_slop(0.002)
    intake.add_color(1_000_000_000, "camera", COLOR)
    intake.add_depth(1_001_000_000, "camera", DEPTH)
    assert taken[-1].depth is not None


def test_after_clear_nothing_is_known_of_earlier_images(intake, taken):
    feed_pair(intake, 10)
    intake.clear()
    intake.add_color(5, "camera", COLOR)
    assert (taken[-1].stamp_ns, taken[-1].depth) == (5, None)


def test_an_image_that_is_none_is_refused_and_the_next_one_taken(intake, taken):
    with pytest.raises(InvalidInputError, match="color"):
        intake.add_color(1, "camera", COLOR[..., 0])
    intake.add_color(2, "camera", COLOR)
    assert [frame.stamp_ns for frame in taken] == [2]


def test_depth_that_comes_late_for_an_older_image_does_not_hide_the_newer_one(intake, taken):
    intake.add_color(1, "camera", COLOR)
    intake.add_color(2, "camera", COLOR)
    intake.add_depth(1, "camera", DEPTH)
    assert [(frame.stamp_ns, frame.depth is not None) for frame in taken] == [(1, False), (2, False), (1, True)]
    asking = threading.Thread(target=intake.wait_for, args=(2, LONG_S), daemon=True)
    asking.start()
    asking.join(LONG_S / 2)
    assert not asking.is_alive()
