"""A virtual RealSense D435: rendered views in, the frames that the camera would publish out."""

from __future__ import annotations

import dataclasses

import numpy as np

from sam_perception.errors import InvalidInputError
from sam_perception.frames import CameraIntrinsics, RgbdFrame
from sam_perception.sim.color_sensor import ColorConditions, draw_color_conditions, take_picture
from sam_perception.sim.depth_sensor import DepthConditions, draw_depth_conditions, measure_depth
from sam_perception.sim.rendering import RenderedView

FRAME_ID = "camera_color_optical_frame"


@dataclasses.dataclass(frozen=True)
class CaptureConditions:
    """How a capture comes out, apart from chance.

    Attributes:
        color: of the colour picture.
        depth: of the depth image.
    """

    color: ColorConditions = dataclasses.field(default_factory=ColorConditions)
    depth: DepthConditions = dataclasses.field(default_factory=DepthConditions)


def draw_conditions(rng: np.random.Generator) -> CaptureConditions:
    """Conditions of one of many captures: some nearly clean, some bad."""
    return CaptureConditions(draw_color_conditions(rng), draw_depth_conditions(rng))


class VirtualD435:
    """Takes rendered views as a D435 would: colour, and depth in millimetres aligned to it.

    Each capture draws its own conditions, unless some are given, which then hold for all: a data set wants variety, a
    live camera does not change its exposure with every frame.

    Args:
        intrinsics: of the colour camera; the views must have been rendered with them.
        seed: the same seed and views give the same frames, byte for byte.
        conditions: of all captures; None draws new ones for each.
        frame_id: name of the optical frame.
    """

    def __init__(
        self,
        intrinsics: CameraIntrinsics,
        seed: int | tuple[int, ...] = 0,
        conditions: CaptureConditions | None = None,
        frame_id: str = FRAME_ID,
    ) -> None:
        self.intrinsics = intrinsics
        self.frame_id = frame_id
        self._conditions = conditions
        self._rng = np.random.default_rng(np.random.SeedSequence(seed))

    def capture(self, view: RenderedView, stamp_ns: int = 0) -> RgbdFrame:
        """The frame that the camera publishes of a view.

        Raises:
            InvalidInputError: the view has another size than the camera.
        """
        if view.labels.shape != self.intrinsics.size:
            expected = f"the size (height, width) of the camera, {self.intrinsics.size}"
            raise InvalidInputError.for_field("VirtualD435.capture: view", expected, view.labels.shape)
        conditions = draw_conditions(self._rng) if self._conditions is None else self._conditions
        color = take_picture(view.color, view.depth_m, conditions.color, self._rng)
        depth = measure_depth(view.depth_m, view.color, view.gloss, self.intrinsics, conditions.depth, self._rng)
        return RgbdFrame(
            color=color,
            depth=depth,
            intrinsics=self.intrinsics,
            stamp_ns=stamp_ns,
            frame_id=self.frame_id,
            depth_scale_m=0.001,
        )
