"""One request's whole answer for a person: masks, geometry and grasps, as files, a summary and a picture."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sam_perception.atomic_files import write_atomically
from sam_perception.engine import SegmentationEngine, SegmentationResult
from sam_perception.errors import InvalidInputError
from sam_perception.frames import RgbdFrame
from sam_perception.geometry.boxes import OrientedBox
from sam_perception.geometry.objects import ObjectGeometry, measure_object
from sam_perception.geometry.pointcloud_files import write_ply
from sam_perception.geometry.rays import project
from sam_perception.grasp_answers import GraspRequest, PlannedGrasps, describe_plan, draw_plans, plan_all, plan_line
from sam_perception.masks import Mask, draw_overlay, object_color
from sam_perception.prompts import FOREGROUND, Prompt

# Pairs of OrientedBox.corners() that an edge joins: those that differ in one of the three signs.
_BOX_EDGES = [(i, i ^ bit) for i in range(8) for bit in (1, 2, 4) if i < i ^ bit]

_FILE_KEYS = ("mask", "cloud")
_FILE_NAME = re.compile(r"(mask_\d+(_\d+)?\.png)|(cloud_\d+\.ply)")


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What the engine and the geometry found for a request.

    Attributes:
        model: name of the model.
        device: where it ran.
        prompts: as asked.
        result: the engine's answer.
        geometry: of each prompt's best mask; None where the frame has no depth or no intrinsics.
        geometry_ms: time for all of it.
        grasps: of all objects; None when they were not asked for.
    """

    model: str
    device: str
    prompts: list[Prompt]
    result: SegmentationResult
    geometry: list[ObjectGeometry | None]
    geometry_ms: float
    grasps: PlannedGrasps | None = None

    @property
    def frame(self) -> RgbdFrame:
        """The frame that was answered on."""
        return self.result.frame


def answer_prompts(
    engine: SegmentationEngine,
    prompts: Sequence[Prompt],
    multimask: bool = False,
    grasping: GraspRequest | None = None,
) -> Answer:
    """Ask the engine about its newest frame, measure each best mask, and plan its grasps if they are asked for.

    Raises:
        InvalidInputError: grasps of a frame without depth or intrinsics.
    """
    result = engine.segment(prompts, multimask=multimask)
    start = time.perf_counter()
    geometry = _measure(result.frame, result.masks)
    geometry_ms = (time.perf_counter() - start) * 1e3
    grasps = None if grasping is None else _plan(result.frame, geometry, grasping)
    return Answer(engine.model.name, engine.model.device, list(prompts), result, geometry, geometry_ms, grasps)


def write_answer(answer: Answer, directory: Path) -> dict[str, Any]:
    """Write overlay.png, mask_<id>.png, cloud_<id>.ply and result.json into a folder, and return the last's content.

    Candidates beyond the best go to mask_<id>_<rank>.png. Objects without points have no cloud file. What an earlier
    answer left in the folder is removed, as its result.json lists it.

    Raises:
        InvalidInputError: the folder is a file.
        OSError: it cannot be written to.
    """
    if directory.exists() and not directory.is_dir():
        raise InvalidInputError.for_field(f"{directory}", "a folder", "a file of that name")
    directory.mkdir(parents=True, exist_ok=True)
    _remove_earlier(directory)
    for candidates in answer.result.candidates:
        for rank, mask in enumerate(candidates):
            write_png(directory / _mask_name(mask, rank), mask.to_array().astype(np.uint8) * 255)
    for mask, geometry in zip(answer.result.masks, answer.geometry, strict=True):
        if geometry is not None and len(geometry.cloud.points):
            write_ply(directory / _cloud_name(mask), geometry.cloud.points, geometry.cloud.colors)
    write_png(directory / "overlay.png", draw_answer(answer))
    content = describe(answer)
    write_atomically(directory / "result.json", (json.dumps(content, indent=2) + "\n").encode())
    return content


def describe(answer: Answer) -> dict[str, Any]:
    """The content of result.json: lengths in metres in the camera's optical frame, pixels of the colour image."""
    frame, result, planned = answer.frame, answer.result, answer.grasps
    content: dict[str, Any] = {
        "model": answer.model,
        "device": answer.device,
        "image": {"width": frame.width, "height": frame.height},
        "frame_id": frame.frame_id,
        "objects": [
            _describe_object(candidates, geometry)
            for candidates, geometry in zip(result.candidates, answer.geometry, strict=True)
        ],
        "embedding_cached": result.embedding_cached,
        "encode_ms": round(result.encode_ms, 3),
        "decode_ms": round(result.decode_ms, 3),
        "geometry_ms": round(answer.geometry_ms, 3),
        "missing": _missing(frame),
    }
    if planned is not None:
        for described, plan in zip(content["objects"], planned.plans, strict=True):
            described |= describe_plan(plan)
        content["gripper"] = planned.request.gripper.name
        content["planner"] = planned.request.planner.name
        content["grasp_ms"] = round(planned.grasp_ms, 3)
    return content


def summary_lines(answer: Answer) -> list[str]:
    """What was found, for a terminal."""
    lines, planned = [], answer.grasps
    for index, (mask, geometry) in enumerate(zip(answer.result.masks, answer.geometry, strict=True)):
        line = f"object {mask.object_id}: score {mask.score:.2f}, {mask.area} px"
        if mask.is_empty:
            line += ", nothing found: try another click or a box"
        elif geometry is not None and geometry.centroid_m is not None:
            line += f", centroid {_vector(geometry.centroid_m)} m"
            if geometry.box is not None:
                line += f", box {_vector(geometry.box.size * 100, 1)} cm"
        if geometry is not None and geometry.reasons:
            line += f" ({'; '.join(geometry.reasons)})"
        lines.append(line)
        if planned is not None:
            lines.append(f"  {plan_line(planned.plans[index])}")
    result = answer.result
    encoded = "embedding cached" if result.embedding_cached else f"encode {result.encode_ms:.1f} ms"
    lines.append(
        f"{answer.model} on {answer.device}: {encoded}, decode {result.decode_ms:.1f} ms, "
        f"geometry {answer.geometry_ms:.1f} ms"
        + (f", {planned.request.planner.name} grasps {planned.grasp_ms:.1f} ms" if planned is not None else "")
    )
    return lines


def draw_answer(answer: Answer) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: masks tinted and outlined, boxes in space, best grasps, ids and the prompts."""
    picture = draw_overlay(answer.frame.color, answer.result.masks)
    for mask, geometry in zip(answer.result.masks, answer.geometry, strict=True):
        if geometry is not None and geometry.box is not None:
            _draw_box(picture, geometry.box, answer.frame, object_color(mask.object_id))
    if answer.grasps is not None:
        draw_plans(picture, answer.frame, answer.grasps)
    for mask in answer.result.masks:
        _draw_id(picture, mask)
    for prompt in answer.prompts:
        _draw_prompt(picture, prompt)
    return picture


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an (H, W) or (H, W, 3) RGB image, whole or not at all."""
    ordered = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    done, encoded = cv2.imencode(".png", ordered)
    if not done:
        raise InvalidInputError.for_field(f"{path}", "an image that PNG can hold", f"{image.dtype} {image.shape}")
    write_atomically(path, encoded.tobytes())


def _measure(frame: RgbdFrame, masks: Sequence[Mask]) -> list[ObjectGeometry | None]:
    if _missing(frame):
        return [None] * len(masks)
    progress = tqdm(masks, desc="measuring", unit="object", disable=True if len(masks) < 20 else None)
    return [
        measure_object(frame, mask, others=[other for other in masks if other is not mask])
        if not mask.is_empty
        else None
        for mask in progress
    ]


def _plan(frame: RgbdFrame, geometry: Sequence[ObjectGeometry | None], grasping: GraspRequest) -> PlannedGrasps:
    missing = _missing(frame)
    if missing:
        raise InvalidInputError(f"grasps need metres: {'; '.join(missing)}")
    return plan_all(frame, geometry, grasping)


def _missing(frame: RgbdFrame) -> list[str]:
    """Why there are no metres, each a sentence without its full stop."""
    reasons = []
    if frame.depth is None:
        reasons.append("no depth image, so no clouds, centroids and boxes: give --depth")
    if frame.intrinsics is None:
        reasons.append("no intrinsics, so pixels cannot become metres: give --camera")
    return reasons


def _describe_object(candidates: list[Mask], geometry: ObjectGeometry | None) -> dict[str, Any]:
    best = candidates[0]
    content = {"object_id": best.object_id, **_describe_mask(best, 0)}
    if geometry is not None:
        content |= _describe_geometry(geometry, best)
    if len(candidates) > 1:
        content["candidates"] = [_describe_mask(mask, rank) for rank, mask in enumerate(candidates)]
    return content


def _describe_mask(mask: Mask, rank: int) -> dict[str, Any]:
    x_min, y_min, x_max, y_max = mask.box
    return {
        "score": round(mask.score, 4),
        "stability": round(mask.stability, 4),
        "roi": {"x_offset": x_min, "y_offset": y_min, "width": x_max - x_min, "height": y_max - y_min},
        "area_px": mask.area,
        "mask": _mask_name(mask, rank),
    }


def _describe_geometry(geometry: ObjectGeometry, mask: Mask) -> dict[str, Any]:
    content: dict[str, Any] = {"points": len(geometry.cloud.points)}
    if len(geometry.cloud.points):
        content["cloud"] = _cloud_name(mask)
    if geometry.centroid_m is not None:
        content["centroid_m"] = _rounded(geometry.centroid_m)
    if geometry.box is not None:
        content["box"] = {
            "center_m": _rounded(geometry.box.center),
            "size_m": _rounded(geometry.box.size),
            "rotation": [_rounded(row) for row in geometry.box.rotation],
        }
    if geometry.reasons:
        content["reasons"] = list(geometry.reasons)
    return content


def _remove_earlier(directory: Path) -> None:
    """Remove the masks and clouds that a result.json in the folder lists, so that none is taken for a new one."""
    try:
        listed = json.loads((directory / "result.json").read_text())["objects"]
        names = [part.get(key) for item in listed for part in (item, *item.get("candidates", ())) for key in _FILE_KEYS]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # no earlier answer, or a file of that name that is none
    for name in names:
        if isinstance(name, str) and _FILE_NAME.fullmatch(name):
            (directory / name).unlink(missing_ok=True)


def _mask_name(mask: Mask, rank: int) -> str:
    return f"mask_{mask.object_id}.png" if rank == 0 else f"mask_{mask.object_id}_{rank + 1}.png"


def _cloud_name(mask: Mask) -> str:
    return f"cloud_{mask.object_id}.ply"


def _rounded(values: NDArray) -> list[float]:
    return [round(float(value), 6) for value in values]


def _vector(values: NDArray, decimals: int = 3) -> str:
    return "(" + ", ".join(f"{value:.{decimals}f}" for value in values) + ")"


def _draw_box(picture: NDArray[np.uint8], box: OrientedBox, frame: RgbdFrame, color: tuple[int, int, int]) -> None:
    corners = box.corners()
    if frame.intrinsics is None or (corners[:, 2] <= 0.01).any():
        return
    pixels = project(corners, frame.intrinsics)
    if not np.isfinite(pixels).all():
        return
    limit = 4 * max(frame.size)  # beyond it OpenCV's fixed-point coordinates overflow
    corners_px = np.clip(np.rint(pixels), -limit, limit).astype(int)
    for start, end in _BOX_EDGES:
        cv2.line(picture, tuple(corners_px[start]), tuple(corners_px[end]), color, 1, cv2.LINE_AA)


def _draw_id(picture: NDArray[np.uint8], mask: Mask) -> None:
    if mask.is_empty:
        return
    x_min, y_min, x_max, _ = mask.box
    text, font, scale = str(mask.object_id), cv2.FONT_HERSHEY_SIMPLEX, 0.5
    (width, height), _ = cv2.getTextSize(text, font, scale, 1)
    x, y = (x_min + x_max - width) // 2, max(y_min - 4, height + 4)
    cv2.rectangle(picture, (x - 3, y - height - 3), (x + width + 3, y + 3), object_color(mask.object_id), cv2.FILLED)
    cv2.putText(picture, text, (x, y), font, scale, (0, 0, 0), 1, cv2.LINE_AA)


def _draw_prompt(picture: NDArray[np.uint8], prompt: Prompt) -> None:
    if prompt.box_array is not None:
        x0, y0, x1, y1 = np.rint(prompt.box_array).astype(int)
        cv2.rectangle(picture, (int(x0), int(y0)), (int(x1) - 1, int(y1) - 1), (255, 255, 255), 1)
    for (x, y), label in zip(np.rint(prompt.point_array).astype(int), prompt.label_array, strict=True):
        fill = (255, 255, 255) if label == FOREGROUND else (255, 0, 0)
        cv2.circle(picture, (int(x), int(y)), 5, (0, 0, 0), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(picture, (int(x), int(y)), 3, fill, cv2.FILLED, cv2.LINE_AA)
