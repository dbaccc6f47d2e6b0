"""Quality of service of publishers, subscriptions, services and clients."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from sam_perception.standalone.graph import Qos


class ReliabilityPolicy(IntEnum):
    """Whether messages may be lost."""

    RELIABLE = 1
    BEST_EFFORT = 2


class DurabilityPolicy(IntEnum):
    """Whether who comes late gets the last messages."""

    TRANSIENT_LOCAL = 1
    VOLATILE = 2


@dataclass(kw_only=True)
class QoSProfile:
    """How many messages are kept, the newest ones, and what else happens to them."""

    depth: int
    reliability: ReliabilityPolicy = ReliabilityPolicy.RELIABLE
    durability: DurabilityPolicy = DurabilityPolicy.VOLATILE

    @classmethod
    def of(cls, qos: QoSProfile | int) -> QoSProfile:
        """A profile as it is, or the depth of one."""
        return cls(depth=qos) if isinstance(qos, int) else qos

    def codes(self) -> Qos:
        """What others see."""
        return Qos(reliability=self.reliability, durability=self.durability, depth=self.depth)


qos_profile_services_default = QoSProfile(depth=10)
