"""The frame history keeps to its bounds and finds frames by their exact stamps."""

import numpy as np
import pytest

from sam_perception.errors import FrameNotHeldError, InvalidInputError
from sam_perception.frame_history import FrameHistory, format_stamp
from sam_perception.frames import RgbdFrame

SECOND = 1_000_000_000
START = 1_714_652_389 * SECOND  # stamps of a real clock do not fit into a float exactly


def frame(stamp_ns: int, height: int = 2, width: int = 5) -> RgbdFrame:
    return RgbdFrame(np.zeros((height, width, 3), np.uint8), stamp_ns=stamp_ns)


def filled(*stamps: int, **bounds: float) -> FrameHistory:
    history = FrameHistory(**bounds)
    for stamp_ns in stamps:
        history.add(frame(stamp_ns))
    return history


def stamps_of(history: FrameHistory) -> list[int]:
    """Newest first, from what the history itself says."""
    return [history.newest.frame.stamp_ns - round(age * SECOND) for age in history.ages_s] if len(history) else []


class TestBounds:
    def test_drops_what_is_older_than_the_newest_by_more_than_its_seconds(self):
        history = FrameHistory(max_seconds=1.0)
        first, second = frame(START), frame(START + SECOND // 2)
        history.add(first)
        history.add(second)
        assert history.add(frame(START + SECOND)) == []  # exactly one second old is still held
        dropped = history.add(frame(START + SECOND + 1))
        assert [held.frame for held in dropped] == [first]
        assert history.find(START + SECOND // 2).frame is second

    def test_keeps_nanoseconds_of_a_real_clock_apart(self):
        history = filled(START, START + 1, START + 2, max_seconds=0.000000001)
        assert stamps_of(history) == [START + 2, START + 1]

    def test_drops_the_oldest_beyond_its_bytes(self):
        history = FrameHistory(max_seconds=1e6, max_bytes=90)  # three frames of 30 bytes
        frames = [frame(i * SECOND) for i in range(5)]
        dropped = [held.frame for each in frames for held in history.add(each)]
        assert dropped == frames[:2]
        assert len(history) == 3 and history.nbytes == 90

    def test_a_large_frame_takes_the_place_of_several(self):
        history = filled(0, SECOND, 2 * SECOND, max_seconds=1e6, max_bytes=90)
        dropped = history.add(frame(3 * SECOND, height=4))  # 60 bytes
        assert [held.frame.stamp_ns for held in dropped] == [0, SECOND]
        assert history.nbytes == 90

    def test_always_holds_the_newest(self):
        history = FrameHistory(max_seconds=0, max_bytes=0)
        for stamp_ns in (5, 6, 7):
            history.add(frame(stamp_ns, height=100))
            assert len(history) == 1 and history.newest.frame.stamp_ns == stamp_ns
            assert history.find(stamp_ns) is history.newest

    def test_bytes_stay_right_through_replacing_dropping_and_clearing(self):
        rng = np.random.default_rng(0)
        history = FrameHistory(max_seconds=0.05, max_bytes=400)
        for _ in range(300):
            history.add(frame(int(rng.integers(0, 100)) * SECOND // 1000, height=int(rng.integers(1, 6))))
            held = [history.find(stamp_ns) for stamp_ns in stamps_of(history)]
            assert history.nbytes == sum(each.frame.nbytes for each in held)
            assert history.nbytes <= 400
            assert stamps_of(history) == sorted(stamps_of(history), reverse=True)
            assert max(history.ages_s) <= 0.05
        history.clear()
        assert (len(history), history.nbytes, history.newest, history.ages_s) == (0, 0, None, [])

    def test_without_bounds_holds_everything(self):
        history = filled(*range(0, 100 * SECOND, SECOND), max_seconds=float("inf"), max_bytes=float("inf"))
        assert len(history) == 100

    @pytest.mark.parametrize(
        ("bounds", "message"),
        [
            ({"max_seconds": -1}, "history_seconds: expected 0 or more, got -1"),
            ({"max_seconds": float("nan")}, "history_seconds: expected 0 or more, got nan"),
            ({"max_bytes": -5}, "history_bytes: expected 0 or more, got -5"),
        ],
    )
    def test_refuses_negative_bounds(self, bounds, message):
        with pytest.raises(InvalidInputError) as caught:
            FrameHistory(**bounds)
        assert str(caught.value) == message


class TestOrder:
    def test_a_late_frame_takes_its_place_and_does_not_become_the_newest(self):
        history = filled(START, START + 3 * SECOND, START + 2 * SECOND, START + SECOND, max_seconds=5)
        assert history.newest.frame.stamp_ns == START + 3 * SECOND
        assert history.ages_s == [0.0, 1.0, 2.0, 3.0]

    def test_a_late_frame_within_the_bounds_drops_nothing(self):
        history = filled(SECOND, 3 * SECOND, max_seconds=5)
        assert history.add(frame(2 * SECOND)) == []

    def test_a_replaced_stamp_gets_a_new_key(self):
        history = filled(SECOND, 2 * SECOND)
        before = history.find(SECOND)
        again = frame(SECOND)
        assert history.add(again) == [before]
        after = history.find(SECOND)
        assert after.frame is again and after.key != before.key
        assert before not in history and after in history
        assert len(history) == 2

    def test_keys_are_never_used_twice(self):
        history = FrameHistory(max_seconds=0.5)
        keys = set()
        for stamp_ns in (0, 1, 1, SECOND, 0, 5 * SECOND, 5 * SECOND):
            history.add(frame(stamp_ns))
            keys.add(history.find(stamp_ns).key)
        history.clear()
        history.add(frame(5 * SECOND))
        keys.add(history.newest.key)
        assert len(keys) == 8

    def test_starts_anew_when_time_was_set_back(self):
        history = filled(START, START + SECOND, START + 2 * SECOND, max_seconds=5)
        old = [history.find(START + i * SECOND) for i in range(3)]
        dropped = history.add(frame(7))
        assert dropped == old
        assert len(history) == 1 and history.newest.frame.stamp_ns == 7 and history.nbytes == 30

    def test_a_frame_just_as_old_as_can_be_held_is_late_and_no_jump(self):
        history = filled(START, START + 5 * SECOND, max_seconds=5)
        history.add(frame(START))
        assert history.newest.frame.stamp_ns == START + 5 * SECOND
        history.add(frame(START - 1))
        assert history.newest.frame.stamp_ns == START - 1 and len(history) == 1


class TestFind:
    def test_none_asks_for_the_newest(self):
        assert filled(SECOND, 3 * SECOND, 2 * SECOND).find(None).frame.stamp_ns == 3 * SECOND

    def test_takes_the_exact_stamp_only(self):
        history = filled(START, START + 1000, START + 2000)
        assert history.find(START + 1000).frame.stamp_ns == START + 1000
        for missed in (START - 1, START + 999, START + 1001, START + 2001):
            with pytest.raises(FrameNotHeldError):
                history.find(missed)

    def test_stamp_zero_is_a_stamp_like_any_other(self):
        assert filled(0, SECOND).find(0).frame.stamp_ns == 0
        with pytest.raises(FrameNotHeldError):
            filled(SECOND).find(0)

    def test_before_the_first_frame_says_so(self):
        for stamp_ns in (None, 5):
            with pytest.raises(FrameNotHeldError, match="no image has arrived; check the camera's topic"):
                FrameHistory().find(stamp_ns)

    def test_says_how_old_the_asked_frame_would_be_and_which_are_held(self):
        history = filled(START, START + SECOND // 2, START + SECOND)
        with pytest.raises(FrameNotHeldError) as caught:
            history.find(START - 2 * SECOND)
        message = str(caught.value)
        assert "no frame with stamp 1714652387.000000000 is held" in message
        assert "it would be 3.000 s older than the newest, 1714652390.000000000" in message
        assert message.endswith("held are 3 frames of these ages in s: 0.000, 0.500, 1.000")

    def test_says_when_the_asked_frame_is_still_to_come(self):
        with pytest.raises(FrameNotHeldError, match=r"it would be 1\.250 s newer than the newest"):
            filled(START).find(START + SECOND * 5 // 4)

    def test_lists_a_few_ages_and_the_oldest_of_a_long_history(self):
        history = filled(*range(0, 100 * SECOND, SECOND), max_seconds=1000)
        with pytest.raises(FrameNotHeldError) as caught:
            history.find(1)
        assert str(caught.value).endswith("0.000, 1.000, 2.000, 3.000, 4.000, 5.000, 6.000, 7.000, ... 99.000")

    @pytest.mark.parametrize("stamp", [1.5, "1", True])
    def test_refuses_a_stamp_that_is_no_integer(self, stamp):
        with pytest.raises(InvalidInputError, match="stamp: expected an integer of nanoseconds, or None, got"):
            filled(SECOND).find(stamp)


def test_stamps_are_printed_with_all_nanoseconds():
    assert format_stamp(START + 42) == "1714652389.000000042"
    assert format_stamp(0) == "0.000000000"
