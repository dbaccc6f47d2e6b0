"""Textures: kinds, tiling, and splits that share none."""

from __future__ import annotations

import numpy as np
import pytest

from sam_perception.sim.objects_parts import Split
from sam_perception.sim.textures import KIND_COUNTS, cloud_noise, make_textures


@pytest.fixture(scope="module")
def textures():
    return make_textures(Split.TRAIN, np.random.default_rng(0))


def test_a_world_has_as_many_textures_of_each_kind_as_promised(textures):
    for kind, count in KIND_COUNTS.items():
        assert sum(texture.kind == kind for texture in textures) == count
    assert all(texture.image.dtype == np.uint8 and texture.image.shape[2] == 3 for texture in textures)


def test_labels_are_busy_and_all_different(textures):
    labels = [texture.image for texture in textures if texture.kind == "label"]
    assert min(len(np.unique(label.reshape(-1, 3), axis=0)) for label in labels) > 3
    assert len({label.tobytes() for label in labels}) == len(labels)


def test_noise_has_no_seam_where_it_repeats():
    noise = cloud_noise(np.random.default_rng(1), 256, (4, 8), octaves=3)
    inner = np.abs(np.diff(noise, axis=1)).mean()
    seam = np.abs(noise[:, 0] - noise[:, -1]).mean()
    assert seam < 3 * inner


def test_the_same_seed_gives_the_same_pixels():
    again = make_textures(Split.TRAIN, np.random.default_rng(0))
    for one, other in zip(make_textures(Split.TRAIN, np.random.default_rng(0)), again, strict=True):
        assert np.array_equal(one.image, other.image)
