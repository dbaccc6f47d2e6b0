"""Training reads what `sam-perception sim dataset` writes, in an order that the seed decides."""

from __future__ import annotations

import itertools
import json

import cv2
import numpy as np
import pytest
from tiny_dataset import CAMERA, write_tiny_dataset

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from sam_perception.errors import InvalidInputError  # noqa: E402
from sam_perception.training.config import Phase  # noqa: E402
from sam_perception.training.data import TrainingViews, collate, find_views, read_view  # noqa: E402

PHASE = Phase(1, 64, objects=3, smallest_object=20)
VALID = 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_dataset(tmp_path_factory.mktemp("set"), views=6)


def take(views: TrainingViews, count: int) -> list:
    return list(itertools.islice(views, count))


def test_views_are_found_in_order_with_their_cameras(folder):
    views = find_views(folder)
    assert [view.labels.name for view in views] == [f"{i:06d}-0.png" for i in range(6)]
    assert {(view.camera.fx, view.camera.cy) for view in views} == {(CAMERA["fx"], CAMERA["cy"])}
    view = read_view(views[0])
    inside = view.labels > 0
    assert {tuple(pixel) for pixel in view.color[inside]} == {(60, 150, 230)}  # RGB
    assert set(np.unique(view.depth_m[inside])) == {np.float32(0.7)}


def test_a_sample_has_what_the_phase_asks_for(folder):
    batch = collate(take(TrainingViews([folder], PHASE, seed=1), 3))
    assert batch.images.shape == (3, 8, 64, 64) and batch.images.dtype == torch.float32
    assert batch.surfaces.shape == (3, 3, 32, 32)
    assert batch.truths.shape == (3, 3, 64, 64) and batch.truths.dtype == torch.bool
    assert batch.side_targets.shape == (3, 4, 16, 16)
    assert (batch.truths.sum(dim=(2, 3)) >= PHASE.smallest_object).all()
    covered = torch.nn.functional.avg_pool2d(batch.truths.any(dim=1, keepdim=True).float(), 4)[:, 0]
    assert (batch.side_targets[:, 0] >= covered - 1e-6).all()


def test_truth_lies_where_the_input_shows_the_object(tmp_path):
    """Within a tenth of an input pixel, in colour and in depth: a shift would cost every mask its outline."""
    folder = write_tiny_dataset(tmp_path / "set", views=10, objects=6)
    for view in find_views(folder):  # depth on the objects only, so that its validity shows them
        labels = cv2.imread(str(view.labels), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(view.depth), np.where(labels > 0, 700, 0).astype(np.uint16))
    offsets: dict[str, list] = {"colour": [], "depth": []}
    at = np.mgrid[:64, :64].astype(float)
    for image, _, truths, _ in take(TrainingViews([folder], PHASE, seed=3), 80):
        shown = {"colour": image[:3].sum(dim=0).numpy(), "depth": image[VALID].numpy()}
        for truth in truths.unique(dim=0).numpy():
            around = cv2.dilate(truth.astype(np.uint8), np.ones((7, 7))) > 0
            on_edge = around[0].any() or around[-1].any() or around[:, 0].any() or around[:, -1].any()
            if on_edge or (around & truths.any(dim=0).numpy() & ~truth).any():
                continue
            for kind, values in shown.items():
                low, high = values[around & ~truth].mean(), values[truth].mean()
                if high - low < 0.5:  # lost in this view
                    continue
                weight = np.clip((values - low) / (high - low), 0, 1) * around
                offsets[kind].append([(a * weight).sum() / weight.sum() - a[truth].mean() for a in at])
    for kind, found in offsets.items():
        assert len(found) > 80, kind
        middle = np.sort(found, axis=0)[len(found) // 10 : -len(found) // 10].mean(axis=0)
        assert np.abs(middle).max() < 0.1, (kind, middle)


def test_the_seed_decides_the_order_and_every_epoch_has_another(folder):
    def first_images(seed):
        return torch.stack([sample[0] for sample in take(TrainingViews([folder], PHASE, seed), 4)])

    assert torch.equal(first_images(5), first_images(5))
    assert not torch.equal(first_images(5), first_images(6))


def test_every_view_is_seen_once_in_each_epoch(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(TrainingViews, "_sample", lambda self, files, rng: seen.append(files.labels.name) or (0,))
    take(TrainingViews([folder], PHASE, seed=2), 18)
    epochs = [seen[i : i + 6] for i in (0, 6, 12)]
    assert all(sorted(epoch) == [f"{i:06d}-0.png" for i in range(6)] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_it_goes_on_where_it_stopped(folder):
    whole = take(TrainingViews([folder], PHASE, seed=2), 8)
    rest = take(TrainingViews([folder], PHASE, seed=2, first=5), 3)
    for ours, theirs in zip(rest, whole[5:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_workers_share_the_views_among_them(folder):
    loader = torch.utils.data.DataLoader(TrainingViews([folder], PHASE, seed=2), None, num_workers=2)
    workers = iter(loader)
    ours = [next(workers)[0] for _ in range(4)]
    del workers
    for image, sample in zip(ours, take(TrainingViews([folder], PHASE, seed=2), 4), strict=True):
        assert torch.equal(image, sample[0])


def test_a_view_without_objects_is_passed_over(tmp_path):
    folder = write_tiny_dataset(tmp_path / "set", views=2)
    empty = find_views(folder)[0].labels
    cv2.imwrite(str(empty), np.zeros((90, 122), np.uint8))
    for _, _, truths, _ in take(TrainingViews([folder], PHASE, seed=1), 4):
        assert truths.flatten(1).any(dim=1).all()


def test_sets_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InvalidInputError, match=r"sim dataset.*no finished world"):
        find_views(tmp_path)
    folder = write_tiny_dataset(tmp_path / "set", views=1)
    (view,) = find_views(folder)
    view.depth.write_bytes(b"\x89PNG")
    with pytest.raises(InvalidInputError, match=r"readable PNG.*000000-0\.png"):
        read_view(view)


def test_a_set_that_still_grows_is_read_as_far_as_it_is(tmp_path):
    folder = write_tiny_dataset(tmp_path / "set", views=4)
    (folder / "annotations/000001.json").unlink()  # a world that is not finished
    assert len(find_views(folder)) == 2
    entry = json.loads((folder / "annotations/000000.json").read_text())["images"][0]
    assert (folder / entry["file_name"]).is_file()
