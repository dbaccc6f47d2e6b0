"""What the `tabletop` model sees of a frame: colour, and five channels that say where its depth stands out.

Colour differs between a renderer and the world far more than depth does, so the shape that depth shows is what lets a
model trained on simulated scenes work on a real camera.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

CHANNELS = 8
"""Red, green, blue; height over the dominant plane; slope in x, slope in y; nearness to what is around; validity."""

COLOR, DEPTH = slice(0, 3), slice(3, 8)

_PIXEL_MEAN = (123.675, 116.28, 103.53)  # ImageNet's
_PIXEL_STD = (58.395, 57.12, 57.375)

_HEIGHT_GAIN, _NEARNESS_GAIN = 40, 20  # before asinh
_SQUASH = 2  # what is divided by after it, of height and slopes

_LEAST_VALID = 0.25  # of the camera pixels under one input pixel that must have depth
_SURROUNDINGS = 1 / 8  # of the input's side: how far "around" reaches
_COARSE = 4  # input pixels a side in which the mean around is found
_USUAL_FOCAL_LENGTH = 0.96  # of the image's width: a RealSense colour camera's, where no intrinsics say it

# The dominant plane: candidates through three pixels each, drawn once and for all.
_CANDIDATES = 192
_GRID = 48  # judged on so many pixels a side
_PLANE_TOLERANCE = 0.008  # relative to depth: how near to a plane a pixel lies on it
_REFITS = 3


def network_input(
    color: torch.Tensor,
    depth_m: torch.Tensor | None,
    intrinsics: tuple[float, float, float, float] | None,
    side: int,
) -> torch.Tensor:
    """Stretch a frame to the network's square input.

    Args:
        color: (h, w, 3) uint8 RGB.
        depth_m: (H, W) float32 metres of the same view, 0 for no data; None without depth.
        intrinsics: fx, fy, cx, cy in pixels of the depth image; None: those of a usual RealSense.
        side: pixels of the input's side.

    Returns:
        (8, side, side) float32, see ``CHANNELS``; the depth channels are 0 where there is no depth.
    """
    image = color.permute(2, 0, 1)[None].float()
    image = F.interpolate(image, (side, side), mode="bilinear", align_corners=False, antialias=True)[0]
    mean, std = _color_statistics(color.device)
    channels = torch.zeros(CHANNELS, side, side, device=color.device)
    channels[COLOR] = (image - mean) / std
    if depth_m is not None:
        channels[DEPTH] = depth_channels(depth_m, intrinsics, side)
    return channels


def depth_channels(
    depth_m: torch.Tensor, intrinsics: tuple[float, float, float, float] | None, side: int
) -> torch.Tensor:
    """The five channels that depth gives, (5, side, side) float32; all 0 where nothing is known.

    All are made from inverse depth, in which planes are linear and stereo noise is even, and squashed by asinh, so
    that a millimetre's step and a metre's both show.
    """
    inverse, valid = _inverse_depth(depth_m, side)
    log_depth = -torch.log(inverse.clamp(min=1e-3))
    height = height_over_dominant_plane(inverse, valid, _scaled(intrinsics, depth_m.shape, side))
    slope_x, slope_y = _slopes(log_depth, valid)
    around = _mean_around(log_depth, valid, int(side * _SURROUNDINGS) | 1)
    channels = torch.stack(
        [
            torch.asinh(_HEIGHT_GAIN * height) / _SQUASH,
            torch.asinh(slope_x * side / 2) / _SQUASH,
            torch.asinh(slope_y * side / 2) / _SQUASH,
            torch.asinh(_NEARNESS_GAIN * (around - log_depth)),
            torch.ones_like(log_depth),
        ]
    )
    return channels * valid


def shape_of(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the depth channels say, back in units.

    Args:
        image: (8, S, S) network input.

    Returns:
        (S, S) metres over the dominant plane, (S, S) slope in log depth a pixel, (S, S) bool where depth is known.
    """
    height, slope_x, slope_y, _, valid = image[DEPTH].float()
    slope = torch.hypot(torch.sinh(_SQUASH * slope_x), torch.sinh(_SQUASH * slope_y)) * 2 / image.shape[-1]
    return torch.sinh(_SQUASH * height) / _HEIGHT_GAIN, slope, valid > 0


def color_of(image: torch.Tensor) -> torch.Tensor:
    """(..., 3, h, w) red, green and blue in 0..1 of (..., 8, h, w) network input."""
    mean, std = _color_statistics(image.device)
    return (image[..., COLOR, :, :] * std + mean) / 255


def height_over_dominant_plane(
    inverse: torch.Tensor, valid: torch.Tensor, intrinsics: tuple[float, float, float, float]
) -> torch.Tensor:
    """(S, S) metres by which each pixel stands out of the plane that most pixels lie on, towards the camera.

    A plane n . p = d is linear in inverse depth: 1/z = (n . ray) / d. So a point at z on a ray where the plane has
    inverse depth q is d (1 - z q) above it, with 1/d the length of the vector that is linear in the ray.

    Args:
        inverse: (S, S) 1/m.
        valid: (S, S) 0 or 1.
        intrinsics: fx, fy, cx, cy in pixels of the (S, S) image.
    """
    side = inverse.shape[0]
    fx, fy, cx, cy = intrinsics
    at = torch.arange(side, device=inverse.device, dtype=torch.float32)
    rays = torch.stack(
        [((at - cx) / fx).expand(side, side), ((at - cy) / fy)[:, None].expand(side, side), torch.ones_like(inverse)],
        dim=-1,
    )
    plane = _dominant_plane(rays, inverse, valid)
    distance = 1 / plane.norm().clamp(min=1e-3)
    return distance * (1 - (rays @ plane) / inverse.clamp(min=1e-3)).clamp(-3, 3)


def _dominant_plane(rays: torch.Tensor, inverse: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """(3,) the vector whose product with a ray is the plane's inverse depth: RANSAC, then least squares."""
    step = max(1, rays.shape[0] // _GRID)
    grid = (slice(step // 2, None, step),) * 2
    a, b = rays[grid].reshape(-1, 3), inverse[grid].reshape(-1)
    weight = valid[grid].reshape(-1)
    drawn = torch.rand(_CANDIDATES, 3, generator=torch.Generator().manual_seed(0)).to(a.device)
    order = torch.argsort(weight, descending=True, stable=True)  # the pixels with depth come first
    picks = order[(drawn * weight.sum().clamp(min=1)).long()]
    triples = a[picks] + 1e-6 * torch.eye(3, device=a.device)
    planes = torch.linalg.solve_ex(triples, b[picks][..., None])[0][..., 0]
    planes = torch.nan_to_num(planes, 0.0, 0.0, 0.0)
    tolerance = _PLANE_TOLERANCE * b
    on_plane = ((planes @ a.T - b).abs() < tolerance) * weight
    plane = planes[(on_plane @ b**2).argmax()]  # near pixels count more: the table, not the floor
    for _ in range(_REFITS):
        near = ((a @ plane - b).abs() < 1.5 * tolerance) * weight
        weighted = a * near[:, None]
        gram = weighted.T @ a + 1e-6 * torch.eye(3, device=a.device)
        plane = torch.linalg.solve_ex(gram, weighted.T @ b)[0]
    return torch.nan_to_num(plane, 0.0, 0.0, 0.0)


def _color_statistics(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (_PIXEL_MEAN, _PIXEL_STD))
    return mean, std


def _inverse_depth(depth_m: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(S, S) inverse depth, averaged over the pixels that have depth, and (S, S) 0 or 1 where there are enough."""
    known = (depth_m > 0).float()
    stacked = torch.stack([torch.where(depth_m > 0, 1 / depth_m.clamp(min=1e-3), 0.0), known])[None]
    inverse, share = F.interpolate(stacked, (side, side), mode="bilinear", align_corners=False, antialias=True)[0]
    return inverse / share.clamp(min=1e-6), (share > _LEAST_VALID).float()


def _scaled(
    intrinsics: tuple[float, float, float, float] | None, shape: torch.Size, side: int
) -> tuple[float, float, float, float]:
    height, width = shape
    if intrinsics is None:
        focal_length = _USUAL_FOCAL_LENGTH * width
        intrinsics = (focal_length, focal_length, (width - 1) / 2, (height - 1) / 2)
    fx, fy, cx, cy = intrinsics
    scale_x, scale_y = side / width, side / height
    return fx * scale_x, fy * scale_y, (cx + 0.5) * scale_x - 0.5, (cy + 0.5) * scale_y - 0.5


def _slopes(log_depth: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Central differences of (S, S) in x and in y, per pixel; 0 where a neighbour is unknown."""
    log_depth, valid = (F.pad(each[None, None], (1, 1, 1, 1), mode="replicate")[0, 0] for each in (log_depth, valid))
    slope_x = (log_depth[1:-1, 2:] - log_depth[1:-1, :-2]) / 2 * valid[1:-1, 2:] * valid[1:-1, :-2]
    slope_y = (log_depth[2:, 1:-1] - log_depth[:-2, 1:-1]) / 2 * valid[2:, 1:-1] * valid[:-2, 1:-1]
    return slope_x, slope_y


def _mean_around(values: torch.Tensor, valid: torch.Tensor, window: int) -> torch.Tensor:
    """(S, S) mean of the known values in a window of about that side around each pixel."""
    stacked = torch.stack([values * valid, valid])[None]
    coarse = F.avg_pool2d(stacked, _COARSE)  # a mean over so many pixels changes slowly: a sixteenth of them will do
    kernel = (window // _COARSE) | 1
    coarse = F.avg_pool2d(coarse, kernel, stride=1, padding=kernel // 2)
    total, share = F.interpolate(coarse, values.shape, mode="bilinear", align_corners=False)[0]
    return total / share.clamp(min=1e-6)
