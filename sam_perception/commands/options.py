"""Command-line options that several subcommands share."""

from __future__ import annotations

import argparse

from sam_perception.models import DEFAULT_MODEL, ModelOptions
from sam_perception.models.base import PRECISIONS


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add --model, --device, --precision and --compile."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME",
        help="a name from `sam-perception models list`, a checkpoint's file or folder, or auto: tabletop, and grabcut "
        "where torch is not installed (default: %(default)s)",
    )
    group.add_argument("--device", default="auto", help="auto, cuda, cuda:N, mps or cpu (default: %(default)s)")
    group.add_argument(
        "--precision", default="fp32", choices=PRECISIONS, help="of the image encoder (default: %(default)s)"
    )
    group.add_argument("--compile", action="store_true", help="compile the image encoder with torch.compile")


def model_options(options: argparse.Namespace) -> ModelOptions:
    """What ``add_model_options`` parsed."""
    return ModelOptions(device=options.device, precision=options.precision, compile=options.compile)
