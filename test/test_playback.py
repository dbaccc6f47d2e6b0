"""A folder of images plays in order, each colour image with the depth and the camera file that belong to it."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from sam_perception.errors import InvalidInputError
from sam_perception.frame_files import SAMPLE_DIRECTORY
from sam_perception.playback import FolderPlayback, sample_playback

CAMERA = {"width": 4, "height": 3, "fx": 5.0, "fy": 5.0, "cx": 1.5, "cy": 1.0}


def write_color(path, value):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((3, 4, 3), value, np.uint8)).save(path)


def write_depth(path, value):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((3, 4), value, np.uint16)).save(path)


def played(playback):
    """(colour, depth, fx) of each frame."""
    return [
        (
            int(frame.color[0, 0, 0]),
            None if frame.depth is None else int(frame.depth[0, 0]),
            None if frame.intrinsics is None else frame.intrinsics.fx,
        )
        for frame in playback.frames()
    ]


def test_the_sample_plays_its_frame_again_and_again_and_knows_where_the_table_is(sample):
    playback = sample_playback()
    for _ in range(2):
        (frame,) = playback.frames()
        np.testing.assert_array_equal(frame.color, sample.frame.color)
        np.testing.assert_array_equal(frame.depth, sample.frame.depth)
        assert frame.intrinsics == sample.frame.intrinsics
    # The objects' middles lie above the table's top and within its 1.30 x 0.88 m.
    for described in sample.objects:
        x, y, z, _ = np.linalg.inv(playback.camera_T_table) @ [*described["position_m"], 1]
        assert abs(x) < 0.65 and abs(y) < 0.44 and 0 < z < 0.3


def test_frames_play_in_the_order_of_their_numbers_with_their_depth_and_the_folders_camera(tmp_path):
    for number in (1, 2, 10):
        write_color(tmp_path / f"frame-{number}-color.png", number)
        write_depth(tmp_path / f"frame-{number}-depth.png", 1000 + number)
    write_color(tmp_path / "overlay.png", 77)  # is no frame
    (tmp_path / "camera.json").write_text(json.dumps(CAMERA))
    playback = FolderPlayback(tmp_path)
    assert played(playback) == [(1, 1001, 5.0), (2, 1002, 5.0), (10, 1010, 5.0)]
    assert played(playback) == [(1, 1001, 5.0), (2, 1002, 5.0), (10, 1010, 5.0)]
    assert playback.name.startswith("3 frames of") and playback.camera_T_table is None


def test_a_camera_file_of_the_frames_own_goes_before_the_folders(tmp_path):
    for number, fx in ((1, 5.0), (2, 6.0)):
        write_color(tmp_path / f"{number}_rgb.png", number)
        (tmp_path / f"{number}_camera.json").write_text(json.dumps({**CAMERA, "fx": fx}))
    (tmp_path / "camera.yaml").write_text(json.dumps({**CAMERA, "fx": 7.0}))
    write_color(tmp_path / "3_rgb.png", 3)
    assert played(FolderPlayback(tmp_path)) == [(1, None, 5.0), (2, None, 6.0), (3, None, 7.0)]


def test_colour_and_depth_may_lie_in_subfolders_with_float_depth(tmp_path):
    write_color(tmp_path / "rgb" / "7.png", 7)
    (tmp_path / "depth").mkdir()
    np.save(tmp_path / "depth" / "7.npy", np.full((3, 4), 0.5, np.float32))
    (frame,) = FolderPlayback(tmp_path).frames()
    assert frame.depth_m[0, 0] == 0.5 and frame.color[0, 0, 0] == 7


def test_a_copy_of_the_samples_folder_plays_as_the_sample_does(tmp_path):
    shutil.copytree(SAMPLE_DIRECTORY, tmp_path / "copy")
    playback = FolderPlayback(tmp_path / "copy")
    (frame,), (expected,) = playback.frames(), sample_playback().frames()
    np.testing.assert_array_equal(frame.color, expected.color)
    np.testing.assert_array_equal(playback.camera_T_table, sample_playback().camera_T_table)


def test_what_cannot_be_played_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match="missing: expected a folder of images"):
        FolderPlayback(tmp_path / "missing")
    with pytest.raises(InvalidInputError, match=r"`color` or `rgb`"):
        FolderPlayback(tmp_path)
    write_color(tmp_path / "1-color.png", 1)
    (tmp_path / "1-depth.png").write_bytes(b"no image")
    with pytest.raises(InvalidInputError, match=r"1-depth\.png"):
        list(FolderPlayback(tmp_path).frames())
    (tmp_path / "camera.json").write_text(json.dumps({**CAMERA, "camera_T_table": [[1]]}))
    with pytest.raises(InvalidInputError, match="camera_T_table"):
        FolderPlayback(tmp_path)


def test_large_folders_are_not_held_in_memory(tmp_path, monkeypatch):
    for number in range(6):
        write_color(tmp_path / f"{number}-color.png", number)
    monkeypatch.setattr("sam_perception.playback._HELD_BYTES", 2 * 3 * 4 * 3)
    playback = FolderPlayback(tmp_path)
    assert played(playback) == played(playback) == [(number, None, None) for number in range(6)]
    assert len(playback._held) == 2
