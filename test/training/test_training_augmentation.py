"""However a view is turned, cropped and mirrored, its camera still says where things are, and its images agree."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from sam_perception.training.augmentation import Intrinsics, TrainingView, augment, recolored

SIZE, SIDE, BLOB = (150, 210), 96, 9
CAMERA = Intrinsics(200.0, 200.4, 96.0, 81.0)
SEEDS = range(60)


def view_with_blobs() -> TrainingView:
    """White squares, numbered, each at a depth of its own, on a black wall 1.6 m away."""
    rng = np.random.default_rng(0)
    labels, depth_m = np.zeros(SIZE, np.uint8), np.full(SIZE, 1.6, np.float32)
    cells = [(y, x) for y in range(6, SIZE[0] - BLOB, 24) for x in range(6, SIZE[1] - BLOB, 24)]
    for label, (y, x) in enumerate(cells, 1):
        part = (slice(y, y + BLOB), slice(x, x + BLOB))
        labels[part], depth_m[part] = label, rng.uniform(0.5, 1.5)
    color = np.repeat(np.where(labels > 0, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
    return TrainingView(color, depth_m, labels, CAMERA)


def points_of(view: TrainingView) -> dict[int, np.ndarray]:
    """The middle of each square that is whole, in metres in the camera's frame."""
    points = {}
    for label in range(1, view.labels.max() + 1):
        rows, columns = np.nonzero(view.labels == label)
        height, width = view.labels.shape
        cut = len(rows) == 0 or min(rows.min(), columns.min(), height - 1 - rows.max(), width - 1 - columns.max()) == 0
        if cut or abs(len(rows) - BLOB**2) > 6:
            continue
        z = float(np.median(view.depth_m[rows, columns]))
        if z > 0:
            camera = view.camera
            x, y = (columns.mean() - camera.cx) / camera.fx, (rows.mean() - camera.cy) / camera.fy
            points[label] = z * np.array([x, y, 1.0])
    return points


def similarity(a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, orthogonal matrix (a mirror is allowed) that take b to a about the camera; and what is left, in metres.

    Rotation, cropping and mirroring leave the camera where it is, so there is no translation.
    """
    u, singular, vt = np.linalg.svd(a.T @ b)
    scale = singular.sum() / (b**2).sum()
    return scale, u @ vt, a - scale * b @ (u @ vt).T


@pytest.fixture(scope="module")
def augmented() -> list[TrainingView]:
    view = view_with_blobs()
    return [augment(view, np.random.default_rng(seed), SIDE) for seed in SEEDS]


def test_points_keep_their_places_around_the_camera(augmented):
    before = points_of(view_with_blobs())
    kinds = {"plain": 0, "mirrored": 0, "turned": 0}
    for after in (view for view in augmented if view.depth_m is not None):
        points = points_of(after)
        if len(points) < 6:
            continue
        common = sorted(points)
        scale, turn, left = similarity(np.stack([points[i] for i in common]), np.stack([before[i] for i in common]))
        assert 0.9 <= scale <= 1.1
        mirrored = np.linalg.det(turn) < 0
        proper = turn @ np.diag([-1.0, 1, 1]) if mirrored else turn
        angle = np.degrees(np.arccos(np.clip((np.trace(proper) - 1) / 2, -1, 1)))
        assert abs(proper[2, 2] - 1) < 1e-3  # about the optical axis
        turned = angle > 0.5
        assert angle < 25.5
        # In pixels: the middles of squares that were turned lie a fraction of a pixel off, those of others do not.
        error_px = np.abs(left[:, :2]).max() * CAMERA.fx
        assert error_px < (0.6 if turned else 0.01)
        kinds["turned" if turned else "mirrored" if mirrored else "plain"] += 1
    assert min(kinds.values()) >= 4, kinds


def test_depth_and_labels_are_of_the_same_pixels(augmented):
    """Every pixel of a square has that square's depth, or none; nearest-neighbour sampling mixes no two."""
    truth = view_with_blobs()
    for after in (view for view in augmented if view.depth_m is not None):
        assert after.depth_m.shape == after.labels.shape
        assert after.depth_m.dtype == np.float32
        scales = set()
        for label in range(1, truth.labels.max() + 1):
            seen = after.depth_m[(after.labels == label) & (after.depth_m > 0)]
            scales |= set(np.round(seen / truth.depth_m[truth.labels == label][0], 4))
        assert len(scales) <= 2  # one scale, rounded up or down


def test_colour_shows_the_objects_where_the_labels_are(augmented):
    checked = 0
    for after in augmented:
        assert after.color.shape == (SIDE, SIDE, 3)
        brightness = after.color.astype(float).mean(axis=2)
        height, width = after.labels.shape
        y, x = (np.arange(SIDE) + 0.5) / SIDE * height, (np.arange(SIDE) + 0.5) / SIDE * width
        labels = after.labels[y.astype(int)][:, x.astype(int)] > 0
        if brightness.std() < 1 or not labels.any():
            continue  # without colour
        shown = brightness > (brightness[labels].mean() + brightness[~labels].mean()) / 2
        assert (shown & labels).sum() / (shown | labels).sum() > 0.75
        checked += 1
    assert checked > 45


def test_some_views_lose_their_depth_some_their_colour_and_none_both(augmented):
    no_depth = [view.depth_m is None for view in augmented]
    no_color = [view.color.std() == 0 for view in augmented]
    assert 2 <= sum(no_depth) <= 16
    assert 1 <= sum(no_color) <= 14
    assert not any(a and b for a, b in zip(no_depth, no_color, strict=True))
    assert any((view.depth_m == 0).mean() > 0.01 for view in augmented if view.depth_m is not None)


def test_a_window_shows_its_share_of_the_view_and_an_object():
    view = view_with_blobs()
    for seed in range(20):
        after = augment(view, np.random.default_rng(seed), SIDE, window=(0.3, 0.4))
        share = np.sqrt(after.labels.size / view.labels.size)
        assert 0.28 < share < 0.42
        assert after.labels.any()


def test_a_view_without_objects_and_a_tiny_one_are_no_obstacle():
    view = view_with_blobs()
    empty = TrainingView(view.color, view.depth_m, np.zeros_like(view.labels), CAMERA)
    tiny = TrainingView(view.color[:20, :20], view.depth_m[:20, :20], view.labels[:20, :20], CAMERA)
    for seed in range(10):
        for each in (empty, tiny):
            assert augment(each, np.random.default_rng(seed), 32).color.shape == (32, 32, 3)


def test_the_generator_decides_everything(augmented):
    again = augment(view_with_blobs(), np.random.default_rng(SEEDS[3]), SIDE)
    for name in ("color", "depth_m", "labels"):
        np.testing.assert_array_equal(getattr(again, name), getattr(augmented[3], name))
    assert again.camera == augmented[3].camera


def test_recolouring_changes_colours_strongly_but_no_shapes():
    image = np.zeros((32, 32, 3), np.uint8)
    image[8:24, 8:24] = (200, 120, 60)
    means = np.array([recolored(image, np.random.default_rng(seed))[10:22, 10:22].mean(axis=(0, 1)) for seed in SEEDS])
    assert (means.std(axis=0) > 25).all()
    assert (means.argmax(axis=1) != 0).any()  # other hues
