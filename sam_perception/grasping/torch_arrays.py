"""The arithmetic of ``arrays`` by torch, on a GPU as a rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sam_perception.grasping.arrays import Array, Arrays, Floats, relative_to_points


def torch_arrays(device: torch.device) -> Arrays:
    """On one of torch's devices."""
    return _TorchArrays(device)


class _TorchArrays:
    def __init__(self, device: torch.device) -> None:
        self._device = device

    def of(self, values: NDArray[Any]) -> Array:
        single = values.astype(np.float32) if values.dtype == np.float64 else values
        return torch.from_numpy(np.ascontiguousarray(single)).to(self._device)

    def to_numpy(self, values: Array) -> NDArray[Any]:
        return np.asarray(values.cpu().numpy())

    def in_frames(self, poses: NDArray[np.float64], points: NDArray[np.floating]) -> tuple[Array, Array, Array]:
        axes, around, shift = (self.of(values) for values in relative_to_points(poses, points))
        local = (axes @ around.T).reshape(3, len(poses), len(points)) - shift
        return local[0], local[1], local[2]

    def where(self, mask: Array) -> Array:
        return torch.nonzero(mask.reshape(-1)).reshape(-1)

    def take(self, values: Array, indices: Array) -> Array:
        return values.index_select(0, indices)

    def whole(self, values: Array, most: int) -> Array:
        return values.long().clamp(0, most)

    def dots(self, first: Array, second: Array) -> Array:
        return (first * second).sum(dim=1)

    def least_where(self, values: Array, mask: Array) -> Floats:
        return self.to_numpy(torch.where(mask, values, torch.inf).amin(dim=1))

    def least(self, values: Array, grasp: Array, count: int) -> Floats:
        return self.to_numpy(self._reduced(values, grasp, count, "amin", torch.inf))

    def extremes(self, values: Array, grasp: Array, count: int) -> tuple[Floats, Floats]:
        return self.least(values, grasp, count), self.greatest_at(values, grasp, count)

    def means(self, values: Array, grasp: Array, count: int) -> NDArray[np.float64]:
        sums = torch.zeros(count, dtype=torch.float64, device=self._device).index_add_(0, grasp, values.double())
        # On a GPU the order of the sum is not fixed; rounded, its last digits make no difference from run to run.
        return self.to_numpy((sums / torch.bincount(grasp, minlength=count).clamp(min=1)).float()).astype(np.float64)

    def counts(self, grasp: Array, count: int) -> NDArray[np.intp]:
        return self.to_numpy(torch.bincount(grasp, minlength=count))

    def greatest_at(self, values: Array, places: Array, count: int) -> Floats:
        return self.to_numpy(self._reduced(values, places, count, "amax", -torch.inf))

    def _reduced(self, values: Array, places: Array, count: int, how: str, start: float) -> torch.Tensor:
        result = torch.full((count,), start, dtype=torch.float32, device=self._device)
        return result.scatter_reduce_(0, places, values, reduce=how)
