"""A warm prompt beside encoding the frame again for each prompt."""

from __future__ import annotations

import dataclasses
import itertools
import time
from statistics import median

from sam_perception.engine import SegmentationEngine
from sam_perception.errors import PerceptionError
from sam_perception.evaluation.benchmarks.timing import Row, compared, median_ms
from sam_perception.frames import RgbdFrame
from sam_perception.models import ModelOptions, SegmentationModel, checkpoints, load_model
from sam_perception.prompts import Prompt

DEFAULT_MODEL = "sam_vit_b"


def load_for_timing(name: str, options: ModelOptions) -> tuple[SegmentationModel, str]:
    """The model, and where its weights are from: SAM ViT-B without its file gets random ones, which cost the same."""
    if name == DEFAULT_MODEL and not checkpoints.local_path(checkpoints.find(name)).exists():
        from transformers import SamConfig, SamModel

        from sam_perception.models import devices
        from sam_perception.models.sam import Sam

        placement = devices.place(options)
        return Sam(SamModel(SamConfig()).eval(), placement, name), "random weights"
    return load_model(name, options), "weights of its checkpoint" if name != "grabcut" else "no weights"


def measure(model: SegmentationModel, weights: str, frame: RgbdFrame, click: Prompt, repeats: int) -> list[Row]:
    """Rows for one model, through the engine, as callers get it.

    Raises:
        PerceptionError: the engine encoded again for a warm prompt: then the figures would mean nothing.
    """
    stamps = itertools.count(frame.stamp_ns + 1)
    subject = f"{model.name}, one click on {frame.width}x{frame.height}"
    with SegmentationEngine(model, history_seconds=0) as engine:
        again_ms = []
        for _ in range(repeats + 1):
            engine.add_frame(dataclasses.replace(frame, stamp_ns=next(stamps)))
            start = time.perf_counter()
            engine.segment([click])
            again_ms.append((time.perf_counter() - start) * 1e3)
        encodes = engine.stats.encodes
        warm_repeats = max(10 * repeats, 20)
        warm_ms = median_ms(lambda: engine.segment([click]), warm_repeats)
        if engine.stats.encodes != encodes:
            raise PerceptionError("the engine encoded a frame twice: its cache is too small for this model")
    return compared(
        [
            Row(
                subject,
                "warm prompt: decoder only",
                warm_ms,
                warm_repeats,
                note=f"{weights}, {model.device}, 0 encodes",
            ),
            Row(subject, "encoding for each prompt", median(again_ms[1:]), repeats, note=f"{repeats} encodes"),
        ]
    )
