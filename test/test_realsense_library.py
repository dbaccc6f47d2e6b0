"""Without pyrealsense2 the user reads which command brings it."""

import sys
import types

import pytest

from sam_perception.errors import ModelUnavailableError
from sam_perception.realsense.library import realsense_library


def test_the_command_is_named_where_it_is_not_installed(monkeypatch):
    for name in ("pyrealsense2", "pyrealsense2.pyrealsense2"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModelUnavailableError, match=r"pip install 'sam-perception\[realsense\]'"):
        realsense_library()


def test_the_missing_system_library_is_named(monkeypatch, tmp_path):
    said = "libusb-1.0.so.0: cannot open shared object file: No such file or directory"
    (tmp_path / "pyrealsense2.py").write_text(f"raise ImportError({said!r})")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pyrealsense2", raising=False)
    with pytest.raises(ModelUnavailableError, match=r"sudo apt-get install libusb-1\.0-0"):
        realsense_library()


def test_a_build_from_source_that_lies_one_folder_deeper_is_found(monkeypatch):
    outer, inner = types.ModuleType("pyrealsense2"), types.ModuleType("pyrealsense2.pyrealsense2")
    outer.__path__ = []
    inner.context = object
    monkeypatch.setitem(sys.modules, "pyrealsense2", outer)
    monkeypatch.setitem(sys.modules, "pyrealsense2.pyrealsense2", inner)
    assert realsense_library() is inner
