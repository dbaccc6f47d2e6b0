"""rqt/sam_perception.perspective, read as rqt reads it: what stands in each plugin's settings afterwards."""

import json
import pathlib
import types

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
FILE = REPOSITORY / "rqt" / "sam_perception.perspective"
GEOMETRY_MAGIC, STATE_MAGIC = b"\x01\xd9\xd0\xcb", b"\x00\x00\x00\xff"  # of QWidget.saveGeometry, QMainWindow.saveState


def imported(value):
    """A setting as rqt restores it; of a QByteArray the bytes."""
    if value["type"] == "repr":
        return eval(value["repr"], {})
    assert value["type"] == "repr(QByteArray.hex)"
    as_text = eval(value[value["type"]], {"QtCore": types.SimpleNamespace(QByteArray=bytes.decode)})
    return bytes.fromhex(as_text)


def settings_in(group, path=""):
    """Every key of a group and of the groups in it, by its path."""
    assert set(group) == {"keys", "groups"}
    found = {path + key: imported(value) for key, value in group["keys"].items()}
    for name, inner in group["groups"].items():
        found.update(settings_in(inner, f"{path}{name}/"))
    return found


@pytest.fixture(scope="module")
def settings():
    return settings_in(json.loads(FILE.read_text()))


def test_the_overlay_publishes_clicks_where_sam_listens(settings):
    view = "pluginmanager/plugin__rqt_image_view__ImageView__1/plugin/"
    assert settings[view + "topic"] == "/sam/mask_overlay"
    assert settings[view + "publish_click_location"] is True
    # rqt_image_view makes the topic of the clicks from the topic of the image.
    assert settings[view + "mouse_pub_topic"] == settings[view + "topic"] + "_mouse_left"


def test_both_nodes_are_selected_in_the_parameter_editor(settings):
    editor = "pluginmanager/plugin__rqt_reconfigure__Param__1/plugin/"
    assert settings[editor + "selected_nodes"] == ["/sam", "/sam_grasp"]


def test_every_window_of_the_layout_belongs_to_a_plugin_that_is_started(settings):
    running = settings["pluginmanager/running-plugins"]
    assert set(running) == {"rqt_image_view/ImageView", "rqt_reconfigure/Param", "rqt_runtime_monitor/RuntimeMonitor"}
    names = {f"{plugin.replace('/', '__')}__{number}" for plugin, numbers in running.items() for number in numbers}
    with_settings = {path.split("/")[1] for path in settings if path.startswith("pluginmanager/plugin__")}
    assert with_settings <= {f"plugin__{name}" for name in names}
    state = settings["mainwindow/state"]
    assert state.startswith(STATE_MAGIC)
    assert settings["mainwindow/geometry"].startswith(GEOMETRY_MAGIC)
    assert all(f"{name}__".encode("utf-16-be") in state for name in names)
