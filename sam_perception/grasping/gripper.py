"""Parallel grippers: their measures, read from YAML."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError

_DIRECTORY = Path(__file__).parent / "grippers"
GRIPPERS = ("franka_hand", "robotiq_2f85", "robotiq_2f140", "generic")
DEFAULT_GRIPPER = "franka_hand"


@dataclasses.dataclass(frozen=True)
class Gripper:
    """A palm with two fingers that close on each other, each a box.

    In the frame of its tool centre point (TCP) +Z approaches the object and +Y is the closing direction. The TCP lies
    midway between the pads, ``tip_m`` before the finger tips' end.

    Attributes:
        name: of the gripper.
        finger_length_m: from the palm to the finger tips along Z: how deep something fits between them.
        finger_width_m: of a finger along X.
        finger_thickness_m: of a finger along Y.
        min_opening_m: between the pads when closed.
        max_opening_m: between the pads when open.
        palm_size_m: along X, Y and Z, of what is behind the fingers.
        tip_m: how far the finger tips reach beyond the TCP along +Z.
        friction: coefficient between the pads and an object that planners assume.

    Raises:
        InvalidInputError: a length that is not positive, a closed gripper wider than the open one, a TCP off the
            fingers.
    """

    name: str
    finger_length_m: float
    finger_width_m: float
    finger_thickness_m: float
    min_opening_m: float
    max_opening_m: float
    palm_size_m: tuple[float, float, float]
    tip_m: float
    friction: float

    def __post_init__(self) -> None:
        for name in ("finger_length_m", "finger_width_m", "finger_thickness_m", "max_opening_m", "friction"):
            self._keep_number(name, "more than 0", lambda value: value > 0)
        self._keep_number("min_opening_m", "0 or more and below max_opening_m", lambda v: 0 <= v < self.max_opening_m)
        self._keep_number("tip_m", "within 0..finger_length_m", lambda value: 0 <= value <= self.finger_length_m)
        sizes = self.palm_size_m
        if not isinstance(sizes, (tuple, list)) or len(sizes) != 3 or not all(map(_is_positive, sizes)):
            raise InvalidInputError.for_field("Gripper.palm_size_m", "three lengths above 0 (x, y, z)", repr(sizes))
        object.__setattr__(self, "palm_size_m", tuple(float(size) for size in sizes))

    def _keep_number(self, name: str, expected: str, fits: Any) -> None:
        value = getattr(self, name)
        if not _is_number(value) or not fits(value):
            raise InvalidInputError.for_field(f"Gripper.{name}", expected, repr(value))
        object.__setattr__(self, name, float(value))

    def boxes(self, opening_m: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(3, 3) centres and (3, 3) half sizes, in the TCP's frame, of the palm, the finger at +Y and that at -Y.

        Args:
            opening_m: between the pads.
        """
        palm_x, palm_y, palm_z = self.palm_size_m
        length, aside = self.finger_length_m, (opening_m + self.finger_thickness_m) / 2
        palm_end = self.tip_m - length
        centers = [
            [0, 0, palm_end - palm_z / 2],
            [0, aside, palm_end + length / 2],
            [0, -aside, palm_end + length / 2],
        ]
        finger = [self.finger_width_m / 2, self.finger_thickness_m / 2, length / 2]
        return np.array(centers), np.array([[palm_x / 2, palm_y / 2, palm_z / 2], finger, finger])


def load_gripper(name_or_path: str) -> Gripper:
    """One of ``GRIPPERS``, or the gripper that a YAML file describes.

    Args:
        name_or_path: a name, or the path of a file with the fields of ``Gripper`` (its name may be left out).

    Raises:
        InvalidInputError: an unknown name, or a file that cannot be read or lacks a field; the message names it.
    """
    path = _DIRECTORY / f"{name_or_path}.yaml" if name_or_path in GRIPPERS else Path(name_or_path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or str(error).replace("\n", " ")
        expected = f"one of {', '.join(GRIPPERS)}, or a YAML file of a gripper"
        raise InvalidInputError.for_field("gripper", expected, f"{name_or_path!r} ({reason})") from None
    try:
        return _gripper(content, path.stem)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path.name}: {error}") from None


def _gripper(content: Any, name: str) -> Gripper:
    if not isinstance(content, Mapping):
        raise InvalidInputError.for_field("Gripper", "a mapping of its measures", type(content).__name__)
    values = {"name": name, **content}
    fields = [field.name for field in dataclasses.fields(Gripper)]
    for field in fields:
        if field not in values:
            raise InvalidInputError.for_field(f"Gripper.{field}", "a value", "nothing: the field is missing")
    unknown = [key for key in values if key not in fields]
    if unknown:
        raise InvalidInputError.for_field("Gripper", f"only the fields {', '.join(fields)}", unknown[0])
    return Gripper(**values)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0
