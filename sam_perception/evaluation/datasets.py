"""Opens a set of annotated images by its path."""

from __future__ import annotations

from pathlib import Path

from sam_perception.errors import InvalidInputError
from sam_perception.evaluation.coco_sets import CocoSet
from sam_perception.evaluation.scene_folders import OBJECTS_FILE, SceneFolder
from sam_perception.evaluation.scenes import EvaluationObject, EvaluationScene, EvaluationSet

__all__ = ["EvaluationObject", "EvaluationScene", "EvaluationSet", "open_set"]

ANNOTATIONS_FILE = "annotations.json"


def open_set(path: Path | str, image_root: Path | str | None = None) -> EvaluationSet:
    """Open a set.

    Args:
        path: a COCO instance file, a folder of `sam-perception sim dataset` (its annotations.json), or a folder of
            scenes with label images (its objects.json).
        image_root: for COCO, the folder that file_name is relative to; None: the file's own or the one above.

    Raises:
        InvalidInputError: nothing of these is there, or what is there cannot be used.
    """
    path = Path(path).expanduser()
    root = None if image_root is None else Path(image_root).expanduser()
    if not path.exists():
        raise InvalidInputError.for_field(f"{path}", "a COCO file or a folder of scenes", "no such file or folder")
    if path.is_file():
        return CocoSet(path, root)
    if (path / ANNOTATIONS_FILE).is_file():
        return CocoSet(path / ANNOTATIONS_FILE, root)
    if (path / OBJECTS_FILE).is_file():
        if root is not None:
            raise InvalidInputError(f"--image-root: {path} is a folder of scenes, which has its images in it; leave it")
        return SceneFolder(path)
    if (path / "dataset.json").is_file():
        raise InvalidInputError(
            f"{path}: this data set is not finished, it has no {ANNOTATIONS_FILE}; run its `sam-perception sim "
            "dataset` again to go on"
        )
    inside = sorted(map(str, (*path.glob("*.json"), *path.glob("annotations/*.json"))))
    hint = f"; if one of its files is a COCO instance file, name that, such as {inside[0]}" if inside else ""
    raise InvalidInputError.for_field(f"{path}", f"a folder with {ANNOTATIONS_FILE} or {OBJECTS_FILE}", f"none{hint}")
