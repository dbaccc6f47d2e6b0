"""A RealSense on realsense-ros's topics: its images, its lens, its frames and its time, whatever happens to it."""

import contextlib
import functools
import threading
import time

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from sam_perception.frames import CameraIntrinsics
from sam_perception.geometry.rays import cached_rays
from sam_perception.nodes.camera_messages import intrinsics_from_message
from sam_perception.nodes.client import LATCHED, wait_until
from sam_perception.nodes.realsense_camera_node import RealSenseCameraNode
from sam_perception.nodes.transform_messages import matrix_from_transform

software_camera = pytest.importorskip("software_camera")  # where pyrealsense2 is not installed
rs, SoftwareCamera, rs_intrinsics = software_camera.rs, software_camera.SoftwareCamera, software_camera.rs_intrinsics

COLOR = "/camera/camera/color"
ALIGNED = "/camera/camera/aligned_depth_to_color"
DEPTH = "/camera/camera/depth"
D455 = (-0.0565362684, 0.0682018697, 0.0003659752, 0.0006925757, -0.0218431670)


def pixels(message, dtype, channels=1):
    rows = np.frombuffer(bytes(message.data), dtype).reshape(message.height, message.width, channels)
    assert message.step == rows[0].nbytes
    return rows if channels > 1 else rows[..., 0]


def stamp_ns(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


@pytest.fixture
def stream():
    """Pushes what a camera sees, over and over, until the test is over."""
    ends = []

    def start(camera, **what):
        stop = threading.Event()

        def push():
            while not stop.wait(0.03):
                camera.push(**what)

        thread = threading.Thread(target=push, daemon=True)
        thread.start()

        def end():
            stop.set()
            thread.join()

        ends.append(end)
        return end

    yield start
    for end in ends:
        end()


def node_on(*cameras):
    return functools.partial(RealSenseCameraNode, find_devices=lambda: [camera.device for camera in cameras])


def test_colour_depth_and_camera_info_arrive_as_they_were_with_one_stamp(run_node, client, stream):
    rng = np.random.default_rng(1)
    color = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    depth = rng.integers(0, 5000, (120, 160), dtype=np.uint16)
    camera = SoftwareCamera(color=rs_intrinsics(160, 120, 150.0, centre=(81.0, 58.5)))
    topics = {
        topic: client.listen(kind, topic)
        for kind, topic in (
            (Image, f"{COLOR}/image_raw"),
            (CameraInfo, f"{COLOR}/camera_info"),
            (Image, f"{ALIGNED}/image_raw"),
            (CameraInfo, f"{ALIGNED}/camera_info"),
            (Image, f"{DEPTH}/image_rect_raw"),
            (CameraInfo, f"{DEPTH}/camera_info"),
        )
    }
    run_node(node_on(camera))
    stream(camera, color=color, depth=depth)
    seen = topics[f"{DEPTH}/image_rect_raw"].wait(
        lambda message: all(any(stamp_ns(m) == stamp_ns(message) for m in box.messages) for box in topics.values())
    )
    of_one_instant = {
        topic: box.wait(lambda message: stamp_ns(message) == stamp_ns(seen)) for topic, box in topics.items()
    }
    frames = {topic.removeprefix("/camera/camera/"): m.header.frame_id for topic, m in of_one_instant.items()}
    assert {name for topic, name in frames.items() if topic.startswith("depth")} == {"camera_depth_optical_frame"}
    assert {name for topic, name in frames.items() if not topic.startswith("depth")} == {"camera_color_optical_frame"}
    image = of_one_instant[f"{COLOR}/image_raw"]
    assert image.encoding == "rgb8"
    np.testing.assert_array_equal(pixels(image, np.uint8, 3), color)
    assert seen.encoding == "16UC1"
    np.testing.assert_array_equal(pixels(seen, np.uint16), depth)
    aligned = of_one_instant[f"{ALIGNED}/image_raw"]
    assert (aligned.encoding, aligned.width, aligned.height) == ("16UC1", 160, 120)
    for topic, expected in ((COLOR, (150.0, 81.0, 58.5)), (ALIGNED, (150.0, 81.0, 58.5)), (DEPTH, (100.0, 79.5, 59.5))):
        found = intrinsics_from_message(of_one_instant[f"{topic}/camera_info"])
        assert (found.width, found.height) == (160, 120)
        assert (found.fx, found.cx, found.cy) == pytest.approx(expected)
        assert not found.is_distorted
    assert abs(stamp_ns(seen) / 1e9 - time.time()) < 60


def test_aligned_depth_of_a_tilted_plane_is_where_the_colour_camera_sees_it(run_node, client, stream):
    """Through the colour camera's lens and along its own axis, as its camera_info and TF say."""
    color_T_depth = np.eye(4)
    color_T_depth[:3, :3] = cv2.Rodrigues(np.array([0.004, -0.01, 0.003]))[0]
    color_T_depth[:3, 3] = [0.059, 0.001, 0.003]
    color = rs_intrinsics(320, 200, 159.0, rs.distortion.inverse_brown_conrady, D455, centre=(161.3, 98.3))
    camera = SoftwareCamera(color=color, depth=rs_intrinsics(320, 180, 160.0), color_T_depth=color_T_depth)
    normal = np.array([0.3, -0.2, -0.93])
    distance = normal @ [0, 0, 0.8]
    ideal = CameraIntrinsics(320, 180, 160.0, 160.0, 159.5, 89.5)
    depth = np.rint(1000 * distance / (cached_rays(ideal).points @ normal)).astype(np.uint16)
    images, infos = client.listen(Image, f"{ALIGNED}/image_raw"), client.listen(CameraInfo, f"{ALIGNED}/camera_info")
    tf = client.listen(TFMessage, "/tf_static", LATCHED)
    run_node(node_on(camera))
    stream(camera, depth=depth)

    info = infos.wait()
    assert info.distortion_model == "inverse_brown_conrady"
    np.testing.assert_allclose(info.d, D455, atol=1e-8)
    aligned = pixels(images.wait(), np.uint16) / 1000
    frames = {each.child_frame_id: each for each in tf.wait(lambda m: len(m.transforms) == 4).transforms}
    link_T = {}
    for name in ("color", "depth"):
        frame, optical = frames[f"camera_{name}_frame"], frames[f"camera_{name}_optical_frame"]
        assert (frame.header.frame_id, optical.header.frame_id) == ("camera_link", f"camera_{name}_frame")
        link_T[name] = matrix_from_transform(frame.transform) @ matrix_from_transform(optical.transform)
    np.testing.assert_allclose(np.linalg.inv(link_T["color"]) @ link_T["depth"], color_T_depth, atol=1e-6)
    np.testing.assert_allclose(link_T["depth"][:3, 2], [1, 0, 0], atol=1e-9)  # looks along camera_link's x

    rotated = color_T_depth[:3, :3] @ normal
    rays = cached_rays(intrinsics_from_message(info)).points
    expected = (distance + rotated @ color_T_depth[:3, 3]) / (rays @ rotated)
    there = aligned > 0
    assert there.mean() > 0.75  # the depth camera does not see all that the colour camera sees
    step = np.abs(expected / 159 * 0.45)  # an inclined surface, half a pixel to the side, is that much further
    assert np.max(np.abs(aligned - expected)[there] - step[there]) < 0.004
    assert np.mean(np.abs(aligned - expected)[there]) < 0.002


def test_depth_of_a_finer_unit_comes_in_metres_without_losing_digits(run_node, client, stream):
    camera = SoftwareCamera(unit_m=0.0001)
    depth = np.full((120, 160), 4567, np.uint16)
    depth[:10] = 0
    images = client.listen(Image, f"{DEPTH}/image_rect_raw")
    node = run_node(node_on(camera))
    stream(camera, depth=depth)
    millimetres = pixels(images.wait(), np.uint16)
    assert (millimetres[0, 0], millimetres[50, 50]) == (0, 457)
    assert node.set_parameters([Parameter("depth_encoding", value="32FC1")])[0].successful
    metres = pixels(images.wait(lambda message: message.encoding == "32FC1"), np.float32)
    assert np.isnan(metres[0, 0])
    assert metres[50, 50] == pytest.approx(0.4567, abs=1e-7)


def test_nodes_that_know_ros_models_only_are_told_plumb_bob(run_node, client, stream):
    color = rs_intrinsics(160, 120, 150.0, rs.distortion.inverse_brown_conrady, D455)
    camera = SoftwareCamera(color=color)
    infos = client.listen(CameraInfo, f"{COLOR}/camera_info")
    run_node(node_on(camera), distortion_model="plumb_bob")
    stream(camera)
    info = infos.wait()
    assert info.distortion_model == "plumb_bob"
    np.testing.assert_allclose(info.d, D455, atol=1e-8)


def test_a_camera_that_goes_silent_is_opened_again_and_the_node_stays_active(run_node, client, stream, wait_for_text):
    camera = SoftwareCamera()
    colors = client.listen(Image, f"{COLOR}/image_raw")
    diagnostics = client.listen(DiagnosticArray, "/diagnostics")
    node = run_node(node_on(camera), silence_s=0.5)
    unplug = stream(camera)
    colors.wait()
    diagnostics.wait(lambda message: message.status[0].level == DiagnosticStatus.OK)
    unplug()
    wait_for_text("has sent no image for 0.5 s: is its cable plugged in")
    diagnostics.clear()
    failed = diagnostics.wait(lambda message: message.status[0].level == DiagnosticStatus.ERROR)
    assert "is its cable plugged in" in failed.status[0].message
    before = colors.messages[-1]
    stream(camera)
    colors.wait(lambda message: stamp_ns(message) > stamp_ns(before))
    assert node.state == "active"
    healed = diagnostics.wait(lambda m: m is not failed and m.status[0].level == DiagnosticStatus.OK)
    values = {value.key: value.value for value in healed.status[0].values}
    assert int(values["interruptions"]) >= 1
    assert values["serial number"] == "101"


def test_a_camera_that_is_plugged_in_later_is_found_and_others_are_named_meanwhile(
    run_node, client, stream, wait_for_text
):
    plugged_in = [SoftwareCamera(serial="222")]
    make = functools.partial(RealSenseCameraNode, find_devices=lambda: [camera.device for camera in plugged_in])
    infos = client.listen(CameraInfo, f"{COLOR}/camera_info")
    run_node(make, serial_number="_333")
    wait_for_text("no RealSense with serial number 333 is plugged in, only 222 (Software D435)")
    plugged_in.append(SoftwareCamera(serial="333"))
    stream(plugged_in[1])
    wait_for_text("streams from RealSense 333 (Software D435): colour 160x120, depth 160x120, 30 fps")
    infos.wait()


def test_a_camera_that_was_unplugged_is_not_replaced_by_another_one(run_node, client, stream, wait_for_text):
    plugged_in = [SoftwareCamera(serial="222")]
    make = functools.partial(RealSenseCameraNode, find_devices=lambda: [camera.device for camera in plugged_in])
    colors = client.listen(Image, f"{COLOR}/image_raw")
    run_node(make, silence_s=0.5)
    unplug = stream(plugged_in[0])
    colors.wait()
    plugged_in[:] = [SoftwareCamera(serial="333")]
    unplug()
    wait_for_text("no RealSense with serial number 222 is plugged in, only 333 (Software D435)")


def test_two_cameras_have_topics_and_frames_of_their_own(run_node, client, stream):
    left = SoftwareCamera(serial="11", color=rs_intrinsics(160, 120, 150.0))
    right = SoftwareCamera(serial="22", color=rs_intrinsics(160, 120, 170.0))
    infos = {}
    for name, serial in (("left", "11"), ("right", "22")):
        infos[name] = client.listen(CameraInfo, f"/{name}/camera/color/camera_info")
        make = functools.partial(node_on(left, right), namespace=f"/{name}")
        run_node(make, serial_number=serial, camera_name=name)
    stream(left)
    stream(right)
    for name, focal in (("left", 150.0), ("right", 170.0)):
        info = infos[name].wait()
        assert info.header.frame_id == f"{name}_color_optical_frame"
        assert info.k[0] == focal


def test_a_size_that_the_camera_has_not_fails_with_those_that_it_has(run_node, wait_for_text):
    node = run_node(node_on(SoftwareCamera()), color_width=640, color_height=480, color_fps=30)
    wait_for_text("color: 640x480 at 30 fps is not among 160x120@30")
    assert node.state == "unconfigured"


def test_without_waiting_a_missing_camera_fails_the_configuration(run_node, wait_for_text):
    node = run_node(node_on(), wait_for_device=False)
    wait_for_text("no RealSense")
    wait_for_text("plug it")
    assert node.state == "unconfigured"


def test_a_change_of_exposure_reaches_the_camera_and_a_wrong_one_is_named(run_node, client, stream, wait_for_text):
    allowed = rs.option_range()
    allowed.min, allowed.max, allowed.step, allowed.default = 0.0, 360.0, 30.0, 150.0
    switch = rs.option_range()
    switch.min, switch.max, switch.step, switch.default = 0.0, 1.0, 1.0, 1.0
    camera = SoftwareCamera(
        options=[
            ("depth_sensor", rs.option.laser_power, allowed),
            ("color_sensor", rs.option.enable_auto_exposure, switch),
        ]
    )
    colors = client.listen(Image, f"{COLOR}/image_raw")
    node = run_node(node_on(camera), laser_power=100)
    stream(camera)
    colors.wait()
    assert camera.depth_sensor.get_option(rs.option.laser_power) == 90  # the nearest step
    assert camera.color_sensor.get_option(rs.option.enable_auto_exposure) == 1
    node.set_parameters([Parameter("laser_power", value=210), Parameter("color_auto_exposure", value=False)])
    wait_until(lambda: camera.depth_sensor.get_option(rs.option.laser_power) == 210, "the laser's power")
    wait_until(lambda: camera.color_sensor.get_option(rs.option.enable_auto_exposure) == 0, "manual exposure")
    node.set_parameters([Parameter("laser_power", value=1000)])
    wait_for_text("laser_power: this camera takes 0 to 360, not 1000")


def test_decimated_depth_says_its_own_intrinsics_at_run_time(run_node, client, stream):
    camera = SoftwareCamera()
    infos, images = client.listen(CameraInfo, f"{DEPTH}/camera_info"), client.listen(Image, f"{DEPTH}/image_rect_raw")
    node = run_node(node_on(camera))
    stream(camera)
    assert infos.wait().width == 160
    node.set_parameters([Parameter("decimation", value=2)])
    info = infos.wait(lambda message: message.width == 80)
    # The middle of the first block of two pixels lies between them.
    assert (info.k[0], info.k[2], info.k[5]) == pytest.approx((50.0, (79.5 - 0.5) / 2, (59.5 - 0.5) / 2))
    images.wait(lambda message: (message.width, message.height) == (80, 60))


@pytest.fixture
def recording(tmp_path):
    """A second of frames whose brightness counts, recorded by librealsense."""
    for name in ("frames.db3", "frames.bag"):  # which of the two it writes depends on its version
        with contextlib.suppress(RuntimeError):
            return _record(tmp_path / name)
    raise AssertionError("this librealsense records neither .db3 nor .bag")


def _record(path):
    camera = SoftwareCamera()
    recorder = rs.recorder(str(path), camera.device)
    pipeline, config = rs.pipeline(), rs.config()
    pipeline.set_device(recorder)
    config.enable_stream(rs.stream.color)
    config.enable_stream(rs.stream.depth)
    pipeline.start(config)
    for i in range(10):
        color = np.full((120, 160, 3), 10 * i, np.uint8)
        camera.push(color, np.full((120, 160), 1000 + i, np.uint16), timestamp_ms=1000.0 + 33 * i)
        time.sleep(0.033)
    pipeline.stop()
    return path


def test_a_recording_plays_over_and_over_with_stamps_of_now_and_depth_that_belongs(run_node, client, recording):
    colors, depths = client.listen(Image, f"{COLOR}/image_raw"), client.listen(Image, f"{DEPTH}/image_rect_raw")
    began = time.time_ns()
    run_node(RealSenseCameraNode, recording=str(recording))
    first = colors.wait(lambda message: message.data[0] == 90)
    again = colors.wait(lambda message: stamp_ns(message) > stamp_ns(first) and message.data[0] == 40)
    stamps = [stamp_ns(message) for message in colors.messages]
    assert stamps == sorted(set(stamps))
    assert began - 1e9 < stamp_ns(again) < time.time_ns()
    depth = depths.wait(lambda message: stamp_ns(message) == stamp_ns(again))
    assert pixels(depth, np.uint16)[0, 0] == 1004


def test_a_recording_that_does_not_loop_ends_and_says_so(run_node, recording, wait_for_text):
    run_node(RealSenseCameraNode, recording=str(recording), loop=False)
    wait_for_text("has played all of")


def test_what_is_no_recording_is_refused(run_node, tmp_path, wait_for_text):
    node = run_node(RealSenseCameraNode, recording=str(tmp_path / "missing.bag"))
    wait_for_text("recording: expected a .bag or .db3 file")
    assert node.state == "unconfigured"
    damaged = tmp_path / "damaged.bag"
    damaged.write_bytes(b"#ROSBAG V2.0\n" + bytes(100))
    node.set_parameters([Parameter("recording", value=str(damaged))])
    node.trigger_configure()
    wait_for_text("is not one of librealsense's, or is damaged")
