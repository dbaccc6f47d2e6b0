"""Every frame leaves once, with the frame of the other stream that was taken with it."""

import pytest

from sam_perception.realsense.pairing import FramePairing, TimedFrame


def frame(number, timestamp_ms, domain="global_time"):
    return TimedFrame(f"frame {number}", number, timestamp_ms, domain, 0)


def run(pairing, framesets):
    """(number of the colour frame, number of the depth frame) of all that leaves."""
    leaving = [pair for frameset in framesets for pair in pairing.add(*frameset)]
    return [tuple(each and each.number for each in pair) for pair in leaving]


def test_framesets_that_are_whole_stay_whole():
    sets = [(frame(i, 33.3 * i), frame(i, 33.3 * i + 4)) for i in range(1, 4)]
    assert run(FramePairing(30), sets) == [(1, 1), (2, 2), (3, 3)]


def test_the_two_streams_of_a_recording_come_one_after_the_other():
    """As librealsense plays them: each frameset repeats what the other stream had before."""
    color, depth = ([frame(i, 33.0 * i) for i in range(6)] for _ in range(2))
    sets = [(color[1], depth[2]), (color[2], depth[2]), (color[3], depth[2]), (color[3], depth[3])]
    assert run(FramePairing(30), sets) == [(1, None), (2, 2), (3, 3)]


def test_a_slower_depth_goes_with_the_nearest_image_and_is_not_repeated():
    depth = [frame(n, 66.6 * n) for n in range(4)]
    color = [frame(n, 33.3 * n) for n in range(7)]
    sets = [(color[i], depth[i // 2]) for i in range(7)]
    leaving = run(FramePairing(30), sets)
    assert [pair for pair in leaving if None not in pair] == [(0, 0), (2, 1), (4, 2), (6, 3)]
    assert [pair[0] for pair in leaving] == [0, 1, 2, 3, 4, 5, 6]


def test_a_faster_depth_leaves_alone_in_between():
    color = [frame(n, 33.3 * n) for n in range(3)]
    depth = [frame(n, 16.65 * n) for n in range(5)]
    leaving = run(FramePairing(60), [(color[i // 2], depth[i]) for i in range(5)])
    assert [pair for pair in leaving if None not in pair] == [(0, 0), (1, 2), (2, 4)]
    assert (None, 1) in leaving


def test_a_lost_frame_takes_no_partner_from_another_time():
    sets = [
        (frame(1, 0.0), frame(1, 1.0)),
        (frame(2, 33.3), frame(1, 1.0)),
        (frame(3, 66.6), frame(3, 67.6)),
    ]
    assert run(FramePairing(30), sets) == [(1, 1), (2, None), (3, 3)]


def test_stamps_of_different_clocks_are_not_compared():
    sets = [(frame(1, 1.7e12, "system_time"), frame(1, 500.0, "hardware_clock"))]
    assert run(FramePairing(30), sets) == [(1, 1)]


def test_a_stream_that_is_missing_holds_nothing_back_for_ever():
    leaving = run(FramePairing(30), [(frame(i, 33.3 * i), None) for i in range(4)])
    assert leaving == [(0, None), (1, None), (2, None)]


@pytest.mark.parametrize("second_number", [0, 1])
def test_a_loop_begins_with_new_frames(second_number):
    sets = [(frame(9, 300.0), frame(9, 300.0)), (frame(second_number, 0.0), frame(second_number, 0.0))]
    assert run(FramePairing(30), sets) == [(9, 9), (second_number, second_number)]
