"""The life of a replay: a recording's frames at their times, and its prompts between them."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock

from sam_perception.errors import InvalidInputError, PerceptionError
from sam_perception.frames import NANOSECONDS
from sam_perception.nodes.client import RELIABLE, Client, wait_until
from sam_perception.nodes.messages import stamp_message
from sam_perception.nodes.node_parameters import plain_values, read_parameters
from sam_perception.nodes.prompt_repeater import PromptRepeater
from sam_perception.nodes.record import spinning_client
from sam_perception.nodes.recorded_prompts import RecordedPrompt, decoded, read_prompts, sam_nodes
from sam_perception.nodes.recorder import PARAMETERS
from sam_perception.nodes.replayed_topics import ReplayedTopics
from sam_perception.recording_files import opened

_TICK_S = 0.01  # of /clock
_DISCOVERY_S = 0.5
_PARAMETERS_S = 5.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is asked of a replay.

    Attributes:
        path: of the recording.
        rate: how many times faster than it was recorded.
        loop: begin again at the end, until Ctrl-C.
        clock: publish /clock.
        prompts: ask what was asked.
        min_iou: from which on two masks are the same.
        check: the recording has to have prompts.
        timeout_s: for the nodes to be there, and for each answer.
    """

    path: Path
    rate: float = 1.0
    loop: bool = False
    clock: bool = False
    prompts: bool = True
    min_iou: float = 0.99
    check: bool = False
    timeout_s: float = 120.0


def play(settings: Settings) -> bool:
    """Play a recording to its end, or for ever; whether all answers were those that were recorded.

    Raises:
        PerceptionError: the recording cannot be played, or nobody is there to be asked.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the shell may have started this with Ctrl-C ignored
    with opened(settings.path) as reader, opened(settings.path) as again:
        prompts = read_prompts(reader) if settings.prompts else []
        if settings.check and not prompts:
            raise InvalidInputError(
                f"{settings.path}: nothing was asked in this recording, so there is nothing to check"
            )
        with spinning_client("play", SignalHandlerOptions.NO) as client:
            nodes = sorted({prompt.node for prompt in prompts})
            _wait_for(client, nodes, settings.timeout_s)
            _say_differences(client, again, nodes)
            topics = ReplayedTopics(client.node, again, sam_nodes(again))
            _refuse_a_second_camera(client, topics)
            for note in topics.notes:
                _say(note)
            repeater = PromptRepeater(client, topics, settings.min_iou, settings.timeout_s)
            for node in nodes:
                repeater.listen(node)
            if nodes:
                what = (
                    f"a subscription of {' or '.join(topics.image_topics)}; is `image` of {nodes[0]} remapped to it? It"
                )
                wait_until(topics.listeners, what, settings.timeout_s)
            return _Replay(settings, reader, client, topics, repeater, prompts).run()


class _Replay:
    def __init__(
        self,
        settings: Settings,
        reader: Any,
        client: Client,
        topics: ReplayedTopics,
        repeater: PromptRepeater,
        prompts: Sequence[RecordedPrompt],
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._topics = topics
        self._repeater = repeater
        self._prompts = prompts
        clock = client.node.create_publisher(Clock, "/clock", RELIABLE) if settings.clock else None
        self._pace = _Pace(settings.rate, lambda ns: clock.publish(Clock(clock=stamp_message(ns))) if clock else None)
        self._verdicts: list[bool] = []

    def run(self) -> bool:
        try:
            self._play_once()
            while self._settings.loop:
                self._play_once()
        except KeyboardInterrupt:
            if not self._settings.loop:
                raise
        if self._verdicts:
            _say(f"{sum(self._verdicts)} of {len(self._verdicts)} answers are as recorded")
        return all(self._verdicts)

    def _play_once(self) -> None:
        self._topics.forget()
        self._pace.start()
        waiting = deque(enumerate(self._prompts, start=1))
        for connection, at_ns, data in self._topics.messages(self._reader):
            while waiting and waiting[0][1].at_ns <= at_ns and self._can_be_asked(waiting[0][1]):
                self._ask(*waiting.popleft())
            self._pace.wait_until(at_ns)
            self._repeater.forget()
            self._topics.publish(connection, at_ns, data)
        while waiting:
            self._ask(*waiting.popleft())

    def _can_be_asked(self, prompt: RecordedPrompt) -> bool:
        return prompt.frame_ns is None or self._topics.has_shown(prompt.frame_ns)

    def _ask(self, number: int, prompt: RecordedPrompt) -> None:
        with self._pace.stopped():
            verdict = self._repeater.repeat(prompt)
        _say(f"{number}/{len(self._prompts)} {prompt.shown}: {verdict.sentence}")
        if verdict.is_same is not None:
            self._verdicts.append(verdict.is_same)


class _Pace:
    """Turns times of the recording into times of now."""

    def __init__(self, rate: float, tick: Callable[[int], object]) -> None:
        self._rate = rate
        self._tick = tick
        self._began = 0.0
        self.start()

    def start(self) -> None:
        """The next time that is waited for is now."""
        self._first_ns: int | None = None

    def wait_until(self, at_ns: int) -> None:
        if self._first_ns is None:
            self._first_ns, self._began = at_ns, time.monotonic()
        while (left_s := (at_ns - self._now_ns()) / NANOSECONDS / self._rate) > 0:
            self._tick(self._now_ns())
            time.sleep(min(left_s, _TICK_S))
        self._tick(at_ns)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Time of the recording does not go on in this block."""
        since = time.monotonic()
        yield
        self._began += time.monotonic() - since

    def _now_ns(self) -> int:
        assert self._first_ns is not None
        return self._first_ns + int((time.monotonic() - self._began) * self._rate * NANOSECONDS)


def _wait_for(client: Client, nodes: Sequence[str], timeout_s: float) -> None:
    for node in nodes:
        _say(f"waits for {node}")
        try:
            client.wait_until_active(node, timeout_s)
        except PerceptionError as error:
            raise PerceptionError(f"{error} (`sam-perception up --camera none` starts the nodes)") from None


def _say_differences(client: Client, reader: Any, nodes: Sequence[str]) -> None:
    """Of the parameters then and now, which may be why answers differ."""
    for node in nodes:
        then = _recorded_parameters(reader, node)
        try:
            now = plain_values(read_parameters(client, node, _PARAMETERS_S)) if then else {}
        except PerceptionError as error:
            _say(f"the parameters of {node} cannot be compared: {error}")
            continue
        for name in sorted(then.keys() & now.keys()):
            if then[name] != now[name]:
                _say(f"{node}: {name} was {then[name]!r}, and is {now[name]!r}")


def _recorded_parameters(reader: Any, node: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for connection in reader.connections:
        if connection.topic == f"{node}/{PARAMETERS}":
            for _, _, data in reader.messages([connection]):
                values |= plain_values(decoded(connection, data))
    return values


def _refuse_a_second_camera(client: Client, topics: ReplayedTopics) -> None:
    time.sleep(_DISCOVERY_S)
    for topic in topics.image_topics:
        if client.node.count_publishers(topic) > 1:
            raise PerceptionError(
                f"{topic} is published already: end that camera first, its frames would mix with these"
            )


def _say(line: str) -> None:
    print(line, flush=True)
