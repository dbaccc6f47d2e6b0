"""mujoco, imported when a scene is asked for."""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from typing import Any

from sam_perception.errors import ModelUnavailableError

_INSTALL = "pip install 'sam-perception[sim]'"
_OLDEST = (3, 3)
_GL_LIBRARIES = {"egl": "libEGL.so.1", "osmesa": "libOSMesa.so.8"}


def import_mujoco() -> Any:
    """The module mujoco, which draws without a screen unless MUJOCO_GL says otherwise.

    On Linux, MUJOCO_GL is set to egl, or to osmesa where EGL does not load, if it is not set yet.

    Raises:
        ModelUnavailableError: mujoco is missing or too old, or no GL library loads; the message has the command.
    """
    if sys.platform == "linux" and not os.environ.get("MUJOCO_GL"):
        os.environ["MUJOCO_GL"] = _gl_backend()
    try:
        mujoco = importlib.import_module("mujoco")
        importlib.import_module("mujoco.renderer")  # this is what loads the GL library
    except ModuleNotFoundError as error:
        raise ModelUnavailableError(
            f"simulated scenes need MuJoCo, which is not installed ({error}): {_INSTALL}"
        ) from error
    except Exception as error:  # PyOpenGL fails in many ways when the library is missing
        raise ModelUnavailableError(_no_gl(error)) from error
    if tuple(int(part) for part in mujoco.__version__.split(".")[:2]) < _OLDEST:
        raise ModelUnavailableError(f"MuJoCo {mujoco.__version__} is too old, 3.3 or newer is needed: {_INSTALL}")
    return mujoco


def _gl_backend() -> str:
    """The first of egl and osmesa whose library loads; egl when none does, so that its error is told."""
    for backend, library in _GL_LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        return backend
    return "egl"


def _no_gl(error: Exception) -> str:
    reason = " ".join(str(error).split())
    return (
        f"no image can be drawn with MUJOCO_GL={os.environ.get('MUJOCO_GL')} ({reason}): sudo apt-get install libegl1 "
        "libgl1-mesa-dri, or libosmesa6 with MUJOCO_GL=osmesa"
    )
