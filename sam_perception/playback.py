"""Frames to play in a camera's place: the shipped scene, or a folder of images."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError
from sam_perception.frame_files import SAMPLE_DIRECTORY, read_frame
from sam_perception.frames import RgbdFrame

_COLOR_WORDS = ("color", "colour", "rgb")
_COLOR_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_DEPTH_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
_CAMERA_SUFFIXES = (".json", ".yaml", ".yml")
_HELD_BYTES = 256 << 20


class Playback(Protocol):
    """Something that gives frames over and over.

    Attributes:
        name: what is played, for a log line.
        camera_T_table: (4, 4) float64, takes points of the frame `table` to the optical frame; None: not known.
        notes: what a user should know about what is not played, each a sentence.
    """

    name: str
    camera_T_table: NDArray[np.float64] | None
    notes: list[str]

    def frames(self) -> Iterator[RgbdFrame]:
        """All frames in their order, from the first one.

        Raises:
            InvalidInputError: what is played cannot be read.
        """
        ...


@dataclasses.dataclass(frozen=True)
class _FrameFiles:
    color: Path
    depth: Path | None
    camera: Path | None


class FolderPlayback:
    """Plays a folder of images in the order of their names.

    A colour image has `color` or `rgb` in its name, or lies in a subfolder of that name. Its depth is the file whose
    name has `depth` in that place, its camera file the one that has `camera` there, or else `camera.json` or
    `camera.yaml` of the folder. So `0001-color.png` goes with `0001-depth.png`, and `rgb/7.jpg` with `depth/7.png`.

    Raises:
        InvalidInputError: no folder, or one without colour images.
    """

    def __init__(self, folder: Path | str) -> None:
        folder = Path(folder)
        if not folder.is_dir():
            raise InvalidInputError.for_field(f"{folder}", "a folder of images", "no such folder")
        self._files = _frame_files(folder)
        if not self._files:
            raise InvalidInputError(
                f"{folder}: expected colour images with `color` or `rgb` in their names, such as 0001-color.png with "
                "0001-depth.png and camera.json; found none"
            )
        self._held: dict[_FrameFiles, RgbdFrame] = {}
        self.name = f"{len(self._files)} frame{'s' * (len(self._files) > 1)} of {folder}"
        self.camera_T_table = _table_pose(self._files[0].camera)
        without = [files.color.name for files in self._files if files.camera is None]
        self.notes = [f"{folder} has no camera file for {without[0]}: no camera_info goes with it"] if without else []

    def frames(self) -> Iterator[RgbdFrame]:
        """See ``Playback``. What fits into a bounded memory is read once."""
        for files in self._files:
            yield self._held.get(files) or self._read(files)

    def _read(self, files: _FrameFiles) -> RgbdFrame:
        frame = read_frame(files.color, files.depth, files.camera)
        if sum(held.nbytes for held in self._held.values()) + frame.nbytes <= _HELD_BYTES:
            self._held[files] = frame
        return frame


def sample_playback() -> FolderPlayback:
    """The tabletop scene that ships with the package, one frame."""
    playback = FolderPlayback(SAMPLE_DIRECTORY)
    playback.name = "the sample scene"
    return playback


def _frame_files(folder: Path) -> list[_FrameFiles]:
    colors = [path for path in sorted(folder.iterdir(), key=_natural) if path.is_file()]
    for word in _COLOR_WORDS:
        if (folder / word).is_dir():
            colors += sorted((folder / word).iterdir(), key=_natural)
    named = ((path, _color_word(folder, path)) for path in colors)
    return [_belonging(folder, path, word) for path, word in named if word]


def _color_word(folder: Path, path: Path) -> str | None:
    name = str(path.relative_to(folder)).lower()
    if path.suffix.lower() not in _COLOR_SUFFIXES:
        return None
    return next((word for word in _COLOR_WORDS if word in name), None)


def _belonging(folder: Path, color: Path, word: str) -> _FrameFiles:
    name = str(color.relative_to(folder).with_suffix(""))

    def beside(kind: str, suffixes: tuple[str, ...]) -> Path | None:
        stem = re.sub(word, kind, name, count=1, flags=re.IGNORECASE)
        return next((path for suffix in suffixes if (path := folder / f"{stem}{suffix}").is_file()), None)

    of_folder = next((path for suffix in _CAMERA_SUFFIXES if (path := folder / f"camera{suffix}").is_file()), None)
    return _FrameFiles(color, beside("depth", _DEPTH_SUFFIXES), beside("camera", _CAMERA_SUFFIXES) or of_folder)


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts frame-2 before frame-10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path.name)]


def _table_pose(camera: Path | None) -> NDArray[np.float64] | None:
    if camera is None or camera.suffix != ".json":
        return None
    try:
        pose = json.loads(camera.read_text(encoding="utf-8")).get("camera_T_table")
        matrix = None if pose is None else np.asarray(pose, dtype=np.float64)
    except (OSError, ValueError, AttributeError, TypeError):
        return None  # read_frame says what is wrong with the file
    if matrix is not None and matrix.shape != (4, 4):
        raise InvalidInputError.for_field(f"{camera}: camera_T_table", "a (4, 4) matrix", matrix.shape)
    return matrix
