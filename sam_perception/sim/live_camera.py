"""LiveCamera: a thread that draws a simulated scene again and again and hands on what the camera sees."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from sam_perception.errors import PerceptionError, in_one_sentence
from sam_perception.sim.live_scene import LiveMoment, LiveView

LONGEST_STEP_S = 1.0
"""What moves does not catch up with a pause longer than this."""


@dataclasses.dataclass(frozen=True)
class LiveCameraSettings:
    """What can be changed while the camera runs.

    Attributes:
        fps: frames a second; fewer come where drawing takes longer.
        motion: what moves, of live_scene.MOTIONS.
        noise: of the camera, of live_scene.NOISES.
    """

    fps: float = 10.0
    motion: str = "none"
    noise: str = "usual"


@dataclasses.dataclass(frozen=True, eq=False)
class LiveCameraListener:
    """Who is told, in the camera's thread; whatever they raise is a problem, and the camera goes on.

    Attributes:
        moved: where everything is, for each frame.
        wants_view: whether the frame is to be drawn, which is what costs.
        seen: the frame; comes after ``moved`` with the same stamp.
        problem: why there is no frame, a sentence; again and again while it lasts.
    """

    moved: Callable[[LiveMoment], object]
    wants_view: Callable[[], bool]
    seen: Callable[[LiveView], object]
    problem: Callable[[str], object]


class LookedAt(Protocol):
    """What the camera uses of a LiveScene; only its thread calls it."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the objects that are shown."""

    def show(self, seed: int) -> None:
        """Replace the scene."""

    def advance(self, seconds: float, motion: str) -> None:
        """Let time pass."""

    def moment(self, stamp_ns: int) -> LiveMoment:
        """Where everything is."""

    def view(self, stamp_ns: int, noise: str) -> LiveView:
        """What the camera sees."""

    def close(self) -> None:
        """Let go of it."""


class LiveCamera:
    """Opens its scene as soon as it is made, gives frames between ``start`` and ``stop``, and ends with ``close``.

    Everything that draws happens in its thread, because a GL context belongs to the thread that uses it.

    Args:
        open_scene: makes the scene, in the camera's thread.
        settings: see ``change``.
        listener: who is told.
        now_ns: the clock that stamps the frames.
    """

    def __init__(
        self,
        open_scene: Callable[[], LookedAt],
        settings: LiveCameraSettings,
        listener: LiveCameraListener,
        now_ns: Callable[[], int],
    ) -> None:
        self._open_scene = open_scene
        self._settings = settings
        self._listener = listener
        self._now_ns = now_ns
        self._wake = threading.Condition()
        self._running = self._closing = False
        self._requests: list[tuple[int, Future[tuple[str, ...]]]] = []
        self._opened: Future[tuple[str, ...]] = Future()
        self._thread = threading.Thread(target=self._run, name="simulated camera", daemon=True)
        self._thread.start()

    def wait_until_open(self) -> tuple[str, ...]:
        """Return when the first scene is there, with the names of its objects.

        Raises:
            ModelUnavailableError: MuJoCo or a GL library is missing.
        """
        return self._opened.result()

    def start(self) -> None:
        """Give frames."""
        with self._wake:
            self._running = True
            self._wake.notify()

    def stop(self) -> None:
        """Give no more frames; the one that is being drawn may still come."""
        with self._wake:
            self._running = False

    def change(self, settings: LiveCameraSettings) -> None:
        """Use other settings from the next frame on."""
        with self._wake:
            self._settings = settings
            self._wake.notify()

    def show(self, seed: int) -> Future[tuple[str, ...]]:
        """Go on to another scene; the result has the names of its objects, as soon as the next frame is of it."""
        future: Future[tuple[str, ...]] = Future()
        with self._wake:
            self._requests.append((seed, future))
            self._wake.notify()
        if self._closing:
            self._refuse_requests()
        return future

    def close(self) -> None:
        """End the thread and let go of the scene; nobody is told anything afterwards. Safe to call twice."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()
            self._refuse_requests()

    def _run(self) -> None:
        try:
            scene = self._open_scene()
        except Exception as error:
            self._opened.set_exception(error)
            return
        try:
            self._opened.set_result(scene.names)
            self._look(scene)
        finally:
            scene.close()

    def _look(self, scene: LookedAt) -> None:
        due_s = last_s = time.monotonic()
        while True:
            requests, settings = self._wait(due_s)
            if self._closing:
                return
            for seed, future in requests:
                self._show(scene, seed, future)
            if requests:
                due_s = last_s = time.monotonic()
            elif self._running and time.monotonic() >= due_s:
                now_s = time.monotonic()
                self._take(scene, settings, min(now_s - last_s, LONGEST_STEP_S))
                last_s = now_s
                due_s = max(due_s + 1 / settings.fps, time.monotonic())  # frames that are late are not caught up

    def _wait(self, due_s: float) -> tuple[list[tuple[int, Future[tuple[str, ...]]]], LiveCameraSettings]:
        """Until the next frame is due or something is asked for; it may return early."""
        with self._wake:
            if not (self._closing or self._requests):
                self._wake.wait(max(0.0, due_s - time.monotonic()) if self._running else None)
            if self._closing:
                return [], self._settings
            requests, self._requests = self._requests, []
            return requests, self._settings

    def _show(self, scene: LookedAt, seed: int, future: Future[tuple[str, ...]]) -> None:
        try:
            scene.show(seed)
            future.set_result(scene.names)
        except Exception as error:
            future.set_exception(error)

    def _take(self, scene: LookedAt, settings: LiveCameraSettings, seconds: float) -> None:
        """Hand on where everything is now, and the frame if it is wanted."""
        try:
            if seconds > 0:
                scene.advance(seconds, settings.motion)
            stamp_ns = self._now_ns()
            self._listener.moved(scene.moment(stamp_ns))
            if self._listener.wants_view():
                view = scene.view(stamp_ns, settings.noise)
                if not self._closing:
                    self._listener.seen(view)
        except Exception as error:
            self._listener.problem(f"a frame is left out: {in_one_sentence(error)}")

    def _refuse_requests(self) -> None:
        with self._wake:
            requests, self._requests = self._requests, []
        for _, future in requests:
            future.set_exception(PerceptionError("the camera is closed: configure it again, then ask for a scene"))
