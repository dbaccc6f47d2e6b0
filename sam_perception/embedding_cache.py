"""An LRU cache of embeddings with a memory budget."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable

from sam_perception.errors import InvalidInputError
from sam_perception.models.base import Embedding


class EmbeddingCache:
    """Least recently used embeddings go first; not thread-safe, the engine guards it.

    Args:
        max_bytes: what the cached embeddings may hold together. One that is larger than all of it is not kept.
    """

    def __init__(self, max_bytes: int = 1 << 30) -> None:
        if not max_bytes >= 0:
            raise InvalidInputError.for_field("cache_bytes", "0 or more", max_bytes)
        self._max_bytes = max_bytes
        self._embeddings: OrderedDict[Hashable, Embedding] = OrderedDict()
        self._bytes = 0
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._embeddings)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._embeddings

    @property
    def nbytes(self) -> int:
        """Memory that the cached embeddings hold."""
        return self._bytes

    def get(self, key: Hashable) -> Embedding | None:
        """The embedding under this key, now the most recently used; None when it is not cached."""
        embedding = self._embeddings.get(key)
        if embedding is not None:
            self._embeddings.move_to_end(key)
        return embedding

    def put(self, key: Hashable, embedding: Embedding) -> None:
        """Keep an embedding, at the cost of the least recently used ones."""
        self.discard([key])
        if embedding.nbytes > self._max_bytes:
            return
        while self._bytes + embedding.nbytes > self._max_bytes:
            _, evicted = self._embeddings.popitem(last=False)
            self._bytes -= evicted.nbytes
            self.evictions += 1
        self._embeddings[key] = embedding
        self._bytes += embedding.nbytes

    def discard(self, keys: Iterable[Hashable]) -> None:
        """Forget these keys, cached or not."""
        for key in keys:
            embedding = self._embeddings.pop(key, None)
            if embedding is not None:
                self._bytes -= embedding.nbytes

    def clear(self) -> None:
        """Forget everything."""
        self._embeddings.clear()
        self._bytes = 0
