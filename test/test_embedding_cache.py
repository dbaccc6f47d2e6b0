"""The embedding cache keeps to its budget and lets the least recently used go first."""

from collections import OrderedDict

import numpy as np
import pytest

from sam_perception.embedding_cache import EmbeddingCache
from sam_perception.errors import InvalidInputError
from sam_perception.models.base import Embedding


class FakeEmbedding(Embedding):
    def __init__(self, nbytes: int):
        self._nbytes = nbytes

    @property
    def nbytes(self) -> int:
        return self._nbytes


def filled(max_bytes: int, **sizes: int) -> EmbeddingCache:
    cache = EmbeddingCache(max_bytes)
    for key, nbytes in sizes.items():
        cache.put(key, FakeEmbedding(nbytes))
    return cache


def test_gives_back_what_was_put():
    cache, embedding = EmbeddingCache(100), FakeEmbedding(40)
    cache.put("a", embedding)
    assert cache.get("a") is embedding and "a" in cache
    assert cache.get("b") is None and "b" not in cache
    assert (len(cache), cache.nbytes, cache.evictions) == (1, 40, 0)


def test_the_oldest_goes_first():
    cache = filled(100, a=40, b=40, c=40)
    assert [key for key in "abc" if key in cache] == ["b", "c"]
    assert (cache.nbytes, cache.evictions) == (80, 1)


def test_what_was_used_stays_longer():
    cache = filled(100, a=40, b=40)
    cache.get("a")
    cache.put("c", FakeEmbedding(40))
    assert [key for key in "abc" if key in cache] == ["a", "c"]


def test_asking_whether_something_is_cached_is_no_use():
    cache = filled(100, a=40, b=40)
    assert "a" in cache
    cache.put("c", FakeEmbedding(40))
    assert "a" not in cache


def test_fills_its_budget_to_the_byte():
    cache = filled(100, a=50, b=50)
    assert (len(cache), cache.nbytes, cache.evictions) == (2, 100, 0)
    cache.put("c", FakeEmbedding(1))
    assert (len(cache), cache.nbytes, cache.evictions) == (2, 51, 1)


def test_a_large_one_pushes_out_several():
    cache = filled(100, a=30, b=30, c=30, d=80)
    assert [key for key in "abcd" if key in cache] == ["d"]
    assert (cache.nbytes, cache.evictions) == (80, 3)


def test_one_larger_than_the_budget_is_not_kept_and_pushes_nothing_out():
    cache = filled(100, a=60, b=101)
    assert "b" not in cache and "a" in cache
    assert (cache.nbytes, cache.evictions) == (60, 0)


def test_without_a_budget_keeps_nothing():
    cache = filled(0, a=1)
    assert len(cache) == 0 and cache.nbytes == 0


def test_the_same_key_is_replaced_and_counted_once():
    cache = filled(100, a=40)
    replacement = FakeEmbedding(70)
    cache.put("a", replacement)
    assert cache.get("a") is replacement
    assert (len(cache), cache.nbytes, cache.evictions) == (1, 70, 0)
    cache.put("a", FakeEmbedding(500))
    assert "a" not in cache and cache.nbytes == 0, "an outdated embedding stayed"


def test_discard_forgets_keys_cached_or_not():
    cache = filled(100, a=30, b=30, c=30)
    cache.discard(["a", "missing", "c"])
    assert [key for key in "abc" if key in cache] == ["b"]
    assert (cache.nbytes, cache.evictions) == (30, 0)


def test_clear_forgets_everything():
    cache = filled(100, a=30, b=30)
    cache.clear()
    assert (len(cache), cache.nbytes, cache.get("a")) == (0, 0, None)


def test_an_infinite_budget_evicts_nothing():
    assert filled(float("inf"), a=10**12, b=10**12).evictions == 0


@pytest.mark.parametrize("max_bytes", [-1, float("nan")])
def test_refuses_a_negative_budget(max_bytes):
    with pytest.raises(InvalidInputError, match="cache_bytes: expected 0 or more"):
        EmbeddingCache(max_bytes)


def test_behaves_as_a_plain_list_in_order_of_use_would():
    """Against the simplest implementation: a dict in order of use, trimmed from its front."""
    rng = np.random.default_rng(0)
    cache, expected, evictions = EmbeddingCache(200), OrderedDict(), 0
    for _ in range(3000):
        key, nbytes, action = int(rng.integers(12)), int(rng.integers(1, 90)), rng.random()
        if action < 0.5:
            cache.put(key, FakeEmbedding(nbytes))
            expected.pop(key, None)
            expected[key] = nbytes
            while sum(expected.values()) > 200:
                expected.popitem(last=False)
                evictions += 1
        elif action < 0.9:
            found = cache.get(key)
            assert (None if found is None else found.nbytes) == expected.get(key)
            if key in expected:
                expected.move_to_end(key)
        else:
            cache.discard([key])
            expected.pop(key, None)
        assert {key for key in range(12) if key in cache} == set(expected)
        assert (cache.nbytes, cache.evictions) == (sum(expected.values()), evictions)
