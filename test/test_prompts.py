"""Prompts refuse what no model could answer, and say which field and why."""

import numpy as np
import pytest

from sam_perception.errors import InvalidInputError
from sam_perception.prompts import BACKGROUND, FOREGROUND, Prompt

HEIGHT, WIDTH = 480, 640


def message_of(make) -> str:
    with pytest.raises(InvalidInputError) as caught:
        make()
    return str(caught.value)


def some_mask() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[100:200, 50:90] = True
    return mask


class TestPoints:
    def test_lists_tuples_and_arrays_say_the_same(self):
        for points in ([[320, 240], [10.5, 20]], ((320, 240), (10.5, 20)), np.array([[320, 240], [10.5, 20]], "f4")):
            prompt = Prompt(points=points)
            assert prompt.point_array.dtype == np.float64
            assert prompt.point_array.tolist() == [[320.0, 240.0], [10.5, 20.0]]

    def test_unlabelled_points_are_all_foreground(self):
        assert Prompt(points=[[1, 2], [3, 4]]).label_array.tolist() == [FOREGROUND, FOREGROUND]
        assert Prompt(points=[[1, 2], [3, 4]], labels=[]).label_array.tolist() == [FOREGROUND, FOREGROUND]

    def test_labels_are_kept_for_their_points(self):
        prompt = Prompt(points=[[1, 2], [3, 4], [5, 6]], labels=[1, 0, 1])
        assert prompt.label_array.tolist() == [FOREGROUND, BACKGROUND, FOREGROUND]
        assert prompt.label_array.dtype == np.uint8

    def test_does_not_follow_the_callers_array(self):
        points, labels, box = np.array([[1.0, 2.0]]), np.array([1], np.uint8), np.array([1.0, 2.0, 3.0, 4.0])
        prompt = Prompt(points=points, labels=labels, box=box)
        points[:], labels[:], box[:] = 99, 0, 99
        assert prompt.point_array.tolist() == [[1.0, 2.0]] and prompt.label_array.tolist() == [1]
        assert prompt.box_array.tolist() == [1.0, 2.0, 3.0, 4.0]

    @pytest.mark.parametrize(
        ("points", "complaint"),
        [
            ([320, 240], "shape (N, 2)"),
            ([[320, 240, 1]], "shape (N, 2)"),
            ([[[320, 240]]], "shape (N, 2)"),
            (320, "shape (N, 2)"),
            ([[320, 240], [1]], "an array of numbers"),
            ([["320", "240"]], "an array of numbers"),
            ("320 240", "an array of numbers"),
            ([[320, None]], "an array of numbers"),
            ([[320, 240j]], "an array of numbers"),
            ([[float("nan"), 240]], "finite numbers"),
            ([[320, float("inf")]], "finite numbers"),
        ],
    )
    def test_refuses_what_is_no_list_of_pixels(self, points, complaint):
        assert f"Prompt.points: expected {complaint}" in message_of(lambda: Prompt(points=points))

    @pytest.mark.parametrize(
        ("labels", "complaint"),
        [
            ([1], "one for each of the 2 points, got (1,)"),
            ([1, 0, 1], "one for each of the 2 points, got (3,)"),
            ([[1], [0]], "one for each of the 2 points, got (2, 1)"),
            ([1, 2], "0 (background) or 1 (foreground), got 2"),
            ([1, -1], "0 (background) or 1 (foreground), got -1"),
            ([1, 0.5], "0 (background) or 1 (foreground), got 0.5"),
            ([1, float("nan")], "finite numbers, got NaN or inf"),
            (["fg", "bg"], "an array of numbers"),
        ],
    )
    def test_refuses_labels_that_do_not_label_the_points(self, labels, complaint):
        message = message_of(lambda: Prompt(points=[[1, 2], [3, 4]], labels=labels))
        assert message.startswith("Prompt.labels: expected ") and complaint in message

    def test_refuses_labels_without_points(self):
        assert "one for each of the 0 points" in message_of(lambda: Prompt(box=[1, 2, 3, 4], labels=[1]))

    @pytest.mark.parametrize("point", [(-0.001, 240), (320, -0.001), (WIDTH, 240), (320, HEIGHT), (1e300, 1e300)])
    def test_refuses_points_beyond_each_edge_of_the_image(self, point):
        prompt = Prompt(points=[[5, 5], point])
        message = message_of(lambda: prompt.fitted_to(HEIGHT, WIDTH))
        assert message.startswith("Prompt.points[1]: expected a pixel of the 640x480 image, got (")

    def test_takes_the_corners_of_the_image(self):
        corners = [[0, 0], [WIDTH - 1, 0], [0, HEIGHT - 1], [WIDTH - 1, HEIGHT - 1], [WIDTH - 0.01, HEIGHT - 0.01]]
        assert Prompt(points=corners).fitted_to(HEIGHT, WIDTH).point_array.tolist() == corners

    def test_takes_ten_thousand_points(self):
        points = np.random.default_rng(0).uniform(0, [WIDTH, HEIGHT], (10_000, 2))
        assert np.array_equal(Prompt(points=points).fitted_to(HEIGHT, WIDTH).point_array, points)


class TestBox:
    @pytest.mark.parametrize(
        ("box", "complaint"),
        [
            ([10, 10, 20], "shape (4,)"),
            ([[10, 10, 20, 20]], "shape (4,)"),
            (7, "shape (4,)"),
            ([10, 10, 10, 20], "x_min < x_max and y_min < y_max, got [10, 10, 10, 20]"),
            ([10, 20, 20, 20], "x_min < x_max and y_min < y_max"),
            ([20, 10, 10, 20], "x_min < x_max and y_min < y_max"),
            ([10, 20, 20, 10], "x_min < x_max and y_min < y_max"),
            ([10, 10, float("nan"), 20], "finite numbers"),
            ([10, 10, float("inf"), 20], "finite numbers"),
            (["a", "b", "c", "d"], "an array of numbers"),
        ],
    )
    def test_refuses_what_is_no_box(self, box, complaint):
        assert f"Prompt.box: expected {complaint}" in message_of(lambda: Prompt(box=box))

    @pytest.mark.parametrize(
        "box",
        [
            (-50, 10, -1, 20),
            (-50, 10, 0, 20),
            (WIDTH, 10, WIDTH + 9, 20),
            (10, -50, 20, 0),
            (10, HEIGHT, 20, HEIGHT + 9),
        ],
    )
    def test_refuses_a_box_beside_the_image(self, box):
        message = message_of(lambda: Prompt(box=box).fitted_to(HEIGHT, WIDTH))
        assert "Prompt.box: expected a box that overlaps the 640x480 image" in message

    def test_is_cut_to_the_image_and_the_rest_stays(self):
        prompt = Prompt(points=[[5, 6]], labels=[0], box=[-30, -1e9, 1e9, 100.5], text="mug", object_id=7)
        fitted = prompt.fitted_to(HEIGHT, WIDTH)
        assert fitted.box_array.tolist() == [0, 0, WIDTH, 100.5]
        assert fitted.point_array.tolist() == [[5, 6]] and fitted.label_array.tolist() == [0]
        assert (fitted.text, fitted.object_id) == ("mug", 7)
        assert prompt.box_array.tolist() == [-30, -1e9, 1e9, 100.5]

    def test_inside_the_image_stays_as_it_is(self):
        assert Prompt(box=[0, 0, WIDTH, HEIGHT]).fitted_to(HEIGHT, WIDTH).box_array.tolist() == [0, 0, WIDTH, HEIGHT]


class TestMaskAndLogits:
    @pytest.mark.parametrize(
        ("mask", "complaint"),
        [
            (np.ones((4, 4), np.uint8), "a numpy array of dtype bool, got uint8"),
            ([[True]], "a numpy array of dtype bool, got <class 'list'>"),
            (np.ones((4, 4, 1), bool), "shape (H, W), got (4, 4, 1)"),
            (np.ones(4, bool), "shape (H, W), got (4,)"),
            (np.zeros((4, 4), bool), "at least one pixel that is set, got an empty mask"),
            (np.zeros((0, 4), bool), "at least one pixel that is set, got an empty mask"),
        ],
    )
    def test_refuses_what_is_no_mask(self, mask, complaint):
        assert message_of(lambda: Prompt(mask=mask)) == f"Prompt.mask: expected {complaint}"

    def test_refuses_a_mask_of_another_image(self):
        message = message_of(lambda: Prompt(mask=some_mask()).fitted_to(WIDTH, HEIGHT))
        assert message == "Prompt.mask: expected the image's shape (640, 480), got (480, 640)"

    def test_takes_a_mask_of_the_images_size(self):
        mask = some_mask()
        assert np.array_equal(Prompt(mask=mask).fitted_to(HEIGHT, WIDTH).mask, mask)

    @pytest.mark.parametrize("logits", [np.zeros(4), np.zeros((1, 4, 4)), np.zeros((0, 4)), [["a"]], [[np.nan]]])
    def test_refuses_what_are_no_logits(self, logits):
        assert message_of(lambda: Prompt(logits=logits)).startswith("Prompt.logits: expected ")

    def test_refuses_mask_and_logits_together(self):
        with pytest.raises(InvalidInputError, match="mask or logits, got both"):
            Prompt(mask=some_mask(), logits=np.zeros((256, 256), np.float32))


class TestKinds:
    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"points": []},
            {"points": np.zeros((0, 2)), "labels": []},
            {"box": []},
            {"text": ""},
            {"text": " \t\n"},
            {"points": [], "box": [], "text": "  "},
        ],
    )
    def test_refuses_a_prompt_that_says_nothing(self, given):
        message = message_of(lambda: Prompt(**given))
        assert message == "Prompt: expected at least one of points, box, mask, logits or text, got none"

    @pytest.mark.parametrize(
        ("given", "kinds"),
        [
            ({"points": [[1, 2]]}, {"points"}),
            ({"box": [1, 2, 3, 4]}, {"box"}),
            ({"mask": some_mask()}, {"mask"}),
            ({"logits": [[1.0]]}, {"logits"}),
            ({"text": " red mug "}, {"text"}),
            ({"points": [[1, 2]], "box": [1, 2, 3, 4], "mask": some_mask(), "text": "mug"},
             {"points", "box", "mask", "text"}),
        ],
    )  # fmt: skip
    def test_names_what_it_carries(self, given, kinds):
        assert Prompt(**given).kinds == kinds

    def test_text_loses_the_space_around_it(self):
        assert Prompt(text="  red mug\n").text == "red mug"

    @pytest.mark.parametrize("text", [None, 5, b"mug", ["mug"]])
    def test_refuses_text_that_is_none(self, text):
        assert message_of(lambda: Prompt(points=[[1, 2]], text=text)).startswith("Prompt.text: expected a string, got ")

    @pytest.mark.parametrize("object_id", [-1, 1.0, "1", None, True])
    def test_refuses_an_object_id_that_is_no_number_of_an_object(self, object_id):
        message = message_of(lambda: Prompt(points=[[1, 2]], object_id=object_id))
        assert message == f"Prompt.object_id: expected an integer, 0 or more, got {object_id!r}"

    def test_object_id_is_a_plain_integer(self):
        assert type(Prompt(points=[[1, 2]], object_id=np.uint32(3)).object_id) is int
