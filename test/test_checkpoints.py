"""The table of checkpoints is sound, files are checked against it, and downloads survive what networks do."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import http.server
import os
import re
import shutil
import socket
import threading
from pathlib import Path

import pytest

from sam_perception.errors import CheckpointError, ModelUnavailableError
from sam_perception.models import checkpoints, download
from sam_perception.models.checkpoints import CHECKPOINTS, Checkpoint, find, verify

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PUBLISHED = Checkpoint("model.pt", "sam", "http://nowhere.invalid/model.pt", SHA256, len(CONTENT), "MIT", "here")


class Server(http.server.ThreadingHTTPServer):
    """Serves one file on 127.0.0.1, as well or as badly as told."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag, self.status = CONTENT, '"1"', 200
        self.honours_range, self.cut_after = True, None
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/model.pt"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.ranges.append(wanted)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = 0
        if wanted and server.honours_range and self.headers.get("If-Range") == server.etag:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(server.content):
                self.send_error(416)
                return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if server.etag:
            self.send_header("ETag", server.etag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.end_headers()
        self.wfile.write(body if server.cut_after is None else body[: server.cut_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def fetch(server: Server, directory: Path, checkpoint: Checkpoint = PUBLISHED) -> Path:
    return download.download(checkpoint, directory, url=server.url)


def interrupt(server: Server, directory: Path, after: int = 100_000) -> None:
    server.cut_after = after
    with pytest.raises(CheckpointError, match=rf"broke {len(CONTENT) - after} bytes before the end; run the same"):
        fetch(server, directory)
    server.cut_after = None


def test_the_table_is_complete_and_consistent():
    assert len({checkpoint.name for checkpoint in CHECKPOINTS}) == len(CHECKPOINTS) == 11
    assert len({checkpoint.sha256 for checkpoint in CHECKPOINTS}) == len(CHECKPOINTS)
    for checkpoint in CHECKPOINTS:
        assert checkpoint.url.startswith("https://dl.fbaipublicfiles.com/")
        assert checkpoint.url.endswith("/" + checkpoint.name)
        assert re.fullmatch("[0-9a-f]{64}", checkpoint.sha256)
        assert checkpoint.size_bytes > 1e8
        assert checkpoint.licence == "Apache-2.0"
        assert checkpoint.hash_source


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sam_vit_b_01ec64.pth", "sam_vit_b_01ec64.pth"),
        ("sam_vit_b_01ec64", "sam_vit_b_01ec64.pth"),
        ("sam_vit_b", "sam_vit_b_01ec64.pth"),
        ("sam2.1_hiera_tiny", "sam2.1_hiera_tiny.pt"),
        ("sam2_hiera_tiny", "sam2_hiera_tiny.pt"),
        ("sam2.1-hiera-base-plus", "sam2.1_hiera_base_plus.pt"),
        (" SAM2_hiera_LARGE.pt ", "sam2_hiera_large.pt"),
    ],
)
def test_names_with_and_without_extension_and_aliases(name, expected):
    assert find(name).name == expected


def test_an_unknown_name_lists_those_like_it():
    with pytest.raises(ModelUnavailableError, match=r"'sam_vit_bb' is unknown, did you mean sam_vit_b_01ec64\.pth"):
        find("sam_vit_bb")
    with pytest.raises(ModelUnavailableError, match="'resnet' is unknown; `sam-perception models list`"):
        find("resnet")


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("SAM_PERCEPTION_HOME", str(tmp_path / "own"))
    assert checkpoints.cache_dir() == tmp_path / "own"
    monkeypatch.delenv("SAM_PERCEPTION_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert checkpoints.cache_dir() == tmp_path / "sam_perception"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert checkpoints.local_path(PUBLISHED) == tmp_path / "home/.cache/sam_perception/checkpoints/model.pt"


def test_verification_says_what_it_could_check(tmp_path):
    path = tmp_path / "model.pt"
    assert verify(PUBLISHED, path).status == "missing"
    path.write_bytes(CONTENT)
    result = verify(PUBLISHED, path)
    assert (result.status, result.checked) == ("ok", ("size", "sha256"))
    prefix = dataclasses.replace(PUBLISHED, sha256=None, sha256_prefix=SHA256[:8])
    result = verify(prefix, path)
    assert (result.status, result.checked) == ("ok", ("size", "sha256 prefix"))
    assert "only 8 digits of the hash are public" in result.message
    result = verify(dataclasses.replace(PUBLISHED, sha256=None), path)
    assert (result.status, result.checked) == ("ok", ("size",))
    assert "no hash of it is public, so its content was not checked" in result.message
    result = verify(dataclasses.replace(PUBLISHED, size_bytes=None), path)
    assert (result.status, result.checked) == ("ok", ("sha256",))
    result = verify(dataclasses.replace(PUBLISHED, size_bytes=None, sha256=None), path)
    assert (result.status, result.checked) == ("ok", ())


def test_wrong_files_are_told_apart(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(CONTENT[:-1])
    assert verify(PUBLISHED, path).status == "wrong size"
    path.write_bytes(CONTENT[:-1] + b"x")
    result = verify(PUBLISHED, path)
    assert result.status == "wrong hash"
    assert SHA256 in result.message
    assert verify(dataclasses.replace(PUBLISHED, sha256=None, sha256_prefix=SHA256[:6]), path).status == "wrong hash"
    assert checkpoints.check_size(PUBLISHED, path).ok


def test_a_file_is_hashed_once_and_again_when_it_changes(tmp_path, monkeypatch):
    hashed = []
    sha256 = checkpoints.sha256
    monkeypatch.setattr(checkpoints, "sha256", lambda path: hashed.append(path) or sha256(path))
    path = tmp_path / "model.pt"
    path.write_bytes(CONTENT)
    for _ in range(3):
        assert checkpoints.verify_once(PUBLISHED, path).ok
    assert len(hashed) == 1
    path.write_bytes(CONTENT[:-1] + b"x")
    os.utime(path, ns=(1, 1))
    for _ in range(2):
        assert checkpoints.verify_once(PUBLISHED, path).status == "wrong hash"
    assert len(hashed) == 3
    assert checkpoints.verify_once(PUBLISHED, tmp_path / "absent.pt").status == "missing"


def test_a_download_arrives_verified_and_leaves_nothing_else(server, tmp_path):
    path = fetch(server, tmp_path / "new" / "folder")
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_a_good_file_is_left_alone(server, tmp_path):
    fetch(server, tmp_path)
    fetch(server, tmp_path)
    assert len(server.ranges) == 1


def test_a_bad_file_is_replaced_only_by_a_good_one(server, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"old and bad")
    server.status = 404
    with pytest.raises(CheckpointError):
        fetch(server, tmp_path)
    assert path.read_bytes() == b"old and bad"
    server.status = 200
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_an_interrupted_download_is_continued(server, tmp_path):
    interrupt(server, tmp_path)
    assert not (tmp_path / "model.pt").exists()
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_a_server_that_ignores_ranges_is_read_from_the_start(server, tmp_path):
    interrupt(server, tmp_path)
    server.honours_range = False
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_part_of_another_version_of_the_file_is_dropped(server, tmp_path):
    server.content = bytes(len(CONTENT))
    interrupt(server, tmp_path)
    server.content, server.etag = CONTENT, '"2"'
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_part_without_the_servers_mark_is_not_trusted(server, tmp_path):
    (tmp_path / "model.pt.part").write_bytes(bytes(2 * len(CONTENT)))
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None]


def test_a_part_whose_beginning_was_damaged_is_fetched_again(server, tmp_path):
    interrupt(server, tmp_path)
    part = tmp_path / "model.pt.part"
    part.write_bytes(b"damaged" + part.read_bytes()[7:])
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", None]


def test_a_part_that_is_too_long_is_started_over(server, tmp_path):
    interrupt(server, tmp_path)
    (tmp_path / "model.pt.part").write_bytes(CONTENT + b"more")
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={len(CONTENT) + 4}-", None]


def test_a_complete_part_needs_no_network(server, tmp_path):
    interrupt(server, tmp_path)
    (tmp_path / "model.pt.part").write_bytes(CONTENT)
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert len(server.ranges) == 1


def test_a_wrong_hash_is_deleted_and_said_so(server, tmp_path):
    server.content = b"x" + CONTENT[1:]
    with pytest.raises(CheckpointError, match=r"is not model\.pt \(.*expected the sha256 .*\), so it was deleted"):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_size_is_refused_before_it_is_fetched(server, tmp_path):
    server.content = b"<html>please log in</html>"
    with pytest.raises(CheckpointError, match=r"offers 26 bytes, but model\.pt has 1024000"):
        fetch(server, tmp_path)


def test_a_file_of_unknown_size_and_hash_still_has_to_arrive_whole(server, tmp_path):
    unknown = dataclasses.replace(PUBLISHED, sha256=None, size_bytes=None)
    server.cut_after = 1000
    with pytest.raises(CheckpointError, match="broke"):
        fetch(server, tmp_path, unknown)
    server.cut_after = None
    assert fetch(server, tmp_path, unknown).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "sentence"), [(404, "HTTP 404 .*may have moved"), (503, "HTTP 503 .*try again later")]
)
def test_answers_that_are_not_the_file(server, tmp_path, status, sentence):
    server.status = status
    with pytest.raises(CheckpointError, match=sentence):
        fetch(server, tmp_path)


def test_no_network(tmp_path, monkeypatch):
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    with contextlib.closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/model.pt"
        with pytest.raises(CheckpointError, match=r"cannot download model\.pt: 127.* refused the connection"):
            download.download(PUBLISHED, tmp_path, url=url)
        unused.listen()  # accepts and never answers
        monkeypatch.setattr(download, "_TIMEOUT_S", 0.1)
        with pytest.raises(CheckpointError, match=r"did not answer|broke"):
            download.download(PUBLISHED, tmp_path, url=url)

    def unresolvable(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolvable)
    with pytest.raises(CheckpointError, match=r"the name nowhere\.invalid cannot be resolved; is this machine online"):
        download.download(PUBLISHED, tmp_path)


def test_only_web_addresses_are_opened(tmp_path):
    with pytest.raises(CheckpointError, match="expected an http or https address"):
        download.download(PUBLISHED, tmp_path, url="file:///etc/passwd")


def test_a_full_disk(server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
        with pytest.raises(CheckpointError, match=r"no room for model\.pt in .*1 MB are needed and 1 MB are free"):
            fetch(server, tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download.os, "fsync", full)  # what the operating system had accepted need not fit
    with pytest.raises(CheckpointError, match=r"No space left on device.*SAM_PERCEPTION_HOME"):
        fetch(server, tmp_path)


def test_two_downloads_at_once_do_not_write_into_one_file(server, tmp_path):
    with open(tmp_path / "model.pt.part", "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(CheckpointError, match="another process is downloading"):
            fetch(server, tmp_path)
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_nothing_is_drawn_where_nobody_looks(server, tmp_path, capsys):
    fetch(server, tmp_path)
    verify(PUBLISHED, tmp_path / "model.pt")
    assert capsys.readouterr().err == ""
