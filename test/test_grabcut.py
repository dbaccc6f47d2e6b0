"""GrabCut on the shipped scene against its ground truth, and on every odd frame that a camera could give."""

import dataclasses

import cv2
import numpy as np
import pytest

from sam_perception.errors import ModelUnavailableError
from sam_perception.frame_files import SAMPLE_DIRECTORY
from sam_perception.frames import RgbdFrame
from sam_perception.masks import Mask
from sam_perception.models.base import ModelOptions
from sam_perception.models.grabcut import CLICK_RADIUS, GrabCutModel, load
from sam_perception.prompts import Prompt


@pytest.fixture(scope="module")
def model() -> GrabCutModel:
    return load(None, ModelOptions(), "grabcut")


@pytest.fixture(scope="module")
def embedding(model, sample):
    return model.encode(sample.frame)


def click_on(*described: dict, labels=None) -> Prompt:
    return Prompt(points=[each["click"] for each in described], labels=labels)


def box_around(described: dict) -> Prompt:
    return Prompt(box=described["box"])


def candidates(model, embedding, prompt: Prompt, multimask: bool = False) -> list[Mask]:
    size = embedding.color_bgr.shape[:2]
    (found,) = model.decode(embedding, [prompt.fitted_to(*size)], multimask)
    return found


def mask_of(model, embedding, prompt: Prompt) -> np.ndarray:
    (mask,) = candidates(model, embedding, prompt)
    return mask.to_array()


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    return np.count_nonzero(mask & truth) / np.count_nonzero(mask | truth)


def ious(model, scene, make_prompt, frame: RgbdFrame | None = None) -> dict[str, float]:
    embedding = model.encode(frame or scene.frame)
    return {
        described["name"]: overlap(mask_of(model, embedding, make_prompt(described)), scene.truth(described))
        for described in scene.objects
    }


def mean(values: dict[str, float]) -> float:
    return float(np.mean(list(values.values())))


def after_clicks(model, scene, embedding, described: dict, count: int) -> float:
    """IoU once an object's click has been corrected until there are ``count`` clicks."""
    truth = scene.truth(described)
    points, labels = [described["click"]], [1]
    while True:
        mask = mask_of(model, embedding, Prompt(points=points, labels=labels))
        if len(points) == count or np.array_equal(mask, truth):
            return overlap(mask, truth)
        missed, extra = (middle_of_largest(wrong) for wrong in (truth & ~mask, mask & ~truth))
        area, pixel = max(missed, extra)
        points.append(pixel)
        labels.append(int((area, pixel) == missed))


def middle_of_largest(wrong: np.ndarray) -> tuple[int, list[int]]:
    """Area of the largest part of an error, and the pixel of it that is farthest from its border."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8), connectivity=4)
    if count < 2:
        return 0, [0, 0]
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    inside = cv2.distanceTransform(np.pad((parts == largest).astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(np.argmax(inside), inside.shape)
    return int(stats[largest, cv2.CC_STAT_AREA]), [int(x), int(y)]


@pytest.fixture(scope="module")
def found_by_click(model, sample) -> dict[str, float]:
    return ious(model, sample, click_on)


class TestAccuracy:
    def test_clicks_find_the_objects(self, found_by_click):
        found = found_by_click
        assert mean(found) >= 0.78, found
        for name in ("cracker box", "soup can", "teal bowl", "tuna can", "orange"):
            assert found[name] >= 0.9, found

    def test_a_larger_image_of_the_scene_gives_the_same_objects(self, model, sample):
        """Every constant is in pixels of the working size: measured 0.82 by click, 0.91 by box."""
        height, width = (5 * side for side in sample.frame.size)
        depth = cv2.resize(np.asarray(sample.frame.depth), (width, height), interpolation=cv2.INTER_NEAREST)
        frame = RgbdFrame(cv2.resize(np.asarray(sample.frame.color), (width, height)), depth)
        embedding = model.encode(frame)
        found = {"click": [], "box": []}
        for each in sample.objects:
            truth = np.repeat(np.repeat(sample.truth(each), 5, axis=0), 5, axis=1)
            click = Prompt(points=[[5 * value + 2 for value in each["click"]]])
            box = Prompt(box=[5 * value for value in each["box"]])
            for kind, prompt in (("click", click), ("box", box)):
                ((mask,),) = model.decode(embedding, [prompt], False)
                assert mask.image_size == (height, width)
                found[kind].append(overlap(mask.to_array(), truth))
        assert np.mean(found["click"]) >= 0.76, found
        assert np.mean(found["box"]) >= 0.86, found

    def test_corrections_improve_the_masks(self, model, sample, embedding, found_by_click):
        """Clicks into the middle of the largest error, as a person sets them: measured 0.82, then 0.96."""
        corrected = {each["name"]: after_clicks(model, sample, embedding, each, 5) for each in sample.objects}
        assert mean(corrected) >= 0.92, corrected
        for name, before in found_by_click.items():
            assert corrected[name] >= before - 0.05, name

    def test_boxes_find_the_objects(self, model, sample):
        found = ious(model, sample, box_around)
        assert mean(found) >= 0.92, found
        for name in ("soup can", "navy mug", "teal bowl", "tuna can", "orange"):
            assert found[name] >= 0.9, found

    def test_boxes_need_no_depth(self, model, sample):
        found = ious(model, sample, box_around, RgbdFrame(sample.frame.color))
        assert mean(found) >= 0.92, found

    def test_depth_is_what_makes_clicks_work(self, model, sample, found_by_click):
        without = ious(model, sample, click_on, RgbdFrame(sample.frame.color))
        assert mean(found_by_click) > mean(without) + 0.15
        assert mean(without) > 0.4, without

    def test_boxes_find_the_objects_that_a_real_camera_saw(self, model, real_scenes):
        found = {
            (name, object_name): value
            for name, scene in real_scenes.items()
            for object_name, value in ious(model, scene, box_around).items()
        }
        assert len(found) == 31
        assert mean(found) >= 0.9, found

    def test_float_metres_give_the_masks_of_integer_millimetres(self, model, sample, embedding):
        metres = model.encode(RgbdFrame(sample.frame.color, sample.frame.depth_m.astype(np.float64)))
        for described in sample.objects[:4]:
            prompt = click_on(described)
            assert np.array_equal(mask_of(model, metres, prompt), mask_of(model, embedding, prompt))

    def test_clicks_in_holes_of_the_depth_find_the_object_around_them(self, model, sample, embedding):
        """Lids and dark mugs lose part of their depth in front of a real camera."""
        for name in ("cracker box", "soup can", "teal bowl", "tuna can"):
            truth = sample.truth(sample.named(name))
            hole = (truth & (sample.frame.depth == 0)).astype(np.uint8)
            y, x = np.unravel_index(cv2.distanceTransform(hole, cv2.DIST_C, 3).argmax(), hole.shape)
            assert sample.frame.depth[y - 1 : y + 2, x - 1 : x + 2].max() == 0
            assert overlap(mask_of(model, embedding, Prompt(points=[[x, y]])), truth) >= 0.9, name


class TestPrompts:
    def test_a_background_click_removes_a_region(self, model, sample, embedding):
        block, cube = sample.named("green block"), sample.named("green cube")
        both = mask_of(model, embedding, click_on(block))
        x, y = cube["click"]
        assert both[y, x], "the two green blocks stand too close to be told apart by one click"
        apart = mask_of(model, embedding, click_on(block, cube, labels=[1, 0]))
        near = np.hypot(*(np.indices(both.shape) - np.array([y, x])[:, None, None])) <= CLICK_RADIUS
        assert not apart[near].any()
        assert apart[block["click"][1], block["click"][0]]
        assert np.count_nonzero(both & ~apart) > 2 * np.count_nonzero(near)

    def test_a_background_click_corrects_a_box(self, model, sample, embedding):
        bowl = sample.named("teal bowl")
        x, y = bowl["click"]
        whole = mask_of(model, embedding, box_around(bowl))
        without = mask_of(model, embedding, Prompt(box=bowl["box"], points=[[x, y]], labels=[0]))
        assert whole[y, x] and not without[y, x]

    def test_a_foreground_click_joins_another_object(self, model, sample, embedding):
        can, orange = sample.named("tuna can"), sample.named("orange")
        joined = mask_of(model, embedding, click_on(can, orange))
        assert overlap(joined, sample.truth(can) | sample.truth(orange)) >= 0.9

    def test_clicked_pixels_are_in_the_mask(self, model, embedding):
        for x, y in np.random.default_rng(0).integers(0, [640, 480], (4, 2)):
            assert mask_of(model, embedding, Prompt(points=[[x, y]]))[y, x]

    def test_a_box_holds_the_mask(self, model, sample, embedding):
        for described in sample.objects:
            x0, y0, x1, y1 = described["box"]
            (mask,) = candidates(model, embedding, Prompt(box=[x0 + 0.6, y0 + 0.6, x1 - 0.6, y1 - 0.6]))
            left, top, right, bottom = mask.box
            assert x0 <= left < right <= x1 and y0 <= top < bottom <= y1

    def test_several_candidates_come_best_first_and_differ(self, model, sample, embedding):
        several = 0
        for described in sample.objects:
            found = candidates(model, embedding, click_on(described), multimask=True)
            scores = [mask.score for mask in found]
            assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)
            arrays = [mask.to_array() for mask in found]
            assert all(overlap(a, b) <= 0.98 for i, a in enumerate(arrays) for b in arrays[:i])
            several += len(found) > 1
        assert several >= 5

    def test_some_candidate_of_the_mug_is_the_mug(self, model, sample, embedding):
        """One click alone takes the part of the mug around it, for its depth is broken; the candidates have it all."""
        mug = sample.named("navy mug")
        found = candidates(model, embedding, click_on(mug), multimask=True)
        assert max(overlap(mask.to_array(), sample.truth(mug)) for mask in found) >= 0.9
        assert len(candidates(model, embedding, click_on(mug))) == 1

    def test_masks_carry_the_prompts_ids(self, model, sample, embedding):
        prompts = [
            Prompt(points=[described["click"]], object_id=40 + i) for i, described in enumerate(sample.objects[:3])
        ]
        answers = model.decode(embedding, prompts, True)
        assert [{mask.object_id for mask in masks} for masks in answers] == [{40}, {41}, {42}]

    def test_background_clicks_alone_find_nothing_and_say_so(self, model, sample, embedding):
        (mask,) = candidates(model, embedding, click_on(sample.objects[0], labels=[0]))
        assert mask.is_empty and mask.score == 0

    def test_answers_points_and_boxes(self, model):
        assert model.prompt_kinds == {"points", "box"}


class TestDeterminism:
    def test_the_same_question_has_the_same_answer(self, model, sample, embedding):
        for prompt in (click_on(sample.objects[0]), box_around(sample.objects[4])):
            first = mask_of(model, embedding, prompt)
            cv2.setRNGSeed(12345)
            np.random.default_rng().random(7)
            assert np.array_equal(mask_of(model, embedding, prompt), first)
            assert np.array_equal(mask_of(load(None, ModelOptions(), "other"), embedding, prompt), first)
            assert np.array_equal(mask_of(model, model.encode(sample.frame), prompt), first)

    def test_an_answer_does_not_depend_on_the_other_prompts(self, model, sample, embedding):
        prompts = [click_on(sample.objects[5]), box_around(sample.objects[6]), click_on(sample.objects[7])]
        together = [masks[0].to_array() for masks in model.decode(embedding, prompts, False)]
        alone = [mask_of(model, embedding, prompt) for prompt in prompts]
        reversed_order = [masks[0].to_array() for masks in model.decode(embedding, prompts[::-1], False)][::-1]
        for mask, by_itself, among_others in zip(together, alone, reversed_order, strict=True):
            assert np.array_equal(mask, by_itself) and np.array_equal(mask, among_others)

    @pytest.mark.parametrize("with_depth", [True, False])
    def test_decoding_leaves_the_embedding_as_it_was(self, model, sample, with_depth):
        embedding = model.encode(sample.frame if with_depth else RgbdFrame(sample.frame.color))
        before = [array.copy() for array in arrays_of(embedding)]
        candidates(model, embedding, click_on(sample.objects[1]), multimask=True)
        candidates(model, embedding, box_around(sample.objects[1]))
        assert len(before) == (4 + len(embedding.planes) if with_depth else 2)
        assert all(np.array_equal(a, b) for a, b in zip(before, arrays_of(embedding), strict=True))

    def test_ten_thousand_further_clicks_are_answered(self, model, sample, embedding):
        """A click, and then every pixel of a rough mask, as a program may send them."""
        described = sample.objects[0]
        truth = sample.truth(described)
        assert np.count_nonzero(truth) > 10_000
        pixels = [described["click"], *np.argwhere(truth)[:, ::-1].tolist()]
        assert overlap(mask_of(model, embedding, Prompt(points=pixels)), truth) > 0.9


def arrays_of(embedding) -> list[np.ndarray]:
    arrays = (embedding.color_bgr, embedding.smooth_lab, embedding.depth_m, embedding.depth_step_m, *embedding.planes)
    return [array for array in arrays if array is not None]


class TestEmbedding:
    def test_colours_are_in_opencvs_order(self, model, sample, embedding):
        assert np.array_equal(embedding.color_bgr, cv2.imread(str(SAMPLE_DIRECTORY / "color.png")))
        swapped = model.encode(RgbdFrame(np.ascontiguousarray(sample.frame.color[..., ::-1])))
        assert np.array_equal(swapped.color_bgr, sample.frame.color)
        assert not np.array_equal(swapped.color_bgr, embedding.color_bgr)

    def test_nbytes_counts_what_it_holds(self, model, sample, embedding):
        pixels = 640 * 480
        assert len(embedding.planes) >= 1
        assert embedding.nbytes == pixels * (3 + 3 + 4 + 4 + 4 * len(embedding.planes))
        assert model.encode(RgbdFrame(sample.frame.color)).nbytes == pixels * (3 + 3)

    def test_the_table_is_one_of_its_planes(self, sample, embedding):
        """Most of the scene is table; pixels on it must have no height over one of the planes found."""
        near_objects = cv2.dilate(sample.labels, np.ones((21, 21), np.uint8)) > 0
        bare = ~near_objects & (sample.frame.depth > 0)
        on_a_plane = max(np.mean(np.abs(plane[bare]) < 0.008) for plane in embedding.planes)
        assert on_a_plane > 0.5

    @pytest.mark.parametrize(
        "depth",
        [np.zeros((480, 640), np.uint16), np.full((480, 640), np.nan, np.float32), np.full((480, 640), -1.0)],
        ids=["zeros", "nan", "negative"],
    )
    def test_depth_without_data_is_no_depth(self, model, sample, depth):
        empty, none = model.encode(RgbdFrame(sample.frame.color, depth)), model.encode(RgbdFrame(sample.frame.color))
        assert empty.depth_m is None and empty.planes == ()
        for prompt in (click_on(sample.named("orange")), box_around(sample.named("tuna can"))):
            assert np.array_equal(mask_of(model, empty, prompt), mask_of(model, none, prompt))


COLORS = {
    "noise": lambda rng, h, w: rng.integers(0, 256, (h, w, 3), dtype=np.uint8),
    "uniform": lambda rng, h, w: np.full((h, w, 3), 127, np.uint8),
    "halves": lambda rng, h, w: np.repeat(np.where(np.arange(w) < w // 2, 30, 200)[None, :, None], h, 0).repeat(3, 2),
}
DEPTHS = {
    "none": lambda rng, h, w: None,
    "zeros": lambda rng, h, w: np.zeros((h, w), np.uint16),
    "nan": lambda rng, h, w: np.full((h, w), np.nan, np.float32),
    "flat": lambda rng, h, w: np.full((h, w), 700, np.uint16),
    "noise": lambda rng, h, w: rng.integers(0, 65536, (h, w)).astype(np.uint16),
    "one pixel": lambda rng, h, w: np.where(np.arange(h * w) == 0, 700, 0).astype(np.uint16).reshape(h, w),
    "half": lambda rng, h, w: rng.random((h, w)).astype(np.float16),
    "extreme": lambda rng, h, w: rng.choice([0.0, np.nan, np.inf, -1.0, 1e-30, 1e30, 0.5], (h, w)),
}


class TestOddFrames:
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    @pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 2), (8, 8), (48, 64)])
    @pytest.mark.parametrize("color", COLORS)
    @pytest.mark.parametrize("depth", DEPTHS)
    def test_are_answered(self, model, size, color, depth):
        height, width = size
        rng = np.random.default_rng(height * width)
        image = COLORS[color](rng, height, width).astype(np.uint8)
        embedding = model.encode(RgbdFrame(image, DEPTHS[depth](rng, height, width)))
        right, bottom = width - 1, height - 1
        middle = [width // 2, height // 2]
        prompts = [
            *(Prompt(points=[corner]) for corner in ([0, 0], [right, 0], [0, bottom], [right, bottom], middle)),
            Prompt(points=[[width - 0.01, height - 0.01]]),
            Prompt(points=[middle, [0, 0]], labels=[1, 0]),
            Prompt(points=[middle], labels=[0]),
            Prompt(points=[middle, middle], labels=[1, 0]),
            Prompt(box=[0, 0, width, height]),
            Prompt(box=[-50, -50, width + 50, height + 50]),
            Prompt(box=[width - 0.2, height - 0.2, width + 9, height + 9]),
            Prompt(box=[0, 0, 0.3, 0.3]),
            Prompt(box=[width / 4, height / 4, width * 3 / 4, height * 3 / 4], points=[middle, [0, 0]], labels=[1, 0]),
        ]
        for prompt in prompts:
            for multimask in (False, True):
                found = candidates(model, embedding, prompt, multimask)
                assert len(found) >= 1 and (multimask or len(found) == 1)
                assert all(mask.image_size == size and 0 <= mask.score <= 1 for mask in found)
                if prompt.kinds == {"points"} and prompt.label_array.all():
                    x, y = np.floor(prompt.point_array[0]).astype(int)
                    assert found[0].to_array()[y, x]
                if len(prompt.label_array) and not prompt.label_array.any():
                    assert found[0].is_empty

    def test_prompts_at_the_edges_of_the_scene(self, model, embedding):
        for x, y in ([0, 0], [639, 479], [320, 0], [639, 240]):
            (mask,) = candidates(model, embedding, Prompt(points=[[x, y]]))
            assert mask.to_array()[y, x]
        for box in ([-9, -9, 2, 2], [638, 478, 700, 500], [600, 0, 640, 480], [0, 0, 640, 480]):
            (mask,) = candidates(model, embedding, Prompt(box=box))
            assert mask.image_size == (480, 640)


class TestLoading:
    @pytest.mark.parametrize("device", ["auto", "cpu"])
    def test_on_the_cpu(self, device):
        model = load(None, ModelOptions(device=device), "grabcut")
        assert (model.name, model.device) == ("grabcut", "cpu")

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"device": "cuda"}, "grabcut runs on the cpu only, not on cuda; leave the device out"),
            ({"device": "cuda:1"}, "grabcut runs on the cpu only, not on cuda:1; leave the device out"),
            ({"device": "mps"}, "grabcut runs on the cpu only, not on mps; leave the device out"),
            ({"precision": "fp16"}, "grabcut has no network: precision and compile do not apply to it; leave them out"),
            ({"precision": "bf16"}, "grabcut has no network: precision and compile do not apply to it; leave them out"),
            ({"compile": True}, "grabcut has no network: precision and compile do not apply to it; leave them out"),
        ],
    )
    def test_refuses_what_it_cannot_do_in_a_sentence(self, changed, reason):
        with pytest.raises(ModelUnavailableError) as caught:
            load(None, dataclasses.replace(ModelOptions(), **changed), "grabcut")
        assert str(caught.value) == reason
