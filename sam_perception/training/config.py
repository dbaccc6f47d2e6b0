"""What a training run is made of, read from YAML."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from sam_perception.errors import InvalidInputError
from sam_perception.training.architecture import Architecture
from sam_perception.training.augmentation import WHOLE_VIEWS


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a run with settings of its own; learning rates go from one end of it to the other along a cosine.

    Attributes:
        steps: of the optimiser.
        input_size: pixels of the network input's side.
        batch: images in a step.
        objects: prompts on each image.
        rounds: probability that all prompts get a 1st (1), then a 2nd, then a 3rd... answer; empty: side targets only.
        mask_loss: ``balanced`` cross-entropy, or ``focal``; dice is added to both.
        learning_rate: at the phase's begin and end.
        data: folders instead of the run's; empty: the run's.
        side_weight: of the side targets' loss.
        window: smallest and largest share of a view's side that is cropped; small windows let a small input show
            objects as large as a large input shows them.
        smallest_object: input pixels of an object that is worth a prompt.
        refine: train the refiner alone, on the answers of everything else as it is.
        decoder: with ``refine``, train the prompt encoder and the mask decoder too, so that they learn to go on from
            what the refiner made of their answers; the image encoder stays as it is.
    """

    steps: int
    input_size: int
    batch: int = 8
    objects: int = 6
    rounds: tuple[float, ...] = (1.0,)
    mask_loss: str = "balanced"
    learning_rate: tuple[float, float] = (1e-3, 1e-3)
    data: tuple[str, ...] = ()
    side_weight: float = 0.3
    window: tuple[float, float] = WHOLE_VIEWS
    smallest_object: int = 24
    refine: bool = False
    decoder: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "input_size", "batch", "objects", "smallest_object"):
            if getattr(self, name) < 1:
                raise InvalidInputError.for_field(f"phases.{name}", "1 or more", getattr(self, name))
        if self.input_size % 32:
            raise InvalidInputError.for_field("phases.input_size", "a multiple of 32", self.input_size)
        if self.rounds and self.rounds[0] != 1:
            raise InvalidInputError.for_field("phases.rounds", "1 as the first probability", self.rounds)
        if not 0 < self.window[0] <= self.window[1] <= 1:
            raise InvalidInputError.for_field("phases.window", "two shares, 0 < smallest <= largest <= 1", self.window)
        if self.refine and not self.rounds:
            raise InvalidInputError.for_field("phases.rounds", "prompts, since refine is set", self.rounds)
        if self.decoder and not self.refine:
            raise InvalidInputError.for_field("phases.decoder", "refine with it", "decoder alone")
        if self.mask_loss not in ("balanced", "focal"):
            raise InvalidInputError.for_field("phases.mask_loss", "balanced or focal", self.mask_loss)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """A whole run.

    Attributes:
        data: folders that `sam-perception sim dataset` filled.
        phases: one after the other.
        architecture: of the network.
        seed: of weights, order, augmentation and prompts.
        warmup: steps until the first phase's learning rate is reached.
        weight_decay: of AdamW, on matrices.
        average: decay, per step, of the average of the weights that is kept as the result.
        precision: of the image encoder: fp32 or bf16.
        compile: the image encoder with torch.compile, which takes a C++ compiler, and a minute for each phase.
        workers: processes that read and augment.
        checkpoint_every: steps between checkpoints.
        start: a model folder whose weights to start from; None: random weights.
    """

    data: tuple[str, ...]
    phases: tuple[Phase, ...]
    architecture: Architecture = dataclasses.field(default_factory=Architecture)
    seed: int = 0
    warmup: int = 200
    weight_decay: float = 0.05
    average: float = 0.999
    precision: str = "fp32"
    compile: bool = False
    workers: int = 2
    checkpoint_every: int = 250
    start: str | None = None

    def __post_init__(self) -> None:
        if not self.phases:
            raise InvalidInputError.for_field("phases", "at least one", "none")
        for name in ("warmup", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise InvalidInputError.for_field(name, "1 or more", getattr(self, name))
        if self.workers < 0 or not 0 <= self.average < 1:
            raise InvalidInputError.for_field(
                "workers, average", "workers from 0, average in 0..1", (self.workers, self.average)
            )
        if self.precision not in ("fp32", "bf16"):
            raise InvalidInputError.for_field("precision", "fp32 or bf16", self.precision)

    @property
    def steps(self) -> int:
        """Of all phases."""
        return sum(phase.steps for phase in self.phases)

    def as_plain_data(self) -> dict[str, Any]:
        """Everything but where the machine that it ran on keeps its files."""
        plain = dataclasses.asdict(self)
        for part in (plain, *plain["phases"]):
            part["data"] = [Path(folder).name for folder in part["data"]]
        plain["start"] = None if self.start is None else Path(self.start).name
        return plain

    def phase_at(self, step: int) -> tuple[int, int]:
        """Which phase a step belongs to, and how many of its steps come before it."""
        for number, phase in enumerate(self.phases):
            if step < phase.steps:
                return number, step
            step -= phase.steps
        raise IndexError(f"the run has {self.steps} steps")


def read_config(path: Path) -> TrainingConfig:
    """Read a YAML file.

    Raises:
        InvalidInputError: it cannot be read, or a field is unknown, missing or out of range.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InvalidInputError.for_field(f"{path}", "a readable YAML file", error) from None
    if not isinstance(content, dict):
        raise InvalidInputError.for_field(f"{path}", "a mapping of settings", type(content).__name__)
    phases = content.pop("phases", None) or ()
    if not isinstance(phases, (list, tuple)) or not all(isinstance(phase, dict) for phase in phases):
        raise InvalidInputError.for_field("phases", "a list of mappings", phases)
    folders = content.pop("data", None) or ()
    folders = (folders,) if isinstance(folders, str) else folders
    if not isinstance(folders, (list, tuple)) or not all(isinstance(folder, str) for folder in folders):
        raise InvalidInputError.for_field("data", "a folder, or a list of folders", folders)
    architecture = content.pop("architecture", None) or {}
    values = {
        **content,
        "data": tuple(folders),
        "phases": tuple(_made(Phase, phase, "phases.") for phase in phases),
        "architecture": _made(Architecture, architecture, "architecture."),
    }
    return _made(TrainingConfig, values, "")


def _made(kind: type, values: Any, prefix: str) -> Any:
    """A dataclass from a mapping, each value of the type that its field has."""
    types = get_type_hints(kind)
    for name in values:
        if name not in types:
            raise InvalidInputError.for_field(f"{prefix}{name}", f"one of {', '.join(sorted(types))}", "unknown name")
    try:
        return kind(**{name: _as_type(types[name], each, f"{prefix}{name}") for name, each in values.items()})
    except TypeError as error:
        raise InvalidInputError(f"{prefix.rstrip('.') or 'the configuration'}: {error}") from None


def _as_type(expected: Any, value: Any, field: str) -> Any:
    """A value as YAML gives it in its field's type; lists become tuples, and 1e-3, which is text to YAML 1.1, a number.

    Raises:
        InvalidInputError: it has another type, or another length.
    """
    if get_origin(expected) is tuple and isinstance(value, (list, tuple)):
        kinds = get_args(expected)
        kinds = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
        if len(kinds) != len(value):
            raise InvalidInputError.for_field(field, f"{len(kinds)} values", value)
        return tuple(_as_type(kind, each, field) for kind, each in zip(kinds, value, strict=True))
    if expected in (int, float):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number) or (expected is int and number != int(number)):
            what = "a whole number" if expected is int else "a number"
            raise InvalidInputError.for_field(field, what, repr(value))
        return expected(number)
    if isinstance(expected, type) and not isinstance(value, expected):
        raise InvalidInputError.for_field(field, expected.__name__, repr(value))
    if get_origin(expected) is tuple:
        raise InvalidInputError.for_field(field, "a list", repr(value))
    return value
