"""The zenoh session of a process: how it is configured, and how processes of one machine find each other."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import zenoh

from sam_perception.errors import InvalidInputError

ROUTER_PORT = 7447  # where rmw_zenoh's router listens
MESH_PORTS = range(ROUTER_PORT + 1, ROUTER_PORT + 33)  # each process of this machine listens on one of them
LISTEN_VARIABLE = "SAM_PERCEPTION_LISTEN"
CONNECT_VARIABLE = "SAM_PERCEPTION_CONNECT"


def open_session() -> zenoh.Session:
    """Open a session on the first free port of the mesh, or as the file that ZENOH_SESSION_CONFIG_URI names says.

    Every process listens on loopback, and keeps trying to reach those that may be on the ports before its own. So none
    is needed by the rest, and one that comes back is found again. SAM_PERCEPTION_LISTEN and SAM_PERCEPTION_CONNECT add
    endpoints (comma-separated), ZENOH_CONFIG_OVERRIDE (`key/path=json5;...`) has the last word.

    Raises:
        InvalidInputError: The configuration cannot be used; the message quotes the part.
    """
    path = os.environ.get("ZENOH_SESSION_CONFIG_URI")
    if path:
        return _open(_file_config(path))
    for port in MESH_PORTS:
        if session := _open(_mesh_config(port), unless_taken=port):
            return session
    return _open(_mesh_config(port=0))


def _open(config: zenoh.Config, unless_taken: int = 0) -> Any:
    try:
        return zenoh.open(config)
    except zenoh.ZError as error:
        if unless_taken and f"bound to tcp/127.0.0.1:{unless_taken}:" in str(error):
            return None
        raise _unusable("zenoh cannot start", error) from None


def _mesh_config(port: int) -> zenoh.Config:
    config = zenoh.Config()
    for key, value in _DEFAULTS.items():
        config.insert_json5(key, json.dumps(value))
    # Of two processes one calls the other: after a stall, zenoh may lose messages for ever where both had done so.
    before = [f"tcp/127.0.0.1:{other}" for other in (ROUTER_PORT, *MESH_PORTS) if not 0 < port <= other]
    is_whole_mesh = port and not _endpoints(LISTEN_VARIABLE) and not _endpoints(CONNECT_VARIABLE)
    config.insert_json5(
        "scouting/gossip/autoconnect", json.dumps({"peer": ["router"] if is_whole_mesh else ["router", "peer"]})
    )
    return _with_settings(config, [f"tcp/127.0.0.1:{port}"], before)


def _file_config(path: str) -> zenoh.Config:
    try:
        return _with_settings(zenoh.Config.from_file(path), [], [])
    except zenoh.ZError as error:
        raise _unusable(f"ZENOH_SESSION_CONFIG_URI={path}", error) from None


def _with_settings(config: zenoh.Config, listen: list[str], connect: list[str]) -> zenoh.Config:
    for key, mesh, variable in (("listen", listen, LISTEN_VARIABLE), ("connect", connect, CONNECT_VARIABLE)):
        if endpoints := mesh + _endpoints(variable):
            config.insert_json5(f"{key}/endpoints", json.dumps(endpoints))
    for setting in filter(None, map(str.strip, os.environ.get("ZENOH_CONFIG_OVERRIDE", "").split(";"))):
        key, _, value = setting.partition("=")
        try:
            config.insert_json5(key, value)
        except zenoh.ZError as error:
            raise _unusable(f"ZENOH_CONFIG_OVERRIDE: {setting!r} is no key/path=value", error) from None
    return config


def _endpoints(variable: str) -> list[str]:
    endpoints = [endpoint for endpoint in map(str.strip, os.environ.get(variable, "").split(",")) if endpoint]
    for endpoint in endpoints:
        if not re.fullmatch(r"\w+/\S+", endpoint):
            raise InvalidInputError.for_field(variable, "endpoints like tcp/192.168.1.5:7447", repr(endpoint))
    return endpoints


def _unusable(what: str, error: zenoh.ZError) -> InvalidInputError:
    text = re.sub(r" at /\S+:\d+\.?", "", str(error))  # zenoh names its own source files
    hint = "; each process needs a port of its own, port 0 picks a free one" if "in use" in text else ""
    return InvalidInputError(f"{what}: {text}{hint}")


_DEFAULTS: dict[str, Any] = {
    "mode": "peer",
    "listen/exit_on_failure": True,
    "connect/exit_on_failure": False,
    "connect/timeout_ms": -1,  # never give up
    "connect/retry": {"period_init_ms": 500, "period_max_ms": 1000, "period_increase_factor": 2},
    "scouting/delay": 1,
    "scouting/multicast/enabled": False,
    "scouting/gossip/enabled": True,
    "scouting/gossip/autoconnect_strategy": {"peer": {"to_router": "always", "to_peer": "greater-zid"}},
    "timestamping/enabled": True,  # transient local needs it
    "queries_default_timeout": 600_000,  # ms: a service may take long, and one that dies is noticed at once
    # Faster for images, but a killed process leaves its part of /dev/shm behind, and containers have little of it.
    "transport/shared_memory/enabled": False,
}
