"""Colour and depth find each other by stamp, whichever comes first, and neither waits for what does not come."""

import gc
import weakref

import numpy as np
import pytest

from sam_perception.errors import InvalidInputError
from sam_perception.frame_matching import COLORS_BEFORE_DEPTH_IS_GONE, FrameMatcher

MS = 1_000_000
START = 1_714_652_389 * 1000 * MS
OPTICAL = "camera_color_optical_frame"


class Camera:
    """A camera whose images say in their pixels when they were taken, feeding one matcher."""

    def __init__(self, **options) -> None:
        self.refused: list[str] = []
        self.matcher = FrameMatcher(refuse=self.refused.append, **options)

    def color(self, at_ms: float, size=(4, 6)):
        image = np.full((*size, 3), int(at_ms) % 256, np.uint8)
        return outcome(self.matcher.add_color(START + int(at_ms * MS), OPTICAL, image))

    def depth(self, at_ms: float, size=(4, 6), frame_id=OPTICAL):
        image = np.full(size, int(at_ms), np.uint16)
        return outcome(self.matcher.add_depth(START + int(at_ms * MS), frame_id, image))


def outcome(frames):
    """[(ms of colour, ms of depth or None)], after checking that stamp and colour belong together."""
    for frame in frames:
        assert frame.frame_id == OPTICAL
        assert frame.color[0, 0, 0] == (frame.stamp_ns - START) // MS % 256
    return [
        ((frame.stamp_ns - START) // MS, None if frame.depth is None else int(frame.depth[0, 0])) for frame in frames
    ]


def test_color_goes_out_at_once_while_no_depth_has_come():
    camera = Camera()
    assert [camera.color(at) for at in (0, 33, 66)] == [[(0, None)], [(33, None)], [(66, None)]]


@pytest.mark.parametrize("depth_first", [False, True])
def test_pairs_by_stamp_in_either_order_of_arrival(depth_first):
    camera = Camera()
    camera.depth(0)
    assert camera.color(0) == [(0, 0)]
    for at in (33, 66, 99):
        arrivals = [camera.color, camera.depth]
        first, second = reversed(arrivals) if depth_first else arrivals
        assert first(at) == []
        assert second(at) == [(at, at)]


def test_color_whose_depth_is_lost_goes_out_with_the_next_color():
    camera = Camera()
    camera.depth(0)
    camera.color(0)
    assert camera.color(33) == []
    assert camera.color(66) == [(33, None)]
    assert camera.depth(66) == [(66, 66)]


def test_when_the_lost_one_and_the_next_are_ready_together_both_go_out_oldest_first():
    camera = Camera()
    camera.depth(0)
    camera.color(0)
    camera.color(33)
    camera.depth(66)
    assert camera.color(66) == [(33, None), (66, 66)]


def test_color_stops_waiting_after_depth_has_stopped_and_waits_again_when_it_is_back():
    camera = Camera()
    camera.depth(0)
    camera.color(0)
    outcomes = [camera.color(33 * i) for i in range(1, 10)]
    assert [len(frames) for frames in outcomes[COLORS_BEFORE_DEPTH_IS_GONE:]] == [1] * 4
    assert outcomes[-1] == [(33 * 9, None)]
    assert [frame for frames in outcomes for frame in frames] == [(33 * i, None) for i in range(1, 10)]  # none is lost
    camera.depth(330)
    assert camera.color(330) == [(330, 330)]
    assert camera.color(363) == []


def test_depth_that_comes_after_the_next_color_is_left_alone_unless_late_colors_are_kept():
    for late, expected in ((0, []), (3, [(33, 33)])):
        camera = Camera(late_colors=late)
        camera.depth(0)
        camera.color(0)
        camera.color(33)
        camera.color(66)
        assert camera.depth(33) == expected
        assert camera.depth(66) == [(66, 66)]


def test_a_late_depth_completes_the_very_first_color():
    camera = Camera(late_colors=3)
    assert camera.color(0) == [(0, None)]
    assert camera.depth(0) == [(0, 0)]
    assert camera.depth(0) == []  # once


def test_stamps_may_differ_by_the_slop_and_the_nearest_wins():
    camera = Camera(depth_slop_ns=5 * MS)
    camera.depth(94)
    camera.depth(97)
    camera.depth(103)
    assert camera.color(102) == [(102, 103)]
    assert camera.color(111) == []  # 103 is taken, 97 too far
    assert camera.depth(117) == []
    assert camera.depth(116) == [(111, 116)]
    exact = Camera()
    exact.depth(0)
    assert exact.color(0.000001) == []


def test_depth_of_another_frame_is_refused_with_both_names_and_does_not_hold_color_up():
    camera = Camera()
    camera.color(0)
    assert camera.depth(0, frame_id="camera_depth_optical_frame") == []
    assert camera.color(33) == [(33, None)]
    assert len(camera.refused) == 1
    assert "'camera_depth_optical_frame'" in camera.refused[0] and f"'{OPTICAL}'" in camera.refused[0]


def test_depth_of_another_size_is_refused_with_both_sizes_even_when_it_comes_first():
    camera = Camera()
    camera.depth(0, size=(2, 3))
    assert camera.color(0, size=(4, 6)) == []
    assert camera.color(33) == [(0, None)]
    assert len(camera.refused) == 1 and "3x2" in camera.refused[0] and "6x4" in camera.refused[0]
    camera.depth(33, size=(2, 3))
    assert len(camera.refused) == 2
    assert camera.depth(33) == [(33, 33)]


def test_a_bad_color_image_is_an_error_that_keeps_nothing():
    camera = Camera()
    camera.depth(0)
    with pytest.raises(InvalidInputError, match=r"shape \(H, W, 3\)"):
        camera.matcher.add_color(START, OPTICAL, np.zeros((4, 6), np.uint8))
    assert camera.color(0) == [(0, 0)]


def test_memory_is_bounded_whatever_does_not_match():
    camera = Camera(late_colors=4)
    images = []
    for i in range(200):
        color, depth = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint16)
        images += [weakref.ref(color), weakref.ref(depth)]
        camera.matcher.add_color(START + 10 * i * MS, OPTICAL, color)
        camera.matcher.add_depth(START + (10 * i + 5) * MS, OPTICAL, depth)
    del color, depth
    gc.collect()
    assert sum(image() is not None for image in images) <= 4 + 1 + 8  # late colours, the one that waits, depths


def test_release_lets_the_last_image_of_a_stream_go():
    camera = Camera()
    camera.depth(0)
    camera.color(0)
    camera.color(33)
    assert outcome(camera.matcher.release()) == [(33, None)]
    assert camera.matcher.release() == []


def test_depth_whose_color_was_lost_makes_a_grey_frame_of_the_asked_stamp():
    camera = Camera(depth_slop_ns=2 * MS)
    camera.depth(50)
    frame = camera.matcher.depth_alone(START + 51 * MS)
    assert frame.stamp_ns == START + 51 * MS and frame.frame_id == OPTICAL
    assert (frame.depth == 50).all() and len(np.unique(frame.color)) == 1
    assert camera.matcher.depth_alone(START + 53 * MS) is None


def test_why_no_depth_says_whether_any_came_and_when():
    camera = Camera()
    assert "no depth" in camera.matcher.why_no_depth(START)
    camera.depth(40)
    assert "0.030 s later" in camera.matcher.why_no_depth(START + 10 * MS)
    assert "0.060 s earlier" in camera.matcher.why_no_depth(START + 100 * MS)


def test_clear_forgets_images_and_that_depth_came():
    camera = Camera(late_colors=2)
    camera.color(0)
    camera.depth(33)
    camera.matcher.clear()
    assert camera.color(33) == [(33, None)]
    assert camera.depth(0) == []
