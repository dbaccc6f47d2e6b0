"""What /diagnostics says of the segmentation node: its input, its engine, its memory."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections import deque

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from sam_perception.engine import EngineStats

_RATE_OVER_S = 5.0
_SILENCE_S = 2.0


class InputRate:
    """Counts images as they arrive; reading it from another thread is safe."""

    def __init__(self) -> None:
        self._arrivals: deque[float] = deque(maxlen=1000)

    def tick(self) -> None:
        """An image has arrived."""
        self._arrivals.append(time.monotonic())

    def clear(self) -> None:
        """Forget the arrivals."""
        self._arrivals.clear()

    @property
    def silence_s(self) -> float | None:
        """Seconds since the last image arrived; None before the first."""
        arrivals = tuple(self._arrivals)
        return time.monotonic() - arrivals[-1] if arrivals else None

    @property
    def hz(self) -> float:
        """Images a second, over the last seconds."""
        now = time.monotonic()
        recent = [arrival for arrival in tuple(self._arrivals) if arrival > now - _RATE_OVER_S]
        return (len(recent) - 1) / (now - recent[0]) if len(recent) > 1 else 0.0


@dataclasses.dataclass(frozen=True)
class SamCondition:
    """How the node is.

    Attributes:
        state: of the lifecycle.
        failure: of the last transition; empty when it succeeded.
        model: what it runs.
        device: where the model runs; empty while none is loaded.
        image_topic: where images are expected.
        rate: of the images.
        frame_age_s: between the newest frame's stamp and now; None without a frame.
        stats: of the engine; None while there is none.
    """

    state: str
    failure: str
    model: str
    device: str
    image_topic: str
    rate: InputRate
    frame_age_s: float | None
    stats: EngineStats | None


def diagnostics_message(header: Header, node_name: str, condition: SamCondition) -> DiagnosticArray:
    """One status with the verdict in words and the figures as values; the unit stands in the key."""
    level, sentence = _verdict(condition)
    stats = condition.stats or EngineStats()
    age_s = condition.frame_age_s
    values = {
        "state": condition.state,
        "model": condition.model,
        "device": condition.device or "none",
        "input rate (Hz)": f"{condition.rate.hz:.1f}",
        "frame age (s)": "no frame" if age_s is None else f"{age_s:.3f}",
        "frames received": str(stats.frames_added),
        "last encode (ms)": f"{stats.last_encode_ms:.1f}",
        "last decode (ms)": f"{stats.last_decode_ms:.1f}",
        "encodes": str(stats.encodes),
        "decodes": str(stats.decodes),
        "cache hits": str(stats.cache_hits),
        "failures": str(stats.failures),
        "frames held": str(stats.frames_held),
        "frame memory (MB)": f"{stats.frame_bytes / 1e6:.1f}",
        "embeddings held": str(stats.embeddings_held),
        "embedding memory (MB)": f"{stats.embedding_bytes / 1e6:.1f}",
        "process memory (MB)": f"{process_memory_bytes() / 1e6:.0f}",
    }
    status = DiagnosticStatus(
        level=level,
        name=f"{node_name}: segmentation",
        message=sentence,
        hardware_id=condition.device,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    return DiagnosticArray(header=header, status=[status])


def process_memory_bytes() -> int:
    """Resident memory of this process; where the system does not say, the most that it ever was."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _verdict(condition: SamCondition) -> tuple[bytes, str]:
    if condition.failure:
        return DiagnosticStatus.ERROR, condition.failure
    if condition.state != "active":
        return DiagnosticStatus.STALE, f"the node is {condition.state}"
    silence_s = condition.rate.silence_s
    if silence_s is None:
        hint = "does the camera run, and is `image` remapped to its topic?"
        return DiagnosticStatus.WARN, f"no image has arrived on {condition.image_topic}: {hint}"
    if silence_s > _SILENCE_S:
        return DiagnosticStatus.WARN, f"no image has arrived on {condition.image_topic} for {silence_s:.0f} s"
    return DiagnosticStatus.OK, "ready"
