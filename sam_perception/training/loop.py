"""The training loop: phases, learning rates, averaged weights, checkpoints that resume, and a log."""

from __future__ import annotations

import csv
import io
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from transformers import Sam2Model

from sam_perception.atomic_files import write_atomically
from sam_perception.errors import CheckpointError, ModelUnavailableError
from sam_perception.models.sam2 import NoPositions
from sam_perception.training.architecture import new_network
from sam_perception.training.config import Phase, TrainingConfig
from sam_perception.training.data import Batch, TrainingViews, collate, find_views
from sam_perception.training.optimisers import make_optimisers
from sam_perception.training.side_targets import SideHeads
from sam_perception.training.step import step_loss

_LARGEST_GRADIENT = 1.0
_LOG_EVERY = 25
_COLUMNS = ("step", "hours", "rate", "loss", "side", "prompts", "iou_click", "iou_box", "iou_last")
CHECKPOINT, LOG = "checkpoint.pt", "log.csv"

Progress = Callable[[int, dict[str, float]], None]


def train(config: TrainingConfig, out: Path, device: torch.device, progress: Progress | None = None) -> Sam2Model:
    """Train, or go on with the run that ``out`` holds.

    A run that goes on sees views that it has not seen in this epoch, but with several workers not exactly those that an
    uninterrupted one would have seen.

    Args:
        config: of the run; a run that goes on may have other phases than it began with.
        out: gets the checkpoint and the log.
        device: to train on.
        progress: is told each logged step.

    Returns:
        The network with the averaged weights, on the CPU.

    Raises:
        CheckpointError: the checkpoint in ``out`` is damaged, or of another architecture.
        InvalidInputError: a folder of a phase that is still to come has no view.
        ModelUnavailableError: nothing can be compiled on this machine, and ``config.compile`` asks for it.
    """
    out.mkdir(parents=True, exist_ok=True)
    run = _Run(config, device)
    run.resume(out / CHECKPOINT)
    _find_all_views(config, run.step)
    log = _Log(out / LOG, run.step, progress)
    while run.step < config.steps:
        number, done = config.phase_at(run.step)
        phase = config.phases[number]
        batches = _batches(config, number, run.views_used)
        for _ in range(done, phase.steps):
            figures = _advance(run, next(batches))
            log.add(run.step, run.seconds / 3600, figures)
            if run.step % config.checkpoint_every == 0:
                run.save(out / CHECKPOINT)
        run.save(out / CHECKPOINT)
    log.close(run.step, run.seconds / 3600)
    return run.averaged_network()


def _advance(run: _Run, batch: Batch) -> dict[str, float]:
    try:
        return run.advance(batch)
    except torch._dynamo.exc.TorchDynamoException as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelUnavailableError(f"the image encoder cannot be compiled ({line}): set compile: false") from None


class _Run:
    """Everything that a checkpoint holds, and one step of it."""

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        self.config, self._device = config, device
        self.step, self.views_used, self.seconds = 0, 0, 0.0
        self._network = new_network(config.architecture, config.seed)
        if config.start is not None:
            _fill(self._network, Path(config.start).expanduser() / "model.safetensors")
        self._network = self._network.to(device).train()
        self._network.vision_encoder.neck.position_encoding = NoPositions()
        if config.compile:
            self._network.vision_encoder.compile(dynamic=False)  # each phase has one size of images
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self._heads = SideHeads(config.architecture.hidden_size).to(device)
        self._average = {name: each.detach().clone() for name, each in self._network.state_dict().items()}
        self._optimisers = make_optimisers([self._network, self._heads], config.weight_decay)

    def resume(self, path: Path) -> None:
        """Take up a checkpoint, if there is one."""
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=self._device, weights_only=True)
            self._network.load_state_dict(state["network"])
            self._heads.load_state_dict(state["heads"])
            for optimiser, saved in zip(self._optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(saved)
            self._average = state["average"]
            self.step, self.views_used, self.seconds = state["step"], state["views_used"], state["seconds"]
        except Exception as error:  # torch.load and load_state_dict fail in many ways
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CheckpointError(f"{path} is no checkpoint of this run ({line}); train into another folder") from None

    def save(self, path: Path) -> None:
        """Write the checkpoint; a run that is killed meanwhile still has the one before."""
        state = {
            "network": self._network.state_dict(),
            "heads": self._heads.state_dict(),
            "optimisers": [each.state_dict() for each in self._optimisers],
            "average": self._average,
            "step": self.step,
            "views_used": self.views_used,
            "seconds": self.seconds,
        }
        content = io.BytesIO()
        torch.save(state, content)
        write_atomically(path, content.getvalue())

    def advance(self, batch: Batch) -> dict[str, float]:
        """One step of the optimiser."""
        start = time.monotonic()
        number, done = self.config.phase_at(self.step)
        phase = self.config.phases[number]
        rate = _rate(phase.learning_rate, done / phase.steps) * min(1.0, (self.step + 1) / self.config.warmup)
        for group in (group for optimiser in self._optimisers for group in optimiser.param_groups):
            group["lr"] = rate
        rng = np.random.default_rng([self.config.seed, 2, self.step])
        dtype = torch.bfloat16 if self.config.precision == "bf16" else torch.float32
        batch = batch.to(self._device)
        result = step_loss(self._network, self._heads, batch, phase, rng, dtype)
        self._network.zero_grad()
        self._heads.zero_grad()
        result.loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters(), _LARGEST_GRADIENT)
        if math.isfinite(result.figures["loss"]):
            for optimiser in self._optimisers:
                optimiser.step()
        else:
            logging.getLogger(__name__).warning("step %d: the loss is not finite, and is left out", self.step)
        self.step += 1
        self.views_used += len(batch.images)
        self._follow()
        self.seconds += time.monotonic() - start
        return {"rate": rate, **result.figures}

    def averaged_network(self) -> Sam2Model:
        """A network with the averaged weights, on the CPU."""
        network = new_network(self.config.architecture, self.config.seed)
        network.load_state_dict({name: each.cpu() for name, each in self._average.items()})
        return network

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [*self._network.parameters(), *self._heads.parameters()]

    def _follow(self) -> None:
        """Move the average a little towards the weights; early on faster, to forget where they began."""
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, each in self._network.state_dict().items():
                if each.is_floating_point():
                    self._average[name].lerp_(each, 1 - decay)


class _Log:
    """Means over some steps, as lines of a CSV file; a run that goes on drops the lines after its checkpoint."""

    def __init__(self, path: Path, step: int, progress: Progress | None) -> None:
        self._path, self._progress = path, progress
        self._sums: dict[str, list[float]] = defaultdict(list)
        rows: list[dict[str, Any]] = []
        if path.exists():
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(path, text.getvalue().encode())

    def add(self, step: int, hours: float, figures: dict[str, float]) -> None:
        """Take in one step's figures; every few steps their means become a line."""
        for name, value in figures.items():
            if math.isfinite(value):
                self._sums[name].append(value)
        if step % _LOG_EVERY == 0:
            self.close(step, hours)

    def close(self, step: int, hours: float) -> None:
        """Write what has come together since the last line."""
        if not self._sums:
            return
        row = {name: sum(values) / len(values) for name, values in self._sums.items()}
        self._sums.clear()
        with self._path.open("a", newline="") as file:
            shown = {"step": step, "hours": f"{hours:.4f}", **{name: f"{value:.6g}" for name, value in row.items()}}
            csv.DictWriter(file, _COLUMNS).writerow(shown)
        if self._progress is not None:
            self._progress(step, row)


def _find_all_views(config: TrainingConfig, step: int) -> None:
    """Look into the folders of all phases that are not done, rather than hours later, in a loader's process."""
    if step < config.steps:
        number, _ = config.phase_at(step)
        for folder in sorted({folder for phase in config.phases[number:] for folder in _folders(config, phase)}):
            find_views(folder)


def _folders(config: TrainingConfig, phase: Phase) -> list[Path]:
    return [Path(folder).expanduser() for folder in phase.data or config.data]


def _batches(config: TrainingConfig, number: int, views_used: int) -> Iterator[Batch]:
    phase = config.phases[number]
    views = TrainingViews(_folders(config, phase), phase, config.seed, views_used)
    loader = DataLoader(
        views,
        phase.batch,
        num_workers=config.workers,
        collate_fn=collate,
        prefetch_factor=3 if config.workers else None,
        persistent_workers=False,
        # Not forked: a fork after OpenCV has started its threads waits for them for ever.
        multiprocessing_context="spawn" if config.workers else None,
    )
    return iter(loader)


def _rate(ends: tuple[float, float], share: float) -> float:
    first, last = ends
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


def _fill(network: Sam2Model, path: Path) -> None:
    try:
        network.load_state_dict({name: each.float() for name, each in load_file(path).items()})
    except Exception as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"start: {path} does not fit the architecture ({line})") from None
