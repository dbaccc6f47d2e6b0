"""Reads COCO instance files, and the depth and cameras that those of `sam-perception sim dataset` have besides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError
from sam_perception.evaluation.json_files import read_json
from sam_perception.evaluation.scenes import EvaluationObject, EvaluationScene, EvaluationSet
from sam_perception.frame_files import read_color, read_depth
from sam_perception.frames import CameraIntrinsics, RgbdFrame
from sam_perception.masks import RunLengths, decode_rle


class CocoSet(EvaluationSet):
    """A COCO instance file: polygons, run lengths or compressed run lengths.

    Of each image are read ``file_name`` and, where they are there, ``depth_file_name`` (16-bit millimetres aligned to
    colour) and ``camera`` (fx, fy, cx, cy, distortion_model, distortion). Names of files are relative to
    ``image_root``; without one, to the file's own folder or the one above it. Boxes and clicks come from the masks,
    so that they are tight whatever the file's ``bbox`` is. Crowd annotations stand for many objects and are left out.

    Raises:
        InvalidInputError: a file of another form, without images or annotations, or whose images are missing.
    """

    def __init__(self, path: Path, image_root: Path | None = None) -> None:
        self.name = path.stem if path.stem != "annotations" else path.resolve().parent.name
        self._path = path
        content = _read_coco(path)
        self._images = list(content["images"])
        self._categories = {item["id"]: str(item.get("name", item["id"])) for item in content.get("categories", ())}
        self._annotations = self._by_image(content["annotations"])
        self._images = [image for image in self._images if image["id"] in self._annotations]
        self._root = self._find_root(image_root)

    def __len__(self) -> int:
        return len(self._images)

    def scene(self, index: int) -> EvaluationScene:
        """See EvaluationSet.scene."""
        image = self._images[index]
        frame = self._frame(image)
        objects = []
        for annotation in self._annotations.get(image["id"], ()):
            mask = self._mask(annotation, frame.size)
            if mask.any():  # a polygon thinner than a pixel has none
                category = self._categories.get(annotation.get("category_id"), "")
                name = str(annotation.get("name") or category or annotation["id"])
                objects.append(EvaluationObject(annotation["id"], name, mask, category=category))
        return EvaluationScene(str(image["file_name"]), frame, tuple(objects))

    def _by_image(self, annotations: Sequence[Mapping[str, Any]]) -> dict[Any, list[Mapping[str, Any]]]:
        listed = {image["id"] for image in self._images}
        by_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
        crowds = strangers = without = 0
        for annotation in annotations:
            if annotation.get("iscrowd"):
                crowds += 1
            elif annotation["image_id"] not in listed:
                strangers += 1
            elif not annotation.get("segmentation"):
                without += 1
            else:
                by_image[annotation["image_id"]].append(annotation)
        reasons = (
            (crowds, "stand for crowds"),
            (strangers, "belong to images that are not listed"),
            (without, "have no segmentation"),
        )
        self.notes = tuple(
            f"{count} of {len(annotations)} annotations were left out: they {why}." for count, why in reasons if count
        )
        if not by_image:
            raise InvalidInputError(
                f"{self._path}: no object to segment in {len(self._images)} images with {len(annotations)} annotations"
                + (f" ({' '.join(self.notes).removesuffix('.')})" if self.notes else "")
            )
        return dict(by_image)

    def _find_root(self, given: Path | None) -> Path:
        """The folder that the images are in."""
        folders = [given] if given is not None else [self._path.parent, self._path.resolve().parent.parent]
        names = [str(image[key]) for image in self._images for key in ("file_name", "depth_file_name") if key in image]
        missing = {folder: [name for name in names if not (folder / name).is_file()] for folder in folders}
        best = min(folders, key=lambda folder: len(missing[folder]))
        if missing[best]:
            raise InvalidInputError(
                f"{best / missing[best][0]}: no such file; {len(missing[best])} of {len(names)} images of {self._path} "
                "are missing; give --image-root DIR, the folder that their file_name is relative to"
            )
        return best

    def _frame(self, image: Mapping[str, Any]) -> RgbdFrame:
        color = read_color(self._root / image["file_name"])
        depth_name = image.get("depth_file_name")
        depth = None if depth_name is None else read_depth(self._root / depth_name)
        try:
            return RgbdFrame(
                color,
                depth,
                _intrinsics(image["camera"], color.shape) if image.get("camera") else None,
                depth_scale_m=float(image.get("depth_scale_m", 0.001)),
            )
        except InvalidInputError as error:
            raise InvalidInputError(f"{self._path}, image {image['file_name']}: {error}") from None

    def _mask(self, annotation: Mapping[str, Any], image_size: tuple[int, int]) -> NDArray[np.bool_]:
        segmentation = annotation["segmentation"]
        where = f"{self._path}: segmentation of annotation {annotation['id']}"
        try:
            if not isinstance(segmentation, Mapping):
                return fill_polygons(segmentation, image_size)
            mask = decode_rle(_run_lengths(segmentation))
        except InvalidInputError as error:
            raise InvalidInputError(f"{where}: {error}") from None
        if mask.shape != image_size:
            expected, actual = (f"{shape[1]}x{shape[0]}" for shape in (image_size, mask.shape))
            raise InvalidInputError.for_field(where, f"the image's size {expected}", actual)
        return mask


def fill_polygons(polygons: Sequence[Sequence[float]], image_size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) bool: pixels whose centre lies inside any of some polygons, even-odd.

    Args:
        polygons: each x0, y0, x1, y1, ... in COCO's coordinates, where (0, 0) is the corner of the first pixel and
            not its centre.
        image_size: (height, width).

    Raises:
        InvalidInputError: something else than lists of coordinates in pairs.
    """
    filled = np.zeros(image_size, dtype=np.bool_)
    for polygon in polygons:
        try:
            corners = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
        except (TypeError, ValueError):
            corners = np.full((1, 2), np.nan)
        if not np.isfinite(corners).all():
            raise InvalidInputError.for_field("polygon", "numbers x0, y0, x1, y1, ...", f"{polygon!r:.60}")
        filled |= _fill(corners - 0.5, image_size)
    return filled


def _fill(corners: NDArray[np.float64], image_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Every edge flips all pixels right of where it crosses their row."""
    height, width = image_size
    flips = np.zeros((height, width + 1), dtype=np.int32)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        low, high = sorted((y0, y1))
        rows = np.arange(max(int(np.ceil(low)), 0), min(int(np.ceil(high)), height))
        if len(rows):
            crossings = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
            flips[rows, np.clip(np.ceil(crossings), 0, width).astype(int)] += 1
    return flips[:, :width].cumsum(axis=1) % 2 == 1


def _read_coco(path: Path) -> Mapping[str, Any]:
    content = read_json(path)
    if not isinstance(content, Mapping):
        raise InvalidInputError.for_field(
            f"{path}", "a COCO instance file with images and annotations", f"a {type(content).__name__}"
        )
    for key, fields in (("images", ("id", "file_name")), ("annotations", ("id", "image_id"))):
        items = content.get(key)
        if not isinstance(items, list):
            raise InvalidInputError.for_field(f"{path}", f"a COCO instance file with a list of {key}", "none")
        for item in items:
            if not isinstance(item, Mapping) or not all(field in item for field in fields):
                raise InvalidInputError.for_field(f"{path}", f"{key} with {' and '.join(fields)}", f"{item!r:.80}")
    return content


def _intrinsics(camera: Mapping[str, Any], shape: tuple[int, ...]) -> CameraIntrinsics:
    missing = [key for key in ("fx", "fy", "cx", "cy") if key not in camera]
    if missing:
        raise InvalidInputError.for_field("camera", "fx, fy, cx and cy", f"none called {missing[0]}")
    return CameraIntrinsics(
        camera.get("width", shape[1]),
        camera.get("height", shape[0]),
        camera["fx"],
        camera["fy"],
        camera["cx"],
        camera["cy"],
        camera.get("distortion_model", "none"),
        camera.get("distortion", ()),
    )


def _run_lengths(segmentation: Mapping[str, Any]) -> RunLengths:
    return {"size": segmentation.get("size", []), "counts": segmentation.get("counts", [])}
