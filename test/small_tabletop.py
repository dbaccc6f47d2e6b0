"""A `tabletop` network small enough for tests, with random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from sam_perception.training.architecture import Architecture, new_network
from sam_perception.training.export import export

SMALL = Architecture(
    input_size=64,
    width=8,
    blocks=(1, 1, 2, 1),
    window=4,
    global_blocks=(3,),
    hidden_size=32,
    decoder_heads=4,
    refiner_width=8,
)


def rounded(network):
    """The network with weights that fp16 holds exactly."""
    return network.half().float()


def make_corrections(refiner) -> None:
    """Let a refiner that has not been trained change answers, which it does not by itself."""
    torch.manual_seed(0)
    for last in (refiner.correction, refiner.score):
        torch.nn.init.normal_(last.weight)
        torch.nn.init.normal_(last.bias)


def export_small(folder: Path, seed: int = 0, corrects: bool = False):
    """Write a folder that the tabletop family loads, and return the network that is in it."""
    network = new_network(SMALL, seed)
    if corrects:
        make_corrections(network.refiner)
    network = rounded(network).eval()
    export(network, SMALL, folder, {"seed": seed})
    return network
