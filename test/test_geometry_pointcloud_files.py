"""PLY and PCD files as other programs read them; the parsers here follow the formats' own descriptions."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest

from sam_perception.errors import InvalidInputError
from sam_perception.geometry.pointcloud_files import write_pcd, write_ply

PLY_TYPES = {"float": "<f4", "uchar": "u1"}
WRITERS = [write_ply, write_pcd]


@pytest.fixture
def cloud():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(57, 3)).astype(np.float32)
    points[0] = [0, -1e-7, 12.345678]
    colors = rng.integers(0, 256, (57, 3)).astype(np.uint8)
    colors[1] = [255, 0, 127]  # as a float's bits this is no ordinary number in either byte order
    return points, colors


def read_ply(path) -> np.ndarray:
    header, body = path.read_bytes().split(b"end_header\n", 1)
    lines = header.decode("ascii").splitlines()
    assert lines[0] == "ply"
    count = next(int(line.split()[2]) for line in lines if line.startswith("element vertex"))
    dtype = np.dtype([(line.split()[2], PLY_TYPES[line.split()[1]]) for line in lines if line.startswith("property")])
    if "format ascii 1.0" in lines:
        rows = [tuple(float(value) for value in row.split()) for row in body.decode("ascii").splitlines()]
        return np.array(rows, dtype=dtype)
    assert "format binary_little_endian 1.0" in lines
    assert len(body) == count * dtype.itemsize
    return np.frombuffer(body, dtype=dtype)


def read_pcd(path) -> tuple[np.ndarray, np.ndarray | None]:
    """Points, and colours by PCL's rule: rgb's four bytes are 0, red, green, blue from the highest to the lowest."""
    content = path.read_bytes()
    end = content.index(b"\n", content.index(b"\nDATA ") + 1) + 1
    header = dict(line.split(" ", 1) for line in content[:end].decode("ascii").splitlines() if not line.startswith("#"))
    assert header["VERSION"] == "0.7"
    assert header["WIDTH"] == header["POINTS"]
    assert header["HEIGHT"] == "1"
    names = header["FIELDS"].split()
    kinds = {"F": "<f4", "U": "<u4"}
    sizes = header["SIZE"].split()
    assert set(sizes) == {"4"}
    dtype = np.dtype([(name, kinds[kind]) for name, kind in zip(names, header["TYPE"].split(), strict=True)])
    if header["DATA"] == "ascii":
        as_types = [int if kind == "<u4" else float for _, kind in dtype.descr]
        rows = [zip(as_types, row.split(), strict=True) for row in content[end:].decode("ascii").splitlines()]
        table = np.array([tuple(as_type(text) for as_type, text in row) for row in rows], dtype=dtype)
    else:
        table = np.frombuffer(content[end:], dtype=dtype)
    assert len(table) == int(header["POINTS"])
    points = np.stack([table[axis] for axis in "xyz"], axis=1)
    if "rgb" not in names:
        return points, None
    packed = table["rgb"].view("<u4") if table["rgb"].dtype == "<f4" else table["rgb"]
    return points, np.stack([packed >> shift & 255 for shift in (16, 8, 0)], axis=1).astype(np.uint8)


@pytest.mark.parametrize("text", [False, True])
def test_ply_keeps_every_point_and_colour(cloud, tmp_path, text):
    points, colors = cloud
    write_ply(tmp_path / "cloud.ply", points, colors, ascii=text)
    table = read_ply(tmp_path / "cloud.ply")
    assert table.dtype.names == ("x", "y", "z", "red", "green", "blue")
    assert np.array_equal(np.stack([table[name] for name in "xyz"], axis=1), points)
    assert np.array_equal(np.stack([table[name] for name in ("red", "green", "blue")], axis=1), colors)


@pytest.mark.parametrize("text", [False, True])
def test_pcd_keeps_every_point_and_colour(cloud, tmp_path, text):
    points, colors = cloud
    write_pcd(tmp_path / "cloud.pcd", points, colors, ascii=text)
    read_points, read_colors = read_pcd(tmp_path / "cloud.pcd")
    assert np.array_equal(read_points, points)
    assert np.array_equal(read_colors, colors)


@pytest.mark.parametrize("text", [False, True])
def test_clouds_without_colours_and_without_points(cloud, tmp_path, text):
    points, _ = cloud
    for some in (points, points[:0]):
        write_ply(tmp_path / "cloud.ply", some, ascii=text)
        assert len(read_ply(tmp_path / "cloud.ply")) == len(some)
        write_pcd(tmp_path / "cloud.pcd", some, ascii=text)
        read_points, read_colors = read_pcd(tmp_path / "cloud.pcd")
        assert np.array_equal(read_points, some)
        assert read_colors is None


def test_open3d_reads_the_files(cloud, tmp_path):
    o3d = pytest.importorskip("open3d", exc_type=ImportError)
    points, colors = cloud
    for writer, name in ((write_ply, "cloud.ply"), (write_pcd, "cloud.pcd")):
        for text in (False, True):
            writer(tmp_path / name, points, colors, ascii=text)
            read = o3d.io.read_point_cloud(str(tmp_path / name))
            assert np.allclose(np.asarray(read.points), points, atol=1e-6)
            if not (text and writer is write_pcd):  # Open3D takes a text file's unsigned rgb for a float's digits
                assert np.array_equal(np.rint(np.asarray(read.colors) * 255), colors)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_failed_write_leaves_what_was_there(cloud, tmp_path, monkeypatch, writer):
    points, colors = cloud
    path = tmp_path / "cloud"
    path.write_text("before")

    def full_disk(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full_disk)
    with pytest.raises(InvalidInputError, match=r"path: .*No space left"):
        writer(path, points, colors)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["cloud"]


@pytest.mark.parametrize("writer", WRITERS)
def test_the_file_takes_the_place_of_the_old_one_with_usual_permissions(cloud, tmp_path, writer):
    path, usual = tmp_path / "cloud", tmp_path / "usual"
    path.write_text("before" * 1000)
    usual.write_text("")
    writer(str(path), *cloud)
    assert path.read_bytes()[:6] in (b"ply\nfo", b"# .PCD")
    assert sorted(os.listdir(tmp_path)) == ["cloud", "usual"]
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


@pytest.mark.parametrize("writer", WRITERS)
def test_what_cannot_be_written_is_refused(cloud, tmp_path, writer):
    points, colors = cloud
    for bad in (points[:, :2], points.ravel(), np.array([["a", "b", "c"]])):
        with pytest.raises(InvalidInputError, match="points: expected"):
            writer(tmp_path / "cloud", bad)
    for bad in (colors[:5], colors.astype(float) / 255):
        with pytest.raises(InvalidInputError, match="colors: expected"):
            writer(tmp_path / "cloud", points, bad)
    with pytest.raises(InvalidInputError, match="path: expected"):
        writer(tmp_path / "missing" / "cloud", points)
    assert os.listdir(tmp_path) == []
