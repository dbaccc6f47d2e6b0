"""Low-resolution masks are enlarged along the edges of the image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sam_perception.models.edge_aware import color_bins, color_evidence, enlarge, make_guide  # noqa: E402


def disc(height: int, width: int, radius: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (width // 2, height // 2), radius, 1, cv2.FILLED)
    return mask.astype(bool)


def picture(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    color = np.where(mask[..., None], (200, 90, 60), (70, 110, 160)) + rng.normal(0, 4, (*mask.shape, 3))
    return np.clip(color, 0, 255).astype(np.uint8)


def low_resolution(mask: np.ndarray, side: int = 48) -> torch.Tensor:
    """Logits of a network that knows the shape, blurred and a pixel too large."""
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(np.float32)
    small = cv2.GaussianBlur(cv2.resize(grown, (side, side), interpolation=cv2.INTER_AREA), (0, 0), 1.0)
    return torch.from_numpy(12 * (small - 0.5))[None, None]


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize("size", [(480, 640), (720, 1280), (120, 160)])
def test_outlines_move_to_the_edge_of_the_colours(size):
    mask = disc(*size, radius=size[0] // 6)
    logits = low_resolution(mask)
    bilinear = torch.nn.functional.interpolate(logits, size, mode="bilinear", align_corners=False)[0, 0].numpy() > 0
    guided = enlarge(logits, make_guide(torch.from_numpy(picture(mask, np.random.default_rng(0)))))[0, 0].numpy() > 0
    assert iou(guided, mask) > iou(bilinear, mask) + 0.02


def test_colours_correct_what_the_network_doubts_far_from_any_edge():
    """A lobe of table that the network took weakly is given back, a part that it weakly left out is taken."""
    mask = disc(240, 320, radius=60)
    doubtful = low_resolution(mask)
    doubtful[..., 20:28, 32:40] = 0.8  # on the table, right of the disc
    doubtful[..., 20:28, 17:22] = -0.8  # on the disc, left of its middle
    guided = enlarge(doubtful, make_guide(torch.from_numpy(picture(mask, np.random.default_rng(4)))))[0, 0].numpy() > 0
    bilinear = torch.nn.functional.interpolate(doubtful, (240, 320), mode="bilinear", align_corners=False)
    assert iou(bilinear[0, 0].numpy() > 0, mask) < 0.75
    assert iou(guided, mask) > 0.95


def test_without_edges_the_mask_stays_where_the_network_put_it():
    mask = disc(240, 320, radius=50)
    logits = low_resolution(mask)
    bilinear = (
        torch.nn.functional.interpolate(logits, (240, 320), mode="bilinear", align_corners=False)[0, 0].numpy() > 0
    )
    grey = torch.full((240, 320, 3), 128, dtype=torch.uint8)
    assert iou(enlarge(logits, make_guide(grey))[0, 0].numpy() > 0, bilinear) > 0.95


def test_masks_do_not_depend_on_their_neighbours():
    guide = make_guide(torch.from_numpy(picture(disc(120, 160, 30), np.random.default_rng(1))))
    one, other = low_resolution(disc(120, 160, 30)), low_resolution(disc(120, 160, 12))
    together = enlarge(torch.cat([one, other]), guide)
    torch.testing.assert_close(together[1:], enlarge(other, guide))
    assert torch.isfinite(together).all()


@pytest.mark.parametrize("size", [(375, 500), (479, 847), (241, 323)])
def test_outlines_stay_in_place_where_the_image_is_no_multiple_of_the_working_size(size):
    height, width = size
    mask = np.zeros(size, np.uint8)
    cv2.circle(mask, (width - height // 4, height - height // 4), height // 7, 1, cv2.FILLED)
    mask = mask.astype(bool)
    enlarged = enlarge(low_resolution(mask), make_guide(torch.from_numpy(picture(mask, np.random.default_rng(2)))))
    guided = enlarged[0, 0].numpy() > 0
    assert guided.shape == size
    assert iou(guided, mask) > 0.85
    offset = np.argwhere(guided).mean(axis=0) - np.argwhere(mask).mean(axis=0)
    assert np.abs(offset).max() < 1.0


def test_an_empty_mask_stays_empty():
    guide = make_guide(torch.from_numpy(picture(disc(120, 160, 30), np.random.default_rng(3))))
    assert not (enlarge(torch.full((2, 1, 48, 48), -10.0), guide) > 0).any()


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_colour_beside_the_objects_speaks_for_it_and_one_further_away_does_not(channel: int) -> None:
    levels = torch.full((3, 1, 200), 8)
    levels[:, :, 100:] = 2  # the background
    levels[channel, 0, 100], levels[channel, 0, 101] = 9, 10
    levels[[c for c in range(3) if c != channel], 0, 100:102] = 8
    logits = torch.full((1, 200), 9.0)
    logits[:, 100:] = -9.0
    evidence = color_evidence(logits, color_bins((levels + 0.5) / 16).flatten()[None])[0]
    assert evidence[0] > evidence[100] > 0.5
    assert evidence[101] < 0 and evidence[150] < -1
