"""pyrealsense2, imported when a camera is asked for."""

from __future__ import annotations

import importlib
from typing import Any

from sam_perception.errors import ModelUnavailableError

_INSTALL = "pip install 'sam-perception[realsense]'"


def realsense_library() -> Any:
    """The module pyrealsense2.

    Raises:
        ModelUnavailableError: it is not installed, or does not load; the message has the command.
    """
    for name in ("pyrealsense2", "pyrealsense2.pyrealsense2"):  # built from source, the module lies in a folder
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        except ImportError as error:
            raise ModelUnavailableError(_does_not_load(error)) from error
        if hasattr(module, "context"):
            return module
    raise ModelUnavailableError(
        f"a RealSense needs pyrealsense2, which is not installed: {_INSTALL}; where pip has none for this Python or "
        "processor, build librealsense with -DBUILD_PYTHON_BINDINGS=ON"
    )


def _does_not_load(error: ImportError) -> str:
    advice = "sudo apt-get install libusb-1.0-0" if "libusb" in str(error) else f"install it again: {_INSTALL}"
    return f"pyrealsense2 does not load ({' '.join(str(error).split())}): {advice}"
