"""`sam-perception train`: trains the `tabletop` model on data sets of `sam-perception sim dataset`."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sam_perception.errors import InvalidInputError, ModelUnavailableError

NEEDED = ("torch", "transformers", "safetensors", "matplotlib")
SHOWN = ("loss", "iou_click", "iou_box", "iou_last")


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "train",
        help="train the tabletop model on simulated scenes",
        description="Train the tabletop model on data sets that `sam-perception sim dataset` rendered. Stopped, it "
        "goes on from its last checkpoint with the same command. OUT/model then is a folder for --model.",
    )
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="YAML; docs/tabletop.md explains it")
    parser.add_argument(
        "--data", action="append", metavar="DIR", help="a data set, instead of those in the file; repeat for more"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="gets checkpoint, log, curves and model")
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:N, mps or cpu (default: %(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train, draw the curves, write the model."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelUnavailableError(f'training needs {", ".join(missing)}: pip install "sam-perception[training]"')
    from sam_perception.models import ModelOptions, devices
    from sam_perception.training import curves, export, loop
    from sam_perception.training.config import read_config

    config = read_config(options.config)
    if options.data:
        config = dataclasses.replace(config, data=tuple(options.data))
    if not config.data:
        raise InvalidInputError.for_field(
            "data", "a folder of `sam-perception sim dataset`, in the file or as --data", "none"
        )
    device = devices.place(ModelOptions(device=options.device)).device
    with tqdm(total=config.steps, desc="training", unit="step", disable=None) as bar:

        def progress(step: int, figures: dict[str, float]) -> None:
            bar.update(step - bar.n)
            bar.set_postfix({name: f"{figures[name]:.3f}" for name in SHOWN if name in figures})

        network = loop.train(config, options.out, device, progress)
    architecture = dataclasses.replace(config.architecture, input_size=config.phases[-1].input_size)
    export.export(network, architecture, options.out / "model", config.as_plain_data())
    curves.draw_curves(options.out / loop.LOG, options.out / "curves.png")
    print(f"{options.out / 'model'} holds the model: sam-perception eval SET --model {options.out / 'model'}")
    return 0
