"""A frame is there as soon as colour, depth and intrinsics are, in any order; what is missing is said in words."""

import threading

import numpy as np
import pytest

from sam_perception.errors import FrameNotHeldError, InvalidInputError
from sam_perception.frames import CameraIntrinsics
from sam_perception.rgbd_frames import RgbdFrames

MS = 1_000_000
START = 1_714_652_389 * 1000 * MS
OPTICAL = "camera_color_optical_frame"
CAMERA = CameraIntrinsics(6, 4, 5.0, 5.0, 2.5, 1.5)
SOON = 20.0  # seconds that a wait may last before the test counts as failed
NEVER = 0.0  # for what is not coming


class Camera:
    """Gives one RgbdFrames images that carry their number."""

    def __init__(self, **options) -> None:
        self.warnings: list[str] = []
        self.frames = RgbdFrames(warn=self.warnings.append, **options)

    def color(self, number: int) -> None:
        self.frames.add_color(START + number * MS, OPTICAL, np.full((4, 6, 3), number, np.uint8))

    def depth(self, number: int, frame_id: str = OPTICAL) -> None:
        self.frames.add_depth(START + number * MS, frame_id, np.full((4, 6), number, np.uint16))

    def info(self, frame_id: str = OPTICAL, intrinsics: CameraIntrinsics = CAMERA) -> None:
        self.frames.set_intrinsics(frame_id, intrinsics)

    def wait(self, number: int, timeout_s: float = SOON):
        return self.frames.wait_for(START + number * MS, timeout_s)


@pytest.mark.parametrize("order", ["CDI", "CID", "DCI", "DIC", "ICD", "IDC"])
def test_any_order_of_arrival_ends_the_wait(order):
    camera = Camera()
    arrive = {"C": lambda: camera.color(5), "D": lambda: camera.depth(5), "I": camera.info}
    found = []
    waiter = threading.Thread(target=lambda: found.append(camera.wait(5)))
    waiter.start()
    for kind in order:
        arrive[kind]()
    waiter.join(SOON)
    (frame,) = found
    assert (frame.stamp_ns, frame.frame_id, frame.intrinsics) == (START + 5 * MS, OPTICAL, CAMERA)
    assert (frame.color == 5).all() and (frame.depth == 5).all()
    assert camera.warnings == []


def test_an_older_frame_is_found_while_newer_ones_come():
    camera = Camera()
    camera.info()
    for number in range(10):
        camera.color(number)
        camera.depth(number)
    assert (camera.wait(3).depth == 3).all()
    assert (camera.frames.newest.depth == 9).all()


def test_depth_that_lags_ten_images_behind_is_still_paired():
    camera = Camera()
    camera.info()
    for number in range(40):
        camera.color(number)
        if number >= 10:
            camera.depth(number - 10)
    frame = camera.wait(25)
    assert (frame.color == 25).all() and (frame.depth == 25).all()


def test_depth_whose_image_was_lost_makes_a_grey_frame_and_a_warning():
    camera = Camera()
    camera.info()
    camera.depth(5)
    frame = camera.wait(5, NEVER)
    assert (frame.depth == 5).all() and len(np.unique(frame.color)) == 1 and frame.intrinsics == CAMERA
    assert len(camera.warnings) == 1 and "grey" in camera.warnings[0]


def test_what_is_missing_is_named():
    camera = Camera()
    assert camera.frames.newest is None
    camera.color(1)
    with pytest.raises(FrameNotHeldError, match="no camera_info has arrived and no depth"):
        camera.wait(1, NEVER)
    camera.info()
    with pytest.raises(FrameNotHeldError, match=r"1714652389\.001000000 .*: no depth"):
        camera.wait(1, NEVER)
    camera.depth(9)
    with pytest.raises(FrameNotHeldError, match=r"0\.008 s later"):
        camera.wait(1, NEVER)
    camera.depth(1, "camera_depth_optical_frame")
    assert "'camera_depth_optical_frame'" in camera.warnings[0]


@pytest.mark.parametrize(
    ("info", "named"),
    [
        ({"intrinsics": CameraIntrinsics(12, 8, 5.0, 5.0, 2.5, 1.5)}, "12x8.*6x4"),
        ({"frame_id": "camera_depth_optical_frame"}, f"'camera_depth_optical_frame'.*'{OPTICAL}'"),
    ],
)
def test_camera_info_of_another_camera_is_refused_and_the_right_one_heals(info, named):
    camera = Camera()
    camera.color(1)
    camera.depth(1)
    camera.info(**info)
    with pytest.raises(InvalidInputError, match=named):
        camera.wait(1)
    with pytest.raises(InvalidInputError, match=named):
        _ = camera.frames.newest
    camera.info()
    assert camera.wait(1).intrinsics == CAMERA


def test_camera_info_without_a_frame_id_counts():
    camera = Camera()
    camera.color(1)
    camera.depth(1)
    camera.info(frame_id="")
    assert camera.wait(1).intrinsics == CAMERA


def test_close_ends_a_wait():
    camera = Camera()
    errors = []

    def wait() -> None:
        try:
            camera.wait(1, 10 * SOON)
        except FrameNotHeldError as error:
            errors.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    camera.frames.close()
    waiter.join(SOON)
    assert not waiter.is_alive() and len(errors) == 1


def test_memory_is_bounded_by_bytes_and_seconds():
    camera = Camera(history_seconds=0.02, history_bytes=10 * 4 * 6 * 5)
    camera.info()
    for number in range(100):
        camera.color(number)
        camera.depth(number)
    assert (camera.wait(90).depth == 90).all()
    with pytest.raises(FrameNotHeldError):
        camera.wait(89, NEVER)
