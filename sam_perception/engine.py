"""SegmentationEngine: answers prompts on recent frames, encoding each frame once."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType

from sam_perception.embedding_cache import EmbeddingCache
from sam_perception.errors import InvalidInputError, PerceptionError, UnsupportedPromptError
from sam_perception.frame_history import FrameHistory, HeldFrame
from sam_perception.frames import NANOSECONDS, RgbdFrame
from sam_perception.masks import Mask
from sam_perception.models.base import Embedding, SegmentationModel
from sam_perception.prompts import Prompt

ENCODING_MODES = ("on_demand", "keyframe", "every_frame")

_log = logging.getLogger(__name__)


class EngineClosedError(PerceptionError, RuntimeError):
    """The engine was closed before, or while, it was asked."""


@dataclasses.dataclass(frozen=True, eq=False)
class SegmentationResult:
    """The answer to one request.

    Attributes:
        frame: the frame that was answered on.
        candidates: for each prompt its masks, best first by score; one each unless multimask was asked.
        embedding_cached: the frame had been encoded before this request was served.
        encode_ms: time of the encode that this request waited for, 0 when the embedding was cached.
        decode_ms: time of the decoder pass.
    """

    frame: RgbdFrame
    candidates: list[list[Mask]]
    embedding_cached: bool
    encode_ms: float
    decode_ms: float

    @property
    def masks(self) -> list[Mask]:
        """The best mask of each prompt."""
        return [masks[0] for masks in self.candidates]


@dataclasses.dataclass(frozen=True)
class EngineStats:
    """Counters since the start, and what is held now."""

    frames_added: int = 0
    encodes: int = 0
    background_encodes: int = 0
    decodes: int = 0
    cache_hits: int = 0
    evictions: int = 0
    failures: int = 0
    frames_held: int = 0
    frame_bytes: int = 0
    embeddings_held: int = 0
    embedding_bytes: int = 0
    last_encode_ms: float = 0.0
    last_decode_ms: float = 0.0


@dataclasses.dataclass(eq=False)
class _Request:
    held: HeldFrame
    prompts: list[Prompt]
    multimask: bool
    answer: Future[SegmentationResult] = dataclasses.field(default_factory=Future)

    def fail(self, error: BaseException) -> None:
        """Answer with an error, and let go of the answer.

        The error's traceback leads to this request: were the answer still in it, frame and embedding would stay
        until the garbage collector found the cycle.
        """
        answer, self.answer = self.answer, Future()
        answer.set_exception(error)


class SegmentationEngine:
    """Holds recent frames, encodes each at most once, and answers prompts on any of them.

    One worker thread owns the model and its device; ``add_frame`` and ``segment`` may be called from any
    number of threads. Requests are served in the order in which they came, except that those for a frame that is
    being encoded are all answered from that one encode. Background encoding runs only while no request waits.

    Args:
        model: taken over: ``close`` closes it.
        history_seconds: how long a frame can be asked for, in seconds of the frames' own stamps.
        history_bytes: memory for the frames.
        cache_bytes: memory for the embeddings, on the model's device.
        encoding: ``on_demand``: a frame is encoded when it is first asked for; ``keyframe``: the newest also in the
            background, at most ``keyframe_hz`` times a second of stamp time; ``every_frame``: the newest whenever
            the worker is idle.
        keyframe_hz: see ``encoding``.

    Example:
        >>> with SegmentationEngine(load_model("grabcut")) as engine:  # doctest: +SKIP
        ...     engine.add_frame(frame)
        ...     result = engine.segment([Prompt(points=[[320, 240]])])
    """

    def __init__(
        self,
        model: SegmentationModel,
        *,
        history_seconds: float = 5.0,
        history_bytes: int = 512 << 20,
        cache_bytes: int = 1 << 30,
        encoding: str = "on_demand",
        keyframe_hz: float = 1.0,
    ) -> None:
        if encoding not in ENCODING_MODES:
            raise InvalidInputError.for_field("encoding", f"one of {', '.join(ENCODING_MODES)}", repr(encoding))
        if not keyframe_hz > 0:
            raise InvalidInputError.for_field("keyframe_hz", "more than 0", keyframe_hz)
        self.model = model
        self._encoding = encoding
        self._keyframe_ns = int(NANOSECONDS / keyframe_hz)
        self._wake = threading.Condition()
        self._history = FrameHistory(history_seconds, history_bytes)
        self._cache = EmbeddingCache(cache_bytes)
        self._requests: deque[_Request] = deque()
        self._newest_encoded: int | bytes | None = None  # key of the last frame encoded while it was the newest
        self._keyframe_stamp_ns: int | None = None  # of the last background encode
        self._stats = EngineStats()
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="segmentation-engine", daemon=True)
        self._worker.start()

    def __enter__(self) -> SegmentationEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_frame(self, frame: RgbdFrame) -> None:
        """Take a frame into the history. Returns at once; never encodes in the caller's thread."""
        with self._wake:
            self._refuse_if_closed()
            dropped = self._history.add(frame)
            self._cache.discard(held.key for held in dropped)
            self._count(frames_added=1)
            self._wake.notify_all()

    def segment(
        self,
        prompts: Sequence[Prompt],
        stamp: int | None = None,
        multimask: bool = False,
        *,
        frame: RgbdFrame | None = None,
    ) -> SegmentationResult:
        """Answer prompts, one object each, in one decoder pass.

        Args:
            prompts: those with ``object_id`` 0 are numbered from 1 with ids that the request does not use yet.
            stamp: of the frame to answer on, in ns; None: the newest at the time of the call.
            multimask: every candidate of each prompt instead of one mask.
            frame: answer on this frame instead; it does not enter the history, but its embedding is cached by content.

        Raises:
            FrameNotHeldError: no frame with this stamp is held.
            InvalidInputError: no prompts, or one that does not fit the frame.
            UnsupportedPromptError: a kind of prompt that the model does not answer.
            EngineClosedError: the engine is closed.
            Exception: whatever the model raised; the engine goes on.
        """
        if isinstance(prompts, Prompt) or not prompts:
            raise InvalidInputError.for_field("prompts", "a list of at least one Prompt", repr(prompts))
        given = None if frame is None else HeldFrame(_content_key(frame), frame)
        with self._wake:
            self._refuse_if_closed()
            held = given or self._history.find(stamp)
        self._refuse_unsupported(prompts)
        request = _Request(held, _numbered(_fitted(prompts, held.frame.size)), multimask)
        answer = request.answer
        with self._wake:
            self._refuse_if_closed()
            self._requests.append(request)
            self._wake.notify_all()
        try:
            return answer.result()
        finally:
            del answer  # see _Request.fail

    @property
    def stats(self) -> EngineStats:
        """A snapshot of the counters."""
        with self._wake:
            return dataclasses.replace(
                self._stats,
                evictions=self._cache.evictions,
                frames_held=len(self._history),
                frame_bytes=self._history.nbytes,
                embeddings_held=len(self._cache),
                embedding_bytes=self._cache.nbytes,
            )

    @property
    def newest_frame(self) -> RgbdFrame | None:
        """The frame with the latest stamp; None before the first."""
        with self._wake:
            newest = self._history.newest
            return None if newest is None else newest.frame

    def clear(self) -> None:
        """Forget every frame and embedding. Requests that are being served are still answered."""
        with self._wake:
            self._history.clear()
            self._cache.clear()
            self._keyframe_stamp_ns = None

    def close(self) -> None:
        """Finish what is being computed, refuse what waits, and let go of the model. Safe to call twice."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        if threading.current_thread() is not self._worker:
            self._worker.join()

    # ---- the worker's thread ----

    def _work(self) -> None:
        while True:
            with self._wake:
                while not (self._closed or self._requests or self._background_frame()):
                    self._wake.wait()
                if self._closed:
                    break
                request = self._requests.popleft() if self._requests else None
                background = None if request else self._background_frame()
            if request:
                self._serve(request)
            elif background:
                self._encode_in_background(background)
            # Held over the wait, these would keep a frame and its prompts alive.
            del request, background
        with self._wake:
            waiting, self._requests = list(self._requests), deque()
            self._history.clear()
            self._cache.clear()
        for request in waiting:
            request.fail(EngineClosedError("the engine was closed before it answered this request"))
        self.model.close()

    def _serve(self, first: _Request) -> None:
        """Answer a request, and with it all that came for the same frame while that was being encoded."""
        with self._wake:
            embedding = self._cache.get(first.held.key)
        if embedding is not None:
            with self._wake:
                self._count(cache_hits=1)
            self._answer(first, embedding, encode_ms=0.0)
            return
        try:
            embedding, encode_ms = self._encode(first.held)
        except BaseException as error:  # even SystemExit: a worker that ended would leave every caller waiting
            for request in [first, *self._take_waiting(first.held)]:
                self._fail(request, error)
            return
        for request in [first, *self._take_waiting(first.held)]:
            self._answer(request, embedding, encode_ms)

    def _take_waiting(self, held: HeldFrame) -> list[_Request]:
        with self._wake:
            taken = [request for request in self._requests if request.held.key == held.key]
            self._requests = deque(request for request in self._requests if request.held.key != held.key)
            return taken

    def _encode(self, held: HeldFrame) -> tuple[Embedding, float]:
        with self._wake:
            if held is self._history.newest:
                self._newest_encoded = held.key
        start = time.perf_counter()
        embedding = self.model.encode(held.frame)
        encode_ms = (time.perf_counter() - start) * 1e3
        with self._wake:
            if not isinstance(held.key, int) or held in self._history:  # else nobody can ask for it again
                self._cache.put(held.key, embedding)
            self._count(encodes=1, last_encode_ms=encode_ms)
        return embedding, encode_ms

    def _answer(self, request: _Request, embedding: Embedding, encode_ms: float) -> None:
        start = time.perf_counter()
        try:
            candidates = self.model.decode(embedding, request.prompts, request.multimask)
        except BaseException as error:
            self._fail(request, error)
            return
        decode_ms = (time.perf_counter() - start) * 1e3
        with self._wake:
            self._count(decodes=1, last_decode_ms=decode_ms)
        request.answer.set_result(
            SegmentationResult(request.held.frame, candidates, encode_ms == 0.0, encode_ms, decode_ms)
        )

    def _fail(self, request: _Request, error: BaseException) -> None:
        with self._wake:
            self._count(failures=1)
        request.fail(error)

    def _background_frame(self) -> HeldFrame | None:
        """The newest frame if it is due to be encoded unasked; called with the lock held."""
        newest = self._history.newest
        if self._encoding == "on_demand" or newest is None or newest.key == self._newest_encoded:
            return None
        if self._encoding == "keyframe" and self._keyframe_stamp_ns is not None:
            since_ns = newest.frame.stamp_ns - self._keyframe_stamp_ns
            if 0 <= since_ns < self._keyframe_ns:
                return None
        return newest

    def _encode_in_background(self, held: HeldFrame) -> None:
        with self._wake:
            self._keyframe_stamp_ns = held.frame.stamp_ns
        try:
            embedding, encode_ms = self._encode(held)
        except BaseException as error:
            with self._wake:
                self._count(failures=1)
            _log.warning("background encoding failed: %s", error)
            for request in self._take_waiting(held):
                self._fail(request, error)
            return
        with self._wake:
            self._count(background_encodes=1)
        for request in self._take_waiting(held):
            self._answer(request, embedding, encode_ms)

    # ---- helpers ----

    def _count(self, **changes: float) -> None:
        """Add to counters; ``last_*`` are replaced. Called with the lock held."""
        values = {
            name: value if name.startswith("last_") else getattr(self._stats, name) + value
            for name, value in changes.items()
        }
        self._stats = dataclasses.replace(self._stats, **values)  # type: ignore[arg-type]

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise EngineClosedError("the engine is closed")

    def _refuse_unsupported(self, prompts: Sequence[Prompt]) -> None:
        for i, prompt in enumerate(prompts):
            beyond = prompt.kinds - self.model.prompt_kinds
            if beyond:
                raise UnsupportedPromptError(
                    f"prompts[{i}]: the model {self.model.name} answers {_listed(self.model.prompt_kinds)} prompts, "
                    f"not {_listed(beyond)}"
                )


def _listed(kinds: frozenset[str]) -> str:
    return " and ".join(sorted(kinds))


def _fitted(prompts: Sequence[Prompt], size: tuple[int, int]) -> list[Prompt]:
    fitted: list[Prompt] = []
    try:
        fitted.extend(prompt.fitted_to(*size) for prompt in prompts)
    except InvalidInputError as error:
        raise InvalidInputError(f"prompts[{len(fitted)}]: {error}") from None
    return fitted


def _numbered(prompts: list[Prompt]) -> list[Prompt]:
    ids = [prompt.object_id for prompt in prompts if prompt.object_id]
    taken = set(ids)
    if len(taken) < len(ids):
        raise InvalidInputError.for_field("prompts", "an object_id of its own for each prompt, or 0", sorted(ids))
    free = (number for number in itertools.count(1) if number not in taken)
    return [prompt if prompt.object_id else dataclasses.replace(prompt, object_id=next(free)) for prompt in prompts]


def _content_key(frame: RgbdFrame) -> bytes:
    digest = hashlib.blake2b(repr((frame.size, frame.depth_scale_m, frame.intrinsics)).encode(), digest_size=16)
    for image in (frame.color, frame.depth):
        if image is not None:
            digest.update(image.dtype.str.encode())
            digest.update(image.tobytes())
    return digest.digest()
