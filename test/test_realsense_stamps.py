"""A camera's time stamps become ROS time, whatever its clock does."""

import numpy as np
import pytest

from sam_perception.realsense.stamps import WINDOW_S, WRAP_MS, StampClock, later_than

NOW_NS = 1_795_000_000_000_000_000
HARDWARE = "hardware_clock"


def play(clock, exposures_s, device_ms, delays_s, domain=HARDWARE):
    """Error of each stamp in seconds, for frames taken at ``exposures_s`` and arriving ``delays_s`` later."""
    errors = []
    for exposure, timestamp, delay in zip(exposures_s, device_ms, delays_s, strict=True):
        stamp = clock.stamp_ns(float(timestamp), domain, NOW_NS + round((exposure + delay) * 1e9))
        errors.append((stamp - NOW_NS) / 1e9 - exposure)
    return np.array(errors)


def delays(count, seed=0):
    """Delays of 8 ms and more, often much more, as USB and a busy computer make them."""
    return 0.008 + np.random.default_rng(seed).exponential(0.01, count)


@pytest.mark.parametrize("domain", ["global_time", "system_time"])
def test_stamps_of_the_computers_clock_are_ros_time_to_the_microsecond(domain):
    clock = StampClock()
    assert clock.is_direct(domain)
    assert clock.stamp_ns(1795242482534.929, domain, NOW_NS) == pytest.approx(1795242482534929000, abs=1000)


def test_jitter_of_the_arrival_does_not_get_into_the_stamps():
    times = np.arange(900) / 30
    errors = play(StampClock(), times, 5e6 + 1000 * times, delays(900))
    settled = errors[60:]
    assert np.ptp(settled) < 0.002  # the delays vary by 60 ms
    assert settled.min() > 0.007 and settled.max() < 0.011  # the smallest delay is what stays


def test_a_clock_that_runs_fast_is_followed():
    times = np.arange(30 * 120) / 30
    errors = play(StampClock(), times, 1000 * times * (1 + 50e-6), delays(times.size))  # 50 ppm: 6 ms in 2 minutes
    assert np.abs(errors[300:] - 0.008).max() < 0.002 + 50e-6 * WINDOW_S
    slow = play(StampClock(), times, 1000 * times * (1 - 50e-6), delays(times.size))
    assert np.abs(slow[300:] - 0.008).max() < 0.002 + 50e-6 * WINDOW_S


def test_the_counter_of_32_bits_may_begin_again():
    times = np.arange(600) / 30
    timestamps = (WRAP_MS - 10_000 + 1000 * times) % WRAP_MS
    assert (np.diff(timestamps) < 0).sum() == 1
    errors = play(StampClock(), times, timestamps, delays(600))
    assert np.ptp(errors[60:]) < 0.002


@pytest.mark.parametrize("uptime_s", [60, 3000])
def test_a_device_that_begins_again_keeps_ros_time(uptime_s):
    times = np.arange(600) / 30
    timestamps = np.where(times < 10, 1000 * (uptime_s + times), 1000 * (times - 10))
    errors = play(StampClock(), times, timestamps, delays(600))
    assert np.abs(errors[60:]).max() < 0.08  # for the first frame afterwards nothing but its arrival is known
    assert np.ptp(errors[360:]) < 0.002


def test_a_recording_that_loops_gets_stamps_of_now():
    times = np.arange(300) / 30
    recorded = 1_600_000_000_000.0 + 1000 * (times % 2)
    errors = play(StampClock(host_is_ros=False), times, recorded, delays(300), "global_time")
    assert np.abs(errors).max() < 0.1


def test_each_domain_has_its_own_offset():
    clock = StampClock()
    times = np.arange(60) / 30
    play(clock, times, 1000 * times, delays(60))
    later = times + 2
    direct = play(clock, later, NOW_NS / 1e6 + 1000 * later, delays(60), "global_time")
    assert np.abs(direct).max() < 1e-6
    again = play(clock, later + 2, 1000 * (later + 2), delays(60), HARDWARE)
    assert again.min() > 0.007


def test_ros_time_that_goes_back_is_followed_at_once():
    clock = StampClock(host_is_ros=False)
    times = np.arange(60) / 30
    play(clock, times + 100, 1000 * times, delays(60))
    errors = play(clock, times, 1000 * (times + 2), delays(60))
    assert np.abs(errors).max() < 0.1


@pytest.mark.parametrize("timestamp", [float("nan"), float("inf"), -1.0])
def test_a_stamp_that_is_none_is_the_arrival(timestamp):
    assert StampClock().stamp_ns(timestamp, "global_time", NOW_NS) == NOW_NS


def test_two_frames_never_share_a_stamp_and_a_clock_that_was_set_is_followed():
    assert later_than(NOW_NS, NOW_NS + 5) == NOW_NS + 5
    assert later_than(NOW_NS, NOW_NS) == NOW_NS + 1
    assert later_than(NOW_NS, NOW_NS - 30_000_000) == NOW_NS + 1
    hour_ago = NOW_NS - 3600 * 10**9
    assert later_than(NOW_NS, hour_ago) == hour_ago
