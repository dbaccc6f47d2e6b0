"""PromptRepeater: asks what a recording asked, and compares the answers with those that were recorded."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from sam_perception.errors import PerceptionError
from sam_perception.masks import iou
from sam_perception.msg import ObjectMaskArray
from sam_perception.nodes.client import Client, Inbox, answer_of
from sam_perception.nodes.messages import mask_from_message
from sam_perception.nodes.recorded_prompts import RecordedPrompt, signature
from sam_perception.nodes.replayed_topics import ReplayedTopics

_SHOWN_AGAIN = 10  # large messages may get lost many times where a system has small buffers
_ARRIVAL_S = 0.3  # of a frame that is shown again: a node cannot tell that it is a new one
_PUBLISHED_S = 10.0  # for the masks on the topic, when the service has answered


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How an answer compares.

    Attributes:
        sentence: for a person.
        is_same: None where nothing was recorded to compare with.
        is_refused: there was no answer.
    """

    sentence: str
    is_same: bool | None
    is_refused: bool = False


class PromptRepeater:
    """Asks one prompt after the other, each on the frame that it was answered on.

    Args:
        client: a node that spins.
        topics: publish the frames.
        min_iou: from which on two masks are the same.
        timeout_s: for each answer.
    """

    def __init__(self, client: Client, topics: ReplayedTopics, min_iou: float, timeout_s: float) -> None:
        self._client = client
        self._topics = topics
        self._min_iou = min_iou
        self._timeout_s = timeout_s
        self._published: dict[str, Inbox] = {}

    def listen(self, node: str) -> None:
        """Hear the masks of a node, before it is asked."""
        if node not in self._published:
            self._published[node] = self._client.listen(ObjectMaskArray, f"{node}/objects")

    def forget(self) -> None:
        """The masks that came before something is asked."""
        for inbox in self._published.values():
            inbox.clear()

    def repeat(self, prompt: RecordedPrompt) -> Verdict:
        """Ask, and compare.

        The node may have missed the frame, or its depth, then or now: where the answer differs, it is asked again when
        both have been shown once more, and then when only colour has.
        """
        if prompt.frame_ns is not None and not self._topics.has_shown(prompt.frame_ns):
            return Verdict("its frame is not in the recording", False)
        try:
            verdict = self._repeat_once(prompt)
            if verdict.is_same is False and prompt.frame_ns is not None:
                verdict = self._repeat_with_depth(prompt, prompt.frame_ns)
                return verdict if verdict.is_same else self._repeat_on_color(prompt, prompt.frame_ns) or verdict
        except (PerceptionError, RuntimeError) as error:  # the latter where the runtime saw the node go
            return Verdict(str(error), False)
        return verdict

    def _repeat_with_depth(self, prompt: RecordedPrompt, frame_ns: int) -> Verdict:
        for _ in range(_SHOWN_AGAIN):
            self._topics.show_again(frame_ns)
            time.sleep(_ARRIVAL_S)
            verdict = self._repeat_once(prompt)
            if not verdict.is_refused:
                break
        return verdict

    def _repeat_on_color(self, prompt: RecordedPrompt, frame_ns: int) -> Verdict | None:
        """None where it is not that."""
        for _ in range(2):  # an image waits for its depth until the next image comes
            self._topics.show_color_again(frame_ns)
            time.sleep(_ARRIVAL_S)
        verdict = self._repeat_once(prompt)
        if not verdict.is_same:
            return None
        return Verdict(f"{verdict.sentence}, on colour alone: the depth of this frame had not arrived then", True)

    def _repeat_once(self, prompt: RecordedPrompt) -> Verdict:
        self.forget()
        future = self._client.call_async(prompt.kind, prompt.service, prompt.request, self._timeout_s)
        response = answer_of(future, prompt.service, self._timeout_s)
        if prompt.response is not None and prompt.objects is None:
            if prompt.frame_ns is not None:
                return Verdict("its masks are not in the recording", False)
            return _compare_outcomes(prompt.response, response)
        if not response.success:
            return Verdict(f"refused now: {response.message}", None if prompt.objects is None else False, True)
        return self._compare(prompt.objects, self._masks(prompt, response))

    def _masks(self, prompt: RecordedPrompt, response: Any) -> Any:
        if hasattr(response, "result"):
            return response.result
        wanted = signature(response)
        return self._published[prompt.node].wait(lambda message: signature(message) == wanted, _PUBLISHED_S)

    def _compare(self, recorded: Any | None, now: Any) -> Verdict:
        if recorded is None:
            return Verdict(f"no answer was recorded; now {_count(now.objects)}", None)
        if len(recorded.objects) != len(now.objects):
            return Verdict(f"{_count(now.objects)}, recorded {_count(recorded.objects)}", False)
        worst = min(map(iou, _mask_list(recorded), _mask_list(now)), default=1.0)
        same = worst >= self._min_iou
        return Verdict(f"{'same mask' if same else 'another mask'}, IoU {worst:.4f}", same)


def _compare_outcomes(recorded: Any, now: Any) -> Verdict:
    """Of answers without masks."""
    if recorded.success == now.success:
        return Verdict("done, as recorded" if now.success else f"refused, as recorded: {now.message}", True)
    return Verdict(f"refused now: {now.message}" if recorded.success else f"was refused: {recorded.message}", False)


def _mask_list(message: Any) -> list[Any]:
    size = message.image_height, message.image_width
    return [mask_from_message(each, size) for each in message.objects]


def _count(objects: Any) -> str:
    return "1 mask" if len(objects) == 1 else f"{len(objects)} masks"
