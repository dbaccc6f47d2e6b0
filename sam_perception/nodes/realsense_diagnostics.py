"""What /diagnostics says of a RealSense: whether images come, how fast, from where."""

from __future__ import annotations

import dataclasses

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from sam_perception.nodes.diagnostics import InputRate
from sam_perception.realsense.stream import Stream

_SILENCE_S = 2.0


@dataclasses.dataclass(frozen=True)
class RealSenseCondition:
    """How the camera is.

    Attributes:
        state: of the lifecycle.
        failure: of the last transition; empty when it succeeded.
        problem: why there is no camera; empty while there is one.
        stream: the open one; None while there is none.
        color: rate of the colour images.
        depth: rate of the depth images.
        interruptions: how often the camera had to be opened again.
        domain: of the time stamps.
        depth_lag_ms: how much later than the colour image its depth was taken, the last time.
    """

    state: str
    failure: str
    problem: str
    stream: Stream | None
    color: InputRate
    depth: InputRate
    interruptions: int
    domain: str
    depth_lag_ms: float


def realsense_diagnostics(header: Header, node_name: str, condition: RealSenseCondition) -> DiagnosticArray:
    """One status with the verdict in words and the figures as values; the unit stands in the key."""
    level, sentence = _verdict(condition)
    stream = condition.stream
    info = stream.info if stream else None
    values = {
        "state": condition.state,
        "model": info.name if info else "none",
        "serial number": info.serial if info else "none",
        "firmware": info.firmware if info else "none",
        "USB": info.usb if info else "none",
        "colour": f"{stream.color.width}x{stream.color.height}" if stream else "none",
        "depth": f"{stream.depth.width}x{stream.depth.height}" if stream else "none",
        "colour rate (Hz)": f"{condition.color.hz:.1f}",
        "depth rate (Hz)": f"{condition.depth.hz:.1f}",
        "depth after colour (ms)": f"{condition.depth_lag_ms:.1f}",
        "time stamps": condition.domain or "none",
        "interruptions": str(condition.interruptions),
    }
    status = DiagnosticStatus(
        level=level,
        name=f"{node_name}: camera",
        message=sentence,
        hardware_id=info.serial if info else "",
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    return DiagnosticArray(header=header, status=[status])


def _verdict(condition: RealSenseCondition) -> tuple[bytes, str]:
    if condition.failure:
        return DiagnosticStatus.ERROR, condition.failure
    if condition.state != "active":
        return DiagnosticStatus.STALE, f"the node is {condition.state}"
    if condition.stream is None:
        return DiagnosticStatus.ERROR, condition.problem or "the camera is being opened"
    if condition.color.silence_s is None:
        return DiagnosticStatus.WARN, "no colour image has come yet"
    if condition.color.silence_s > _SILENCE_S:
        return DiagnosticStatus.WARN, f"no colour image has come for {condition.color.silence_s:.0f} s"
    if condition.depth.silence_s is None or condition.depth.silence_s > _SILENCE_S:
        return DiagnosticStatus.WARN, "colour images come, but no depth"
    if condition.problem:
        return DiagnosticStatus.WARN, condition.problem
    return DiagnosticStatus.OK, "streaming"
