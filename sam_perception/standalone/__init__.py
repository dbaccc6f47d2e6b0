"""What stands in for rclpy, tf2_ros and the message packages where rclpy cannot be imported."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

_SITE = str(Path(__file__).parent / "site")


def install_where_needed() -> bool:
    """Make `import rclpy` work; True if rclpy is the one of this package, False if it is ROS's own."""
    if _SITE in sys.path:
        return True
    loaded_before = set(sys.modules)
    try:
        importlib.import_module("rclpy")
    except ImportError as error:
        _require_packages(error)
        if find_spec("rclpy"):
            reason = str(error).split("\n")[0]
            print(f"sam_perception runs without ROS: its rclpy cannot be imported here ({reason})", file=sys.stderr)
        _install(set(sys.modules) - loaded_before)
        return True
    return False


def _require_packages(cause: ImportError) -> None:
    missing = [name for name, module in (("eclipse-zenoh", "zenoh"), ("rosbags", "rosbags")) if not find_spec(module)]
    if missing:
        raise ImportError(f"rclpy cannot be imported ({cause}); to run without ROS: pip install {' '.join(missing)}")


def _install(half_loaded: set[str]) -> None:
    from sam_perception.standalone.interfaces import interface_names
    from sam_perception.standalone.messages import InterfaceFinder

    ours = {"rclpy", "tf2_ros", *(name.split("/")[0] for name in interface_names())} - {"sam_perception"}
    for module in half_loaded:
        if module.split(".")[0] in ours:
            del sys.modules[module]
    sys.path.insert(0, _SITE)
    sys.meta_path.insert(0, InterfaceFinder())
