"""What /diagnostics says in each condition of the node."""

import itertools

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import Header

from sam_perception.engine import EngineStats
from sam_perception.nodes import diagnostics
from sam_perception.nodes.diagnostics import InputRate, SamCondition, diagnostics_message, process_memory_bytes


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when the test says so."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(diagnostics.time, "monotonic", lambda: Clock.now)
    return Clock


def feed(rate, clock, hz, seconds):
    for _ in range(int(hz * seconds)):
        clock.now += 1 / hz
        rate.tick()


@pytest.mark.parametrize("hz", [1.0, 10.0, 30.0, 90.0])
def test_the_rate_is_that_of_the_last_seconds(clock, hz):
    rate = InputRate()
    feed(rate, clock, 3.0, 20)
    feed(rate, clock, hz, 10)
    assert rate.hz == pytest.approx(hz, rel=0.02)


def test_the_rate_falls_when_images_stop_and_silence_grows(clock):
    rate = InputRate()
    assert (rate.hz, rate.silence_s) == (0.0, None)
    feed(rate, clock, 10.0, 10)
    falling = []
    for _ in range(8):
        clock.now += 1
        falling.append(rate.hz)
    assert all(later < earlier or later == 0.0 for earlier, later in itertools.pairwise(falling))
    assert falling[-1] == 0.0
    assert rate.silence_s == pytest.approx(8.0)
    rate.clear()
    assert rate.silence_s is None


def status(rate, **changes):
    fields = {
        "state": "active",
        "failure": "",
        "model": "grabcut",
        "device": "cpu",
        "image_topic": "/camera/image",
        "rate": rate,
        "frame_age_s": 0.0421,
        "stats": EngineStats(cache_hits=7, last_encode_ms=np.float64(12.34), last_decode_ms=5.6, frame_bytes=2_500_000),
    }
    header = Header(frame_id="")
    (status,) = diagnostics_message(header, "sam", SamCondition(**(fields | changes))).status
    return status, {entry.key: entry.value for entry in status.values}


def test_all_that_was_promised_is_there_with_units(clock):
    rate = InputRate()
    feed(rate, clock, 10.0, 5)
    said, values = status(rate)
    assert (said.level, said.name) == (DiagnosticStatus.OK, "sam: segmentation")
    assert values["input rate (Hz)"] == "10.0"
    assert values["frame age (s)"] == "0.042"
    assert (values["last encode (ms)"], values["last decode (ms)"], values["cache hits"]) == ("12.3", "5.6", "7")
    assert values["frame memory (MB)"] == "2.5"
    assert float(values["process memory (MB)"]) > 10


def test_each_trouble_has_its_level_and_says_what_to_look_at(clock):
    rate = InputRate()
    said, _ = status(rate)
    assert said.level == DiagnosticStatus.WARN
    assert "/camera/image" in said.message
    assert "remapped" in said.message
    rate.tick()
    clock.now += 9
    said, _ = status(rate)
    assert (said.level, said.message) == (DiagnosticStatus.WARN, "no image has arrived on /camera/image for 9 s")
    said, values = status(rate, state="inactive", stats=None, frame_age_s=None, device="")
    assert (said.level, said.message) == (DiagnosticStatus.STALE, "the node is inactive")
    assert values["frame age (s)"] == "no frame"
    said, _ = status(rate, state="unconfigured", failure="configuring failed: no weights", stats=None)
    assert (said.level, said.message) == (DiagnosticStatus.ERROR, "configuring failed: no weights")


def test_process_memory_grows_with_what_is_held():
    before = process_memory_bytes()
    held = np.ones(100 << 20, np.uint8)
    assert process_memory_bytes() - before > 60 << 20
    assert held[0]
