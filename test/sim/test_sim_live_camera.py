"""The live camera's thread, looking at a scene that needs no MuJoCo."""

from __future__ import annotations

import queue
import threading
import time

import pytest

from sam_perception.errors import ModelUnavailableError, PerceptionError
from sam_perception.sim.live_camera import LONGEST_STEP_S, LiveCamera, LiveCameraListener, LiveCameraSettings

PATIENCE_S = 60.0


class Drawing:
    """Writes down what it is asked, and that only one thread asks."""

    def __init__(self) -> None:
        self.seed = 1
        self.steps: queue.Queue[tuple[float, str]] = queue.Queue()
        self.threads = {threading.get_ident()}
        self.closed = threading.Event()

    @property
    def names(self) -> tuple[str, ...]:
        return (f"thing of {self.seed}",)

    def show(self, seed: int) -> None:
        self.threads.add(threading.get_ident())
        if seed == 13:
            raise PerceptionError("no scene 13")
        self.seed = seed

    def advance(self, seconds: float, motion: str) -> None:
        self.steps.put((seconds, motion))

    def moment(self, stamp_ns: int) -> tuple[str, int, int]:
        return ("moment", stamp_ns, self.seed)

    def view(self, stamp_ns: int, noise: str) -> tuple[str, int, int, str]:
        self.threads.add(threading.get_ident())
        return ("view", stamp_ns, self.seed, noise)

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed.set()


class Told:
    """What the listener was told, in order; raises or draws on request."""

    def __init__(self) -> None:
        self.news: queue.Queue = queue.Queue()
        self.problems: queue.Queue[str] = queue.Queue()
        self.wants = True
        self.raises = False

    @property
    def listener(self) -> LiveCameraListener:
        return LiveCameraListener(self._moved, lambda: self.wants, self.news.put, self.problems.put)

    def _moved(self, moment) -> None:
        if self.raises:
            raise ValueError("nobody there")
        self.news.put(moment)

    def wait(self, wanted):
        while not wanted(each := self.news.get(timeout=PATIENCE_S)):
            pass
        return each


@pytest.fixture
def scene():
    return Drawing()


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def camera(scene, told):
    """Opens in the camera's thread, as a GL context must; stamps count up."""

    def open_scene():
        scene.threads = {threading.get_ident()}
        return scene

    stamps = iter(range(10**9))
    settings = LiveCameraSettings(fps=200.0, motion="both", noise="drawn")
    camera = LiveCamera(open_scene, settings, told.listener, lambda: next(stamps))
    assert camera.wait_until_open() == ("thing of 1",)
    yield camera
    camera.close()


def test_frames_come_between_start_and_stop_with_the_stamp_of_their_moment(camera, scene, told):
    time.sleep(0.05)
    assert told.news.empty()
    camera.start()
    moment = told.wait(lambda each: each[0] == "moment")
    assert told.news.get(timeout=PATIENCE_S) == ("view", moment[1], 1, "drawn")
    assert scene.steps.get(timeout=PATIENCE_S)[1] == "both"
    camera.close()
    assert scene.closed.is_set()
    assert len(scene.threads) == 1
    assert threading.get_ident() not in scene.threads
    told.news.queue.clear()
    camera.start()
    time.sleep(0.05)
    assert told.news.empty()


def test_nothing_is_drawn_while_nobody_wants_it(camera, told):
    told.wants = False
    camera.start()
    assert [told.news.get(timeout=PATIENCE_S)[0] for _ in range(5)] == ["moment"] * 5
    told.wants = True
    told.wait(lambda each: each[0] == "view")


def test_another_scene_is_shown_also_while_the_camera_stands_still(camera, told):
    assert camera.show(7).result(PATIENCE_S) == ("thing of 7",)
    camera.start()
    assert told.news.get(timeout=PATIENCE_S)[2] == 7
    assert camera.show(8).result(PATIENCE_S) == ("thing of 8",)
    told.wait(lambda each: each[0] == "view" and each[2] == 8)


def test_a_scene_that_cannot_be_made_is_told_to_whoever_asked_and_the_last_one_stays(camera, told):
    with pytest.raises(PerceptionError, match="no scene 13"):
        camera.show(13).result(PATIENCE_S)
    camera.start()
    assert told.news.get(timeout=PATIENCE_S)[2] == 1


def test_a_change_holds_from_the_next_frame_on(camera, scene, told):
    camera.start()
    camera.change(LiveCameraSettings(fps=200.0, motion="camera", noise="none"))
    told.wait(lambda each: each[0] == "view" and each[3] == "none")
    while scene.steps.get(timeout=PATIENCE_S)[1] != "camera":
        pass


def test_time_passes_as_the_clock_says_but_a_pause_is_not_caught_up(camera, scene, told):
    time.sleep(LONGEST_STEP_S + 0.3)
    began = time.monotonic()
    camera.start()
    first, *later = (scene.steps.get(timeout=PATIENCE_S)[0] for _ in range(20))
    assert 0 < first <= LONGEST_STEP_S
    assert min(later) > 0
    assert sum(later) <= time.monotonic() - began


def test_a_listener_that_fails_is_a_problem_and_the_camera_goes_on(camera, told):
    told.raises = True
    camera.start()
    assert "nobody there" in told.problems.get(timeout=PATIENCE_S)
    told.raises = False
    told.wait(lambda each: each[0] == "view")


def test_why_it_cannot_open_is_told_and_closing_ends_what_was_asked_for(told):
    def fails():
        raise ModelUnavailableError("pip install mujoco")

    camera = LiveCamera(fails, LiveCameraSettings(), told.listener, lambda: 0)
    with pytest.raises(ModelUnavailableError, match="pip install mujoco"):
        camera.wait_until_open()
    asked = camera.show(2)
    camera.close()
    with pytest.raises(PerceptionError, match="closed"):
        asked.result(PATIENCE_S)
    with pytest.raises(PerceptionError, match="closed"):
        camera.show(3).result(PATIENCE_S)
