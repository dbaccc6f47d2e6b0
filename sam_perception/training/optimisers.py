"""The optimisers of a run: Muon for the matrices inside the network, AdamW for everything else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

_BETAS = (0.9, 0.98)
_SMALLEST_SIDE = 16  # of a matrix whose update is worth making orthogonal
_NO_MATRICES = ("embed", "token")  # tables of vectors, whatever their shape


def make_optimisers(modules: Sequence[nn.Module], weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al., 2024) and AdamW over all parameters of some modules, at rates that mean the same to both.

    Muon is as fast over a wide range of rates as AdamW at its best: docs/tabletop.md.
    """
    named = [(name, each) for module in modules for name, each in module.named_parameters() if each.requires_grad]
    matrices = [each for name, each in named if _is_matrix(name, each)]
    others = [each for name, each in named if not _is_matrix(name, each)]
    groups = [
        {"params": [each for each in others if each.ndim >= 2], "weight_decay": weight_decay},
        {"params": [each for each in others if each.ndim < 2], "weight_decay": 0.0},
    ]
    return [
        torch.optim.Muon(matrices, weight_decay=weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, betas=_BETAS, fused=True),
    ]


def _is_matrix(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim == 2 and min(parameter.shape) >= _SMALLEST_SIDE and not any(x in name for x in _NO_MATRICES)
