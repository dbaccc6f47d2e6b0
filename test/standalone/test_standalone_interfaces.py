"""The definitions that standalone knows, beside what rosidl computed of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed")
from sam_perception.standalone import definitions, interfaces

ROOT = Path(__file__).parents[2]
OWN_HASHES = ROOT.parent / "shared" / "interfaces" / "type_hashes.json"

# Of the .json files that rosidl of ROS 2 Jazzy installs beside the definitions.
HASHES = {
    "sensor_msgs/msg/Image": "d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47",
    "std_msgs/msg/Empty": "20b625256f32d5dbc0d04fee44f43c41e51c70d3502f84b4a08e7a9c26a96312",
    "geometry_msgs/msg/Quaternion": "8a765f66778c8ff7c8ab94afcc590a2ed5325a1d9a076ffff38fbce36f458684",
    "service_msgs/msg/ServiceEventInfo": "41bcbbe07a75c9b52bc96bfd5c24d7f0fc0a08c0cb7921b3373c5732345a6f45",
    "std_srvs/srv/Trigger": "eeff2cd6fa5ad9d27cdf4dec64818317839b62f212a91e6b5304b634b2062c5f",
    "lifecycle_msgs/srv/ChangeState": "356fe34f0475a43acf54542013af4167b0e729f77ea22ffb045c6ad8e20668e5",
    "lifecycle_msgs/msg/TransitionEvent": "d5f8873a2f0146498f812d7885c7327ce27e463d36811d8792f35ee38c0d6c38",
    "rcl_interfaces/srv/SetParameters": "56eed9a67e169f9cb6c1f987bc88f868c14a8fc9f743a263bc734c154015d7e0",
    "rcl_interfaces/msg/ParameterEvent": "043e627780fcad87a22d225bc2a037361dba713fca6a6b9f4b869a5aa0393204",
    "tf2_msgs/msg/TFMessage": "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
    "diagnostic_msgs/msg/DiagnosticArray": "5a8a36efb05fb25070fa0fb3810290c0e6cd4862b54a8fb975a1ee8dc55a333e",
    "vision_msgs/msg/Detection2DArray": "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "vision_msgs/msg/Detection3DArray": "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "vision_msgs/msg/LabelInfo": "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "visualization_msgs/msg/MarkerArray": "86cb8800b6fb05b5eff1abd7a56f62a5641d3ae9a1c29e78e67e704f1d067dcf",
}


@pytest.mark.parametrize("name", HASHES)
def test_hashes_are_those_of_rosidl(name):
    assert interfaces.type_hash(name) == f"RIHS01_{HASHES[name]}"


@pytest.mark.skipif(not OWN_HASHES.exists(), reason=f"the hashes that rosidl computed are not at {OWN_HASHES}")
def test_own_hashes_are_those_of_rosidl():
    expected = json.loads(OWN_HASHES.read_text())
    assert {name for name in interfaces.interface_names() if name.startswith("sam_perception/")} == set(expected)
    assert {name: interfaces.type_hash(name) for name in expected} == expected


@pytest.mark.skipif("AMENT_PREFIX_PATH" not in os.environ, reason="no ROS 2 is sourced")
def test_every_definition_written_here_is_that_of_the_ros_which_is_sourced():
    prefixes = os.environ["AMENT_PREFIX_PATH"].split(os.pathsep)
    compared = 0
    for name in definitions.TEXTS:
        for path in (path for path in (Path(prefix, "share", f"{name}.json") for prefix in prefixes) if path.exists()):
            hashes = {item["type_name"]: item["hash_string"] for item in json.loads(path.read_text())["type_hashes"]}
            assert interfaces.type_hash(name) == hashes[name], name
            compared += 1
    assert compared > 0


def test_text_of_an_own_definition_is_the_commented_file():
    text = (ROOT / "srv" / "Segment.srv").read_text().rstrip()
    assert interfaces.definition_text("sam_perception/srv/Segment") == text


def test_text_of_a_standard_definition_lists_constants_bounds_and_types():
    text = interfaces.definition_text("shape_msgs/msg/SolidPrimitive").splitlines()
    assert "uint8 CYLINDER_RADIUS=1" in text
    assert "float64[<=3] dimensions" in text
    assert "float64[9] k" in interfaces.definition_text("sensor_msgs/msg/CameraInfo").splitlines()
    assert interfaces.definition_text("std_srvs/srv/Trigger").startswith("---\n")
    assert interfaces.definition_text("std_msgs/msg/Empty") == ""


def test_no_text_has_a_default_value():
    """rosbags drops them, so that a message would begin with zero where ROS begins with the default."""
    files = [*ROOT.glob("msg/*.msg"), *ROOT.glob("srv/*.srv")]
    for text in [*definitions.TEXTS.values(), *(path.read_text() for path in files)]:
        for line in (line.split("#")[0].strip() for line in text.splitlines()):
            assert "=" in line.split(" ", 1)[-1] or len(line.split()) in (0, 1, 2), line


def test_unknown_names_are_refused_with_the_name():
    for name in ("sensor_msgs/msg/Imag", "nope/msg/Image", "std_srvs/srv/Trigger_Middle", "Image", ""):
        for ask in (interfaces.type_hash, interfaces.definition_text, interfaces.fields, interfaces.constants):
            with pytest.raises(interfaces.UnknownInterfaceError, match=re.escape(f"'{name}'")):
                ask(name)


@pytest.mark.parametrize("layout", ["lib/python3.12/site-packages", "."])
def test_an_installation_finds_its_definitions_in_share(tmp_path, layout):
    """As `pip install` lays them out in a virtual environment or for a user, and with --target."""
    package = tmp_path / layout / "sam_perception"
    shutil.copytree(ROOT / "sam_perception" / "standalone", package / "standalone")
    shutil.copy(ROOT / "sam_perception" / "__init__.py", package)
    code = "from sam_perception.standalone import interfaces; print(interfaces.type_hash('sam_perception/msg/Prompt'))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(package.parent), os.environ.get("PYTHONPATH", "")))}

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    assert "install sam_perception again" in run().stderr
    for kind in ("msg", "srv"):
        shutil.copytree(ROOT / kind, tmp_path / "share" / "sam_perception" / kind)
    assert run().stdout.strip() == interfaces.type_hash("sam_perception/msg/Prompt")
