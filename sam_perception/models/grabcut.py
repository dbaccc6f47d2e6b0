"""`grabcut`: depth-aware OpenCV GrabCut on point and box prompts, a model that needs no weights.

Encoding finds the large planes of the depth image. A click grows to the smooth surface around it that stands out of
the plane beneath, a box starts from its own inside; GrabCut (Rother, Kolmogorov, Blake, "GrabCut", SIGGRAPH 2004)
then fits the outline to the colours. Without depth a click grows over similar colours instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import ModelUnavailableError
from sam_perception.frames import RgbdFrame, depth_to_metres
from sam_perception.masks import Mask, iou
from sam_perception.models.base import Embedding, ModelOptions, SegmentationModel
from sam_perception.prompts import BACKGROUND, FOREGROUND, Prompt

# Depth differences are relative to depth: stereo noise and perspective both grow with it.
PLANE_TOLERANCE = 0.008  # a pixel this near to a plane lies on it
STANDS_OUT = 0.010  # a pixel this much nearer than a plane belongs to something on it
BEHIND_PLANE = 0.020  # a pixel this much behind a plane is not part of what stands on it
SURFACE_EDGES = (0.015, 0.040, 0.008)  # depth steps at which a surface ends: the object; a group of them; a part
MAX_PLANES = 4
MIN_PLANE_FRACTION = 0.03  # of the image
RANSAC_SAMPLES = 6000
RANSAC_ROUNDS = 300

WORKING_SIDE = 640  # px, of the longer side: larger images are worked on at this size, for which the rest is made
CLICK_RADIUS = 3  # px around a click that surely share its label
SEED_WINDOW = 6  # px around a click in which its surface is looked for: clicks fall on edges and holes too
PLANE_WINDOW = 120  # px around a click in which the plane beneath it is looked for
BORDER = 8  # px around a grown region that may still be the object
MARGIN = 1 / 3  # of a box's longer side: how much of the surroundings teaches GrabCut the background
ITERATIONS = 3
COLOR_BORDER = 60  # px around a region grown by colour alone, which is rarely the whole object
SMALLEST_SURFACE = 100  # px; a smaller one is a speck between edges, and the next coarser step is tried
COLOR_TOLERANCE = 12  # Lab units, growth of a click without depth


def load(source: Path | None, options: ModelOptions, name: str) -> SegmentationModel:
    """Make the model; there is nothing to load.

    Raises:
        ModelUnavailableError: a device, precision or compilation that GrabCut does not have.
    """
    if options.device not in ("auto", "cpu"):
        raise ModelUnavailableError(f"grabcut runs on the cpu only, not on {options.device}; leave the device out")
    if options.precision != "fp32" or options.compile:
        raise ModelUnavailableError("grabcut has no network: precision and compile do not apply to it; leave them out")
    return GrabCutModel(name)


@dataclasses.dataclass(frozen=True, eq=False)
class SceneEmbedding(Embedding):
    """What GrabCut keeps of a frame.

    Attributes:
        color_bgr: (h, w, 3) uint8, at the working size.
        smooth_lab: (h, w, 3) uint8, the colours without texture, in Lab.
        depth_m: (h, w) float32, 0 for no data; None without depth.
        depth_step_m: (h, w) float32, largest difference of depth in each pixel's 3x3 neighbourhood; None without depth.
        planes: for each plane (h, w) float32, how much nearer than it a pixel is, relative to its depth.
        image_size: (height, width) of the frame.
    """

    color_bgr: NDArray[np.uint8]
    smooth_lab: NDArray[np.uint8]
    depth_m: NDArray[np.float32] | None
    depth_step_m: NDArray[np.float32] | None
    planes: tuple[NDArray[np.float32], ...]
    image_size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory of all the arrays."""
        arrays = (self.color_bgr, self.smooth_lab, self.depth_m, self.depth_step_m, *self.planes)
        return sum(array.nbytes for array in arrays if array is not None)


class GrabCutModel(SegmentationModel):
    """Answers points, boxes and both together; deterministic.

    A mask's score is the IoU between the region that depth suggests and the one that GrabCut found from colours: how
    far two independent cues agree. It is not calibrated.
    """

    prompt_kinds = frozenset({"points", "box"})

    def __init__(self, name: str = "grabcut") -> None:
        self.name = name

    def encode(self, frame: RgbdFrame) -> SceneEmbedding:
        """Find the planes; a frame whose depth is missing or empty is encoded by colour alone."""
        color_bgr = np.ascontiguousarray(frame.color[..., ::-1])
        depth: NDArray[Any] | None = frame.depth
        scale = WORKING_SIDE / max(frame.size)
        if scale < 1:
            size = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
            color_bgr = np.asarray(cv2.resize(color_bgr, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
            if depth is not None:  # never a mean over the edge of an object, nor over holes
                depth = np.asarray(cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST))
        # Not frame.depth_m, which would stay in memory as long as the frame.
        depth_m = None if depth is None else depth_to_metres(depth, frame.depth_scale_m)
        smooth_lab = np.asarray(
            cv2.cvtColor(cv2.bilateralFilter(color_bgr, 5, 30, 5), cv2.COLOR_BGR2LAB), dtype=np.uint8
        )
        if depth_m is None or not depth_m.any():
            return SceneEmbedding(color_bgr, smooth_lab, None, None, (), frame.size)
        planes = tuple(_find_planes(depth_m))
        return SceneEmbedding(color_bgr, smooth_lab, depth_m, _depth_step(depth_m), planes, frame.size)

    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], multimask: bool) -> list[list[Mask]]:
        """See SegmentationModel.decode; one GrabCut for each candidate."""
        assert isinstance(embedding, SceneEmbedding)
        return [_candidates(embedding, _reduced(prompt, embedding), multimask) for prompt in prompts]


def _reduced(prompt: Prompt, scene: SceneEmbedding) -> Prompt:
    """The prompt in pixels of the working size."""
    (height, width), (full_height, full_width) = scene.color_bgr.shape[:2], scene.image_size
    if (height, width) == (full_height, full_width):
        return prompt
    scale = np.array([width / full_width, height / full_height])
    points = np.clip((prompt.point_array + 0.5) * scale - 0.5, 0, [width - 1, height - 1])
    box = None if prompt.box_array is None else prompt.box_array * np.tile(scale, 2)
    return dataclasses.replace(prompt, points=points, box=box)


def _enlarged(array: NDArray[np.bool_], image_size: tuple[int, int]) -> Mask:
    """A mask of the working size as one of the image's."""
    if array.shape == image_size:
        return Mask.from_array(array)
    smooth = cv2.resize(array.astype(np.uint8) * 255, image_size[::-1], interpolation=cv2.INTER_LINEAR)
    return Mask.from_array(np.asarray(smooth > 127))


def _candidates(scene: SceneEmbedding, prompt: Prompt, multimask: bool) -> list[Mask]:
    """Masks best first; the first scale alone is the answer when one is asked."""
    edges = SURFACE_EDGES if multimask else SURFACE_EDGES[:1]
    if prompt.box_array is not None:
        trimaps = [_trimap_of_box(scene, prompt)]
    else:
        trimaps = [_trimap_of_points(scene, prompt, edge) for edge in edges]
    masks: list[Mask] = []
    for trimap in trimaps:
        suggested = _enlarged((trimap & 1).astype(bool), scene.image_size)
        found = _enlarged(_grab_cut(scene.color_bgr, trimap), scene.image_size)
        score = 0.0 if found.is_empty else iou(suggested, found)  # two empty masks agree, but on nothing
        mask = dataclasses.replace(found, score=score, object_id=prompt.object_id)
        if not any(iou(mask, other) > 0.98 for other in masks):
            masks.append(mask)
    return sorted(masks, key=lambda mask: -mask.score)


def _trimap_of_box(scene: SceneEmbedding, prompt: Prompt) -> NDArray[np.uint8]:
    assert prompt.box_array is not None
    x0, y0 = np.floor(prompt.box_array[:2]).astype(int)
    x1, y1 = np.ceil(prompt.box_array[2:]).astype(int)
    trimap = np.full(scene.color_bgr.shape[:2], cv2.GC_BGD, dtype=np.uint8)
    trimap[y0:y1, x0:x1] = cv2.GC_PR_FGD
    if scene.depth_m is not None:
        plane = _plane_beneath(scene, (x0 + x1) // 2, (y0 + y1) // 2, max(x1 - x0, y1 - y0) // 2 + 30)
        if plane is not None:
            trimap[y0:y1, x0:x1][plane[y0:y1, x0:x1] < -BEHIND_PLANE] = cv2.GC_BGD
    _mark_points(trimap, prompt)
    return trimap


def _trimap_of_points(scene: SceneEmbedding, prompt: Prompt, edge: float) -> NDArray[np.uint8]:
    """The first click on the object suggests a region; every further click corrects it."""
    region, border = np.zeros(scene.color_bgr.shape[:2], dtype=bool), BORDER
    clicks, others = _clicks(prompt, FOREGROUND), _clicks(prompt, BACKGROUND)
    plane = _plane_beneath(scene, *clicks[0], PLANE_WINDOW) if clicks and scene.planes else None
    for x, y in clicks:
        if _window(region, x, y, BORDER).any():
            continue  # a correction of the outline: the colours at the click do that
        surface = _grow_by_depth(scene, plane, x, y, edge)
        if surface is None and not region.any():
            surface, border = _grow_by_color(scene.smooth_lab, x, y), COLOR_BORDER
        if surface is None:
            cv2.circle(region.view(np.uint8), (x, y), 2 * CLICK_RADIUS, 1, cv2.FILLED)
        else:
            region |= surface
    if clicks and any(_window(region, x, y, BORDER).all() for x, y in others):
        region &= _distance_to(clicks, region.shape) <= _distance_to(others, region.shape)
    trimap = np.full(region.shape, cv2.GC_BGD, dtype=np.uint8)
    around = cv2.dilate(region.view(np.uint8), _ellipse(2 * border + 1)).view(bool)
    trimap[around] = cv2.GC_PR_BGD
    trimap[region] = cv2.GC_PR_FGD
    _mark_points(trimap, prompt)
    return trimap


def _clicks(prompt: Prompt, label: int) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in np.floor(prompt.point_array[prompt.label_array == label])]


def _distance_to(clicks: list[tuple[int, int]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """(H, W) distance in px to the nearest of some clicks."""
    elsewhere = np.ones(shape, dtype=np.uint8)
    for x, y in clicks:
        elsewhere[y, x] = 0
    return cv2.distanceTransform(elsewhere, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float32)


def _mark_points(trimap: NDArray[np.uint8], prompt: Prompt) -> None:
    for (x, y), label in zip(np.floor(prompt.point_array).astype(int), prompt.label_array, strict=True):
        sure = cv2.GC_FGD if label == FOREGROUND else cv2.GC_BGD
        cv2.circle(trimap, (int(x), int(y)), CLICK_RADIUS, sure, cv2.FILLED)


def _grow_by_depth(
    scene: SceneEmbedding, plane: NDArray[np.float32] | None, x: int, y: int, edge: float
) -> NDArray[np.bool_] | None:
    """The surface around a click that stands out of the plane; None where depth shows nothing that does."""
    depth_m, step_m = scene.depth_m, scene.depth_step_m
    if depth_m is None or step_m is None or not _window(depth_m, x, y, SEED_WINDOW).any():
        return None
    height = np.inf if plane is None else _height(plane, depth_m, x, y)
    if height <= STANDS_OUT / 2:
        return None  # flat on the plane: its surface would be the table's
    standing = depth_m > 0
    if plane is not None:
        standing &= plane > min(STANDS_OUT, height / 2)
    for coarser in (edge, *(other for other in sorted(SURFACE_EDGES) if other > edge)):
        part = _surface_at(standing & (step_m <= coarser * depth_m), x, y)
        if np.count_nonzero(part) >= SMALLEST_SURFACE:
            break
    else:
        return None
    # The surface lost a pixel at its edges to the depth step; holes and specks are filled from around them.
    part = cv2.dilate(part, np.ones((3, 3), np.uint8)).astype(np.uint8, copy=False)
    return cv2.morphologyEx(part, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)).view(bool)


def _surface_at(surface: NDArray[np.bool_], x: int, y: int) -> NDArray[np.uint8]:
    """The 4-connected part of a surface that has most pixels near (x, y); all 0 when there is none near."""
    _, parts = cv2.connectedComponents(surface.view(np.uint8), connectivity=4)
    near = _window(parts, x, y, SEED_WINDOW).ravel()
    near = near[near > 0]
    return (parts == (np.bincount(near).argmax() if near.size else -1)).astype(np.uint8)


def _grow_by_color(smooth_lab: NDArray[np.uint8], x: int, y: int) -> NDArray[np.bool_]:
    flooded = np.zeros((smooth_lab.shape[0] + 2, smooth_lab.shape[1] + 2), dtype=np.uint8)
    tolerance = (COLOR_TOLERANCE,) * 3
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | (1 << 8)
    cv2.floodFill(smooth_lab, flooded, (x, y), (0, 0, 0), tolerance, tolerance, flags)
    region = cv2.morphologyEx(flooded[1:-1, 1:-1], cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    return cv2.dilate(region, np.ones((3, 3), np.uint8)).view(bool)


def _grab_cut(color_bgr: NDArray[np.uint8], trimap: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Run GrabCut where the trimap is undecided, with a margin that teaches it the background."""
    found = np.zeros(trimap.shape, dtype=bool)
    x, y, width, height = cv2.boundingRect((trimap != cv2.GC_BGD).astype(np.uint8))
    if width == 0:
        return found
    margin = int(max(width, height) * MARGIN) + 2
    view = np.s_[max(y - margin, 0) : y + height + margin, max(x - margin, 0) : x + width + margin]
    part = trimap[view].copy()
    inside = (part & 1).astype(bool)
    if inside.any() and not inside.all():
        cv2.setRNGSeed(0)  # its k-means starts at random
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(np.ascontiguousarray(color_bgr[view]), part, None, *models, ITERATIONS, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    found[view] = (part & 1).astype(bool)
    return found


def _find_planes(depth_m: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The largest planes, one after the other by RANSAC.

    A plane in space is linear in (x, y, 1/z) of the pixel, so that no intrinsics are needed.
    """
    rng = np.random.default_rng(0)
    height, width = depth_m.shape
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    free = depth_m > 0
    planes: list[NDArray[np.float32]] = []
    while len(planes) < MAX_PLANES and np.count_nonzero(free) > MIN_PLANE_FRACTION * free.size:
        pixels = np.flatnonzero(free)
        sample = rng.choice(pixels, min(RANSAC_SAMPLES, pixels.size), replace=False)
        fitted = _fit_plane(sample % width, sample // width, 1.0 / depth_m.ravel()[sample].astype(np.float64), rng)
        a, b, c = fitted.astype(np.float32)
        nearer = np.where(depth_m > 0, 1 - (a * columns + b * rows + c) * depth_m, np.float32(0))
        on_plane = free & (np.abs(nearer) < PLANE_TOLERANCE)
        if np.count_nonzero(on_plane) < MIN_PLANE_FRACTION * free.size:
            break
        planes.append(nearer)
        free &= ~on_plane
    return planes


def _fit_plane(
    x: NDArray[np.int64], y: NDArray[np.int64], inverse_depth: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """(3,) a, b, c with inverse depth = a x + b y + c, by RANSAC and least squares on its inliers."""
    rows = np.stack([x, y, np.ones_like(x)], axis=1).astype(np.float64)
    picks = rng.integers(0, len(rows), (RANSAC_ROUNDS, 3))
    triples = rows[picks]
    spread = np.abs(np.linalg.det(triples)) > 100  # px^2, twice the triangle's area: slivers fit badly
    if not spread.any():
        return np.zeros(3)
    planes = np.linalg.solve(triples[spread], inverse_depth[picks[spread]][..., None])[..., 0]
    tolerance = PLANE_TOLERANCE * inverse_depth
    best = planes[np.argmax((np.abs(planes @ rows.T - inverse_depth) < tolerance).sum(axis=1))]
    for _ in range(3):
        inliers = np.abs(rows @ best - inverse_depth) < tolerance
        if np.count_nonzero(inliers) < 3:
            break
        best = np.linalg.lstsq(rows[inliers], inverse_depth[inliers], rcond=None)[0]
    return best


def _plane_beneath(scene: SceneEmbedding, x: int, y: int, radius: int) -> NDArray[np.float32] | None:
    """The plane that is commonest around a pixel and that the pixel stands out of; else one that it lies on."""
    assert scene.depth_m is not None
    best, best_rank = None, (False, 0)
    for plane in scene.planes:
        height = _height(plane, scene.depth_m, x, y)
        if height < -PLANE_TOLERANCE:
            continue
        around = _window(plane, x, y, radius)
        valid = _window(scene.depth_m, x, y, radius) > 0
        count = int(np.count_nonzero(valid & (np.abs(around) < PLANE_TOLERANCE)))
        rank = height > STANDS_OUT / 2, count
        if count and rank > best_rank:
            best, best_rank = plane, rank
    return best


def _height(plane: NDArray[np.float32], depth_m: NDArray[np.float32], x: int, y: int) -> float:
    """How much nearer than the plane the surface around a pixel is, relative to its depth; 0 when unknown."""
    valid = _window(depth_m, x, y, SEED_WINDOW) > 0
    return float(np.median(_window(plane, x, y, SEED_WINDOW)[valid])) if valid.any() else 0.0


def _depth_step(depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) largest difference of depth in each pixel's 3x3 neighbourhood, m; no data does not count."""
    kernel = np.ones((3, 3), np.uint8)
    farthest = cv2.dilate(depth_m, kernel)
    nearest = cv2.erode(np.where(depth_m > 0, depth_m, np.float32(np.inf)), kernel)
    return farthest - nearest


def _window(array: NDArray, x: int, y: int, radius: int) -> NDArray:
    return array[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]


def _ellipse(size: int) -> NDArray[np.uint8]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).astype(np.uint8)
