"""Where the standalone runtime listens and connects: options, and the environment that child processes inherit."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from sam_perception.errors import InvalidInputError, PerceptionError

LISTEN = "SAM_PERCEPTION_LISTEN"
CONNECT = "SAM_PERCEPTION_CONNECT"
CONFIG = "ZENOH_SESSION_CONFIG_URI"

_ENDPOINT = re.compile(r"\w+/.+")


def add_transport_options(parser: argparse.ArgumentParser) -> None:
    """Add --listen, --connect and --zenoh-config."""
    group = parser.add_argument_group("without ROS", "Where the standalone runtime meets other processes.")
    group.add_argument(
        "--listen",
        action="append",
        default=[],
        metavar="ENDPOINT",
        help="also listen there, such as tcp/0.0.0.0:7450 (default: on loopback only)",
    )
    group.add_argument(
        "--connect",
        action="append",
        default=[],
        metavar="ENDPOINT",
        help="also connect there: a robot's Zenoh router, such as tcp/192.168.1.5:7447",
    )
    group.add_argument("--zenoh-config", type=Path, metavar="FILE", help="Zenoh configuration (TLS, access control)")


def export_transport(options: argparse.Namespace) -> None:
    """Put the options into the environment, where the runtime of this process and of its children reads them."""
    for name, endpoints, variable in (("--listen", options.listen, LISTEN), ("--connect", options.connect, CONNECT)):
        for endpoint in endpoints:
            if not _ENDPOINT.fullmatch(endpoint) or "," in endpoint:
                raise InvalidInputError.for_field(name, "an endpoint such as tcp/192.168.1.5:7447", endpoint)
        if endpoints:
            os.environ[variable] = ",".join(endpoints)
    if options.zenoh_config is not None:
        if not options.zenoh_config.is_file():
            raise InvalidInputError.for_field("--zenoh-config", "a file that exists", options.zenoh_config)
        os.environ[CONFIG] = str(options.zenoh_config.resolve())


def provide_rclpy(options: argparse.Namespace) -> None:
    """Make `import rclpy` work, ROS's own or the standalone runtime with these transport options.

    Raises:
        PerceptionError: neither can be imported; the message says what to install.
        InvalidInputError: an option for the standalone runtime, but this is ROS's own rclpy.
    """
    from sam_perception.standalone import install_where_needed

    export_transport(options)
    try:
        standalone = install_where_needed()
    except ImportError as error:
        raise PerceptionError(str(error)) from error
    if not standalone and (options.listen or options.connect):
        raise InvalidInputError(
            "--listen and --connect are for machines without ROS; here rclpy is installed, and its middleware "
            "($RMW_IMPLEMENTATION) chooses its connections"
        )
