"""Masks against pycocotools, brute force and closed forms."""

import dataclasses
import itertools
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from sam_perception.errors import InvalidInputError
from sam_perception.masks import (
    Mask,
    components_at,
    decode_rle,
    draw_overlay,
    encode_rle,
    iou,
    label_image,
    large_components,
    object_color,
    stability_score,
)


def blobs(height: int, width: int, seed: int) -> np.ndarray:
    """Smooth random regions, as masks are."""
    noise = np.random.default_rng(seed).standard_normal((height, width)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 1 + seed % 5) > 0


def one_pixel(height: int, width: int, y: int, x: int) -> np.ndarray:
    array = np.zeros((height, width), bool)
    array[y, x] = True
    return array


ARRAYS = {
    "empty": np.zeros((7, 5), bool),
    "full": np.ones((7, 5), bool),
    "single pixel image": np.ones((1, 1), bool),
    "single empty pixel": np.zeros((1, 1), bool),
    "first pixel": one_pixel(7, 5, 0, 0),
    "last pixel": one_pixel(7, 5, 6, 4),
    "one row": np.arange(31)[None] % 3 == 0,
    "one column": np.arange(31)[:, None] % 4 == 1,
    "checkerboard": np.indices((9, 11)).sum(0) % 2 == 0,
    "sparse": np.random.default_rng(1).random((53, 47)) > 0.98,
    "dense": np.random.default_rng(2).random((33, 101)) > 0.1,
    "blobs": blobs(61, 83, 3),
    "camera": blobs(480, 640, 4),
    "long runs": np.pad(np.ones((700, 3), bool), ((900, 500), (1000, 7))),
}  # fmt: skip

# pycocotools does not know numpy 2's copy keyword yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

every_array = pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS.keys())


def to_coco(array: np.ndarray) -> dict:
    return coco.encode(np.asfortranarray(array.astype(np.uint8)))


class TestRunLengths:
    @every_array
    def test_are_those_of_pycocotools(self, array):
        expected = to_coco(array)
        rle = Mask.from_array(array).to_rle()
        assert rle == {"size": expected["size"], "counts": expected["counts"].decode()}

    @every_array
    def test_pycocotools_reads_ours(self, array):
        assert np.array_equal(coco.decode(encode_rle(array)).astype(bool), array)
        uncompressed = coco.frPyObjects(encode_rle(array, compressed=False), *array.shape)
        assert np.array_equal(coco.decode(uncompressed).astype(bool), array)

    @every_array
    def test_we_read_those_of_pycocotools(self, array):
        rle = to_coco(array)
        assert np.array_equal(decode_rle(rle), array)
        as_text = {"size": rle["size"], "counts": rle["counts"].decode()}
        mask = Mask.from_rle(as_text, score=0.5, object_id=3, label="mug")
        assert np.array_equal(mask.to_array(), array)
        assert (mask.score, mask.object_id, mask.label) == (0.5, 3, "mug")

    def test_many_random_masks_both_ways(self):
        rng = np.random.default_rng(5)
        for _ in range(200):
            array = rng.random(rng.integers(1, 40, 2)) < rng.random()
            rle = encode_rle(array)
            assert rle["counts"].encode() == to_coco(array)["counts"]
            assert np.array_equal(decode_rle(rle), array)
            assert np.array_equal(decode_rle(encode_rle(array, compressed=False)), array)

    @pytest.mark.parametrize("compressed", [True, False])
    def test_survive_json(self, compressed):
        array = ARRAYS["blobs"]
        rle = json.loads(json.dumps(Mask.from_array(array).to_rle(compressed=compressed)))
        assert np.array_equal(decode_rle(rle), array)

    def test_uncompressed_counts_go_down_the_columns_from_a_run_of_zeros(self):
        array = np.array([[1, 0, 0], [1, 1, 0]], bool)
        assert encode_rle(array, compressed=False) == {"size": [2, 3], "counts": [0, 2, 1, 1, 2]}

    @pytest.mark.parametrize(
        "rle",
        [
            None, 5, [], {}, "PPYo0",
            {"size": [2, 3]},
            {"counts": [6]},
            {"size": [6], "counts": [6]},
            {"size": [2, 3, 1], "counts": [6]},
            {"size": ["2", "3"], "counts": [6]},
            {"size": [2.5, 3], "counts": [6]},
            {"size": [float("inf"), 3], "counts": [6]},
            {"size": [-2, -3], "counts": [6]},
            {"size": [2, 3], "counts": None},
            {"size": [2, 3], "counts": 6},
            {"size": [2, 3], "counts": []},
            {"size": [2, 3], "counts": [5]},
            {"size": [2, 3], "counts": [7]},
            {"size": [2, 3], "counts": [-1, 7]},
            {"size": [2, 3], "counts": [1.5, 4.5]},
            {"size": [2, 3], "counts": ["6"]},
            {"size": [2, 3], "counts": [[6]]},
            {"size": [2, 3], "counts": [[1], [2, 3]]},
            {"size": [2, 3], "counts": {"0": 6}},
            {"size": [2, 3], "counts": [10**30]},
            {"size": [2, 3], "counts": [2**63 - 1, 2**63 - 1, 8]},  # adds up to 6 in 64 bits
            {"size": [2, 3], "counts": ""},
            {"size": [2, 3], "counts": "o"},
            {"size": [2, 3], "counts": "o" * 60 + "0"},
            {"size": [2, 3], "counts": " "},
            {"size": [2, 3], "counts": "☃"},
            {"size": [2, 3], "counts": b"\xff"},
        ],
        ids=lambda rle: f"{rle!r:.50}",
    )  # fmt: skip
    def test_corrupt_ones_are_refused(self, rle):
        with pytest.raises(InvalidInputError, match=r"rle(\.counts)?: expected"):
            Mask.from_rle(rle)

    def test_damaged_text_is_refused_or_another_mask_but_nothing_else(self):
        rng = np.random.default_rng(6)
        rle = encode_rle(ARRAYS["blobs"])
        refused = 0
        for _ in range(300):
            text = list(rle["counts"])
            text[rng.integers(len(text))] = chr(rng.integers(32, 127))
            try:
                assert decode_rle({"size": rle["size"], "counts": "".join(text)}).shape == (61, 83)
            except InvalidInputError:
                refused += 1
        assert refused > 250


class TestMask:
    @every_array
    def test_comes_back_as_it_was(self, array):
        mask = Mask.from_array(array, score=0.7, stability=0.8, object_id=2, label="can")
        assert np.array_equal(mask.to_array(), array)
        assert mask.image_size == array.shape
        assert (mask.score, mask.stability, mask.object_id, mask.label) == (0.7, 0.8, 2, "can")

    @every_array
    def test_box_and_area_are_those_of_pycocotools(self, array):
        mask = Mask.from_array(array)
        rle = to_coco(array)
        x, y, width, height = (int(value) for value in coco.toBbox(rle))
        assert mask.area == int(coco.area(rle))
        assert mask.box == ((x, y, x + width, y + height) if array.any() else (0, 0, 0, 0))
        assert mask.is_empty == (not array.any())

    @every_array
    def test_crop_is_tight(self, array):
        crop = Mask.from_array(array).crop
        if array.any():
            assert all(side.any() for side in (crop[0], crop[-1], crop[:, 0], crop[:, -1]))
        else:
            assert crop.shape == (0, 0)

    def test_box_of_a_loose_crop_is_still_tight(self):
        mask = Mask(one_pixel(10, 10, 4, 3), x=20, y=30, image_size=(100, 100))
        assert mask.box == (23, 34, 24, 35)
        assert Mask(np.zeros((10, 10), bool), x=20, y=30, image_size=(100, 100)).box == (0, 0, 0, 0)

    def test_takes_any_memory_layout_and_keeps_a_copy(self):
        array = blobs(40, 30, 1)
        for view in (array.T, array[::-1, ::-2], np.asfortranarray(array), np.broadcast_to(array[:1], (5, 30))):
            assert np.array_equal(Mask.from_array(view).to_array(), view)
        mask = Mask.from_array(array)
        expected = array.copy()
        array[:] = False
        assert np.array_equal(mask.to_array(), expected)

    @pytest.mark.parametrize(
        "array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 1), bool), np.zeros(4, bool), [[True]], None]
    )
    def test_refuses_what_is_no_mask(self, array):
        with pytest.raises(InvalidInputError, match="Mask array: expected a bool array of shape"):
            Mask.from_array(array)

    @pytest.mark.parametrize(("x", "y"), [(-1, 0), (0, -1), (7, 0), (0, 5), (100, 100)])
    def test_refuses_a_crop_that_leaves_the_image(self, x, y):
        with pytest.raises(InvalidInputError, match=r"Mask\.crop: expected a crop inside the 10x8 image"):
            Mask(np.ones((4, 4), bool), x, y, image_size=(8, 10))
        Mask(np.ones((4, 4), bool), 6, 4, image_size=(8, 10))  # the last place that fits

    @pytest.mark.parametrize("crop", [np.ones((4, 4), np.uint8), [[True]], np.ones(4, bool), np.ones((2, 2, 2), bool)])
    def test_refuses_a_crop_of_another_kind(self, crop):
        with pytest.raises(InvalidInputError, match=r"Mask\.crop: expected"):
            Mask(crop, 0, 0, image_size=(8, 10))

    @pytest.mark.parametrize("field", ["score", "stability"])
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_refuses_scores_that_are_not_finite(self, field, value):
        with pytest.raises(InvalidInputError, match=rf"Mask\.{field}: expected a finite number, got {value}"):
            Mask(np.ones((4, 4), bool), 0, 0, image_size=(8, 10), **{field: value})


def boundary_by_definition(array: np.ndarray, thickness: int) -> np.ndarray:
    """Pixels of the mask with a pixel outside it at most ``thickness`` steps away; all around the image is outside."""
    padded = np.pad(array, thickness)
    near_outside = np.zeros(array.shape, bool)
    for dy, dx in itertools.product(range(-thickness, thickness + 1), repeat=2):
        if abs(dy) + abs(dx) <= thickness:
            top, left = thickness + dy, thickness + dx
            near_outside |= ~padded[top : top + array.shape[0], left : left + array.shape[1]]
    return array & near_outside


class TestBoundary:
    @pytest.mark.parametrize("thickness", [1, 2, 5])
    @every_array
    def test_is_the_one_of_its_definition(self, array, thickness):
        assert np.array_equal(Mask.from_array(array).boundary(thickness), boundary_by_definition(array, thickness))

    def test_of_a_rectangle_is_its_frame(self):
        array = np.zeros((20, 30), bool)
        array[5:12, 8:20] = True
        assert np.count_nonzero(Mask.from_array(array).boundary()) == 2 * (7 + 12) - 4

    def test_contours_fill_to_the_mask_with_its_holes(self):
        array = np.zeros((40, 50), bool)
        array[5:30, 8:40] = True
        array[12:20, 15:25] = False
        contours = Mask.from_array(array).contours()
        assert len(contours) == 2 and all(contour.shape[1] == 2 for contour in contours)
        outer = max(contours, key=cv2.contourArea)
        assert (outer.min(axis=0).tolist(), outer.max(axis=0).tolist()) == ([8, 5], [39, 29])

    def test_contours_of_an_empty_mask_are_none(self):
        assert Mask.from_array(np.zeros((4, 5), bool)).contours() == []


class TestIou:
    def test_is_that_of_pycocotools(self):
        rng = np.random.default_rng(7)
        arrays = [blobs(48, 64, seed) for seed in range(6)] + [rng.random((48, 64)) > 0.99, np.ones((48, 64), bool)]
        arrays += [
            one_pixel(48, 64, 3, 4),
            one_pixel(48, 64, 40, 60),
            np.pad(np.ones((5, 5), bool), ((9, 34), (9, 50))),
        ]
        expected = coco.iou([to_coco(a) for a in arrays], [to_coco(a) for a in arrays], [0] * len(arrays))
        masks = [Mask.from_array(array) for array in arrays]
        assert np.array([[iou(a, b) for b in masks] for a in masks]) == pytest.approx(expected, abs=1e-12)

    def test_of_two_empty_masks_is_one_and_with_one_of_them_zero(self):
        empty, full = Mask.from_array(np.zeros((4, 5), bool)), Mask.from_array(np.ones((4, 5), bool))
        assert (iou(empty, empty), iou(empty, full), iou(full, empty)) == (1.0, 0.0, 0.0)

    def test_refuses_masks_of_different_images(self):
        with pytest.raises(InvalidInputError, match=r"masks of one image size \(4, 5\), got \(5, 4\)"):
            iou(Mask.from_array(np.ones((4, 5), bool)), Mask.from_array(np.ones((5, 4), bool)))


class TestStabilityScore:
    def test_of_a_pyramid_is_the_ratio_of_two_squares(self):
        """Logits 40.5 - max(|x|, |y|) are above 1 on 79 x 79 pixels and above -1 on 83 x 83."""
        y, x = np.mgrid[-100:101, -100:101]
        distance = np.maximum(np.abs(x), np.abs(y))
        logits = np.stack([40.5 - distance, 80.5 - distance]).astype(np.float32)
        assert stability_score(logits) == pytest.approx([(79 / 83) ** 2, (159 / 163) ** 2])
        assert stability_score(logits, offset=5.0) == pytest.approx([(71 / 91) ** 2, (151 / 171) ** 2])
        assert stability_score(logits, threshold=10.0)[0] == pytest.approx((59 / 63) ** 2)

    def test_is_one_where_nothing_is_in_doubt_and_zero_without_a_mask(self):
        sure, none = np.where(np.eye(4) > 0, 9.0, -9.0), np.full((4, 4), -9.0)
        assert stability_score(np.stack([sure, none]).astype(np.float32)).tolist() == [1.0, 0.0]

    def test_keeps_the_leading_shape(self):
        assert stability_score(np.zeros((2, 3, 8, 8), np.float32)).shape == (2, 3)


def square(x: int, object_id: int, score: float = 1.0) -> Mask:
    array = np.zeros((10, 20), bool)
    array[2:8, x : x + 6] = True
    return Mask.from_array(array, score=score, object_id=object_id)


class TestLabelImage:
    def test_carries_each_id_on_its_pixels(self):
        labels = label_image([square(0, 3), square(10, 255)], (10, 20))
        assert labels.dtype == np.uint8
        assert np.array_equal(labels == 3, square(0, 3).to_array())
        assert np.array_equal(labels == 255, square(10, 255).to_array())
        assert np.count_nonzero(labels) == 72

    @pytest.mark.parametrize("object_id", [256, 65535])
    def test_is_16_bit_past_id_255(self, object_id):
        labels = label_image([square(0, 1), square(10, object_id)], (10, 20))
        assert labels.dtype == np.uint16
        assert set(np.unique(labels)) == {0, 1, object_id}

    def test_refuses_an_id_that_16_bits_do_not_hold(self):
        with pytest.raises(InvalidInputError, match="object ids up to 65535, what 16 bits hold, got 65536"):
            label_image([square(0, 65536)], (10, 20))

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_puts_the_better_score_on_top(self, order):
        better, worse = square(2, 1, score=0.9), square(5, 2, score=0.4)
        labels = label_image([(better, worse)[i] for i in order], (10, 20))
        assert np.array_equal(labels == 1, better.to_array())
        assert np.array_equal(labels == 2, worse.to_array() & ~better.to_array())

    def test_without_masks_is_empty(self):
        labels = label_image([], (10, 20))
        assert labels.shape == (10, 20) and labels.dtype == np.uint8 and not labels.any()


class TestLargeComponents:
    def test_keeps_the_largest_and_where_it_was(self):
        array = np.zeros((60, 80), bool)
        array[3:6, 4:9], array[30:50, 40:70], array[55, 79] = True, True, True
        mask = large_components(Mask.from_array(array, score=0.6, object_id=4, label="can"))
        expected = np.zeros_like(array)
        expected[30:50, 40:70] = True
        assert np.array_equal(mask.to_array(), expected)
        assert mask.crop.shape == (20, 30)
        assert (mask.score, mask.object_id, mask.label) == (0.6, 4, "can")

    def test_parts_of_a_share_of_the_largest_stay(self):
        array = np.zeros((60, 80), bool)
        array[3:6, 4:9], array[30:50, 40:70], array[10:20, 60:70] = True, True, True  # 15, 600 and 100 pixels
        kept = large_components(Mask.from_array(array), 0.1).to_array()
        assert kept[15, 65] and kept[40, 50] and not kept[4, 5]
        assert kept.sum() == 700

    def test_parts_that_touch_at_a_corner_are_one(self):
        array = np.eye(6, dtype=bool)
        assert np.array_equal(large_components(Mask.from_array(array)).to_array(), array)

    def test_of_an_empty_mask_is_empty(self):
        assert large_components(Mask.from_array(np.zeros((4, 5), bool))).is_empty
        assert large_components(Mask(np.zeros((3, 3), bool), 1, 1, (9, 9))).is_empty


class TestOverlay:
    color = np.random.default_rng(8).integers(0, 256, (60, 80, 3), dtype=np.uint8)

    @staticmethod
    def disk() -> Mask:
        return Mask.from_array(np.hypot(*(np.indices((60, 80)) - [[[30]], [[40]]])) < 18, object_id=5)

    def test_changes_only_the_mask_and_its_outline(self):
        before = self.color.copy()
        picture = draw_overlay(self.color, [self.disk()])
        near = cv2.dilate(self.disk().to_array().astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        assert np.array_equal(picture[~near], self.color[~near])
        assert np.array_equal(self.color, before), "the frame's own image was drawn on"

    def test_tints_the_inside_by_the_opacity(self):
        picture = draw_overlay(self.color, [self.disk()], opacity=0.25)
        inside = cv2.erode(self.disk().to_array().astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        expected = 0.75 * self.color[inside] + 0.25 * np.array(object_color(5))
        assert np.abs(picture[inside].astype(float) - expected).max() <= 1

    def test_outlines_in_the_objects_colour(self):
        picture = draw_overlay(self.color, [self.disk()])
        assert np.all(picture[self.disk().boundary()] == object_color(5), axis=1).mean() > 0.8

    def test_takes_a_frames_read_only_image_and_no_masks(self):
        self.color.flags.writeable = False
        try:
            empty = Mask.from_array(np.zeros((60, 80), bool))
            assert np.array_equal(draw_overlay(self.color, []), self.color)
            assert np.array_equal(draw_overlay(self.color, [empty]), self.color)
        finally:
            self.color.flags.writeable = True

    def test_colours_of_neighbouring_ids_are_far_apart(self):
        colors = np.array([object_color(object_id) for object_id in range(1, 13)], dtype=float)
        apart = np.linalg.norm(colors[:, None] - colors[None], axis=2)
        assert apart[~np.eye(12, dtype=bool)].min() > 20
        assert min(apart[i, i + 1] for i in range(11)) > 120


def test_masks_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        square(0, 1).score = 2.0


def test_components_at_keeps_the_parts_that_were_clicked():
    array = np.zeros((60, 90), bool)
    array[10:20, 10:20] = array[10:20, 40:50] = array[40:50, 60:80] = True
    mask = Mask.from_array(array, score=0.7, object_id=3, label="can")
    one = components_at(mask, np.array([[14.0, 15.0]]))
    assert one.box == (10, 10, 20, 20) and (one.score, one.object_id, one.label) == (0.7, 3, "can")
    two = components_at(mask, np.array([[14.0, 15.0], [83.0, 45.0]]))  # the second 4 px beside its part
    assert two.area == 100 + 200 and not two.to_array()[15, 45]
    assert components_at(mask, np.array([[30.0, 55.0]])).area == mask.area  # near none: nothing is taken away
    empty = Mask.from_array(np.zeros((4, 5), bool))
    assert components_at(empty, np.array([[1.0, 1.0]])).is_empty
