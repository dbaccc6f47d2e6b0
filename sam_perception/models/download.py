"""Fetches a published checkpoint: resumable, verified before it gets its name, never half written."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import shutil
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from sam_perception.errors import CheckpointError
from sam_perception.models import checkpoints
from sam_perception.models.checkpoints import Checkpoint

try:
    import fcntl
except ImportError:  # Windows: two downloads at once are then only caught by the hash
    fcntl = None  # type: ignore[assignment]

_CHUNK_BYTES = 1 << 18
_TIMEOUT_S = 30.0


def download(
    checkpoint: Checkpoint,
    directory: Path | None = None,
    *,
    url: str | None = None,
    opener: urllib.request.OpenerDirector | None = None,
) -> Path:
    """Put a verified copy of the checkpoint into a directory and return its path; a good one that is there stays.

    What an interrupted download left (``NAME.part``) is continued if the server still has the same file.

    Args:
        checkpoint: what to fetch.
        directory: where to; left out: the cache, where ``load_model`` looks.
        url: another address of the same file; left out: the authors'.
        opener: how to open it; left out: urllib's own, which honours the proxy variables.

    Raises:
        CheckpointError: no network, no such file, no room, the wrong size or hash; the message says which.
    """
    path = (directory / checkpoint.name) if directory else checkpoints.local_path(checkpoint)
    if checkpoints.verify(checkpoint, path).ok:
        return path
    url = url or checkpoint.url
    if not url.startswith(("https://", "http://")):
        raise CheckpointError(f"{url}: expected an http or https address")
    with _sentences(checkpoint, url, path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with _claimed(part) as file:
            _Transfer(checkpoint, url, opener or urllib.request.build_opener(), part, file).run()
            os.replace(part, path)
    return path


class _Transfer:
    """Fills one claimed part file until it is verified."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        url: str,
        opener: urllib.request.OpenerDirector,
        part: Path,
        file: BinaryIO,
    ) -> None:
        self.checkpoint, self.url, self.opener = checkpoint, url, opener
        self.part, self.file = part, file
        self.validator_file = part.with_name(part.name + ".etag")

    def run(self) -> None:
        resumed = self._resumable_bytes() > 0
        self._fetch()
        result = checkpoints.verify(self.checkpoint, self.part)
        if not result.ok and resumed:  # the beginning was of another file: once more, from the start
            self._forget()
            self._fetch()
            result = checkpoints.verify(self.checkpoint, self.part)
        self.validator_file.unlink(missing_ok=True)
        if not result.ok:
            self.part.unlink()
            raise CheckpointError(
                f"what {self.url} sent is not {self.checkpoint.name} ({result.message}), so it was deleted; "
                "try again later or from another network"
            )

    def _fetch(self) -> None:
        start = self._resumable_bytes()
        if start and start == self.checkpoint.size_bytes:
            return
        try:
            response = self._open(start)
        except urllib.error.HTTPError as error:
            if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
                raise
            error.close()
            self._forget()
            response = self._open(0)
        with response:
            if not _continues(response, start):  # the server ignored Range, or has another file by now
                self._forget()
                start = 0
            self._receive(response, start)

    def _open(self, start: int) -> http.client.HTTPResponse:
        headers = {"User-Agent": "sam-perception", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            headers["If-Range"] = self.validator_file.read_text()
        request = urllib.request.Request(self.url, headers=headers)
        return self.opener.open(request, timeout=_TIMEOUT_S)

    def _receive(self, response: http.client.HTTPResponse, start: int) -> None:
        announced = response.headers.get("Content-Length")
        total = start + int(announced) if announced else self.checkpoint.size_bytes
        self._check_announced(total, start)
        if validator := _validator(response):
            self.validator_file.write_text(validator)
        self.file.seek(start)
        self.file.truncate()
        name = self.checkpoint.name
        with tqdm(total=total, initial=start, desc=name, unit="B", unit_scale=True, disable=None) as bar:
            while chunk := response.read(_CHUNK_BYTES):
                self.file.write(chunk)
                bar.update(len(chunk))
        self.file.flush()
        os.fsync(self.file.fileno())
        received = self.file.tell()
        if total is not None and received < total:
            raise http.client.IncompleteRead(b"", total - received)

    def _check_announced(self, total: int | None, start: int) -> None:
        expected = self.checkpoint.size_bytes
        if total is None:
            return
        if expected is not None and total != expected:
            raise CheckpointError(
                f"{self.url} offers {total} bytes, but {self.checkpoint.name} has {expected}: this is another file; "
                "nothing was downloaded"
            )
        free = shutil.disk_usage(self.part.parent).free
        if free < total - start:
            raise OSError(errno.ENOSPC, f"{_megabytes(total - start)} are needed and {_megabytes(free)} are free")

    def _resumable_bytes(self) -> int:
        """How much of the part can be continued: nothing without the server's mark of which file it is of."""
        size = self.part.stat().st_size
        return size if size and self.validator_file.is_file() else 0

    def _forget(self) -> None:
        self.file.truncate(0)
        self.file.seek(0)
        self.validator_file.unlink(missing_ok=True)


def _continues(response: http.client.HTTPResponse, start: int) -> bool:
    if start == 0:
        return response.status == http.client.OK
    content_range = response.headers.get("Content-Range", "")
    return response.status == http.client.PARTIAL_CONTENT and content_range.startswith(f"bytes {start}-")


def _validator(response: http.client.HTTPResponse) -> str | None:
    """What marks the server's version of the file; a weak ETag does not promise the same bytes."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


@contextlib.contextmanager
def _claimed(part: Path) -> Iterator[BinaryIO]:
    """The part file, open for reading and writing, by one process at a time."""
    with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as handle:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Whoever held it may have given it its final name since it was opened: that file is not ours to write.
                ours = part.exists() and os.path.samestat(os.fstat(handle.fileno()), part.stat())
            except BlockingIOError:
                ours = False
            if not ours:
                raise CheckpointError(f"another process is downloading {part}; wait for it, then run this again")
        yield handle


@contextlib.contextmanager
def _sentences(checkpoint: Checkpoint, url: str, directory: Path) -> Iterator[None]:
    """Turn what a download can run into into one CheckpointError each."""
    again = "run the same command again and it continues where it stopped"
    try:
        yield
    except CheckpointError:
        raise
    except urllib.error.HTTPError as error:
        hint = "the address may have moved" if error.code == http.client.NOT_FOUND else "try again later"
        raise CheckpointError(f"{url} answered HTTP {error.code} ({error.reason}); {hint}") from error
    except urllib.error.URLError as error:
        raise CheckpointError(f"cannot download {checkpoint.name}: {_reason(error.reason, url)}") from error
    except http.client.IncompleteRead as error:
        raise CheckpointError(
            f"the connection to {url} broke {error.expected} bytes before the end; {again}"
        ) from error
    except (TimeoutError, ConnectionError, http.client.HTTPException, ssl.SSLError) as error:
        raise CheckpointError(f"the connection to {url} broke ({error or type(error).__name__}); {again}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CheckpointError(
                f"no room for {checkpoint.name} in {directory} ({error.strerror}); free some, "
                "or set SAM_PERCEPTION_HOME to a folder on another disk"
            ) from error
        raise CheckpointError(f"cannot write {checkpoint.name} into {directory}: {error}") from error


def _reason(reason: object, url: str) -> str:
    host = url.split("/")[2]
    if isinstance(reason, socket.gaierror):
        return f"the name {host} cannot be resolved; is this machine online?"
    if isinstance(reason, ConnectionRefusedError):
        return f"{host} refused the connection; is a proxy or firewall in the way?"
    if isinstance(reason, TimeoutError):
        return f"{host} did not answer within {_TIMEOUT_S:.0f} s; is this machine online?"
    return f"{host} cannot be reached ({reason})"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.0f} MB"
