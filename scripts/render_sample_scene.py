# Copyright 2026 The sam_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Renders a tabletop scene as a RealSense D435 would record it, with exact ground truth.

    pip install 'mujoco>=3.3' numpy 'opencv-python-headless<5'
    MUJOCO_GL=egl python scripts/render_sample_scene.py [--out DIR] [--seed N]

Everything is generated here (shapes, textures, layout) from one seed; nothing is downloaded. MuJoCo lets the
objects settle on a table and renders colour, metric depth and instance labels; a noise model then turns the
exact depth into what the camera's stereo matcher would deliver. Written to DIR:

    color.png     640x480 BGR
    depth.png     uint16 millimetres, aligned to colour, 0 = no data
    labels.png    uint8, 0 = not an object, else the object's id
    objects.json  id, name, box, click, area, visible_centroid_m, position_m of each object
    camera.json   pinhole intrinsics and camera_T_table

Frames: `camera` is camera_color_optical_frame (x right, y down, z forward); `table` has its origin on the
middle of the table top and z up. `a_T_b` maps homogeneous points in b to points in a. Pixel (u, v) has its
centre at the integer coordinates, so u = fx * x / z + cx.
"""

import argparse
import dataclasses
import itertools
import json
import os
import pathlib
import sys

import cv2
import numpy as np

DEFAULT_OUT = pathlib.Path(__file__).resolve().parents[1] / "sam_perception" / "samples" / "tabletop"

D435_BASELINE_M = 0.050
SUBPIXEL_RMS = 0.08
DISPARITY_STEPS_PER_PIXEL = 32

TABLE_SIZE_M = (1.30, 0.88, 0.04)
FLOOR_BELOW_TABLE_M = 0.74
SUPERSAMPLING = 2
LIGHT_SAMPLES = 24
MIN_VISIBLE_PIXELS = 250


@dataclasses.dataclass(frozen=True)
class Camera:
    """A pinhole camera and where it stands.

    Attributes:
        width, height: image size in pixels.
        fx, fy, cx, cy: intrinsics in pixels.
        table_T_camera: 4x4 pose of the optical frame on the table.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    table_T_camera: np.ndarray

    @property
    def camera_T_table(self) -> np.ndarray:
        """(4, 4) pose of the table in the camera's optical frame."""
        return np.linalg.inv(self.table_T_camera)


@dataclasses.dataclass(frozen=True)
class Mesh:
    """A triangle mesh for display, in metres, with one normal and one texture coordinate per vertex.

    Attributes:
        vertices: (V, 3). normals: (V, 3), unit, outward. uv: (V, 2), v = 0 at the bottom row of the texture.
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
    """

    vertices: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    faces: np.ndarray


@dataclasses.dataclass(frozen=True)
class Item:
    """One object of the scene: what is seen, what collides, where it starts.

    Attributes:
        name: what a person would call it.
        parts: (mesh, material name) pairs in the body frame; the body's origin is the object's middle.
        collision: MJCF attributes of invisible geoms that stand for the object in the physics.
        position: start of the body's origin in the table frame, metres.
        euler_deg: start orientation, rotations about x, then y, then z of the body.
    """

    name: str
    parts: list
    collision: list
    position: tuple
    euler_deg: tuple = (0.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class View:
    """What the camera sees, before any sensor noise.

    Attributes:
        color_bgr: (H, W, 3) float32, 0..255.
        depth_m: (H, W) float32, z along the optical axis in metres.
        labels: (H, W) uint8, 0 = not an object.
        gloss: (H, W) float32, 0 = matt .. 1 = bare metal.
        positions_camera: (N, 3) origins of the bodies in the camera frame, metres.
    """

    color_bgr: np.ndarray
    depth_m: np.ndarray
    labels: np.ndarray
    gloss: np.ndarray
    positions_camera: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=DEFAULT_OUT, help="folder to write to")
    parser.add_argument("--seed", type=int, default=7, help="decides layout, textures and noise")
    args = parser.parse_args()
    try:
        sample = render_sample(args.seed)
    except RuntimeError as error:
        sys.exit(f"render_sample_scene: {error}")
    write_sample(sample, args.out)
    holes = np.mean(sample["depth.png"] == 0)
    print(f"{args.out}: {len(sample['objects.json'])} objects, {100 * holes:.1f} % of the depth is holes")


def render_sample(seed: int) -> dict:
    """Builds, settles and renders the scene of a seed.

    Returns:
        File name -> content: arrays for the .png files (see the top of this file), plain data for the .json.

    Raises:
        RuntimeError: MuJoCo or a GL library is missing, or this seed hides an object.
    """
    rng = np.random.default_rng(seed)
    camera = place_camera(rng)
    items = lay_out_items(rng)
    textures = make_textures(rng)
    view = render_view(items, textures, camera, rng)
    color = camera_look(view.color_bgr, rng)
    return {
        "color.png": color,
        "depth.png": d435_depth(view.depth_m, color, view.gloss, camera.fx, camera.fy, rng),
        "labels.png": view.labels,
        "objects.json": describe_objects(items, view, camera),
        "camera.json": describe_camera(camera),
    }


def write_sample(sample: dict, out: pathlib.Path) -> None:
    """Writes what render_sample returned into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for name, content in sample.items():
        if name.endswith(".png"):
            cv2.imwrite(str(out / name), content, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        else:
            (out / name).write_text(json.dumps(content, indent=1) + "\n")


# --- Depth noise -----------------------------------------------------------------------------------------
# Each function takes and returns depth in metres, float, (H, W), 0 = no data, or returns a mask of pixels
# that lose their depth. Disparities are counted in pixels of the aligned image, and the colour camera is
# taken to stand where the left imager is; on a D435 it is 15 mm to the left of it, which only makes the
# shadows a little wider.


def d435_depth(depth_m: np.ndarray, color_bgr: np.ndarray, gloss: np.ndarray, fx: float, fy: float, rng):
    """Turns exact depth into a D435-like depth image aligned to colour.

    Args:
        depth_m: (H, W) exact z-depth, metres.
        color_bgr: (H, W, 3) uint8, stands for the brightness that the matcher sees.
        gloss: (H, W) 0 = matt .. 1 = bare metal.
        fx: focal length along x, pixels.
        fy: focal length along y, pixels.
        rng: numpy Generator.

    Returns:
        (H, W) uint16 millimetres, 0 = no data.
    """
    unmatched = second_imager_shadow(depth_m, fx)
    unmatched |= unmatchable_surface(depth_m, color_bgr, gloss, fx, fy, rng)
    depth = bleed_edges(depth_m, rng)
    depth = add_disparity_noise(depth, fx, rng)
    depth = quantise_disparity(depth, fx)
    return encode_millimetres(np.where(ragged(unmatched, rng), 0, depth))


def add_disparity_noise(
    depth_m: np.ndarray,
    fx: float,
    rng,
    baseline_m: float = D435_BASELINE_M,
    subpixel: float = SUBPIXEL_RMS,
    correlation_px: float = 1.5,
) -> np.ndarray:
    """Adds the stereo matcher's disparity error, so that sigma_z = z^2 * subpixel / (fx * baseline).

    The formula is the "Depth RMS error" of Grunnet-Jepsen, Sweetser, Woodfill, "Tuning depth cameras for best
    performance" (Intel RealSense D400 documentation); its first author advises a subpixel RMS of about 0.08
    px (librealsense issue 3904). Neighbours share most of their matching window, so the error is correlated
    over a few pixels (`correlation_px` is the sigma of a Gaussian window).
    """
    error_px = subpixel * correlated_noise(depth_m.shape, correlation_px, rng)
    disparity_px = _divide(fx * baseline_m, depth_m)
    return np.where(depth_m > 0, _divide(fx * baseline_m, disparity_px + error_px), 0).astype(np.float32)


def quantise_disparity(
    depth_m: np.ndarray,
    fx: float,
    baseline_m: float = D435_BASELINE_M,
    steps_per_px: int = DISPARITY_STEPS_PER_PIXEL,
) -> np.ndarray:
    """Rounds to the disparities that the D4 vision processor can express, 1/32 px apart.

    1/32 px: Grunnet-Jepsen et al., "Subpixel linearity improvement for Intel RealSense depth cameras", and
    the fractional bits in librealsense's src/proc/disparity-transform.cpp.
    """
    steps = np.round(_divide(fx * baseline_m, depth_m) * steps_per_px)
    return _divide(fx * baseline_m * steps_per_px, steps).astype(np.float32)


def bleed_edges(depth_m: np.ndarray, rng, reach_px: float = 1.2, flying: float = 0.25) -> np.ndarray:
    """Fattens and frays near surfaces, with some flying pixels between near and far.

    A matching window that straddles a depth edge mostly takes the disparity of the near side: "foreground
    fattening", Scharstein and Szeliski, "A taxonomy and evaluation of dense two-frame stereo correspondence
    algorithms", IJCV 2002. Here each pixel takes the depth of the pixel a smooth random step away (sigma
    `reach_px`) where that one is nearer, and a share `flying` of the pixels on the far side of an edge gets
    the mean of both sides.
    """
    height, width = depth_m.shape
    v, u = np.mgrid[0:height, 0:width]
    step_u, step_v = (reach_px * correlated_noise(depth_m.shape, 2.0, rng) for _ in range(2))
    moved = depth_m[
        np.clip(np.round(v + step_v), 0, height - 1).astype(int),
        np.clip(np.round(u + step_u), 0, width - 1).astype(int),
    ]
    nearer = (depth_m > 0) & (moved > 0) & (moved < depth_m * 0.98)
    out = np.where(nearer, moved, depth_m).astype(np.float32)
    near, far = _nearest_and_farthest(out)
    on_edge = (out > 0) & (far > near * 1.03) & (out > near * 1.01)
    flies = on_edge & (rng.random(depth_m.shape) < flying)
    out[flies] = (0.5 * (near + far))[flies]
    return out


def second_imager_shadow(depth_m: np.ndarray, fx: float, baseline_m: float = D435_BASELINE_M) -> np.ndarray:
    """Says which pixels the right imager, `baseline_m` to the right, cannot see (left/right check).

    Depth refers to the left imager (Intel RealSense D400 datasheet, "Invalid depth band"). Every pixel is
    carried into the right image, to u - disparity, where the nearest one wins; a loser has no match. A
    straight edge so casts a shadow on the far surface to its left,
    fx * baseline * (1 / z_near - 1 / z_far) pixels wide. What falls off the right image is kept: a D435's
    imagers see wider than its colour camera.

    Returns:
        (H, W) bool.
    """
    height, width = depth_m.shape
    disparity = _divide(fx * baseline_m, depth_m)
    u_right = np.arange(width)[None, :] - disparity
    inside = (u_right >= 0) & (depth_m > 0)
    rows = np.broadcast_to(np.arange(height)[:, None], depth_m.shape)
    nearest = np.zeros((height, width))
    for cell in (np.floor(u_right), np.ceil(u_right)):
        columns = np.clip(cell, 0, width - 1).astype(int)
        np.maximum.at(nearest, (rows[inside], columns[inside]), disparity[inside])
    columns = np.clip(np.round(u_right), 0, width - 1).astype(int)
    return inside & (nearest[rows, columns] > disparity + 1.0)


def unmatchable_surface(
    depth_m: np.ndarray, color_bgr: np.ndarray, gloss: np.ndarray, fx: float, fy: float, rng
) -> np.ndarray:
    """Says which pixels give the matcher nothing to work with: dark, blown out, metallic or grazing.

    For slant see Nguyen, Izadi, Lovell, "Modeling Kinect sensor noise for improved 3D reconstruction and
    tracking", 3DIMPVT 2012 (the error rises steeply towards grazing); the other causes are plain from any
    stereo camera: no light comes back, or the two imagers see different reflections. How often each one
    strikes is chosen by eye. Each cause is a risk in 0..1, and a pixel is lost where it exceeds a smooth
    random threshold, so that losses come in patches.

    Returns:
        (H, W) bool.
    """
    brightest = cv2.GaussianBlur(color_bgr.max(axis=2).astype(np.float32), (0, 0), 1.5)
    dimmest = cv2.GaussianBlur(color_bgr.min(axis=2).astype(np.float32), (0, 0), 1.0)
    dark = np.clip((38 - brightest) / 24, 0, 1)
    blown = np.clip((dimmest - 238) / 10, 0, 1)
    metallic = np.clip((gloss - 0.8) / 0.2, 0, 1)
    slant = np.clip((np.cos(np.deg2rad(74)) - facing_cosine(depth_m, fx, fy)) / 0.12, 0, 1)
    risk = np.maximum.reduce([0.75 * dark, 0.9 * blown, 0.36 * metallic, 0.8 * slant])
    threshold = 0.5 + 0.2 * correlated_noise(depth_m.shape, 2.5, rng)
    return (depth_m > 0) & (risk > np.clip(threshold, 0.05, 1.0))


def facing_cosine(depth_m: np.ndarray, fx: float, fy: float) -> np.ndarray:
    """Cosine of the angle between the surface normal and the line of sight, 1 = seen face on; (H, W).

    From central differences of depth, with the principal point in the middle of the image, which is good
    enough for a risk of losing pixels. Pixels at a depth edge count as face on: their slope is no surface's.
    """
    height, width = depth_m.shape
    x_z = (np.arange(width)[None, :] - width / 2) / fx
    y_z = (np.arange(height)[:, None] - height / 2) / fy
    depth = np.where(depth_m > 0, depth_m, 1.0).astype(np.float64)
    slope_v, slope_u = np.gradient(depth)
    # The normal is the cross product of the tangents of (x_z, y_z, 1) z, scaled to meet that ray in z.
    n_x, n_y = -fx * slope_u, -fy * slope_v
    n_z = depth - x_z * n_x - y_z * n_y
    cosine = depth / np.sqrt((n_x**2 + n_y**2 + n_z**2) * (x_z**2 + y_z**2 + 1))
    near, far = _nearest_and_farthest(depth)
    return np.where(far > near * 1.05, 1.0, cosine)


def ragged(mask: np.ndarray, rng, reach_px: float = 1.0) -> np.ndarray:
    """Frays the outline of holes by about `reach_px`, as block-wise matching and filtering leave it."""
    height, width = mask.shape
    v, u = np.mgrid[0:height, 0:width].astype(np.float32)
    step_u, step_v = (reach_px * correlated_noise(mask.shape, 1.5, rng) for _ in range(2))
    frayed = cv2.remap(mask.astype(np.uint8), u + step_u, v + step_v, cv2.INTER_NEAREST)
    return cv2.medianBlur(frayed, 3).astype(bool)


def correlated_noise(shape: tuple, sigma_px: float, rng) -> np.ndarray:
    """Gaussian noise of zero mean and unit variance, correlated over `sigma_px` pixels; float32."""
    margin = int(np.ceil(4 * sigma_px))
    white = rng.standard_normal((shape[0] + 2 * margin, shape[1] + 2 * margin)).astype(np.float32)
    kernel = cv2.getGaussianKernel(2 * margin + 1, sigma_px)
    smooth = cv2.sepFilter2D(white, -1, kernel, kernel) / float(np.sum(kernel**2))
    return smooth[margin : margin + shape[0], margin : margin + shape[1]]


def encode_millimetres(depth_m: np.ndarray) -> np.ndarray:
    """Metres to uint16 millimetres; 0 and what does not fit 65.535 m become 0 = no data."""
    millimetres = np.round(depth_m * 1000.0)
    return np.where((millimetres > 0) & (millimetres <= 65535), millimetres, 0).astype(np.uint16)


def _divide(numerator: float, values: np.ndarray) -> np.ndarray:
    return np.divide(numerator, values, out=np.zeros(values.shape), where=values > 0)


def _nearest_and_farthest(depth_m: np.ndarray) -> tuple:
    """Smallest and largest depth of each 3x3 neighbourhood, pixels without data left out."""
    window = np.ones((3, 3), np.uint8)
    return cv2.erode(np.where(depth_m > 0, depth_m, np.inf), window), cv2.dilate(depth_m, window)


# --- Ground truth ----------------------------------------------------------------------------------------


def describe_objects(items: list, view: View, camera: Camera) -> list:
    """Lists what is known of each object, in the shape of objects.json.

    Raises:
        RuntimeError: an object is hidden or out of the image.
    """
    points = deproject(view.depth_m, camera)
    described = []
    for number, item in enumerate(items, start=1):
        mask = view.labels == number
        if mask.sum() < MIN_VISIBLE_PIXELS:
            raise RuntimeError(f"the {item.name} is hidden or out of the image, take another seed.")
        described.append(
            {
                "id": number,
                "name": item.name,
                "box": box_of(mask),
                "click": innermost_pixel(mask),
                "area": int(mask.sum()),
                "visible_centroid_m": [round(float(x), 5) for x in points[mask].mean(axis=0)],
                "position_m": [round(float(x), 5) for x in view.positions_camera[number - 1]],
            }
        )
    return described


def describe_camera(camera: Camera) -> dict:
    """Intrinsics and the pose of the table, in the shape of camera.json."""
    return {
        "width": camera.width,
        "height": camera.height,
        "fx": camera.fx,
        "fy": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        "distortion_model": "plumb_bob",
        "distortion": [0.0, 0.0, 0.0, 0.0, 0.0],
        "depth_scale_m": 0.001,
        "frame_id": "camera_color_optical_frame",
        "camera_T_table": np.round(camera.camera_T_table, 8).tolist(),
    }


def deproject(depth_m: np.ndarray, camera: Camera) -> np.ndarray:
    """Depth image to (H, W, 3) points in the camera frame, metres."""
    v, u = np.mgrid[0 : depth_m.shape[0], 0 : depth_m.shape[1]]
    rays = np.dstack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(depth_m.shape)])
    return rays * depth_m[..., None]


def box_of(mask: np.ndarray) -> list:
    """[x_min, y_min, x_max, y_max) of a mask, pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def innermost_pixel(mask: np.ndarray) -> list:
    """[x, y] of the pixel of a mask that is farthest from its outline and from the image border."""
    inside = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    y, x = np.unravel_index(np.argmax(inside), inside.shape)
    return [int(x) - 1, int(y) - 1]


# --- The scene -------------------------------------------------------------------------------------------


def place_camera(rng) -> Camera:
    """A D435-like colour camera 0.8 m from the middle of the table, looking down at about 42 degrees."""
    pitch, azimuth, roll = np.deg2rad(np.array([42.0, -10.0, 1.5]) + rng.uniform(-1.0, 1.0, 3))
    forward = np.array([-np.sin(azimuth) * np.cos(pitch), np.cos(azimuth) * np.cos(pitch), -np.sin(pitch)])
    level = np.cross(forward, [0.0, 0.0, 1.0])
    level /= np.linalg.norm(level)
    down = np.cross(forward, level)
    table_T_camera = np.eye(4)
    table_T_camera[:3, 0] = np.cos(roll) * level + np.sin(roll) * down
    table_T_camera[:3, 1] = np.cos(roll) * down - np.sin(roll) * level
    table_T_camera[:3, 2] = forward
    table_T_camera[:3, 3] = np.array([0.0, 0.02, 0.0]) - 0.80 * forward
    return Camera(640, 480, 615.17, 615.42, 323.46, 244.71, table_T_camera)


def lay_out_items(rng) -> list:
    """The objects, each near a place of its own, with a random nudge and turn."""

    def near(x: float, y: float, z: float) -> tuple:
        nudge = rng.uniform(-0.008, 0.008, 2)
        return (x + nudge[0], y + nudge[1], z + 0.003)

    def turn(degrees: float) -> tuple:
        return (0.0, 0.0, degrees + rng.uniform(-8.0, 8.0))

    block, cube = block_pair(near(0.245, -0.125, 0.0), turn(24.0))
    return [
        cracker_box(near(-0.175, 0.185, 0.105), turn(14.0)),
        soup_can(near(-0.115, 0.055, 0.0505), turn(180.0)),
        squeeze_bottle(near(0.055, 0.195, 0.095), turn(180.0)),
        mug(near(0.17, 0.065, 0.048), turn(-28.0)),
        bowl(near(0.035, -0.075, 0.034), turn(0.0)),
        tuna_can(near(-0.17, -0.17, 0.0185), turn(-90.0)),
        screwdriver(near(-0.235, -0.03, 0.02), turn(38.0)),
        orange(near(0.265, 0.165, 0.038), turn(20.0)),
        block,
        cube,
    ]


def cracker_box(position: tuple, euler_deg: tuple) -> Item:
    size = (0.155, 0.06, 0.21)
    panels = {"front": (0.0, 0.0, 0.7, 1.0), "side": (0.7, 0.0, 1.0, 1.0), "top": (0.72, 0.3, 0.98, 0.42)}
    return Item("cracker box", [(box_mesh(size, panels), "carton")], [box_geom(size, 0.4)], position, euler_deg)


def soup_can(position: tuple, euler_deg: tuple) -> Item:
    return _can("soup can", 0.0335, 0.101, "soup", 0.35, position, euler_deg)


def tuna_can(position: tuple, euler_deg: tuple) -> Item:
    return _can("tuna can", 0.042, 0.037, "tuna", 0.2, position, euler_deg)


def _can(name: str, radius: float, height: float, label: str, mass: float, position, euler_deg) -> Item:
    half, rim = height / 2, 0.0022
    seam, sunk, ridge = radius - rim, half - 0.003, 0.68 * radius
    wall = lathe([[(radius - 0.001, -half + rim), (radius - 0.001, half - rim)]])
    lower = lathe([[(0, -half), (seam, -half)], _round(seam, -half + rim, rim, -90, 90)])
    panel = [(ridge + 0.002, sunk), (ridge, sunk + 0.0008), (ridge - 0.002, sunk)]
    lid = [*_chain((seam, half), (radius - 0.003, sunk), panel[0]), panel, [panel[-1], (0, sunk)]]
    upper = lathe([_round(seam, half - rim, rim, -90, 90), *lid])
    parts = [(wall, label), (lower, "tin"), (upper, "tin")]
    return Item(name, parts, [cylinder_geom(radius, half, mass)], position, euler_deg)


def squeeze_bottle(position: tuple, euler_deg: tuple) -> Item:
    """0.19 m high, a round shoulder, a nozzle of another colour."""
    angle = np.linspace(0, np.pi, 16)
    shoulder = [(0.0225 + 0.0095 * np.cos(t), 0.02 + 0.04 * t / np.pi) for t in angle]
    foot = [[(0, -0.095), (0.026, -0.095)], _round(0.026, -0.089, 0.006, -90, 0)]
    body = [(0.032, -0.089), (0.032, 0.02)]
    cap = _chain((0.012, 0.057), (0.016, 0.057), (0.016, 0.07), (0.010, 0.072), (0.0045, 0.095), (0, 0.095))
    parts = [
        (lathe(foot), "yellow plastic"),
        (lathe([body]), "bottle label"),
        (lathe([shoulder]), "yellow plastic"),
        (lathe(cap), "white plastic"),
    ]
    collision = [
        cylinder_geom(0.032, 0.06, 0.25, z=-0.035),
        cylinder_geom(0.016, 0.035, 0.02, z=0.06),
    ]
    return Item("squeeze bottle", parts, collision, position, euler_deg)


def mug(position: tuple, euler_deg: tuple) -> Item:
    """0.096 m high, open, with a handle along +x that one can see through."""
    half, radius, thickness = 0.048, 0.041, 0.0035
    outside = [(radius - 0.004, -half), (radius, -half + 0.005), (radius, half - 0.002)]
    rim = _round(radius - thickness / 2, half - 0.002, thickness / 2, 0, 180)
    hollow = _round(radius - thickness - 0.006, -half + 0.012, 0.006, 0, -90)
    inside = [rim[-1], hollow[0]]
    body = lathe([[(0, -half), outside[0]], outside, rim, inside, hollow, [hollow[-1], (0, hollow[-1][1])]])
    handle = arc_tube(center=(radius - 0.004, 0.0, 0.0), reach=(0.033, 0.031), radius=0.0052)
    collision = [
        cylinder_geom(radius, half, 0.3),
        f'type="box" pos="{radius + 0.015} 0 0" size="0.018 0.006 0.034" mass="0.01"',
    ]
    return Item("navy mug", [(body, "navy glaze"), (handle, "navy glaze")], collision, position, euler_deg)


def bowl(position: tuple, euler_deg: tuple) -> Item:
    """0.15 m wide, open, on a foot ring."""
    angle = np.linspace(0, np.pi / 2, 16)
    outer = [(0.029 + 0.046 * np.sin(t), 0.034 - 0.065 * np.cos(t)) for t in angle]
    inner = [(0.025 + 0.046 * np.sin(t), 0.034 - 0.060 * np.cos(t)) for t in angle[::-1]]
    foot = _chain((0, -0.031), (0.022, -0.031), (0.024, -0.034), (0.029, -0.034), outer[0])
    rim = [outer[-1], (0.0745, 0.0352), (0.0715, 0.0352), inner[0]]
    parts = [(lathe([*foot, outer, rim, inner, [inner[-1], (0, inner[-1][1])]]), "teal glaze")]
    collision = [cylinder_geom(0.029, 0.006, 0.2, z=-0.028), cylinder_geom(0.070, 0.024, 0.1, z=0.010)]
    return Item("teal bowl", parts, collision, position, euler_deg)


def screwdriver(position: tuple, euler_deg: tuple) -> Item:
    """0.20 m long along x, the handle thicker than the shaft."""
    grip = [(0.013, -0.095), (0.0135, -0.07), (0.0105, -0.045), (0.012, -0.02)]
    butt = [(0.0, -0.1), (0.009, -0.1), grip[0]]
    collar = [grip[-1], (0.012, -0.012), (0.007, -0.004)]
    shaft = _chain(collar[-1], (0.0035, -0.004), (0.0035, 0.088), (0.0028, 0.1), (0.0, 0.1))
    along_x = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    parts = [
        (rotated(lathe([butt, grip]), along_x), "orange rubber"),
        (rotated(lathe([collar]), along_x), "black rubber"),
        (rotated(lathe(shaft), along_x), "steel"),
    ]
    collision = [
        'type="capsule" fromto="-0.088 0 0 -0.02 0 0" size="0.0125" mass="0.06"',
        'type="capsule" fromto="-0.01 0 0 0.097 0 0" size="0.0035" mass="0.04"',
    ]
    return Item("screwdriver", parts, collision, position, euler_deg)


def orange(position: tuple, euler_deg: tuple) -> Item:
    radius = 0.037
    angle = np.linspace(-np.pi / 2, np.pi / 2, 40)
    dimple = 0.004 * np.exp(-(((np.pi / 2 - angle) / 0.16) ** 2))
    profile = [(radius * np.cos(t), radius * np.sin(t) * 0.96 - d) for t, d in zip(angle, dimple, strict=True)]
    collision = [f'type="ellipsoid" size="{radius} {radius} {0.96 * radius}" mass="0.2"']
    return Item("orange", [(lathe([profile]), "peel")], collision, position, euler_deg)


def block_pair(position: tuple, euler_deg: tuple) -> tuple:
    """A brick and a small cube of one colour, less than a millimetre apart."""
    brick, cube, gap = (0.09, 0.045, 0.045), (0.04, 0.04, 0.04), 0.0006
    yaw = np.deg2rad(euler_deg[2])
    aside = brick[0] / 2 + cube[0] / 2 + gap
    x, y, z = position
    cube_position = (x - aside * np.cos(yaw), y - aside * np.sin(yaw), z + cube[2] / 2)
    brick_position = (x, y, z + brick[2] / 2)
    return (
        _painted("green block", brick, 0.10, brick_position, euler_deg),
        _painted("green cube", cube, 0.05, cube_position, euler_deg),
    )


def _painted(name: str, size: tuple, mass: float, position: tuple, euler_deg: tuple) -> Item:
    return Item(name, [(box_mesh(size), "green paint")], [box_geom(size, mass)], position, euler_deg)


# --- Shapes ----------------------------------------------------------------------------------------------


def lathe(profile: list, segments: int = 72) -> Mesh:
    """Turns a profile about z.

    Args:
        profile: polylines of (r, z), metres, from the bottom of the axis outwards and up (and, for something
            open, back in). Each polyline is shaded smooth; where one ends and the next begins is a crease.
        segments: number of steps around.
    """
    return _joined([_strip(np.asarray(polyline, dtype=float), segments) for polyline in profile])


def _strip(polyline: np.ndarray, segments: int) -> Mesh:
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    tangent = np.gradient(polyline, axis=0)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(polyline, axis=0), axis=1))])
    v, u = np.meshgrid(length / length[-1], angle / (2 * np.pi), indexing="ij")

    def around(radial_and_z: np.ndarray) -> np.ndarray:
        radial, z = radial_and_z[:, :1], radial_and_z[:, 1:]
        return np.dstack([radial * np.cos(angle), radial * np.sin(angle), z * np.ones_like(angle)])

    return _grid_mesh(around(polyline), around(normal), np.dstack([u, v]))


def box_mesh(size: tuple, panels: dict | None = None) -> Mesh:
    """A box; `panels` names the part of the texture (u0, v0, u1, v1) of its front (-y, +y), side and top."""
    whole = (0.0, 0.0, 1.0, 1.0)
    panels = panels or {"front": whole, "side": whole, "top": whole}
    x, y, z = np.eye(3)
    faces = [
        (x, z, -y, "front"),
        (-x, z, y, "front"),
        (y, z, x, "side"),
        (-y, z, -x, "side"),
        (x, y, z, "top"),
        (-x, y, -z, "top"),
    ]
    return _joined([_quad(np.asarray(size), *face[:3], panels[face[3]]) for face in faces])


def _quad(size: np.ndarray, right: np.ndarray, up: np.ndarray, out: np.ndarray, panel: tuple, steps: int = 8) -> Mesh:
    t, s = np.meshgrid(np.linspace(0, 1, steps + 1), np.linspace(0, 1, steps + 1), indexing="ij")
    unit = (s[..., None] - 0.5) * right + (t[..., None] - 0.5) * up + 0.5 * out
    uv = np.dstack([panel[0] + s * (panel[2] - panel[0]), panel[1] + t * (panel[3] - panel[1])])
    return _grid_mesh(unit * size, np.broadcast_to(out, unit.shape), uv)


def arc_tube(center: tuple, reach: tuple, radius: float, steps: int = 28, segments: int = 20) -> Mesh:
    """Half an elliptic ring in the xz plane, `reach[0]` towards +x and `reach[1]` up and down."""
    along = np.linspace(-np.pi / 2, np.pi / 2, steps)
    ring = np.linspace(0, 2 * np.pi, segments + 1)
    path = np.stack([reach[0] * np.cos(along), np.zeros(steps), reach[1] * np.sin(along)], axis=1) + center
    tangent = np.stack([-reach[0] * np.sin(along), np.zeros(steps), reach[1] * np.cos(along)], axis=1)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.array([0.0, 1.0, 0.0])
    out = np.cross(side, tangent)
    normals = np.cos(ring)[None, :, None] * out[:, None, :] + np.sin(ring)[None, :, None] * side
    v, u = np.meshgrid(np.linspace(0, 1, steps), ring / (2 * np.pi), indexing="ij")
    return _grid_mesh(path[:, None, :] + radius * normals, normals, np.dstack([u, v]))


def rotated(mesh: Mesh, rotation: np.ndarray) -> Mesh:
    return dataclasses.replace(mesh, vertices=mesh.vertices @ rotation.T, normals=mesh.normals @ rotation.T)


def _grid_mesh(points: np.ndarray, normals: np.ndarray, uv: np.ndarray) -> Mesh:
    """Joins a (rows, columns, 3) grid of points, columns to the right and rows up seen from outside."""
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    flat = points.reshape(-1, 3)
    p, q, r = (flat[faces[:, k]] for k in range(3))
    has_area = np.linalg.norm(np.cross(q - p, r - p), axis=1) > 1e-12
    return Mesh(flat, normals.reshape(-1, 3), uv.reshape(-1, 2), faces[has_area])


def _joined(meshes: list) -> Mesh:
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.uv for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)]),
    )


def _round(r: float, z: float, radius: float, start_deg: float, end_deg: float) -> list:
    angle = np.deg2rad(np.linspace(start_deg, end_deg, 9))
    return [(r + radius * np.cos(t), z + radius * np.sin(t)) for t in angle]


def _chain(*corners: tuple) -> list:
    """The straight pieces between corners, each its own polyline: all corners are creases."""
    return [[start, end] for start, end in itertools.pairwise(corners)]


def box_geom(size: tuple, mass: float) -> str:
    return f'type="box" size="{size[0] / 2} {size[1] / 2} {size[2] / 2}" mass="{mass}"'


def cylinder_geom(radius: float, half_height: float, mass: float, z: float = 0.0) -> str:
    return f'type="cylinder" pos="0 0 {z}" size="{radius} {half_height}" mass="{mass}"'


# --- Textures (BGR uint8, row 0 on top) ------------------------------------------------------------------


def make_textures(rng) -> dict:
    """Texture name -> (H, W, 3) uint8 BGR."""
    return {
        "wood": wood_texture(rng),
        "carpet": carpet_texture(rng),
        "wall": wall_texture(rng),
        "cardboard": cardboard_texture(rng),
        "carton": carton_texture(rng),
        "soup": soup_texture(rng),
        "tuna": tuna_texture(rng),
        "bottle label": bottle_texture(rng),
        "peel": peel_texture(rng),
    }


def cloud(rng, shape: tuple, cell: tuple, octaves: int = 4) -> np.ndarray:
    """Fractal value noise, float32, about -1..1; `cell` is the size (rows, columns) of its coarsest lumps."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        grid = [max(2, int(np.ceil(n / c * 2**octave))) for n, c in zip(shape, cell, strict=True)]
        lumps = rng.uniform(-1, 1, grid).astype(np.float32)
        total += cv2.resize(lumps, shape[::-1], interpolation=cv2.INTER_CUBIC) / 2**octave
    return total


def wood_texture(rng, shape: tuple = (1408, 2080), planks: int = 6) -> np.ndarray:
    """Planks along the columns, each with its own tint and rings, and dark seams between them."""
    height = shape[0] // planks
    boards = [_board(rng, (height, shape[1])) for _ in range(planks)]
    return np.concatenate(boards)


def _board(rng, shape: tuple) -> np.ndarray:
    across = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None]
    bend = cloud(rng, shape, (1.5 * shape[0], 1600), 3)
    rings = np.sin(2 * np.pi * (rng.uniform(7, 12) * across + 3.0 * bend + rng.uniform()))
    pores = cloud(rng, shape, (5, 110), 2)
    tone = 0.5 + 0.09 * rings + 0.15 * pores + 0.11 * cloud(rng, shape, (90, 500), 3) + rng.uniform(-0.12, 0.12)
    dark, light = np.array([36, 62, 98], np.float32), np.array([98, 144, 190], np.float32)
    board = dark + np.clip(tone, 0, 1)[..., None] * (light - dark)
    board[:3] *= 0.45
    return np.clip(board, 0, 255).astype(np.uint8)


def carpet_texture(rng, shape: tuple = (1024, 1024)) -> np.ndarray:
    fibre = cloud(rng, shape, (5, 14), 2)
    patches = cloud(rng, shape, (300, 300), 4)
    stripes = np.sin(np.arange(shape[1]) * 2 * np.pi / 64)[None, :] * np.ones(shape)
    tone = 95 + 22 * fibre + 12 * patches + 9 * stripes
    return np.clip(tone[..., None] * np.array([1.05, 0.98, 0.90]), 0, 255).astype(np.uint8)


def wall_texture(rng, shape: tuple = (512, 2048)) -> np.ndarray:
    """Painted plaster with a dark skirting board at the bottom."""
    tone = 176 + 7 * cloud(rng, shape, (120, 200), 5)
    wall = tone[..., None] * np.array([0.90, 0.98, 1.02])
    wall[-64:] = (62, 70, 84)
    return np.clip(wall, 0, 255).astype(np.uint8)


def cardboard_texture(rng, shape: tuple = (512, 512)) -> np.ndarray:
    board = (150 + 10 * cloud(rng, shape, (8, 120), 3))[..., None] * np.array([0.62, 0.86, 1.05])
    board = np.clip(board, 0, 255).astype(np.uint8)
    cv2.rectangle(board, (0, 236), (511, 276), (130, 172, 196), -1)
    _print(board, "THIS SIDE UP", (70, 420), 1.7, (52, 66, 84), 4)
    return board


def carton_texture(rng) -> np.ndarray:
    """Front of a cracker box in the left 70 %, its side in the rest."""
    art = np.full((760, 800, 3), (140, 62, 24), np.uint8)
    art[:, 560:] = (112, 46, 16)
    cv2.ellipse(art, (280, 190), (236, 118), -6, 0, 360, (40, 190, 246), -1)
    cv2.ellipse(art, (280, 190), (236, 118), -6, 0, 360, (250, 250, 250), 8)
    _print(art, "OATIES", (66, 224), 3.5, (36, 30, 176), 16)
    _print(art, "WHOLE GRAIN CRACKERS", (88, 372), 1.02, (245, 245, 245), 4)
    for _ in range(16):
        _cracker(art, rng)
    _print(art, "NET WT 12.4 OZ (351 g)", (150, 738), 0.62, (240, 240, 240), 2)
    _print(art, "OATIES", (592, 90), 1.5, (40, 190, 246), 6)
    art[130:560, 590:770] = (238, 240, 240)
    for row in range(150, 545, 22):
        end = 600 + int(rng.integers(70, 160))
        cv2.line(art, (602, row), (end, row), (40, 40, 40), 5 if row < 170 else 3)
    for column in range(600, 760, 6):
        cv2.rectangle(art, (column, 620), (column + int(rng.integers(1, 5)), 700), (245, 245, 245), -1)
    return art


def _cracker(art: np.ndarray, rng) -> None:
    center = rng.uniform((90, 450), (470, 660))
    corners = cv2.boxPoints((tuple(center), (108, 108), rng.uniform(0, 90)))
    shade = rng.uniform(0.82, 1.0)
    cv2.fillPoly(art, [corners.astype(np.int32)], tuple(shade * np.array([92, 176, 226])), cv2.LINE_AA)
    cv2.polylines(art, [corners.astype(np.int32)], True, (46, 104, 160), 4, cv2.LINE_AA)
    for i in np.linspace(0.25, 0.75, 3):
        for j in np.linspace(0.25, 0.75, 3):
            hole = corners[0] + i * (corners[1] - corners[0]) + j * (corners[3] - corners[0])
            cv2.circle(art, tuple(int(x) for x in hole), 5, (40, 92, 146), -1, cv2.LINE_AA)


def soup_texture(rng) -> np.ndarray:
    label = np.full((420, 880, 3), (236, 240, 242), np.uint8)
    label[:190] = (34, 30, 178)
    cv2.rectangle(label, (0, 186), (879, 196), (60, 168, 206), -1)
    for left in (0, 440):
        _print(label, "Garden", (left + 95, 120), 2.4, (245, 245, 245), 9)
        cv2.circle(label, (left + 220, 205), 54, (58, 170, 212), -1, cv2.LINE_AA)
        cv2.circle(label, (left + 220, 205), 42, (42, 60, 190), -1, cv2.LINE_AA)
        _print(label, "TOMATO SOUP", (left + 92, 318), 1.15, (36, 34, 150), 5)
        _print(label, "condensed  305 g", (left + 124, 366), 0.7, (70, 70, 70), 2)
    return label


def tuna_texture(rng) -> np.ndarray:
    label = np.full((140, 1000, 3), (150, 128, 34), np.uint8)
    cv2.rectangle(label, (0, 104), (999, 126), (60, 206, 240), -1)
    for left in (0, 333, 666):
        _print(label, "TUNA", (left + 70, 82), 2.2, (244, 246, 246), 9)
        cv2.ellipse(label, (left + 278, 60), (36, 17), 0, 0, 360, (236, 226, 205), -1, cv2.LINE_AA)
    return label


def bottle_texture(rng) -> np.ndarray:
    label = np.full((520, 960, 3), (24, 190, 238), np.uint8)
    label[60:430] = (150, 90, 30)
    label[60:74] = label[416:430] = (240, 244, 246)
    for left in (0, 480):
        cv2.ellipse(label, (left + 240, 180), (150, 78), 0, 0, 360, (40, 200, 246), -1, cv2.LINE_AA)
        _print(label, "ZEST", (left + 132, 212), 2.7, (40, 36, 170), 12)
        _print(label, "YELLOW MUSTARD", (left + 96, 318), 1.05, (245, 245, 245), 4)
        _print(label, "NET 400 ml", (left + 164, 380), 0.8, (245, 245, 245), 2)
    return label


def peel_texture(rng, shape: tuple = (256, 512)) -> np.ndarray:
    pores = cloud(rng, shape, (7, 7), 2)
    peel = (1 + 0.05 * pores + 0.06 * cloud(rng, shape, (120, 160), 3))[..., None] * np.array([22, 122, 232])
    peel[:6] = (40, 92, 84)
    return np.clip(peel, 0, 255).astype(np.uint8)


def _print(image: np.ndarray, text: str, corner: tuple, scale: float, color: tuple, thickness: int) -> None:
    cv2.putText(image, text, corner, cv2.FONT_HERSHEY_DUPLEX, scale, color, thickness, cv2.LINE_AA)


# --- MuJoCo ----------------------------------------------------------------------------------------------

MATERIALS = {
    "wood": 'texture="wood" specular="0.15" shininess="0.3"',
    "carpet": 'texture="carpet" specular="0"',
    "wall": 'texture="wall" specular="0"',
    "cardboard": 'texture="cardboard" specular="0"',
    "cart": 'rgba="0.55 0.09 0.08 1" specular="0.2"',
    "carton": 'texture="carton" specular="0.25" shininess="0.4"',
    "soup": 'texture="soup" specular="0.35" shininess="0.5"',
    "tuna": 'texture="tuna" specular="0.35" shininess="0.5"',
    "bottle label": 'texture="bottle label" specular="0.4" shininess="0.6"',
    "peel": 'texture="peel" specular="0.25" shininess="0.3"',
    "tin": 'rgba="0.62 0.62 0.60 1" specular="1" shininess="0.75"',
    "steel": 'rgba="0.52 0.53 0.55 1" specular="1" shininess="0.7"',
    "yellow plastic": 'rgba="0.93 0.74 0.10 1" specular="0.5" shininess="0.6"',
    "white plastic": 'rgba="0.85 0.85 0.83 1" specular="0.4" shininess="0.6"',
    "navy glaze": 'rgba="0.05 0.08 0.18 1" specular="0.7" shininess="0.85"',
    "teal glaze": 'rgba="0.20 0.58 0.54 1" specular="0.7" shininess="0.8"',
    "orange rubber": 'rgba="0.88 0.30 0.06 1" specular="0.2" shininess="0.3"',
    "black rubber": 'rgba="0.05 0.05 0.05 1" specular="0.2" shininess="0.3"',
    "green paint": 'rgba="0.17 0.50 0.20 1" specular="0.2" shininess="0.4"',
}

# Position, spread of the lamp in metres (None: the sky, all of the upper half), brightness.
LIGHTS = {
    "key": ((-0.9, 0.5, 1.7), 0.16, "0.62 0.61 0.57"),
    "window": ((1.5, -0.5, 1.5), 0.30, "0.20 0.21 0.23"),
    "ceiling": ((0.0, 0.0, 2.0), None, "0.30 0.30 0.30"),
}


def render_view(items: list, textures: dict, camera: Camera, rng) -> View:
    """Settles the scene and renders it.

    Raises:
        RuntimeError: MuJoCo or a GL library is missing.
    """
    mujoco = import_mujoco()
    assets = {f"{name}.png": cv2.imencode(".png", texture)[1].tobytes() for name, texture in textures.items()}
    model = mujoco.MjModel.from_xml_string(scene_mjcf(items, textures, camera), assets)
    data = mujoco.MjData(model)
    settle(mujoco, model, data)
    bodies = [model.body(item.name).id for item in items]
    with open_renderer(mujoco, model, camera.height, camera.width) as renderer:
        _aim(renderer, data, camera)
        renderer.enable_depth_rendering()
        depth_m = renderer.render().copy()
        renderer.enable_segmentation_rendering()
        geoms = renderer.render()[..., 0]
    size = (SUPERSAMPLING * camera.height, SUPERSAMPLING * camera.width)
    with open_renderer(mujoco, model, *size) as renderer:
        color = _render_color(mujoco, model, data, renderer, camera, rng)
    color = cv2.resize(color, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    rotation, translation = camera.camera_T_table[:3, :3], camera.camera_T_table[:3, 3]
    return View(
        color_bgr=color,
        depth_m=np.where(geoms >= 0, depth_m, 0),
        labels=_labels(geoms, model, bodies),
        gloss=np.where(geoms >= 0, model.mat_specular[model.geom_matid[geoms]], 0),
        positions_camera=data.xpos[bodies] @ rotation.T + translation,
    )


def import_mujoco():
    """The mujoco module, drawing without a screen unless MUJOCO_GL says otherwise.

    Raises:
        RuntimeError: it is missing or too old, or the GL library that it is to draw with is missing.
    """
    if sys.platform == "linux":
        os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        import mujoco
        import mujoco.renderer  # loads the GL library
    except ModuleNotFoundError as error:
        raise RuntimeError(f"rendering needs MuJoCo ({error}): pip install 'mujoco>=3.3'") from error
    except Exception as error:  # PyOpenGL fails in many ways when the library is missing
        raise RuntimeError(_no_gl(error)) from error
    if tuple(int(part) for part in mujoco.__version__.split(".")[:2]) < (3, 3):
        raise RuntimeError(f"MuJoCo {mujoco.__version__} is too old: pip install 'mujoco>=3.3'")
    return mujoco


def open_renderer(mujoco, model, height: int, width: int):
    """A mujoco.Renderer of that size, for a `with` statement.

    Raises:
        RuntimeError: the GL library does not work on this machine.
    """
    try:
        return mujoco.Renderer(model, height, width)
    except Exception as error:
        raise RuntimeError(_no_gl(error)) from error


def _no_gl(error: Exception) -> str:
    return (
        f"no image can be drawn with MUJOCO_GL={os.environ.get('MUJOCO_GL')} ({error}): apt-get install"
        " libegl1 libgl1-mesa-dri for MUJOCO_GL=egl, or libosmesa6 for MUJOCO_GL=osmesa."
    )


def settle(mujoco, model, data, seconds: float = 2.0) -> None:
    """Lets the objects come to rest."""
    while data.time < seconds:
        mujoco.mj_step(model, data)
    mujoco.mj_forward(model, data)


def _aim(renderer, data, camera: Camera) -> None:
    """Takes the scene into the renderer, seen with the intrinsics of `camera`.

    The view frustum is set here because the sign of MJCF's principalpixel in y differs between MuJoCo 3.2 and
    4.0. Its sides are measured on the near plane, x right and y up; the image reaches half a pixel beyond
    the centres of its outer pixels.
    """
    renderer.update_scene(data, "color")
    for view in renderer.scene.camera:
        left = -(camera.cx + 0.5) / camera.fx * view.frustum_near
        right = left + camera.width / camera.fx * view.frustum_near
        view.frustum_center, view.frustum_width = (left + right) / 2, (right - left) / 2
        view.frustum_top = (camera.cy + 0.5) / camera.fy * view.frustum_near
        view.frustum_bottom = view.frustum_top - camera.height / camera.fy * view.frustum_near


def _labels(geoms: np.ndarray, model, bodies: list) -> np.ndarray:
    """(H, W) geom ids, -1 for nothing, to (H, W) uint8 object numbers."""
    number_of_body = np.zeros(model.nbody, np.uint8)
    number_of_body[bodies] = np.arange(1, len(bodies) + 1)
    return np.where(geoms >= 0, number_of_body[model.geom_bodyid[geoms]], 0).astype(np.uint8)


def _render_color(mujoco, model, data, renderer, camera: Camera, rng) -> np.ndarray:
    """Averages images with moved lamps, for soft shadows and a sky; (H, W, 3) float32 BGR, 0..255."""
    total = 0.0
    for _ in range(LIGHT_SAMPLES):
        for name, (position, spread, _brightness) in LIGHTS.items():
            moved = _on_dome(rng) if spread is None else position + spread * rng.standard_normal(3)
            model.light(name).pos, model.light(name).dir = moved, -moved
        mujoco.mj_forward(model, data)
        _aim(renderer, data, camera)
        total = total + renderer.render().astype(np.float32)
    return np.ascontiguousarray(total[..., ::-1]) / LIGHT_SAMPLES


def _on_dome(rng, radius_m: float = 2.5) -> np.ndarray:
    """A point on the upper half of a sphere; more of them near the top, as the cosine law asks."""
    direction = rng.standard_normal(3)
    direction = direction / np.linalg.norm(direction) + [0, 0, 1.02]
    return radius_m * direction / np.linalg.norm(direction)


def camera_look(color_bgr: np.ndarray, rng) -> np.ndarray:
    """Exposure, vignetting, lens blur, sensor noise and the camera's own sharpening; (H, W, 3) uint8."""
    height, width = color_bgr.shape[:2]
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    image = 255 * (np.clip(color_bgr / 255, 0, 1) ** 0.72) * (1 - 0.09 * (u**2 + v**2))[..., None]
    image = cv2.GaussianBlur(image, (0, 0), 0.55)
    image += 1.0 * np.dstack([correlated_noise((height, width), 0.6, rng) for _ in range(3)])
    image += 0.7 * (image - cv2.GaussianBlur(image, (0, 0), 1.2))
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def scene_mjcf(items: list, textures: dict, camera: Camera) -> str:
    """The whole scene as MuJoCo XML; textures are expected as NAME.png among the assets."""
    furniture = _furniture()
    meshes = [_mesh_xml(f"{item.name} {k}", part[0]) for item in items for k, part in enumerate(item.parts)]
    meshes += [_mesh_xml(name, mesh) for name, mesh, _, _ in furniture]
    return f"""<mujoco model="sample tabletop">
  <compiler angle="degree" eulerseq="XYZ"/>
  <option timestep="0.002" integrator="implicitfast" cone="elliptic"/>
  <statistic extent="1" center="0 0 0"/>
  <visual>
    <global offwidth="{SUPERSAMPLING * camera.width}" offheight="{SUPERSAMPLING * camera.height}"/>
    <quality shadowsize="4096" offsamples="0"/>
    <map znear="0.1" zfar="8" shadowclip="2.5" shadowscale="0.8"/>
    <headlight ambient="0.12 0.12 0.13" diffuse="0 0 0" specular="0 0 0"/>
  </visual>
  <asset>
    {_lines(f'<texture name="{name}" type="2d" file="{name}.png"/>' for name in textures)}
    {_lines(f'<material name="{name}" {look}/>' for name, look in MATERIALS.items())}
    {_lines(meshes)}
  </asset>
  <default>
    <default class="seen"><geom type="mesh" contype="0" conaffinity="0" mass="0" group="1"/></default>
    <default class="felt">
      <geom group="3" condim="6" friction="0.8 0.01 0.003" solref="0.005 1"/>
    </default>
  </default>
  <worldbody>
    {_lines(_light_xml(name, *light) for name, light in LIGHTS.items())}
    {_camera_xml(camera)}
    <geom class="felt" name="table top" type="box" pos="0 0 {-TABLE_SIZE_M[2] / 2}"
      size="{TABLE_SIZE_M[0] / 2} {TABLE_SIZE_M[1] / 2} {TABLE_SIZE_M[2] / 2}"/>
    {_lines(_seen(name, material, position) for name, _, material, position in furniture)}
    {_lines(_body_xml(item) for item in items)}
  </worldbody>
</mujoco>"""


def _furniture() -> list:
    """(name, mesh, material, position in the table frame) of what stands still."""
    x, y, z = np.eye(3)
    down = -FLOOR_BELOW_TABLE_M
    legs = [(sx * 0.58, sy * 0.37, down / 2 - 0.03) for sx in (-1, 1) for sy in (-1, 1)]
    tyre = lathe(_chain((0, -0.03), (0.1, -0.03), (0.1, 0.03), (0, 0.03)))
    leg = box_mesh((0.05, 0.05, FLOOR_BELOW_TABLE_M - 0.04))
    return [
        ("table", box_mesh(TABLE_SIZE_M), "wood", (0, 0, -TABLE_SIZE_M[2] / 2)),
        ("floor", _quad(np.array([8.0, 8.0, 0.0]), x, y, z, (0, 0, 6, 6), 60), "carpet", (0, 1.0, down)),
        ("wall", _quad(np.array([8.0, 0.0, 1.6]), x, z, -y, (0, 0, 2, 1), 60), "wall", (0, 2.75, down + 0.8)),
        ("carton on the floor", box_mesh((0.5, 0.4, 0.36)), "cardboard", (0.95, 1.75, down + 0.18)),
        ("cart", box_mesh((0.6, 0.4, 0.06)), "cart", (-0.95, 1.75, down + 0.22)),
        ("cart wheel", rotated(tyre, np.array([x, z, -y])), "black rubber", (-0.78, 1.52, down + 0.1)),
        *((f"leg {k}", leg, "wood", place) for k, place in enumerate(legs)),
    ]


def _camera_xml(camera: Camera) -> str:
    """Where the camera stands; _aim gives it its intrinsics. In MJCF it looks along -z with y up."""
    axes = _numbers([camera.table_T_camera[:3, 0], -camera.table_T_camera[:3, 1]])
    return f'<camera name="color" pos="{_numbers(camera.table_T_camera[:3, 3])}" xyaxes="{axes}"/>'


def _light_xml(name: str, position: tuple, spread: float | None, diffuse: str) -> str:
    specular = "0 0 0" if spread is None else "0.35 0.35 0.35"
    return (
        f'<light name="{name}" pos="{_numbers(position)}" dir="{_numbers(-np.array(position))}" cutoff="70"'
        f' exponent="0" ambient="0 0 0" diffuse="{diffuse}" specular="{specular}" castshadow="true"/>'
    )


def _body_xml(item: Item) -> str:
    seen = "".join(_seen(f"{item.name} {k}", material) for k, (_, material) in enumerate(item.parts))
    felt = "".join(f'<geom class="felt" {attributes}/>' for attributes in item.collision)
    pose = f'pos="{_numbers(item.position)}" euler="{_numbers(item.euler_deg)}"'
    return f'<body name="{item.name}" {pose}><freejoint/>{seen}{felt}</body>'


def _seen(mesh: str, material: str, position: tuple = (0, 0, 0)) -> str:
    return f'<geom class="seen" mesh="{mesh}" material="{material}" pos="{_numbers(position)}"/>'


def _mesh_xml(name: str, mesh: Mesh) -> str:
    # MuJoCo's v runs from the top row of the file down.
    return (
        f'<mesh name="{name}" inertia="shell" face="{" ".join(map(str, mesh.faces.ravel()))}"'
        f' vertex="{_numbers(mesh.vertices)}" normal="{_numbers(mesh.normals)}"'
        f' texcoord="{_numbers(mesh.uv * [1, -1] + [0, 1])}"/>'
    )


def _numbers(values) -> str:
    return " ".join(f"{x:.8g}" for x in np.ravel(values))


def _lines(parts) -> str:
    return "\n    ".join(parts)


if __name__ == "__main__":
    main()
