"""The ROS graph in the liveliness tokens of rmw_zenoh: who is there, with which endpoints, of which types."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import zenoh
from zenoh.handlers import Callback

NODE, PUBLISHER, SUBSCRIPTION, SERVICE, CLIENT = "NN", "MP", "MS", "SS", "SC"
_SPACE = "@ros2_lv"


class Qos(NamedTuple):
    """Quality of service in rmw's codes; the defaults are those of rmw_zenoh."""

    reliability: int = 1  # 1 reliable, 2 best effort
    durability: int = 2  # 1 transient local, 2 volatile
    history: int = 1  # 1 keep last, 2 keep all
    depth: int = 42

    def encode(self) -> str:
        """The form in a token: what equals the default is left out; no deadline, lifespan or lease."""
        return "{}:{}:{},{}:,:,:,,".format(
            *("" if value == default else value for value, default in zip(self, Qos(), strict=True))
        )

    @classmethod
    def decode(cls, text: str) -> Qos:
        """Read that form, or raise a ValueError."""
        reliability, durability, history = text.split(":")[:3]
        codes = (reliability, durability, *history.split(","))
        return cls(*(int(code) if code else default for code, default in zip(codes, cls(), strict=True)))


class Entity(NamedTuple):
    """A node, or an endpoint of one."""

    kind: str
    namespace: str  # "/" or "/a/b"
    node: str
    name: str = ""  # of the topic or service, fully qualified; this and the rest are only for endpoints
    type: str = ""  # package/msg/Name or package/srv/Name
    type_hash: str = ""
    qos: Qos = Qos()

    def token(self, domain: int, session: str, node_id: int, own_id: int) -> str:
        """The key expression of its liveliness token."""
        parts = [_SPACE, domain, session, node_id, own_id, self.kind, "%", _mangled(self.namespace), self.node]
        if self.kind != NODE:
            parts += [_mangled(self.name), _dds_type(self.type), self.type_hash, self.qos.encode()]
        return "/".join(map(str, parts))

    @classmethod
    def from_token(cls, token: str) -> Entity:
        """Read a token, or raise a ValueError."""
        kind, _, namespace, node, *endpoint = token.split("/")[5:]
        if kind == NODE:
            return cls(kind, namespace.replace("%", "/"), node)
        name, dds_type, type_hash, qos = endpoint[:4]
        type_name = dds_type.replace("::dds_::", "/").replace("::", "/").removesuffix("_")
        places = (namespace.replace("%", "/"), node, name.replace("%", "/"))
        return cls(kind, *places, type_name, type_hash, Qos.decode(qos))

    def data_key(self, domain: int) -> str:
        """The key expression of its messages, or of its requests."""
        return f"{domain}/{self.name.strip('/')}/{_dds_type(self.type)}/{self.type_hash}"

    def matches(self, other: Entity) -> bool:
        """Whether messages go from one to the other, if they are of kinds that belong together."""
        return (self.name, self.type_hash) == (other.name, other.type_hash)


def _mangled(name: str) -> str:
    return name.replace("/", "%") or "%"


def _dds_type(name: str) -> str:
    package, kind, short = name.split("/")
    return f"{package}::{kind}::dds_::{short}_"


class Graph:
    """What this process knows of itself and all others, kept up to date by zenoh; `changed` guards and tells."""

    def __init__(self, session: zenoh.Session, domain: int) -> None:
        self.session, self.domain = session, domain
        self.changed = threading.Condition()
        self.on_new: list[Callable[[Entity], Any]] = []  # called with each entity that appears
        self._entities: dict[str, Entity] = {}  # by token
        self._own: dict[str, Any] = {}
        self._next_id = 0
        receive = Callback(self._receive, indirect=False)
        self._subscriber = session.liveliness().declare_subscriber(f"{_SPACE}/{domain}/**", receive, history=True)

    def declare(self, entity: Entity, node_id: int | None = None) -> tuple[int, str]:
        """Enter a node, or an endpoint of the node with this number; gives its own number and its token."""
        with self.changed:
            own_id, self._next_id = self._next_id, self._next_id + 1
        token = entity.token(self.domain, str(self.session.zid()), own_id if node_id is None else node_id, own_id)
        self._own[token] = self.session.liveliness().declare_token(token)
        self._add(token, entity)
        return own_id, token

    def undeclare(self, token: str) -> None:
        """Leave, if it is there."""
        if liveliness := self._own.pop(token, None):
            self._remove(token)
            liveliness.undeclare()

    def entities(self, *kinds: str, name: str = "") -> list[Entity]:
        """All nodes or endpoints of these kinds; `name`: only those of this topic or service."""
        with self.changed:
            return [entity for entity in self._entities.values() if entity.kind in kinds and name in ("", entity.name)]

    def names_and_types(self, *kinds: str, node: tuple[str, str] | None = None) -> list[tuple[str, list[str]]]:
        """Topics or services with their types, in order; `node`: only those of the one with this name and namespace."""
        found: dict[str, set[str]] = {}
        for entity in self.entities(*kinds):
            if node in (None, (entity.node, entity.namespace)):
                found.setdefault(entity.name, set()).add(entity.type)
        return [(name, sorted(types)) for name, types in sorted(found.items())]

    def _receive(self, sample: zenoh.Sample) -> None:
        token = str(sample.key_expr)
        if sample.kind == zenoh.SampleKind.DELETE:
            self._remove(token)
            return
        with contextlib.suppress(ValueError):  # of a future version of the protocol
            self._add(token, Entity.from_token(token))

    def _add(self, token: str, entity: Entity) -> None:
        with self.changed:
            is_new = token not in self._entities
            self._entities[token] = entity
            self.changed.notify_all()
        for callback in tuple(self.on_new) if is_new else ():
            callback(entity)

    def _remove(self, token: str) -> None:
        with self.changed:
            self._entities.pop(token, None)
            self.changed.notify_all()
