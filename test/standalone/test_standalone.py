"""The one switch between real rclpy and standalone, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALL = "import sys; from sam_perception.standalone import install_where_needed; print(install_where_needed())\n"


def run(code: str, *first_on_path: Path) -> subprocess.CompletedProcess[str]:
    paths = [*map(str, first_on_path), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", INSTALL + code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def package(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def broken_ros(tmp_path):
    """What a ROS of another Python leaves behind: Python files that import, and a compiled part that does not."""
    package(tmp_path, "std_msgs/__init__.py", "")
    package(tmp_path, "std_msgs/msg/__init__.py", "Header = None")
    package(tmp_path, "rclpy/logging.py", "")
    broken = "import std_msgs.msg, rclpy.logging\nraise ImportError('no _rclpy_pybind11.cpython-312\\nmore')"
    package(tmp_path, "rclpy/__init__.py", broken)
    return tmp_path


def test_messages_of_every_kind_import_where_rclpy_does_not(broken_ros):
    pytest.importorskip("zenoh")
    done = run(
        "import std_srvs.srv, sam_perception.msg\n"
        "from sam_perception.srv import Segment\n"
        "from std_msgs.msg import Header\n"
        "print(Header(frame_id='camera').frame_id, std_srvs.srv.Trigger.Response(message='done').message)\n"
        "print(type(Segment.Request().image).__name__, sam_perception.msg.Prompt.FOREGROUND)\n"
        "import sam_perception.masks\n"
        "for name in ('nope', 'std_msgs.nope', 'std_msgs.msg.nope', 'sam_perception.nope', 'std_msgs.srv'):\n"
        "    try:\n        __import__(name)\n    except ModuleNotFoundError:\n        continue\n"
        "    print('imported', name)\n"
        "try:\n    from std_msgs.msg import Heada\nexcept ImportError as error:\n    print(error)\n"
        "print(install_where_needed(), sum('InterfaceFinder' in repr(finder) for finder in sys.meta_path))\n",
        broken_ros,
    )
    assert done.stdout.splitlines() == [
        "True",
        "camera done",
        "Image 1",
        "cannot import name 'Heada' from 'std_msgs.msg' (unknown location)",
        "True 1",
    ], done.stderr


def test_a_broken_rclpy_is_named_in_one_line(broken_ros):
    pytest.importorskip("zenoh")
    done = run("import rclpy; print('standalone' in rclpy.__file__)", broken_ros)
    assert done.stdout.splitlines() == ["True", "True"]
    assert len(done.stderr.splitlines()) == 1
    assert "no _rclpy_pybind11.cpython-312" in done.stderr


def test_nothing_of_standalone_is_loaded_beside_an_rclpy_that_imports(tmp_path):
    package(tmp_path, "rclpy.py", "")
    code = "print([name for name in sys.modules if name.startswith('sam_perception.standalone.')])"
    done = run(code, tmp_path)
    assert done.stdout.splitlines() == ["False", "[]"]
    assert done.stderr == ""


def test_what_must_be_installed_is_named(broken_ros):
    package(broken_ros, "sitecustomize.py", "import sys; sys.modules['zenoh'] = None; sys.modules['rosbags'] = None")
    done = run("", broken_ros)
    assert done.stderr.splitlines()[-1].endswith("pip install eclipse-zenoh rosbags")
