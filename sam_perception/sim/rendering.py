"""What an ideal camera sees of a simulated scene: colour, exact depth and instance labels from MuJoCo's renderer."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import itertools
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError, ModelUnavailableError
from sam_perception.frames import CameraIntrinsics
from sam_perception.geometry.rays import ray_table
from sam_perception.sim.library import import_mujoco

if TYPE_CHECKING:
    from sam_perception.sim.scene import Scene, SceneObject
    from sam_perception.sim.world import World

NEAREST_M = 0.05
FARTHEST_M = 20.0
MULTISAMPLING = 4
SHADOW_MAP_SIZE = 1024  # 2048 costs 14 ms more; the cone below and the softening make up for it
SHADOW_CONE = 0.5  # of a lamp's cone that its shadow map covers: the table, not the walls

_SHOWN_GROUPS = 3  # MuJoCo draws the geom groups 0, 1 and 2; collision shapes stand in group 3
_HIDDEN_GROUP = 5
_MAX_GEOMS = 4000
_SAME_SURFACE = 0.01  # relative change of depth within a shadow's edge that counts as one surface
_TOUCHING = 0.006  # relative step of depth from an object's outline to the pixel beyond, where it touches what is there
_CONTACT_DARKNESS = (0.15, 0.85)  # share of the light that is missing right where things touch
_CONTACT_WIDTH_M = (0.0012, 0.01)  # over which it comes back
_ON_OBJECTS = 0.5  # of the dark beside an object is on the object itself


Image = NDArray[Any]  # what OpenCV takes and returns

_of_thread = threading.local()


@dataclasses.dataclass(frozen=True, eq=False)
class RenderedView:
    """What a camera without any noise sees.

    Attributes:
        color: (H, W, 3) uint8, RGB, antialiased.
        depth_m: (H, W) float32, z along the optical axis in metres; 0 where nothing stands.
        labels: (H, W) uint8, 0 = not an object, else the ``label`` of the SceneObject.
        gloss: (H, W) float32, 0 = matt .. 1 = bare metal or a mirror.
    """

    color: Image
    depth_m: Image
    labels: Image
    gloss: Image


class SceneRenderer:
    """Draws the scenes of one world; a context manager.

    The GL context is one for the whole thread (making one costs more than a frame); the textures and meshes of the
    world are uploaded once, here, and freed by ``close``. Make, use and close a renderer in one thread.

    Args:
        world: the compiled world, see ``sim.world``.
        width: width of the largest image that will be asked for, pixels.
        height: its height.

    Raises:
        ModelUnavailableError: MuJoCo or a GL library is missing.
    """

    def __init__(self, world: World, width: int, height: int) -> None:
        mujoco = self._mujoco = import_mujoco()
        self.world = world
        self._model = world.model
        self._gl = _gl_context()
        self._gl.make_current()
        self._size = (height, width)
        self._contexts = {samples: self._upload(samples) for samples in (MULTISAMPLING, 0)}
        self._scene = mujoco.MjvScene(self._model, _MAX_GEOMS)
        self._options = mujoco.MjvOption()
        self._options.geomgroup[:] = 0
        self._options.geomgroup[:_SHOWN_GROUPS] = 1
        self._free_camera = mujoco.MjvCamera()

    def __enter__(self) -> SceneRenderer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Free what the world has uploaded; the thread's GL context stays for the next one."""
        if self._contexts:
            self._gl.make_current()
        while self._contexts:
            self._contexts.popitem()[1].free()

    def render(self, scene: Scene, camera: CameraIntrinsics, table_T_camera: NDArray[np.floating]) -> RenderedView:
        """Colour, depth, labels and gloss of a scene.

        Args:
            scene: an arrangement of this renderer's world.
            camera: the colour camera; a distorted lens is honoured.
            table_T_camera: (4, 4) pose of the optical frame (x right, y down, z forward) on the table.

        Raises:
            InvalidInputError: the scene belongs to another world, or the renderer is closed.
        """
        pinhole = _covering_pinhole(camera) if camera.is_distorted else camera
        self._prepare(scene, pinhole, table_T_camera)
        geoms, depth_m = self._geoms_and_depth(pinhole)
        depth_m = np.where(geoms >= 0, depth_m, np.float32(0))
        labels = np.append(scene.geom_labels, np.uint8(0))[geoms]
        color = self._color(pinhole, depth_m, _softness_px(scene, camera))
        view = RenderedView(
            color=cv2.convertScaleAbs(color * _light_at_contacts(labels, depth_m, scene, camera)[..., None]),
            depth_m=depth_m,
            labels=labels,
            gloss=np.append(scene.geom_gloss, np.float32(0))[geoms],
        )
        return _through_lens(view, pinhole, camera) if camera.is_distorted else view

    def visible_fractions(
        self, scene: Scene, camera: CameraIntrinsics, table_T_camera: NDArray[np.floating], labels: NDArray[np.uint8]
    ) -> dict[int, float]:
        """How much of each object is seen, of what would be seen inside the image if nothing stood before it.

        Args:
            scene: an arrangement of this renderer's world.
            camera: the colour camera.
            table_T_camera: (4, 4) pose of the optical frame on the table.
            labels: what ``render`` gave for them.

        Returns:
            0..1 for each object's label; 0 for one outside the image.
        """
        areas = self.amodal_areas(scene, camera, table_T_camera)
        visible = np.bincount(labels.ravel(), minlength=256)
        return {label: min(1.0, float(visible[label] / area)) if area else 0.0 for label, area in areas.items()}

    def amodal_areas(
        self, scene: Scene, camera: CameraIntrinsics, table_T_camera: NDArray[np.floating]
    ) -> dict[int, int]:
        """Pixels of each object inside the image if nothing stood before it, by the object's label."""
        pinhole = _covering_pinhole(camera) if camera.is_distorted else camera
        areas: dict[int, int] = {}
        for group in _side_by_side(scene, pinhole, np.asarray(table_T_camera, np.float64)):
            with self._only(scene, group):
                self._prepare(scene, pinhole, table_T_camera)
                labels = np.append(scene.geom_labels, np.uint8(0))[self._geoms_and_depth(pinhole)[0]]
            if camera.is_distorted:
                labels = cv2.remap(labels, *_pixels_of_rays(pinhole, camera), cv2.INTER_NEAREST)
            counts = np.bincount(labels.ravel(), minlength=256)
            areas |= {label: int(counts[label]) for label in group}
        return areas

    # --- how -------------------------------------------------------------------------------------------------------

    def _upload(self, samples: int) -> Any:
        """A context of MuJoCo with the world's meshes and textures, and that many samples a pixel."""
        mujoco, model = self._mujoco, self._model
        model.vis.quality.offsamples = samples
        model.vis.quality.shadowsize = 0 if samples else SHADOW_MAP_SIZE
        model.vis.map.shadowscale = SHADOW_CONE
        model.vis.global_.offheight, model.vis.global_.offwidth = self._size
        context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        return context

    def _prepare(self, scene: Scene, camera: CameraIntrinsics, table_T_camera: NDArray[np.floating]) -> None:
        if not self._contexts:
            raise InvalidInputError("this SceneRenderer is closed: make another one for the world")
        if scene.world.model is not self._model:
            raise InvalidInputError("this scene belongs to another world: make a SceneRenderer for scene.world")
        mujoco = self._mujoco
        self._gl.make_current()
        if camera.height > self._size[0] or camera.width > self._size[1]:
            self._size = (max(camera.height, self._size[0]), max(camera.width, self._size[1]))
            for context in self._contexts.values():
                mujoco.mjr_resizeOffscreen(self._size[1], self._size[0], context)
        mujoco.mjv_updateScene(
            self._model,
            scene.data,
            self._options,
            None,
            self._free_camera,
            mujoco.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )
        _aim(self._scene, camera, np.asarray(table_T_camera, np.float64))

    def _geoms_and_depth(self, camera: CameraIntrinsics) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """(H, W) geom ids, -1 for nothing, and (H, W) z-depth in metres."""
        packed = np.empty((camera.height, camera.width, 3), np.uint8)
        reversed_z = np.empty((camera.height, camera.width), np.float32)
        with self._flags(mjRND_SEGMENT=1, mjRND_IDCOLOR=1, mjRND_SHADOW=0, mjRND_REFLECTION=0, mjRND_SKYBOX=0):
            self._draw(0, packed, reversed_z)
        numbers = packed[..., 0].astype(np.int32)
        numbers += packed[..., 1].astype(np.int32) << 8
        geoms = self._geom_of_number()[np.minimum(numbers, self._scene.ngeom)]
        depth_m = NEAREST_M * FARTHEST_M / (NEAREST_M + reversed_z * np.float32(FARTHEST_M - NEAREST_M))
        return np.flipud(geoms), np.flipud(depth_m)

    def _geom_of_number(self) -> NDArray[np.int32]:
        """The geom id of each number that the segmentation image holds; 0 is nothing."""
        found = np.full(self._scene.ngeom + 1, -1, np.int32)
        is_geom = self._mujoco.mjtObj.mjOBJ_GEOM.value
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.segid >= 0 and geom.objtype == is_geom:
                found[geom.segid + 1] = geom.objid
        return found

    def _color(self, camera: CameraIntrinsics, depth_m: Image, softness_px: float) -> Image:
        """(H, W, 3) RGB, with soft shadows.

        MuJoCo's shadows have hard, jagged edges. So the antialiased picture is drawn without them, and darkened by
        what they take away in a picture of half the size, softened.
        """
        color = np.empty((camera.height, camera.width, 3), np.uint8)
        with self._flags(mjRND_SHADOW=0):
            self._draw(MULTISAMPLING, color, None)
        if not any(light.castshadow for light in self._scene.lights[: self._scene.nlight]):
            return np.ascontiguousarray(np.flipud(color))
        half = dataclasses.replace(camera, width=camera.width // 2, height=camera.height // 2)
        bright, shaded = (np.empty((half.height, half.width, 3), np.uint8) for _ in range(2))
        with self._flags(mjRND_SHADOW=0):
            self._draw(0, bright, None)
        with self._flags(mjRND_SHADOW=1):
            self._draw(0, shaded, None)
        light = np.flipud((shaded.sum(axis=2) + np.float32(3)) / (bright.sum(axis=2) + np.float32(3)))
        light = _softened(np.minimum(light, 1).astype(np.float32), depth_m, softness_px / 2)
        return cv2.convertScaleAbs(np.flipud(color) * light[..., None])

    def _draw(self, samples: int, color: NDArray[np.uint8], depth: NDArray[np.float32] | None) -> None:
        _draw_offscreen(self._mujoco, self._scene, self._contexts[samples], color, depth)

    @contextlib.contextmanager
    def _flags(self, **values: int) -> Iterator[None]:
        before = np.array(self._scene.flags)
        for name, value in values.items():
            self._scene.flags[getattr(self._mujoco.mjtRndFlag, name).value] = value
        try:
            yield
        finally:
            self._scene.flags[:] = before

    @contextlib.contextmanager
    def _only(self, scene: Scene, labels: list[int]) -> Iterator[None]:
        """Shows the geoms of some objects alone."""
        model = self._model
        before = model.geom_group.copy()
        model.geom_group[~np.isin(scene.geom_labels, labels)] = _HIDDEN_GROUP
        try:
            yield
        finally:
            model.geom_group[:] = before


def overview(model: Any, data: Any, camera: Any, height: int, width: int) -> NDArray[np.uint8]:
    """A picture for people, as mujoco.Renderer draws it, in this thread's GL context.

    Args:
        model: MuJoCo's MjModel; gets an offscreen buffer as large as the picture.
        data: the MjData to show.
        camera: MuJoCo's MjvCamera.
        height: pixels.
        width: pixels.

    Returns:
        (height, width, 3) RGB.

    Raises:
        ModelUnavailableError: the GL library does not work on this machine.
    """
    mujoco = import_mujoco()
    _gl_context().make_current()
    scene = mujoco.MjvScene(model, _MAX_GEOMS)
    every = mujoco.mjtCatBit.mjCAT_ALL.value
    mujoco.mjv_updateScene(model, data, mujoco.MjvOption(), None, camera, every, scene)
    model.vis.global_.offheight, model.vis.global_.offwidth = height, width
    context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
    picture = np.empty((height, width, 3), np.uint8)
    try:
        _draw_offscreen(mujoco, scene, context, picture, None)
    finally:
        context.free()
    return np.ascontiguousarray(np.flipud(picture))


def _draw_offscreen(
    mujoco: Any, scene: Any, context: Any, color: NDArray[np.uint8], depth: NDArray[np.float32] | None
) -> None:
    """Fill ``color`` (H, W, 3) and ``depth`` (H, W) with what an abstract scene shows, bottom row first."""
    height, width = color.shape[:2]
    rect = mujoco.MjrRect(0, 0, width, height)
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, context)
    mujoco.mjr_render(rect, scene, context)
    mujoco.mjr_readPixels(color, depth, rect, context)


def _gl_context() -> Any:
    """The GL context of this thread, which ends with it.

    Raises:
        ModelUnavailableError: the GL library does not work on this machine.
    """
    if not hasattr(_of_thread, "gl_context"):
        _of_thread.gl_context = _new_gl_context()
    return _of_thread.gl_context


def _new_gl_context() -> Any:
    """A GL context. MuJoCo's own choice of a GL library is made when it is first imported, maybe elsewhere."""
    mujoco = import_mujoco()
    backend = os.environ.get("MUJOCO_GL", "")
    try:
        library = importlib.import_module(f"mujoco.{backend}") if backend in ("egl", "osmesa") else mujoco
        return library.GLContext(64, 64)
    except Exception as error:  # PyOpenGL fails in many ways
        raise ModelUnavailableError(
            f"no image can be drawn with MUJOCO_GL={backend} ({' '.join(str(error).split())}): sudo apt-get install "
            "libegl1 libgl1-mesa-dri, or libosmesa6 with MUJOCO_GL=osmesa"
        ) from error


def _aim(scene: Any, camera: CameraIntrinsics, table_T_camera: NDArray[np.float64]) -> None:
    """Gives MuJoCo's abstract scene the pose and the frustum of a camera.

    The frustum's sides are measured on the near plane, x right and y up; the image reaches half a pixel beyond the
    centres of its outer pixels.
    """
    position, forward, up = table_T_camera[:3, 3], table_T_camera[:3, 2], -table_T_camera[:3, 1]
    left = -(camera.cx + 0.5) / camera.fx * NEAREST_M
    right = left + camera.width / camera.fx * NEAREST_M
    top = (camera.cy + 0.5) / camera.fy * NEAREST_M
    for view in scene.camera:
        view.pos, view.forward, view.up = position, forward, up
        view.orthographic = 0
        view.frustum_near, view.frustum_far = NEAREST_M, FARTHEST_M
        view.frustum_center, view.frustum_width = (left + right) / 2, (right - left) / 2
        view.frustum_top, view.frustum_bottom = top, top - camera.height / camera.fy * NEAREST_M
    for light in scene.lights[: scene.nlight]:
        if light.headlight:
            light.pos, light.dir = position, forward


def _softness_px(scene: Scene, camera: CameraIntrinsics) -> float:
    """How wide the shadows' edges are: from nearly a point lamp to a wide window, the same in all views of a scene."""
    return float(np.random.default_rng(scene.seed).uniform(2, 14)) * camera.fx / 613


def _softened(light: Image, depth_m: Image, radius_px: float) -> Image:
    """Light, blurred along surfaces and not over depth edges, and enlarged to the size of ``depth_m``.

    He, Sun, Tang, "Guided image filtering", ECCV 2010, twice; the second one's coefficients are what is enlarged: He,
    Sun, "Fast guided filter", 2015.
    """
    size = depth_m.shape[1], depth_m.shape[0]
    full_guide = np.log(np.maximum(depth_m, NEAREST_M))
    guide = cv2.resize(full_guide, light.shape[::-1], interpolation=cv2.INTER_NEAREST)
    mean = functools.partial(cv2.blur, ksize=(2 * max(1, round(radius_px)) + 1,) * 2)
    mean_guide = mean(guide)
    spread = mean(guide * guide) - mean_guide * mean_guide + np.float32(_SAME_SURFACE**2)
    for _ in range(2):
        mean_light = mean(light)
        slope = (mean(guide * light) - mean_guide * mean_light) / spread
        slope, offset = mean(slope), mean(mean_light - slope * mean_guide)
        light = slope * guide + offset
    slope, offset = (cv2.resize(image, size, interpolation=cv2.INTER_LINEAR) for image in (slope, offset))
    return np.clip(slope * full_guide + offset, 0, 1)


def _light_at_contacts(labels: Image, depth_m: Image, scene: Scene, camera: CameraIntrinsics) -> Image:
    """(H, W) share of the light that reaches the narrow gaps where objects touch the table or one another.

    Edges of real things are rounded, and where one meets the table a line is nearly black, a pixel or some wide, which
    neither shadow maps nor the meshes' sharp edges give. How dark and how wide is the same in all views of a scene.
    """
    rng = np.random.default_rng((scene.seed, 1))
    darkness, width_m = rng.uniform(*_CONTACT_DARKNESS), np.exp(rng.uniform(*np.log(_CONTACT_WIDTH_M)))
    apart = np.ones(labels.shape, np.uint8)
    for one, other in (np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:]):
        near = np.abs(depth_m[one] - depth_m[other]) < np.float32(_TOUCHING) * depth_m[one]
        contact = (labels[one] != labels[other]) & near
        apart[one] &= ~contact
        apart[other] &= ~contact
    distance = np.minimum(cv2.distanceTransform(apart, cv2.DIST_L2, cv2.DIST_MASK_3), np.float32(sum(labels.shape)))
    distance_m = distance * depth_m / np.float32(camera.fx)
    dark = np.float32(darkness) * np.exp(distance_m / np.float32(-width_m))
    dark[labels > 0] *= np.float32(_ON_OBJECTS)
    light: Image = 1 - dark
    return light


def _side_by_side(scene: Scene, camera: CameraIntrinsics, table_T_camera: NDArray[np.float64]) -> list[list[int]]:
    """Labels in groups whose objects do not hide each other, so that one picture shows a whole group."""
    groups: list[tuple[list[int], list[tuple[float, ...]]]] = []
    for item in scene.objects:
        box = _outline(scene, item, camera, table_T_camera)
        for labels, boxes in groups:
            if all(_apart(box, other) for other in boxes):
                labels.append(item.label)
                boxes.append(box)
                break
        else:
            groups.append(([item.label], [box]))
    return [labels for labels, _ in groups]


def _outline(
    scene: Scene, item: SceneObject, camera: CameraIntrinsics, table_T_camera: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) in pixels around an object's bounding box; everything where it reaches the camera."""
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=3))) * item.size_m
    camera_T_object = np.linalg.inv(table_T_camera) @ scene.table_T_object(item.label)
    points = corners @ camera_T_object[:3, :3].T + camera_T_object[:3, 3]
    if points[:, 2].min() < NEAREST_M:
        return (-np.inf, -np.inf, np.inf, np.inf)
    u = camera.fx * points[:, 0] / points[:, 2] + camera.cx
    v = camera.fy * points[:, 1] / points[:, 2] + camera.cy
    return u.min() - 1, v.min() - 1, u.max() + 1, v.max() + 1


def _apart(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] > other[2] or other[0] > one[2] or one[1] > other[3] or other[1] > one[3]


# --- lens distortion --------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=8)
def _covering_pinhole(camera: CameraIntrinsics) -> CameraIntrinsics:
    """A pinhole with the focal lengths of ``camera`` that sees all that it sees, one pixel to spare on each side.

    Raises:
        InvalidInputError: no ray reaches some of the camera's pixels.
    """
    rays = ray_table(camera)
    if not np.isfinite(rays).all():
        raise InvalidInputError(
            f"the distortion {camera.distortion} folds before the image's corner: give the coefficients of a real lens"
        )
    low = np.floor(rays.min(axis=(0, 1)) * (camera.fx, camera.fy)) - 1
    high = np.ceil(rays.max(axis=(0, 1)) * (camera.fx, camera.fy)) + 1
    width, height = (int(size) + 1 for size in high - low)
    return CameraIntrinsics(width, height, camera.fx, camera.fy, -float(low[0]), -float(low[1]))


@functools.lru_cache(maxsize=8)
def _pixels_of_rays(pinhole: CameraIntrinsics, camera: CameraIntrinsics) -> tuple[Image, Image]:
    """(columns, rows), each (H, W) float32: where the pinhole's image shows what each pixel of ``camera`` sees."""
    rays = ray_table(camera)
    columns, rows = rays[..., 0] * pinhole.fx + pinhole.cx, rays[..., 1] * pinhole.fy + pinhole.cy
    return columns.astype(np.float32), rows.astype(np.float32)


def _through_lens(view: RenderedView, pinhole: CameraIntrinsics, camera: CameraIntrinsics) -> RenderedView:
    """The view of a distorted camera, from that of a pinhole that covers it."""
    columns, rows = _pixels_of_rays(pinhole, camera)
    return RenderedView(
        color=cv2.remap(view.color, columns, rows, cv2.INTER_LINEAR),
        depth_m=_depth_between_pixels(view.depth_m, columns, rows),
        labels=cv2.remap(view.labels, columns, rows, cv2.INTER_NEAREST),
        gloss=cv2.remap(view.gloss, columns, rows, cv2.INTER_NEAREST),
    )


def _depth_between_pixels(depth_m: Image, columns: Image, rows: Image) -> Image:
    """Depth at places between pixels: linear in 1/z, which is exact on planes, and the nearest pixel's at edges."""
    inverse = np.divide(1, depth_m, out=np.zeros_like(depth_m), where=depth_m > 0)
    nearest: Image = cv2.remap(inverse, columns, rows, cv2.INTER_NEAREST)
    linear: Image = cv2.remap(inverse, columns, rows, cv2.INTER_LINEAR)
    chosen = np.where(np.abs(linear - nearest) < 0.01 * nearest, linear, nearest)
    return np.divide(1, chosen, out=np.zeros_like(chosen), where=chosen > 0)
