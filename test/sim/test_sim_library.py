"""What a person reads when scenes cannot be simulated or drawn here."""

from __future__ import annotations

import importlib

import pytest

from sam_perception.errors import ModelUnavailableError
from sam_perception.sim.library import import_mujoco


def _fails_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> str:
    def fails(name: str):
        raise error

    monkeypatch.setattr(importlib, "import_module", fails)
    with pytest.raises(ModelUnavailableError) as raised:
        import_mujoco()
    return str(raised.value)


def test_without_mujoco_the_command_that_installs_it_is_told(monkeypatch):
    message = _fails_with(ModuleNotFoundError("No module named 'mujoco'"), monkeypatch)
    assert "pip install 'sam-perception[sim]'" in message


def test_without_a_gl_library_the_packages_that_bring_one_are_told(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    message = _fails_with(AttributeError("'NoneType' object has no attribute 'eglQueryString'"), monkeypatch)
    assert "MUJOCO_GL=egl" in message
    assert "apt-get install libegl1" in message
    assert "libosmesa6" in message


def test_an_old_mujoco_is_named(monkeypatch):
    mujoco = pytest.importorskip("mujoco")
    monkeypatch.setattr(mujoco, "__version__", "3.2.7")
    with pytest.raises(ModelUnavailableError, match=r"3\.2\.7 is too old"):
        import_mujoco()


def test_osmesa_is_taken_where_egl_does_not_load(monkeypatch):
    pytest.importorskip("mujoco")
    import ctypes
    import os
    import sys

    def loads_only_osmesa(name: str):
        if "EGL" in name:
            raise OSError(name)

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", loads_only_osmesa)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    import_mujoco()
    assert os.environ["MUJOCO_GL"] == "osmesa"
