"""What the nodes do as processes: moving cameras, bad input on topics, kills, many clients, Ctrl-C."""

import dataclasses
import re
import threading
import time

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String
from vision_msgs.msg import Detection3DArray, Point2D

from harness import CAMERA, NodeProcess, full_mask, image_message, overlap, stamp_of
from sam_perception.msg import ObjectMaskArray
from sam_perception.nodes.client import Client, answer_of, wait_until
from sam_perception.srv import SegmentBox, SegmentPoints

COLOR = f"{CAMERA}/color/image_raw"
DEPTH = f"{CAMERA}/aligned_depth_to_color/image_raw"
INFO = f"{CAMERA}/color/camera_info"


def click(client, item, stamp=None, shift=0):
    x, y = item["click"]
    request = SegmentPoints.Request(points=[Point2D(x=float(x + shift), y=float(y))], stamp=stamp or Time())
    return answer_of(client.call_async(SegmentPoints, "/sam/segment_points", request), "segment_points")


@dataclasses.dataclass
class MovingCamera:
    """The sample scene seen by a camera that pans: every frame is shifted further to the right."""

    client: Client
    sample: object
    step_px: int = 4

    def __post_init__(self):
        self.sent = []
        self._color = self.client.publisher(Image, COLOR)
        self._depth = self.client.publisher(Image, DEPTH)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        frame = self.sample.frame
        while not self._stop.wait(0.1):
            shift = self.step_px * len(self.sent)
            stamp = self.client.node.get_clock().now().to_msg()
            color = image_message(np.roll(frame.color, shift, axis=1), "rgb8", frame_id=frame.frame_id)
            depth = image_message(np.roll(frame.depth, shift, axis=1), "16UC1", frame_id=frame.frame_id)
            color.header.stamp = depth.header.stamp = stamp
            self._depth.publish(depth)
            self._color.publish(color)
            self.sent.append((time.monotonic(), stamp, shift))

    def stop(self):
        self._stop.set()
        self._thread.join()


@pytest.fixture
def moving_camera(client, sample, start):
    sam = start("sam")
    camera = MovingCamera(client, sample)
    yield camera
    camera.stop()
    assert sam.is_alive(), sam.log


def test_a_click_by_stamp_finds_what_was_under_it_a_second_and_a_half_ago(client, sample, moving_camera):
    item = sample.objects[1]
    objects = client.listen(ObjectMaskArray, "/sam/objects")
    wait_until(lambda: len(moving_camera.sent) > 30, "30 frames")
    _, stamp, shift = min(moving_camera.sent, key=lambda sent: abs(time.monotonic() - 1.5 - sent[0]))
    answer = click(client, item, stamp, shift)
    assert answer.success, answer.message
    assert answer.header.stamp == stamp
    mask = full_mask(objects.wait(lambda message: message.header.stamp == stamp))
    then = np.roll(sample.truth(item), shift, axis=1)
    now = np.roll(sample.truth(item), moving_camera.sent[-1][2], axis=1)
    assert overlap(mask, then) > 0.6
    assert overlap(mask, then) > overlap(mask, now) + 0.2


def test_continuous_mode_asks_again_on_every_new_frame(client, sample, start):
    start("sample_camera", rate_hz=5.0)
    start("sam", mode="continuous")
    objects = client.listen(ObjectMaskArray, "/sam/objects")
    x0, y0, x1, y1 = sample.objects[0]["box"]
    client.first(Image, COLOR)
    answer = client.call(SegmentBox, "/sam/segment_box", box=[float(v) for v in (x0, y0, x1, y1)])
    assert answer.success, answer.message
    wait_until(lambda: len({stamp_of(message) for message in objects.messages}) > 4, "answers on 5 frames")
    for message in objects.messages:
        assert overlap(full_mask(message), sample.truth(sample.objects[0])) > 0.7


def test_bad_messages_on_topics_are_warned_of_and_good_ones_still_answered(client, sample, start):
    sam = start("sam")
    grasp = start("sam_grasp")
    frame = sample.frame
    color, depth = client.publisher(Image, COLOR), client.publisher(Image, DEPTH)
    info = client.publisher(CameraInfo, INFO)
    intrinsics = frame.intrinsics

    def camera_info(**changes):
        message = CameraInfo(width=frame.width, height=frame.height, distortion_model="plumb_bob", d=[0.0] * 5)
        message.k = [intrinsics.fx, 0.0, intrinsics.cx, 0.0, intrinsics.fy, intrinsics.cy, 0.0, 0.0, 1.0]
        message.header.frame_id = frame.frame_id
        for name, value in changes.items():
            setattr(message, name, value)
        return message

    def send(color_message, depth_message, info_message):
        stamp = client.node.get_clock().now().to_msg()
        for publisher, message in ((depth, depth_message), (info, info_message), (color, color_message)):
            message.header.stamp = stamp
            publisher.publish(message)
        return stamp

    def good(encoding="rgb8"):
        return image_message(frame.color, encoding, frame_id=frame.frame_id)

    def good_depth(**changes):
        return image_message(frame.depth, "16UC1", frame_id=changes.get("frame_id", frame.frame_id))

    short = good()
    short.data = short.data[:1000]
    big_endian = image_message(frame.depth.byteswap(), "16UC1", pad=6, frame_id=frame.frame_id)
    big_endian.is_bigendian = 1
    metres = image_message((frame.depth / 1000).astype(np.float32), "32FC1", frame_id=frame.frame_id)
    for color_message, depth_message, info_message in (
        (short, good_depth(), camera_info()),
        (good("sepia5"), good_depth(), camera_info()),
        (good(), image_message(frame.depth[::2, ::2], "16UC1", frame_id=frame.frame_id), camera_info()),
        (good(), good_depth(frame_id="another_camera"), camera_info()),
        (good(), good_depth(), camera_info(width=1280, height=720)),
        (good(), good_depth(), camera_info(distortion_model="fisheye_of_mars")),
        (good(), image_message(frame.color, "rgb8", frame_id=frame.frame_id), camera_info()),
        (good(), good_depth(), camera_info(k=[float("nan")] * 9)),
    ):
        stamp = send(color_message, depth_message, info_message)
        click(client, sample.objects[0], stamp)
        time.sleep(0.3)
    for node in (sam, grasp):
        assert node.is_alive(), node.log
        node.wait_for_log(r"\[WARN\]")
        assert "Traceback" not in node.log, node.log
    assert "another_camera" in sam.log
    centroids = client.listen(PoseArray, "/sam_grasp/centroids")
    for depth_message in (big_endian, metres, good_depth()):
        stamp = send(good(), depth_message, camera_info())
        wait_until(lambda: click(client, sample.objects[0], stamp).success, "an answer on a good frame")  # noqa: B023
        pose = centroids.wait(lambda message: message.header.stamp == stamp)  # noqa: B023
        found = pose.poses[0].position
        assert np.linalg.norm(np.subtract([found.x, found.y, found.z], sample.objects[0]["visible_centroid_m"])) < 0.02


def test_a_publisher_of_another_type_does_not_harm(client, start):
    sam = start("sam")
    client.call(GetState, "/sam/get_state")
    other = client.node.create_publisher(String, COLOR, 1)
    for _ in range(20):
        other.publish(String(data="not an image"))
        time.sleep(0.02)
    assert client.call(GetState, "/sam/get_state").current_state.id == State.PRIMARY_STATE_ACTIVE
    assert sam.is_alive()
    client.node.destroy_publisher(other)


def test_without_tf_boxes_stay_away_and_the_reason_is_logged(client, sample, start):
    start("sample_camera", rate_hz=5.0)
    start("sam")
    grasp = start("sam_grasp", target_frame="a_frame_that_nobody_knows")
    boxes = client.listen(Detection3DArray, "/sam_grasp/boxes")
    client.first(Image, COLOR)

    def warned():  # of a frame that sam_grasp was there for
        answered = click(client, sample.objects[0]).success
        return answered and re.search(r"\[WARN\].*a_frame_that_nobody_knows", grasp.log)

    wait_until(warned, "a warning")
    assert not boxes.messages
    assert grasp.is_alive()


def test_any_process_may_be_killed_and_started_again(client, sample, start):
    system = {
        "camera": start("sample_camera", rate_hz=5.0),
        "sam": start("sam"),
        "sam_grasp": start("sam_grasp", target_frame="table"),
    }
    images = client.listen(Image, COLOR)
    centroids = client.listen(PoseArray, "/sam_grasp/centroids")

    def works():
        images.clear()
        newest = images.wait()
        answer = click(client, sample.objects[0], newest.header.stamp)
        if not answer.success:
            return None
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            if any(message.header.stamp == newest.header.stamp for message in centroids.messages):
                return True
            time.sleep(0.05)
        return None

    wait_until(works, "a centroid at first")
    for name, process in system.items():
        process.kill()
        process.start()
        if name == "sam":
            process.wait_for_log("active|ready")
        wait_until(works, f"a centroid after {name} was killed")
    assert all(process.is_alive() for process in system.values())


def test_eight_clients_at_once_are_all_answered(client, sample, start):
    start("sample_camera", rate_hz=30.0)
    start("sam")
    client.first(Image, COLOR)
    wait_until(lambda: click(client, sample.objects[0]).success, "a first answer")
    clients = [Client(f"client_{i}") for i in range(8)]
    answers = [[] for _ in clients]

    def ask(i):
        for k in range(15):
            answers[i].append(click(clients[i], sample.objects[(i + k) % len(sample.objects)]))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in clients:
        one.close()
    assert [len(of_one) for of_one in answers] == [15] * 8
    assert all(answer.success for of_one in answers for answer in of_one)


def set_parameter(client, node, name, **value):
    parameter = Parameter(name=name, value=ParameterValue(**value))
    return client.call(SetParameters, f"{node}/set_parameters", parameters=[parameter]).results[0]


def test_the_lifecycle_can_be_walked_and_a_failed_configure_repaired(client, sample, start):
    start("sample_camera", rate_hz=5.0)
    sam = start("sam", model="no_such_model")
    sam.wait_for_log("no_such_model")

    def state():
        return client.call(GetState, "/sam/get_state").current_state.id

    wait_until(lambda: state() == State.PRIMARY_STATE_UNCONFIGURED, "the unconfigured state")
    answer = client.call(SegmentPoints, "/sam/segment_points", points=[Point2D(x=1.0, y=1.0)])
    assert not answer.success
    assert "active" in answer.message or "configure" in answer.message, answer.message
    text = ParameterType.PARAMETER_STRING
    assert set_parameter(client, "/sam", "model", type=text, string_value="grabcut").successful

    def change(transition):
        return client.call(ChangeState, "/sam/change_state", transition=Transition(id=transition)).success

    for _ in range(2):
        assert change(Transition.TRANSITION_CONFIGURE)
        assert change(Transition.TRANSITION_ACTIVATE)
        wait_until(lambda: click(client, sample.objects[0]).success, "an answer of the active node")
        refused = set_parameter(client, "/sam", "model", type=text, string_value="sam_vit_b")
        assert not refused.successful
        assert refused.reason
        assert change(Transition.TRANSITION_DEACTIVATE)
        assert not click(client, sample.objects[0]).success
        assert change(Transition.TRANSITION_CLEANUP)
    assert state() == State.PRIMARY_STATE_UNCONFIGURED
    values = client.call(GetParameters, "/sam/get_parameters", names=["model"]).values
    assert values[0].string_value == "grabcut"


def test_diagnostics_name_rate_age_and_timings(client, sample, start):
    start("sample_camera", rate_hz=10.0)
    start("sam")
    client.first(Image, COLOR)
    wait_until(lambda: click(client, sample.objects[0]).success, "an answer")
    diagnostics = client.listen(DiagnosticArray, "/diagnostics")

    def of_sam(message):
        return any(
            status.name.startswith("sam") and any("encode" in entry.key for entry in status.values)
            for status in message.status
        )

    message = diagnostics.wait(of_sam)
    status = next(status for status in message.status if status.name.startswith("sam"))
    values = {entry.key: entry.value for entry in status.values}
    rate = next(value for key, value in values.items() if "rate" in key)
    assert 2 < float(rate.split()[0]) < 20


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("node", ["sample_camera", "sam", "sam_grasp"])
def test_ctrl_c_ends_a_node_without_a_traceback(client, node, times):
    process = NodeProcess(node)
    name = {"sample_camera": "/camera/camera"}.get(node, f"/{node}")
    client.call(GetState, f"{name}/get_state") if node != "sample_camera" else client.first(Image, COLOR)
    code = process.interrupt(times)
    assert code == 0, process.log
    assert "Traceback" not in process.log, process.log
