"""The engine encodes a frame once, answers on the frame that was named, and survives whatever its callers do."""

import contextlib
import dataclasses
import gc
import random
import threading
import weakref
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures

import numpy as np
import pytest

from sam_perception.engine import EngineClosedError, SegmentationEngine
from sam_perception.errors import FrameNotHeldError, InvalidInputError, UnsupportedPromptError
from sam_perception.frames import CameraIntrinsics, RgbdFrame
from sam_perception.masks import Mask
from sam_perception.models.base import Embedding, SegmentationModel
from sam_perception.prompts import Prompt

SECOND = 1_000_000_000
TIMEOUT_S = 20  # no verdict depends on it: a deadlock fails instead of hanging
EMBEDDING_BYTES = 100
HEIGHT, WIDTH = 12, 16


class FakeEmbedding(Embedding):
    def __init__(self, stamp_ns: int, size: tuple[int, int]):
        self.stamp_ns = stamp_ns
        self.size = size

    @property
    def nbytes(self) -> int:
        return EMBEDDING_BYTES


class Gate:
    """Holds the model inside a call until the test lets it go."""

    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def pass_through(self):
        self.reached.set()
        assert self.opened.wait(TIMEOUT_S), "the test never opened this gate"

    def wait_until_reached(self):
        assert self.reached.wait(TIMEOUT_S), "the model was never called"


class FakeModel(SegmentationModel):
    """Answers each prompt with the pixel of its first point, labelled with the frame; records every call."""

    name = "fake"
    prompt_kinds = frozenset({"points", "box"})

    def __init__(self):
        self.encoded: list[int] = []  # stamps
        self.decoded: list[tuple[int, list[int], bool]] = []  # stamp, ids, multimask
        self.threads: set[threading.Thread] = set()
        self.embeddings: list[weakref.ref] = []
        self.closed = 0
        self.encode_gates: dict[int, Gate] = {}
        self.decode_gates: dict[int, Gate] = {}
        self.encode_errors: dict[int, list[BaseException]] = {}
        self.decode_errors: dict[int, list[BaseException]] = {}
        self._busy = threading.Lock()

    def encode(self, frame: RgbdFrame) -> FakeEmbedding:
        with self._call():
            self.encoded.append(frame.stamp_ns)
            if gate := self.encode_gates.get(frame.stamp_ns):
                gate.pass_through()
            if errors := self.encode_errors.get(frame.stamp_ns):
                raise errors.pop()
            embedding = FakeEmbedding(frame.stamp_ns, frame.size)
            self.embeddings.append(weakref.ref(embedding))
            return embedding

    def decode(self, embedding: FakeEmbedding, prompts, multimask: bool) -> list[list[Mask]]:
        with self._call():
            stamp = embedding.stamp_ns
            self.decoded.append((stamp, [prompt.object_id for prompt in prompts], multimask))
            if gate := self.decode_gates.get(stamp):
                gate.pass_through()
            if errors := self.decode_errors.get(stamp):
                raise errors.pop()
            scores = (0.9, 0.5, 0.1) if multimask else (0.9,)
            return [[_pixel(embedding, prompt, score) for score in scores] for prompt in prompts]

    def close(self):
        self.closed += 1

    def gate_encode(self, stamp_ns: int) -> Gate:
        return self.encode_gates.setdefault(stamp_ns, Gate())

    def gate_decode(self, stamp_ns: int) -> Gate:
        return self.decode_gates.setdefault(stamp_ns, Gate())

    @contextlib.contextmanager
    def _call(self):
        self.threads.add(threading.current_thread())
        assert self._busy.acquire(blocking=False), "two calls of the model at once"
        try:
            yield
        finally:
            self._busy.release()


def _pixel(embedding: FakeEmbedding, prompt: Prompt, score: float) -> Mask:
    x, y = (0, 0) if "points" not in prompt.kinds else prompt.point_array[0].astype(int)
    return Mask(
        np.ones((1, 1), bool), int(x), int(y), embedding.size, score,
        object_id=prompt.object_id, label=str(embedding.stamp_ns),
    )  # fmt: skip


def frame(stamp_ns: int, value: int = 0, **fields) -> RgbdFrame:
    return RgbdFrame(np.full((HEIGHT, WIDTH, 3), value, np.uint8), stamp_ns=stamp_ns, **fields)


def click(x: float = 3, y: float = 2, **fields) -> Prompt:
    return Prompt(points=[[x, y]], **fields)


def in_thread(function, *arguments, **keywords) -> Future:
    """Call something in a thread of its own, which must not keep the test run alive."""
    future = Future()

    def call():
        try:
            future.set_result(function(*arguments, **keywords))
        except BaseException as error:
            future.set_exception(error)

    future.thread = threading.Thread(target=call, daemon=True)
    future.thread.start()
    return future


def queue_behind(engine, *arguments, waiting: int = 1, **keywords) -> Future:
    """Ask in a thread of its own, and return once the engine's queue holds that many requests."""
    future = in_thread(engine.segment, *arguments, **keywords)
    with engine._wake:
        assert engine._wake.wait_for(lambda: len(engine._requests) >= waiting, TIMEOUT_S), "never queued"
    return future


def ask(engine, prompts=None, *arguments, **keywords):
    asking = in_thread(engine.segment, prompts or [click()], *arguments, **keywords)
    asking.thread.join(TIMEOUT_S)  # until then it holds its arguments
    return asking.result(0)


def settle(engine) -> None:
    """Return when the worker has looked for work, found none, and gone to sleep."""
    asleep = threading.Event()
    sleep = engine._wake.wait

    def wait(timeout=None):
        if threading.current_thread() is engine._worker:
            asleep.set()
        return sleep(timeout)

    with engine._wake:
        engine._wake.wait = wait
        engine._wake.notify_all()
    assert asleep.wait(TIMEOUT_S), "the worker never came to rest"
    with engine._wake:
        engine._wake.wait = sleep


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
def make_engine(model):
    """Engines over ``model`` that are closed afterwards, whatever the test left behind."""
    engines = []

    def make(**options) -> SegmentationEngine:
        engines.append(SegmentationEngine(model, **options))
        return engines[-1]

    yield make
    for gate in [*model.encode_gates.values(), *model.decode_gates.values()]:
        gate.opened.set()
    for engine in engines:
        in_thread(engine.close).result(TIMEOUT_S)
        assert not engine._worker.is_alive()


class TestEncodingOnce:
    def test_a_second_prompt_costs_no_encode(self, make_engine, model):
        engine = make_engine()
        engine.add_frame(frame(1))
        first, second = ask(engine, [click(1, 1)]), ask(engine, [click(2, 2)])
        assert model.encoded == [1]
        assert not first.embedding_cached and first.encode_ms > 0
        assert second.embedding_cached and second.encode_ms == 0
        assert (engine.stats.encodes, engine.stats.cache_hits, engine.stats.decodes) == (1, 1, 2)

    def test_frames_within_the_budget_are_encoded_once_each(self, make_engine, model):
        engine = make_engine(cache_bytes=3 * EMBEDDING_BYTES)
        for stamp in (1, 2, 3):
            engine.add_frame(frame(stamp))
        for stamp in (1, 2, 3, 3, 2, 1, 1, 2, 3):
            ask(engine, stamp=stamp)
        assert model.encoded == [1, 2, 3]

    def test_beyond_the_budget_the_least_recently_asked_is_encoded_again(self, make_engine, model):
        engine = make_engine(cache_bytes=2 * EMBEDDING_BYTES)
        for stamp in (1, 2, 3):
            engine.add_frame(frame(stamp))
        for stamp in (1, 2, 1, 3, 1, 2):
            ask(engine, stamp=stamp)
        assert model.encoded == [1, 2, 3, 2]
        assert engine.stats.evictions == 2

    @pytest.mark.parametrize("cache_bytes", [0, EMBEDDING_BYTES - 1, 1 << 20])
    @pytest.mark.parametrize("another_between", [False, True])
    def test_prompts_during_an_encode_wait_for_it(self, make_engine, model, cache_bytes, another_between):
        engine = make_engine(cache_bytes=cache_bytes)
        engine.add_frame(frame(1))
        engine.add_frame(frame(2))
        gate = model.gate_encode(1)
        answers = [in_thread(engine.segment, [click()], 1)]
        gate.wait_until_reached()
        if another_between:
            other = queue_behind(engine, [click()], 2)
        answers += [queue_behind(engine, [click()], 1, waiting=i + 1 + another_between) for i in range(3)]
        gate.opened.set()
        for answer in answers:
            result = answer.result(TIMEOUT_S)
            assert result.masks[0].label == "1" and result.encode_ms > 0 and not result.embedding_cached
        if another_between:
            assert other.result(TIMEOUT_S).masks[0].label == "2"
        assert model.encoded == ([1, 2] if another_between else [1])

    @pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
    @pytest.mark.parametrize("another_between", [False, True])
    def test_prompts_during_a_background_encode_wait_for_it(self, make_engine, model, cache_bytes, another_between):
        engine = make_engine(encoding="every_frame", cache_bytes=cache_bytes)
        gate = model.gate_encode(1)
        engine.add_frame(frame(1))
        gate.wait_until_reached()
        if another_between:
            other = queue_behind(engine, [click()], frame=frame(7, value=7))
        answers = [queue_behind(engine, [click()], 1, waiting=i + 1 + another_between) for i in range(2)]
        gate.opened.set()
        assert [answer.result(TIMEOUT_S).masks[0].label for answer in answers] == ["1", "1"]
        if another_between:
            assert other.result(TIMEOUT_S).masks[0].label == "7"
        settle(engine)
        assert model.encoded == ([1, 7] if another_between else [1])
        assert engine.stats.background_encodes == 1

    def test_all_prompts_of_a_request_go_into_one_decoder_pass(self, make_engine, model):
        engine = make_engine()
        engine.add_frame(frame(1))
        prompts = [click(x, x % HEIGHT) for x in range(WIDTH)]
        result = ask(engine, prompts, multimask=True)
        assert model.decoded == [(1, list(range(1, WIDTH + 1)), True)]
        assert [mask.x for mask in result.masks] == list(range(WIDTH))

    def test_multimask_gives_every_candidate_and_masks_the_best_of_each(self, make_engine):
        engine = make_engine()
        engine.add_frame(frame(1))
        several, one = ask(engine, [click(1), click(2)], multimask=True), ask(engine, [click(1), click(2)])
        assert [[mask.score for mask in masks] for masks in several.candidates] == [[0.9, 0.5, 0.1]] * 2
        assert [mask.score for mask in several.masks] == [0.9, 0.9]
        assert [len(masks) for masks in one.candidates] == [1, 1]


class TestWhichFrame:
    def test_answers_on_the_frame_that_was_named(self, make_engine):
        engine = make_engine()
        frames = {stamp: frame(stamp) for stamp in (10, 20, 30)}
        for each in frames.values():
            engine.add_frame(each)
        for stamp in (20, 10, 30):
            result = ask(engine, stamp=stamp)
            assert result.frame is frames[stamp] and result.masks[0].label == str(stamp)
        assert ask(engine).frame is frames[30] is engine.newest_frame

    def test_the_newest_is_the_one_at_the_time_of_the_call(self, make_engine, model):
        engine = make_engine()
        engine.add_frame(frame(1))
        gate = model.gate_encode(1)
        answer = in_thread(engine.segment, [click()])
        gate.wait_until_reached()
        waiting = queue_behind(engine, [click()])
        engine.add_frame(frame(2))
        gate.opened.set()
        assert answer.result(TIMEOUT_S).frame.stamp_ns == 1
        assert waiting.result(TIMEOUT_S).frame.stamp_ns == 1

    def test_a_stamp_that_is_not_held_is_refused_at_once(self, make_engine, model):
        engine = make_engine(history_seconds=1)
        with pytest.raises(FrameNotHeldError, match="no frame is held yet"):
            ask(engine)
        engine.add_frame(frame(5 * SECOND))
        engine.add_frame(frame(7 * SECOND))
        with pytest.raises(FrameNotHeldError, match=r"it would be 2\.000 s older than the newest"):
            ask(engine, stamp=5 * SECOND)
        assert model.encoded == []

    def test_a_frame_that_leaves_while_its_request_waits_is_still_answered(self, make_engine, model):
        engine = make_engine(history_seconds=1)
        engine.add_frame(frame(1))
        engine.add_frame(frame(2))
        gate = model.gate_encode(1)
        first = in_thread(engine.segment, [click()], 1)
        gate.wait_until_reached()
        second = queue_behind(engine, [click()], 2)
        engine.add_frame(frame(60 * SECOND))
        gate.opened.set()
        assert first.result(TIMEOUT_S).masks[0].label == "1"
        assert second.result(TIMEOUT_S).masks[0].label == "2"
        settle(engine)
        assert engine.stats.embeddings_held == 0, "embeddings of frames that nobody can ask for"

    def test_a_frame_replaced_while_it_is_encoded_leaves_no_orphan(self, make_engine, model):
        engine = make_engine()
        before, after = frame(1, value=1), frame(1, value=2)
        engine.add_frame(before)
        gate = model.gate_encode(1)
        answer = in_thread(engine.segment, [click()], 1)
        gate.wait_until_reached()
        engine.add_frame(after)
        gate.opened.set()
        assert answer.result(TIMEOUT_S).frame is before
        assert (engine.stats.embeddings_held, engine.stats.embedding_bytes) == (0, 0)
        assert ask(engine, stamp=1).frame is after
        assert model.encoded == [1, 1]
        assert engine.stats.embeddings_held == 1

    def test_a_replaced_frame_is_never_answered_from_the_old_embedding(self, make_engine, model):
        engine = make_engine()
        engine.add_frame(frame(1))
        ask(engine)
        engine.add_frame(frame(1, value=9))
        assert not ask(engine).embedding_cached
        assert model.encoded == [1, 1] and engine.stats.embeddings_held == 1

    def test_clearing_while_encoding_leaves_no_orphan_and_answers(self, make_engine, model):
        engine = make_engine()
        engine.add_frame(frame(1))
        gate = model.gate_encode(1)
        answer = in_thread(engine.segment, [click()])
        gate.wait_until_reached()
        engine.clear()
        gate.opened.set()
        assert answer.result(TIMEOUT_S).masks[0].label == "1"
        assert engine.stats.embeddings_held == 0 and engine.newest_frame is None


class TestGivenFrame:
    def test_is_answered_without_entering_the_history(self, make_engine):
        engine = make_engine()
        given = frame(42)
        assert ask(engine, frame=given).frame is given
        assert engine.newest_frame is None and engine.stats.frames_held == 0

    def test_is_cached_by_content(self, make_engine, model):
        engine = make_engine()
        depth = np.full((HEIGHT, WIDTH), 700, np.uint16)
        camera = CameraIntrinsics(WIDTH, HEIGHT, 10, 10, 8, 6)
        ask(engine, frame=frame(1, depth=depth, intrinsics=camera))
        again = frame(2, depth=depth.copy(), intrinsics=CameraIntrinsics(WIDTH, HEIGHT, 10, 10, 8, 6))
        result = ask(engine, frame=again)
        assert result.embedding_cached and result.frame is again
        assert model.encoded == [1]

    def test_of_another_content_is_encoded(self, make_engine, model):
        engine = make_engine()
        depth = np.full((HEIGHT, WIDTH), 700, np.uint16)
        one_pixel_changed = frame(0).color.copy()
        one_pixel_changed[-1, -1, -1] = 1
        variants = [
            frame(1),
            RgbdFrame(one_pixel_changed, stamp_ns=2),
            frame(3, depth=depth),
            frame(4, depth=depth + 1),
            frame(5, depth=depth, depth_scale_m=0.002),
            frame(6, depth=depth.astype(np.float32)),
            frame(7, depth=depth.astype(">f4")),
            frame(8, intrinsics=CameraIntrinsics(WIDTH, HEIGHT, 10, 10, 8, 6)),
            frame(9, intrinsics=CameraIntrinsics(WIDTH, HEIGHT, 11, 10, 8, 6)),
            RgbdFrame(np.zeros((WIDTH, HEIGHT, 3), np.uint8), stamp_ns=10),
        ]
        for variant in variants + variants:
            ask(engine, frame=variant)
        assert model.encoded == list(range(1, 11))

    def test_memory_layout_is_not_content(self, make_engine, model):
        engine = make_engine()
        color = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        strided = np.repeat(color, 2, axis=1)[:, ::2]
        for stamp, image in enumerate((color, np.asfortranarray(color), strided), start=1):
            ask(engine, frame=RgbdFrame(image, stamp_ns=stamp))
        assert model.encoded == [1]

    def test_wins_over_the_newest_and_over_a_stamp(self, make_engine):
        engine = make_engine()
        engine.add_frame(frame(1))
        given = frame(2, value=5)
        assert ask(engine, frame=given).frame is given
        assert ask(engine, stamp=999, frame=given).frame is given

    def test_asked_twice_while_it_is_encoded_is_encoded_once(self, make_engine, model):
        engine = make_engine(cache_bytes=0)
        gate = model.gate_encode(1)
        first = in_thread(engine.segment, [click()], frame=frame(1))
        gate.wait_until_reached()
        second = queue_behind(engine, [click()], frame=frame(1))
        gate.opened.set()
        assert first.result(TIMEOUT_S).masks[0].label == second.result(TIMEOUT_S).masks[0].label == "1"
        assert model.encoded == [1]


class TestPromptsOfARequest:
    @pytest.mark.parametrize(
        ("asked", "answered"),
        [([0], [1]), ([0, 0, 0], [1, 2, 3]), ([0, 1, 0, 3, 0], [2, 1, 4, 3, 5]), ([7, 0], [7, 1])],
    )
    def test_are_numbered_around_the_ids_that_they_have(self, make_engine, asked, answered):
        engine = make_engine()
        engine.add_frame(frame(1))
        result = ask(engine, [click(object_id=object_id) for object_id in asked])
        assert [mask.object_id for mask in result.masks] == answered

    def test_with_one_id_twice_are_refused(self, make_engine, model):
        engine = make_engine()
        engine.add_frame(frame(1))
        with pytest.raises(InvalidInputError, match=r"an object_id of its own for each prompt, or 0, got \[4, 4\]"):
            ask(engine, [click(object_id=4), click(), click(object_id=4)])
        assert model.encoded == []

    @pytest.mark.parametrize(
        "prompt", [Prompt(text="mug"), Prompt(mask=np.ones((HEIGHT, WIDTH), bool)), Prompt(logits=[[1.0]])]
    )
    def test_of_a_kind_that_the_model_lacks_never_reach_it(self, make_engine, model, prompt):
        engine = make_engine()
        engine.add_frame(frame(1))
        with pytest.raises(UnsupportedPromptError) as caught:
            ask(engine, [click(), prompt])
        (kind,) = prompt.kinds
        assert str(caught.value) == f"prompts[1]: the model fake answers box and points prompts, not {kind}"
        assert model.encoded == [] and engine.stats.decodes == 0

    def test_are_refused_when_one_kind_of_several_is_lacking(self, make_engine, model):
        engine = make_engine()
        engine.add_frame(frame(1))
        with pytest.raises(UnsupportedPromptError, match="not text"):
            ask(engine, [Prompt(points=[[1, 1]], text="mug")])
        assert model.encoded == []

    def test_that_do_not_fit_the_frame_never_reach_the_model(self, make_engine, model):
        engine = make_engine()
        engine.add_frame(frame(1))
        for bad in (click(WIDTH, 1), Prompt(box=[-9, -9, -1, -1])):
            with pytest.raises(InvalidInputError, match=f"{WIDTH}x{HEIGHT} image"):
                ask(engine, [click(), bad])
        assert model.encoded == []

    def test_are_cut_to_the_frame_before_the_model_sees_them(self, make_engine, model, monkeypatch):
        engine = make_engine()
        engine.add_frame(frame(1))
        seen = []
        decode = model.decode
        monkeypatch.setattr(model, "decode", lambda *given: seen.extend(given[1]) or decode(*given))
        ask(engine, [Prompt(box=[-5, 2, 1000, 7])])
        assert seen[0].box_array.tolist() == [0, 2, WIDTH, 7]

    @pytest.mark.parametrize("prompts", [[], (), click(), None])
    def test_are_a_list_with_something_in_it(self, make_engine, prompts):
        engine = make_engine()
        engine.add_frame(frame(1))
        with pytest.raises(InvalidInputError, match="prompts: expected a list of at least one Prompt"):
            engine.segment(prompts)


class TestOneThread:
    def test_owns_the_model(self, make_engine, model):
        engine = make_engine(encoding="every_frame")
        engine.add_frame(frame(1))
        settle(engine)
        ask(engine)
        ask(engine, frame=frame(2, value=2))
        assert len(model.threads) == 1
        assert threading.current_thread() not in model.threads

    def test_cameras_and_readers_never_wait_for_the_model(self, make_engine, model):
        engine = make_engine()
        engine.add_frame(frame(1))
        gate = model.gate_encode(1)
        answer = in_thread(engine.segment, [click()])
        gate.wait_until_reached()
        for stamp in range(2, 50):
            in_thread(engine.add_frame, frame(stamp)).result(TIMEOUT_S)
        assert in_thread(lambda: engine.stats).result(TIMEOUT_S).frames_added == 49
        assert in_thread(lambda: engine.newest_frame).result(TIMEOUT_S).stamp_ns == 49
        in_thread(engine.clear).result(TIMEOUT_S)
        assert not answer.done()
        gate.opened.set()
        answer.result(TIMEOUT_S)

    def test_serves_requests_in_the_order_in_which_they_came(self, make_engine, model):
        """Also where a favourite frame is asked for again and again: its requests do not overtake."""
        engine = make_engine()
        for stamp in (1, 2, 3):
            engine.add_frame(frame(stamp))
            ask(engine, stamp=stamp)
        gate = model.gate_decode(3)
        answers = [in_thread(engine.segment, [click()], 3)]
        gate.wait_until_reached()
        del model.decoded[:]
        order = [1, 1, 2, 1, 2, 1]
        answers += [queue_behind(engine, [click()], stamp, waiting=i + 1) for i, stamp in enumerate(order)]
        gate.opened.set()
        for answer in answers:
            answer.result(TIMEOUT_S)
        assert [stamp for stamp, _, _ in model.decoded] == order

    @pytest.mark.parametrize("encoding", ["on_demand", "every_frame", "keyframe"])
    @pytest.mark.parametrize("cached_frames", [0, 3, 100])
    def test_gives_every_caller_its_own_answer(self, make_engine, model, encoding, cached_frames):
        """16 threads and a camera that goes on meanwhile; each answer carries its frame's stamp and its own click."""
        stamps = [i * SECOND for i in range(1, 13)]
        engine = make_engine(cache_bytes=cached_frames * EMBEDDING_BYTES, encoding=encoding, history_seconds=3600)
        for stamp in stamps:
            engine.add_frame(frame(stamp))
        start = threading.Barrier(17)

        def caller(seed: int) -> int:
            rng = random.Random(seed)
            start.wait(TIMEOUT_S)
            for i in range(32):
                x, y, stamp = rng.randrange(WIDTH), rng.randrange(HEIGHT), rng.choice(stamps)
                if rng.random() < 0.15:
                    stamp = 1000 + rng.randrange(3)
                    result = engine.segment([click(x, y)], frame=frame(stamp, value=stamp - 990))
                else:
                    result = engine.segment([click(x, y, object_id=seed + 1)], stamp)
                    assert result.masks[0].object_id == seed + 1
                assert (result.masks[0].label, result.masks[0].x, result.masks[0].y) == (str(stamp), x, y), i
                assert result.frame.stamp_ns == stamp
            return 32

        def camera():
            start.wait(TIMEOUT_S)
            for i in range(100):
                engine.add_frame(frame((100 + i) * SECOND))

        filming = in_thread(camera)
        answered = sum(future.result(TIMEOUT_S) for future in [in_thread(caller, seed) for seed in range(16)])
        filming.result(TIMEOUT_S)
        settle(engine)
        stats = engine.stats
        assert answered == stats.decodes == len(model.decoded) == 512
        assert stats.encodes == len(model.encoded) and stats.failures == 0
        assert stats.background_encodes == 0 or encoding != "on_demand"
        assert len(model.threads) == 1
        assert stats.embedding_bytes <= cached_frames * EMBEDDING_BYTES
        if cached_frames == 100 and encoding == "on_demand":
            assert sorted(model.encoded) == sorted(set(model.encoded)), "a frame was encoded twice"


class TestFailingModels:
    @pytest.mark.parametrize("error", [RuntimeError("CUDA error"), KeyError("x"), MemoryError(), SystemExit(1)])
    def test_a_failed_encode_reaches_those_who_wait_for_it_and_nobody_else(self, make_engine, model, error):
        engine = make_engine()
        engine.add_frame(frame(1))
        engine.add_frame(frame(2))
        gate = model.gate_encode(1)
        model.encode_errors[1] = [error]
        concerned = [in_thread(engine.segment, [click()], 1)]
        gate.wait_until_reached()
        unconcerned = queue_behind(engine, [click()], 2)
        concerned.append(queue_behind(engine, [click()], 1, waiting=2))
        gate.opened.set()
        for answer in concerned:
            assert answer.exception(TIMEOUT_S) is error
        assert unconcerned.result(TIMEOUT_S).masks[0].label == "2"
        assert ask(engine, stamp=1).masks[0].label == "1", "the frame cannot be asked for again"
        assert engine.stats.failures == 2 and engine.stats.decodes == 2

    @pytest.mark.parametrize("error", [RuntimeError("CUDA error"), SystemExit(1)])
    def test_a_failed_decode_reaches_its_caller_only_and_keeps_the_embedding(self, make_engine, model, error):
        engine = make_engine()
        engine.add_frame(frame(1))
        gate = model.gate_encode(1)
        model.decode_errors[1] = [error]
        failing = in_thread(engine.segment, [click()])
        gate.wait_until_reached()
        waiting = queue_behind(engine, [click()])
        gate.opened.set()
        assert failing.exception(TIMEOUT_S) is error
        assert waiting.result(TIMEOUT_S).masks[0].label == "1"
        assert ask(engine).embedding_cached and model.encoded == [1]
        assert engine.stats.failures == 1

    def test_a_failed_background_encode_is_logged_and_not_tried_again(self, make_engine, model, caplog):
        engine = make_engine(encoding="every_frame")
        model.encode_errors[1] = [RuntimeError("CUDA error")]
        engine.add_frame(frame(1))
        settle(engine)
        assert model.encoded == [1]
        assert "background encoding failed: CUDA error" in caplog.text
        assert (engine.stats.failures, engine.stats.background_encodes) == (1, 0)
        engine.add_frame(frame(2))
        settle(engine)
        assert model.encoded == [1, 2] and engine.stats.background_encodes == 1
        assert ask(engine, stamp=1).masks[0].label == "1"

    def test_a_failed_background_encode_reaches_those_who_wait_for_it(self, make_engine, model):
        engine = make_engine(encoding="every_frame")
        gate = model.gate_encode(1)
        error = SystemExit(1)
        model.encode_errors[1] = [error]
        engine.add_frame(frame(1))
        gate.wait_until_reached()
        answer = queue_behind(engine, [click()])
        gate.opened.set()
        assert answer.exception(TIMEOUT_S) is error
        assert ask(engine).masks[0].label == "1"

    def test_a_failed_request_for_the_newest_is_not_tried_again_in_the_background(self, make_engine, model):
        engine = make_engine(encoding="every_frame")
        model.encode_errors[1] = [RuntimeError("first"), RuntimeError("second")]
        gate = model.gate_decode(0)
        blocking = in_thread(engine.segment, [click()], frame=frame(0))
        gate.wait_until_reached()
        engine.add_frame(frame(1))
        answer = queue_behind(engine, [click()])
        gate.opened.set()
        blocking.result(TIMEOUT_S)
        assert isinstance(answer.exception(TIMEOUT_S), RuntimeError)
        settle(engine)
        assert model.encoded == [0, 1]

    @pytest.mark.parametrize("fails", ["encode", "decode"])
    def test_let_go_of_frame_and_embedding_without_the_garbage_collector(self, make_engine, model, fails):
        """A model that runs out of memory must not hold what it failed on until Python collects cycles."""
        engine = make_engine()
        getattr(model, f"{fails}_errors")[1] = [RuntimeError("out of memory")]
        given = frame(1)
        released = weakref.ref(given)
        gc.collect()
        gc.disable()
        try:
            with pytest.raises(RuntimeError, match="out of memory"):
                engine.segment([click()], frame=given)
            settle(engine)
            engine.clear()
            del given
            assert released() is None
            assert not any(embedding() for embedding in model.embeddings)
        finally:
            gc.enable()


class TestBackground:
    def test_on_demand_encodes_nothing_unasked(self, make_engine, model):
        engine = make_engine()
        for stamp in range(1, 6):
            engine.add_frame(frame(stamp))
            settle(engine)
        assert model.encoded == []

    def test_every_frame_encodes_each_once_while_it_keeps_up(self, make_engine, model):
        engine = make_engine(encoding="every_frame")
        for stamp in range(1, 6):
            engine.add_frame(frame(stamp))
            settle(engine)
            settle(engine)
        assert model.encoded == [1, 2, 3, 4, 5]
        assert engine.stats.background_encodes == 5
        assert ask(engine).embedding_cached and ask(engine, stamp=2).embedding_cached
        assert model.encoded == [1, 2, 3, 4, 5]

    def test_every_frame_skips_to_the_newest_when_it_does_not(self, make_engine, model):
        engine = make_engine(encoding="every_frame")
        gate = model.gate_encode(1)
        engine.add_frame(frame(1))
        gate.wait_until_reached()
        for stamp in range(2, 6):
            engine.add_frame(frame(stamp))
        gate.opened.set()
        settle(engine)
        assert model.encoded == [1, 5]

    def test_keyframes_come_by_the_frames_own_stamps(self, make_engine, model):
        engine = make_engine(encoding="keyframe", keyframe_hz=2)
        for tenth in range(16):
            engine.add_frame(frame(tenth * SECOND // 10))
            settle(engine)
        assert model.encoded == [0, SECOND // 2, SECOND, 3 * SECOND // 2]
        engine.add_frame(frame(100 * SECOND))
        settle(engine)
        assert model.encoded[4:] == [100 * SECOND]

    def test_keyframes_go_on_when_time_is_set_back(self, make_engine, model):
        engine = make_engine(encoding="keyframe", keyframe_hz=1)
        for stamp in (100 * SECOND, 100 * SECOND + 1, 3 * SECOND, 3 * SECOND + 1):
            engine.add_frame(frame(stamp))
            settle(engine)
        assert model.encoded == [100 * SECOND, 3 * SECOND]

    def test_keyframes_start_anew_after_clearing(self, make_engine, model):
        engine = make_engine(encoding="keyframe", keyframe_hz=1)
        engine.add_frame(frame(1))
        settle(engine)
        engine.clear()
        engine.add_frame(frame(2))
        settle(engine)
        assert model.encoded == [1, 2]

    def test_a_late_frame_is_not_encoded_unasked(self, make_engine, model):
        engine = make_engine(encoding="every_frame")
        for stamp in (3, 1, 2):
            engine.add_frame(frame(stamp))
            settle(engine)
        assert model.encoded == [3]

    @pytest.mark.parametrize("encoding", ["every_frame", "keyframe"])
    def test_what_a_request_encoded_is_not_encoded_again(self, make_engine, model, encoding):
        engine = make_engine(encoding=encoding)
        gate = model.gate_encode(0)
        blocking = in_thread(engine.segment, [click()], frame=frame(0))
        gate.wait_until_reached()
        engine.add_frame(frame(1))
        answer = queue_behind(engine, [click()])
        gate.opened.set()
        blocking.result(TIMEOUT_S)
        answer.result(TIMEOUT_S)
        settle(engine)
        assert model.encoded == [0, 1] and engine.stats.background_encodes == 0

    @pytest.mark.parametrize("cached_frames", [0, 1])
    def test_what_the_cache_could_not_hold_is_not_encoded_again(self, make_engine, model, cached_frames):
        engine = make_engine(encoding="every_frame", cache_bytes=cached_frames * EMBEDDING_BYTES)
        gate = model.gate_encode(0)
        blocking = in_thread(engine.segment, [click()], frame=frame(0))
        gate.wait_until_reached()
        engine.add_frame(frame(1))
        engine.add_frame(frame(2))
        answers = [queue_behind(engine, [click()], stamp, waiting=i + 1) for i, stamp in enumerate((2, 1))]
        gate.opened.set()
        for answer in (blocking, *answers):
            answer.result(TIMEOUT_S)
        settle(engine)
        settle(engine)
        assert model.encoded == [0, 2, 1]

    def test_requests_come_before_it(self, make_engine, model):
        engine = make_engine(encoding="every_frame")
        gate = model.gate_encode(1)
        engine.add_frame(frame(1))
        gate.wait_until_reached()
        engine.add_frame(frame(2))  # due in the background from now on
        answers = [
            queue_behind(engine, [click()], frame=frame(stamp, value=stamp), waiting=stamp - 6) for stamp in (7, 8, 9)
        ]
        gate.opened.set()
        for answer in answers:
            answer.result(TIMEOUT_S)
        settle(engine)
        assert model.encoded == [1, 7, 8, 9, 2]

    def test_goes_on_after_requests_without_another_frame(self, make_engine, model):
        """The worker must look again for background work when the last request is served."""
        engine = make_engine(encoding="every_frame")
        gate = model.gate_encode(7)
        answer = in_thread(engine.segment, [click()], frame=frame(7))
        gate.wait_until_reached()
        engine.add_frame(frame(1))
        gate.opened.set()
        answer.result(TIMEOUT_S)
        settle(engine)
        assert model.encoded == [7, 1]


class TestClosing:
    def test_refuses_what_waits_and_finishes_what_is_computed(self, make_engine, model):
        engine = make_engine()
        engine.add_frame(frame(1))
        engine.add_frame(frame(2))
        gate = model.gate_encode(1)
        computed = in_thread(engine.segment, [click()], 1)
        gate.wait_until_reached()
        waiting = [queue_behind(engine, [click()], 2, waiting=i + 1) for i in range(5)]
        closing = in_thread(engine.close)
        with engine._wake:
            assert engine._wake.wait_for(lambda: engine._closed, TIMEOUT_S)
        assert not closing.done(), "close returned while the model was still in use"
        gate.opened.set()
        closing.result(TIMEOUT_S)
        assert computed.result(TIMEOUT_S).masks[0].label == "1"
        for answer in waiting:
            with pytest.raises(EngineClosedError, match="closed before it answered"):
                answer.result(TIMEOUT_S)
        assert model.encoded == [1] and model.closed == 1

    def test_ends_the_thread_and_lets_go_of_the_model_once(self, make_engine, model):
        engine = make_engine()
        engine.add_frame(frame(1))
        ask(engine)
        (worker,) = model.threads
        closings = [in_thread(engine.close) for _ in range(8)]
        assert not wait_for_futures(closings, TIMEOUT_S).not_done
        engine.close()
        assert not worker.is_alive()
        assert model.closed == 1

    def test_afterwards_everything_is_refused_and_nothing_held(self, make_engine, model):
        engine = make_engine()
        engine.add_frame(frame(1))
        ask(engine)
        engine.close()
        for call in (lambda: engine.segment([click()]), lambda: engine.add_frame(frame(2)),
                     lambda: engine.segment([click()], frame=frame(3))):  # fmt: skip
            with pytest.raises(EngineClosedError, match="the engine is closed"):
                call()
        engine.clear()
        stats = engine.stats
        assert (stats.frames_held, stats.frame_bytes, stats.embeddings_held, stats.embedding_bytes) == (0, 0, 0, 0)
        assert engine.newest_frame is None and model.encoded == [1]

    def test_leaving_the_with_block_closes_it_also_by_an_error(self, model):
        engine = SegmentationEngine(model)
        with pytest.raises(FrameNotHeldError), engine:
            engine.segment([click()])
        assert model.closed == 1 and not engine._worker.is_alive()

    def test_from_within_the_model_does_not_lock_up(self, make_engine, model, monkeypatch):
        engine = make_engine()
        engine.add_frame(frame(1))
        decode = model.decode
        monkeypatch.setattr(model, "decode", lambda *given: engine.close() or decode(*given))
        assert ask(engine).masks[0].label == "1"
        engine.close()
        assert model.closed == 1 and not engine._worker.is_alive()

    def test_races_with_callers_and_leaves_nobody_waiting(self, model):
        for _ in range(20):
            engine = SegmentationEngine(model, encoding="every_frame")
            engine.add_frame(frame(1))
            start = threading.Barrier(9)

            def caller(engine=engine, start=start):
                start.wait(TIMEOUT_S)
                for _ in range(100_000):
                    engine.segment([click()])

            callers = [in_thread(caller) for _ in range(8)]
            start.wait(TIMEOUT_S)
            in_thread(engine.close).result(TIMEOUT_S)
            assert not wait_for_futures(callers, TIMEOUT_S).not_done
            for future in callers:
                assert isinstance(future.exception(), EngineClosedError)
        assert model.closed == 20

    def test_a_waiting_background_encode_is_left_out(self, make_engine, model):
        engine = make_engine(encoding="every_frame")
        gate = model.gate_encode(1)
        engine.add_frame(frame(1))
        gate.wait_until_reached()
        engine.add_frame(frame(2))
        closing = in_thread(engine.close)
        with engine._wake:
            assert engine._wake.wait_for(lambda: engine._closed, TIMEOUT_S)
        gate.opened.set()
        closing.result(TIMEOUT_S)
        assert model.encoded == [1]


class TestMemory:
    @staticmethod
    def add(engine, stamp_ns: int) -> weakref.ref:
        added = frame(stamp_ns)
        engine.add_frame(added)
        return weakref.ref(added)

    @pytest.mark.parametrize("encoding", ["on_demand", "keyframe", "every_frame"])
    def test_frames_and_embeddings_go_with_the_history(self, make_engine, model, encoding):
        engine = make_engine(encoding=encoding, keyframe_hz=0.01, history_seconds=1)
        old = self.add(engine, SECOND)
        settle(engine)
        ask(engine)
        self.add(engine, 10 * SECOND)
        settle(engine)
        assert old() is None, "a frame that left the history is still alive"
        assert model.embeddings[0]() is None, "the embedding of a frame that left the history is still alive"

    @pytest.mark.parametrize("encoding", ["on_demand", "keyframe", "every_frame"])
    @pytest.mark.parametrize("by", ["clear", "close"])
    def test_frames_and_embeddings_go_with_clear_and_close(self, make_engine, model, encoding, by):
        engine = make_engine(encoding=encoding)
        frames = [self.add(engine, stamp) for stamp in (1, 2, 3)]
        settle(engine)
        ask(engine, stamp=2)
        ask(engine, frame=frame(9, value=9))
        settle(engine)
        getattr(engine, by)()
        assert [ref() for ref in frames] == [None] * 3
        assert [ref() for ref in model.embeddings] == [None] * len(model.embeddings)

    def test_evicted_embeddings_go_while_their_frames_stay(self, make_engine, model):
        engine = make_engine(cache_bytes=EMBEDDING_BYTES)
        frames = [self.add(engine, stamp) for stamp in (1, 2)]
        ask(engine, stamp=1)
        ask(engine, stamp=2)
        settle(engine)
        assert model.embeddings[0]() is None and model.embeddings[1]() is not None
        assert all(ref() is not None for ref in frames)

    def test_an_answer_holds_its_frame_and_nothing_but_the_answer_does(self, make_engine):
        engine = make_engine()
        given = frame(1)
        result = ask(engine, frame=given)
        settle(engine)
        ref = weakref.ref(given)
        del given
        assert ref() is result.frame
        del result
        assert ref() is None

    def test_bytes_stay_within_the_budgets_over_a_long_stream(self, make_engine, model):
        one = frame(0).nbytes
        engine = make_engine(encoding="every_frame", history_bytes=4 * one, cache_bytes=2 * EMBEDDING_BYTES)
        for stamp in range(200):
            engine.add_frame(frame(stamp))
            if stamp % 3 == 0:
                ask(engine, stamp=max(stamp - 2, 0))
            if stamp % 5 == 0:
                ask(engine, frame=frame(stamp, value=stamp % 256))
            stats = engine.stats
            assert stats.frame_bytes <= 4 * one and stats.embedding_bytes <= 2 * EMBEDDING_BYTES
        settle(engine)
        assert sum(ref() is not None for ref in model.embeddings) == engine.stats.embeddings_held <= 2


class TestStats:
    def test_say_what_happened_and_what_is_held(self, make_engine, model):
        engine = make_engine(cache_bytes=2 * EMBEDDING_BYTES)
        assert dataclasses.astuple(engine.stats) == (0,) * len(dataclasses.fields(engine.stats))
        for stamp in (1, 2, 3):
            engine.add_frame(frame(stamp))
        model.decode_errors[2] = [RuntimeError("once")]
        ask(engine, stamp=1)
        with pytest.raises(RuntimeError, match="once"):
            ask(engine, stamp=2)
        ask(engine, stamp=2)
        ask(engine, stamp=3)
        ask(engine, stamp=3)
        stats = engine.stats
        assert (stats.frames_added, stats.frames_held, stats.frame_bytes) == (3, 3, 3 * frame(0).nbytes)
        assert (stats.encodes, stats.background_encodes, stats.cache_hits) == (3, 0, 2)
        assert (stats.decodes, stats.failures, stats.evictions) == (4, 1, 1)
        assert (stats.embeddings_held, stats.embedding_bytes) == (2, 2 * EMBEDDING_BYTES)
        assert stats.last_encode_ms > 0 and stats.last_decode_ms > 0

    def test_times_are_those_of_the_last_calls(self, make_engine):
        engine = make_engine()
        engine.add_frame(frame(1))
        first, second = ask(engine), ask(engine)
        assert engine.stats.last_encode_ms == first.encode_ms
        assert engine.stats.last_decode_ms == second.decode_ms


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"encoding": "always"}, "encoding: expected one of on_demand, keyframe, every_frame, got 'always'"),
            ({"keyframe_hz": 0}, "keyframe_hz: expected more than 0, got 0"),
            ({"keyframe_hz": float("nan")}, "keyframe_hz: expected more than 0, got nan"),
            ({"history_seconds": -1}, "history_seconds: expected 0 or more, got -1"),
            ({"history_bytes": -1}, "history_bytes: expected 0 or more, got -1"),
            ({"cache_bytes": -1}, "cache_bytes: expected 0 or more, got -1"),
        ],
    )
    def test_that_make_no_sense_are_refused_before_a_thread_starts(self, model, options, message):
        before = set(threading.enumerate())
        with pytest.raises(InvalidInputError) as caught:
            SegmentationEngine(model, **options)
        assert str(caught.value) == message
        assert not [thread for thread in set(threading.enumerate()) - before if "segmentation" in thread.name]
