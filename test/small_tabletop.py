"""A `tabletop` network small enough for tests, with random weights."""

from __future__ import annotations

from pathlib import Path

from sam_perception.training.architecture import Architecture, new_network
from sam_perception.training.export import export

SMALL = Architecture(
    input_size=64, width=8, blocks=(1, 1, 2, 1), window=4, global_blocks=(3,), hidden_size=32, decoder_heads=4
)


def rounded(network):
    """The network with weights that fp16 holds exactly."""
    return network.half().float()


def export_small(folder: Path, seed: int = 0):
    """Write a folder that the tabletop family loads, and return the network that is in it."""
    network = rounded(new_network(SMALL, seed)).eval()
    export(network, SMALL, folder, {"seed": seed})
    return network
