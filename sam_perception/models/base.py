"""The protocol between the engine and every model family: encode a frame once, decode prompts on it many times."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence

from sam_perception.frames import RgbdFrame
from sam_perception.masks import Mask
from sam_perception.prompts import Prompt

PRECISIONS = ("fp32", "fp16", "bf16")


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """How to run a model.

    Attributes:
        device: ``auto`` (cuda, else mps, else cpu), ``cuda``, ``cuda:N``, ``mps`` or ``cpu``.
        precision: of the image encoder: ``fp32``, ``fp16`` or ``bf16``. Prompts and masks are always decoded in fp32.
        compile: run the image encoder through torch.compile; loading then takes longer.
    """

    device: str = "auto"
    precision: str = "fp32"
    compile: bool = False


class Embedding(abc.ABC):
    """What a model keeps of one encoded frame; opaque to everyone but the model that made it."""

    @property
    @abc.abstractmethod
    def nbytes(self) -> int:
        """Memory that it holds, on whatever device."""


class SegmentationModel(abc.ABC):
    """A promptable segmentation model.

    One thread at a time calls a model: the engine's worker owns it and its device.
    """

    name: str
    """As the user asked for it."""

    prompt_kinds: frozenset[str]
    """Which of Prompt.kinds it answers; prompts that carry others are refused before they reach it."""

    device: str = "cpu"
    """Where it runs."""

    @abc.abstractmethod
    def encode(self, frame: RgbdFrame) -> Embedding:
        """Do all the work that does not depend on the prompt."""

    @abc.abstractmethod
    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], multimask: bool) -> list[list[Mask]]:
        """Answer every prompt in one pass.

        Args:
            embedding: of a frame, from ``encode`` of this model.
            prompts: already fitted to the frame's size (``Prompt.fitted_to``).
            multimask: every candidate of each prompt, best first by score; else exactly one, chosen the way
                the model's authors do.

        Returns:
            For each prompt its masks, carrying the prompt's ``object_id``. What a prompt gets does not depend
            on the others in the request.
        """

    def close(self) -> None:  # noqa: B027  # a model on the CPU has nothing to let go of
        """Let go of the device's memory; the model is not used afterwards."""
