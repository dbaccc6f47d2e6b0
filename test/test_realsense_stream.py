"""What a device says of itself reaches the user, and what goes wrong comes as a sentence that helps."""

import numpy as np
import pytest

from sam_perception.errors import InvalidInputError
from sam_perception.realsense import devices
from sam_perception.realsense.calibration import decimated, intrinsics_from_realsense, matrix_from_extrinsics
from sam_perception.realsense.errors import CameraError, camera_error
from sam_perception.realsense.sensor_options import SensorSettings, apply_settings
from sam_perception.realsense.stream import ProfileRequest, StreamSettings, open_stream

software_camera = pytest.importorskip("software_camera")
rs, SoftwareCamera, rs_intrinsics = software_camera.rs, software_camera.SoftwareCamera, software_camera.rs_intrinsics


@pytest.fixture
def open_on():
    """Opens a stream of these cameras, closed when the test is over."""
    streams = []

    def open_it(*cameras, sensors=None, **settings):
        found = [camera.device for camera in cameras]
        streams.append(open_stream(rs, StreamSettings(**settings), sensors or SensorSettings(), lambda: found))
        return streams[-1]

    yield open_it
    for stream in streams:
        stream.close()


def test_the_first_camera_is_taken_and_the_others_are_named(open_on):
    stream = open_on(SoftwareCamera(serial="11"), SoftwareCamera(serial="22"))
    assert stream.info.serial == "11"
    assert stream.notes == [
        "RealSense 11 (Software D435) was taken, being the first; set serial_number to choose another: "
        "22 (Software D435)"
    ]
    assert open_on(SoftwareCamera(serial="11"), SoftwareCamera(serial="22"), serial="22").info.serial == "22"


def test_a_slow_port_is_pointed_out(open_on):
    slow = SoftwareCamera(info={rs.camera_info.usb_type_descriptor: "2.1"})
    assert open_on(slow).notes == [
        "RealSense 101 (Software D435) is on USB 2.1: fewer sizes and rates work there; use a USB 3 port and cable"
    ]
    assert open_on(SoftwareCamera(info={rs.camera_info.usb_type_descriptor: "3.2"})).notes == []


def test_a_camera_that_the_kernel_sees_but_nobody_may_open_needs_udev_rules(open_on, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "_USB", tmp_path)
    with pytest.raises(CameraError, match="no RealSense was found: plug it into a USB 3 port"):
        open_on()
    for name, product in (("2-1", "Intel(R) RealSense(TM) Depth Camera 435i"), ("2-2", "Keyboard")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "product").write_text(product + "\n")
    with pytest.raises(CameraError, match=r"though Intel.* 435i is on USB: install librealsense's udev rules"):
        open_on()


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("xioctl(VIDIOC_S_FMT) failed, errno=16 Last Error: Device or resource busy", "another program uses the"),
        ("failed to open usb interface: 0, error: RS2_USB_STATUS_ACCESS errno=13", "no permission: install"),
        ("failed to set power state, errno=28 No space left on device", "the USB bus has no bandwidth"),
        ("No device connected", "get_xu(ctrl=1) failed"),
    ],
)
def test_librealsense_words_come_with_what_helps(said, advice):
    sentence = str(camera_error("RealSense 1 does not start", RuntimeError(said)))
    assert sentence.startswith(f"RealSense 1 does not start: {said}")
    assert (advice in sentence) == (advice != "get_xu(ctrl=1) failed")


def test_a_camera_that_stops_by_itself_is_gone(open_on):
    """What librealsense's pipeline does when it finds that its device was unplugged."""
    stream = open_on(SoftwareCamera())
    assert stream.wait(0.05) is None
    stream._source.pipeline.stop()
    with pytest.raises(CameraError, match=r"RealSense 101 \(Software D435\) is gone: is its cable plugged in"):
        stream.wait(0.05)


def test_each_stream_that_cannot_be_had_is_named(open_on):
    with pytest.raises(InvalidInputError) as refused:
        open_on(SoftwareCamera(), color=ProfileRequest(1920, 1080, 30), depth=ProfileRequest(fps=90))
    assert "color: 1920x1080 at 30 fps is not among 160x120@30" in str(refused.value)
    assert "depth: anyxany at 90 fps is not among 160x120@30" in str(refused.value)


def test_manual_exposure_on_a_camera_without_it_is_said_and_nothing_else_is(open_on):
    assert open_on(SoftwareCamera()).notes == []
    wanted = SensorSettings(color_auto_exposure=False, color_exposure=100, emitter="laser")
    assert open_on(SoftwareCamera(), sensors=wanted).notes == [
        "emitter: this camera cannot be set so; it stays as it is",
        "color_auto_exposure: this camera cannot be set so; it stays as it is",
        "color_exposure: this camera cannot be set so; it stays as it is",
    ]


def test_one_sensor_for_both_images_takes_the_exposure_of_the_depth():
    """As in a D405."""
    allowed = rs.option_range()
    allowed.min, allowed.max, allowed.step, allowed.default = 0.0, 1000.0, 1.0, 5.0
    switch = rs.option_range()
    switch.min, switch.max, switch.step, switch.default = 0.0, 1.0, 1.0, 1.0
    options = [("depth_sensor", rs.option.exposure, allowed), ("depth_sensor", rs.option.enable_auto_exposure, switch)]
    camera = SoftwareCamera(options=options)
    sensor = camera.depth_sensor
    settings = SensorSettings(depth_auto_exposure=False, depth_exposure=300, color_exposure=7)
    (note,) = apply_settings(rs, sensor, sensor, settings)
    assert "depth_exposure and depth_gain apply" in note
    assert (sensor.get_option(rs.option.exposure), sensor.get_option(rs.option.enable_auto_exposure)) == (300, 0)


@pytest.mark.parametrize(
    ("model", "coefficients", "expected"),
    [
        (rs.distortion.inverse_brown_conrady, (0.1, 0.2, 0.3, 0.4, 0.5), "inverse_brown_conrady"),
        (rs.distortion.modified_brown_conrady, (0.1, 0.2, 0.3, 0.4, 0.5), "inverse_brown_conrady"),
        (rs.distortion.brown_conrady, (0.1, 0.2, 0.3, 0.4, 0.5), "plumb_bob"),
        (rs.distortion.inverse_brown_conrady, (0.0,) * 5, "none"),  # what a D435 says of its colour camera
        (rs.distortion.kannala_brandt4, (0.0,) * 5, "none"),
    ],
)
def test_the_lens_is_the_devices_own(model, coefficients, expected):
    intrinsics = intrinsics_from_realsense(rs_intrinsics(64, 48, 60.0, model, coefficients))
    assert intrinsics.distortion_model == expected
    assert intrinsics.distortion == pytest.approx(coefficients if expected != "none" else ())


def test_a_fisheye_is_refused():
    with pytest.raises(InvalidInputError, match="got kannala_brandt4"):
        intrinsics_from_realsense(rs_intrinsics(64, 48, 60.0, rs.distortion.kannala_brandt4, (0.1, 0, 0, 0, 0)))


def test_extrinsics_move_a_point_as_librealsense_does():
    extrinsics = rs.extrinsics()
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    extrinsics.rotation, extrinsics.translation = turn.T.ravel().tolist(), [0.1, 0.2, 0.3]
    point = [0.4, -0.5, 0.6]
    expected = rs.rs2_transform_point_to_point(extrinsics, point)
    np.testing.assert_allclose((matrix_from_extrinsics(extrinsics) @ [*point, 1])[:3], expected, atol=1e-6)


@pytest.mark.parametrize("magnitude", [2, 3, 8])
def test_a_decimated_pixel_looks_where_the_middle_of_its_block_looks(magnitude):
    full = intrinsics_from_realsense(rs_intrinsics(160, 120, 150.0, centre=(77.3, 61.9)))
    small = decimated(full, magnitude, 160 // magnitude, 120 // magnitude)
    for i in (0, 5):
        middle = magnitude * i + (magnitude - 1) / 2
        assert (i - small.cx) / small.fx == pytest.approx((middle - full.cx) / full.fx)
        assert (i - small.cy) / small.fy == pytest.approx((middle - full.cy) / full.fy)
