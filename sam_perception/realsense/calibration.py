"""librealsense's intrinsics and extrinsics as this package has them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError
from sam_perception.frames import CameraIntrinsics

# By the name in rs.distortion. Modified and inverse Brown-Conrady project alike since librealsense 2.45.
_MODELS = {
    "none": "none",
    "brown_conrady": "plumb_bob",
    "modified_brown_conrady": "inverse_brown_conrady",
    "inverse_brown_conrady": "inverse_brown_conrady",
}


def intrinsics_from_realsense(intrinsics: Any) -> CameraIntrinsics:
    """CameraIntrinsics of an rs.intrinsics; a model whose coefficients are all 0 is no distortion.

    Raises:
        InvalidInputError: a distortion model of fisheye lenses.
    """
    coefficients = tuple(float(value) for value in intrinsics.coeffs)
    model = str(intrinsics.model).rpartition(".")[2]
    if not any(coefficients):
        model, coefficients = "none", ()
    elif model not in _MODELS:
        raise InvalidInputError.for_field("distortion model of the camera", f"one of {', '.join(_MODELS)}", model)
    return CameraIntrinsics(
        int(intrinsics.width),
        int(intrinsics.height),
        float(intrinsics.fx),
        float(intrinsics.fy),
        float(intrinsics.ppx),
        float(intrinsics.ppy),
        _MODELS[model],
        () if model == "none" else coefficients,
    )


def matrix_from_extrinsics(extrinsics: Any) -> NDArray[np.float64]:
    """(4, 4) to_T_from of an rs.extrinsics, whose rotation stands column by column."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(extrinsics.rotation).reshape(3, 3).T
    matrix[:3, 3] = extrinsics.translation
    return matrix


def decimated(intrinsics: CameraIntrinsics, magnitude: int, width: int, height: int) -> CameraIntrinsics:
    """Intrinsics of an image each of whose pixels stands for ``magnitude`` x ``magnitude`` of the full one.

    The middle of such a block lies (magnitude - 1) / 2 pixels after its first pixel. librealsense's own intrinsics of
    decimated images divide cx and cy instead, which puts the points up to half a pixel beside where they are.
    """
    return dataclasses.replace(
        intrinsics,
        width=width,
        height=height,
        fx=intrinsics.fx / magnitude,
        fy=intrinsics.fy / magnitude,
        cx=(intrinsics.cx + 0.5) / magnitude - 0.5,
        cy=(intrinsics.cy + 0.5) / magnitude - 0.5,
    )
