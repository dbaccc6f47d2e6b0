"""Reads folders of scenes with label images: NN-color.png, NN-depth.png, NN-labels.png, objects.json, camera.json.

objects.json maps each NN to a list of objects with id and, where they have one, name, click [x, y] and box
[x_min, y_min, x_max, y_max]. A folder with a single scene, as the sample is, has color.png, depth.png and labels.png,
and objects.json is the list itself. Depth and camera may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sam_perception.errors import InvalidInputError
from sam_perception.evaluation.json_files import read_json
from sam_perception.evaluation.scenes import EvaluationObject, EvaluationScene, EvaluationSet
from sam_perception.frame_files import read_frame, read_label_image

OBJECTS_FILE = "objects.json"


class SceneFolder(EvaluationSet):
    """A folder of scenes with label images.

    Raises:
        InvalidInputError: objects.json or an image is missing, or objects.json is of another form.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.resolve().name
        self._folder = folder
        self._objects = _read_objects(folder / OBJECTS_FILE)
        missing = [path for scene in self._objects for path in self._needed(scene) if not path.exists()]
        if missing:
            raise InvalidInputError(
                f"{missing[0]}: no such file, though {OBJECTS_FILE} lists its scene ({len(missing)} missing in all)"
            )

    def __len__(self) -> int:
        return len(self._objects)

    def scene(self, index: int) -> EvaluationScene:
        """See EvaluationSet.scene."""
        scene, described = list(self._objects.items())[index]
        color, labels_path = self._needed(scene)
        frame = read_frame(color, _if_there(self._file(scene, "depth")), _if_there(self._folder / "camera.json"))
        labels = read_label_image(labels_path)
        if labels.shape != frame.size:
            shape = f"{labels.shape[1]}x{labels.shape[0]}"
            raise InvalidInputError.for_field(f"{labels_path}", f"labels of {frame.width}x{frame.height}", shape)
        try:
            objects = tuple(_object(item, labels) for item in described)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError.for_field(
                f"{self._folder / OBJECTS_FILE}, scene {scene or self.name}",
                "objects with id, and name, click and box where they have them",
                f"{type(error).__name__}: {error}",
            ) from None
        return EvaluationScene(scene or self.name, frame, objects)

    def _needed(self, scene: str) -> tuple[Path, Path]:
        return self._file(scene, "color"), self._file(scene, "labels")

    def _file(self, scene: str, kind: str) -> Path:
        return self._folder / (f"{scene}-{kind}.png" if scene else f"{kind}.png")


def _read_objects(path: Path) -> dict[str, list[Any]]:
    content = read_json(path)
    scenes = {"": content} if isinstance(content, list) else content
    if not isinstance(scenes, Mapping) or not all(isinstance(objects, list) for objects in scenes.values()):
        raise InvalidInputError.for_field(f"{path}", "lists of objects by scene, or one list", type(content).__name__)
    return dict(scenes)


def _object(item: Mapping[str, Any], labels: Any) -> EvaluationObject:
    click, box = item.get("click"), item.get("box")
    number = int(item["id"])
    mask = labels == number
    if not mask.any():
        raise ValueError(f"no pixel of the labels has the id {number}")
    return EvaluationObject(
        number,
        str(item.get("name", number)),
        mask,
        None if click is None else (int(click[0]), int(click[1])),
        None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
        str(item.get("family", "")),
    )


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None
