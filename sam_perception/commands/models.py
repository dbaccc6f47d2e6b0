"""`sam-perception models`: list, download and verify checkpoints."""

from __future__ import annotations

import argparse
from typing import Any

from sam_perception.models import SHIPPED, WEIGHTLESS, available_models, checkpoints
from sam_perception.models.checkpoints import Checkpoint
from sam_perception.models.download import download


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "models", help="list, download and verify checkpoints", description="List, download and verify checkpoints."
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="every model by name, and whether it is here")
    listing.set_defaults(run=list_models)
    download = actions.add_parser("download", help="fetch a checkpoint, resume a broken download, check its hash")
    download.add_argument("name", metavar="NAME")
    download.set_defaults(run=download_model)
    verify = actions.add_parser("verify", help="check size and SHA-256 of downloaded checkpoints")
    verify.add_argument("names", nargs="*", metavar="NAME", help="default: all that are here")
    verify.set_defaults(run=verify_models)


def list_models(options: argparse.Namespace) -> int:
    """Print the table of models."""
    rows = [("NAME", "FAMILY", "SIZE", "LICENCE", "HERE", "HASH")]
    rows += [
        (info.name, info.family, _megabytes(info.size_bytes) if info.size_bytes else "-", "Apache-2.0", "built in", "-")
        for info in available_models()
        if info.name in SHIPPED or info.name in WEIGHTLESS
    ]
    for checkpoint in checkpoints.CHECKPOINTS:
        rows.append(
            (
                checkpoint.name,
                checkpoint.family,
                _megabytes(checkpoint.size_bytes),
                checkpoint.licence,
                _here(checkpoint),
                _hash_known(checkpoint),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip())
    print(f"\nDownloads go to {checkpoints.cache_dir() / 'checkpoints'}; SAM_PERCEPTION_HOME changes that.")
    return 0


def download_model(options: argparse.Namespace) -> int:
    """Fetch one checkpoint and say where it is."""
    path = download(checkpoints.find(options.name))
    print(f"{path} is complete and verified.")
    return 0


def verify_models(options: argparse.Namespace) -> int:
    """Check files against the table; exit code 2 when one is missing or wrong."""
    chosen = [checkpoints.find(name) for name in options.names]
    if not chosen:
        chosen = [checkpoint for checkpoint in checkpoints.CHECKPOINTS if checkpoints.local_path(checkpoint).exists()]
    if not chosen:
        print("No checkpoint has been downloaded; `sam-perception models list` shows what there is.")
    results = [checkpoints.verify(checkpoint, checkpoints.local_path(checkpoint)) for checkpoint in chosen]
    for result in results:
        print(f"{result.status}: {result.message}")
    return 0 if all(result.ok for result in results) else 2


def _megabytes(size_bytes: int | None) -> str:
    return "unknown" if size_bytes is None else f"{size_bytes / 1e6:.0f} MB"


def _here(checkpoint: Checkpoint) -> str:
    status = checkpoints.check_size(checkpoint, checkpoints.local_path(checkpoint)).status
    return {"ok": "yes", "missing": "no"}.get(status, status)


def _hash_known(checkpoint: Checkpoint) -> str:
    if checkpoint.sha256:
        return f"sha256 {checkpoint.sha256[:12]}..."
    return f"only {checkpoint.sha256_prefix}..." if checkpoint.sha256_prefix else "not public"
