"""RecordingFile: messages into an MCAP file, alone or in the folder that rosbag2 makes, readable whatever ends it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import shutil
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal

from sam_perception.errors import InvalidInputError, PerceptionError

SUFFIX = ".mcap"
UNFINISHED = ".part"

_RECORD = struct.Struct("<BQ")  # its kind, and the length of what follows
_MAGIC = b"\x89MCAP0\r\n"
# The end of an MCAP file without an index.
_END = struct.pack("<BQI", 0x0F, 4, 0) + struct.pack("<BQQQI", 0x02, 20, 0, 0, 0) + _MAGIC
_AFTER_DATA = (0x02, 0x0F)  # footer, end of data: beginnings of _END
_HUMBLE_READS: Literal[8] = (
    8  # rosbag2's metadata from 9 on writes quality of service in a way that Humble does not know
)


@dataclasses.dataclass(frozen=True)
class Topic:
    """What is recorded.

    Attributes:
        name: fully qualified.
        type: `package/msg/Name`, or a part of a service: `package/srv/Name_Event`.
        reliable: nobody publishes it best effort.
        latched: its publishers keep messages for those who come later.
        depth: how many they keep.
    """

    name: str
    type: str
    reliable: bool = True
    latched: bool = False
    depth: int = 10


def require_rosbags() -> None:
    """Raise a PerceptionError where rosbags is not installed."""
    try:
        importlib.import_module("rosbags.rosbag2")
    except ImportError as error:
        raise PerceptionError(f"recordings are written and read with rosbags: pip install rosbags ({error})") from None


class RecordingFile:
    """An MCAP file that is being written; not thread-safe.

    While it is written it lies in a folder of that name and `.part`, so that a file with its own name is whole. What
    was written before the last ``flush`` survives SIGKILL: ``repair`` closes such a file.

    Args:
        path: `NAME.mcap` for one file, any other name for a rosbag2 folder; nothing is there yet.
        compress: chunks with zstd.
        about: texts that go into the metadata.

    Attributes:
        part: where it lies while it is written.
        message_count: of the messages that were written.
        byte_count: of those messages.

    Raises:
        InvalidInputError: something is there already, or the folder around it is not.
        PerceptionError: rosbags is not installed.
    """

    def __init__(self, path: Path, *, compress: bool = False, about: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.message_count = self.byte_count = self._latest_ns = 0
        require_rosbags()
        self.part = path.with_name(f"{path.name}{UNFINISHED}")
        refuse_to_overwrite(path, self.part)
        self._writer = _writer(self.part / path.name.removesuffix(SUFFIX), compress)
        for key, value in (about or {}).items():
            self._writer.set_custom_data(key, value)
        self._connections: dict[str, Any] = {}
        self._writer.open()

    def write(self, topic: Topic, at_ns: int, data: bytes) -> None:
        """Take one message in CDR that came at this time; the times in the file never go back."""
        at_ns = self._latest_ns = max(at_ns, self._latest_ns)
        if topic.name not in self._connections:
            self._connections[topic.name] = self._connect(topic)
        self._writer.write(self._connections[topic.name], at_ns, data)
        self.message_count += 1
        self.byte_count += len(data)

    def flush(self) -> None:
        """Hand the operating system what is still in this process: rosbags gathers 1 MiB before it writes."""
        storage = self._writer.storage
        if storage.chunk.msgs:
            storage.close_chunk()
        storage.bio.flush()

    def close(self) -> None:
        """Write the index, and give the file its name.

        Raises:
            InvalidInputError: somebody has taken the name meanwhile; the recording stays where it was written.
        """
        self._writer.close()
        _move_out(self.part, self.path)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._writer.abort()
        shutil.rmtree(self.part)

    def _connect(self, topic: Topic) -> Any:
        from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

        from sam_perception.message_schemas import schema_text
        from sam_perception.standalone.interfaces import type_hash

        none = QosTime(0, 0)
        qos = Qos(
            QosHistory.KEEP_LAST,
            topic.depth,
            QosReliability.RELIABLE if topic.reliable else QosReliability.BEST_EFFORT,
            QosDurability.TRANSIENT_LOCAL if topic.latched else QosDurability.VOLATILE,
            none,
            none,
            QosLiveliness.AUTOMATIC,
            none,
            False,
        )
        definition = {"msgdef": schema_text(topic.type), "rihs01": type_hash(topic.type)}
        connection = self._writer.add_connection(topic.name, topic.type, **definition, offered_qos_profiles=[qos])
        if (
            "/srv/" in topic.type
        ):  # rosbags' AnyReader takes their hash for a wrong one, and refuses the whole recording
            self._writer.connections[-1] = connection = connection._replace(digest="")
        return connection


def repair(path: Path) -> Path:
    """Close a recording that was cut off: what follows its last whole record is lost.

    Args:
        path: the `.part` folder that was left behind, or an .mcap file without an end.

    Returns:
        The file that can be read now.

    Raises:
        InvalidInputError: there is no such recording, or nothing is wrong with it.
    """
    files = sorted(path.glob(f"*/*{SUFFIX}")) if path.is_dir() else [path]
    if len(files) != 1 or not files[0].is_file():
        raise InvalidInputError.for_field("--repair", f"an {SUFFIX} file, or a folder NAME{UNFINISHED}", path)
    target = path.with_name(f"{path.name.removesuffix(UNFINISHED).removesuffix(SUFFIX)}{SUFFIX}")
    if path.is_dir():
        refuse_to_overwrite(target)
    with files[0].open("r+b") as file:
        file.seek(_end_of_whole_records(file, files[0]))
        file.truncate()
        file.write(_END)
    if path.is_dir():
        files[0].rename(target)
        shutil.rmtree(path)
    return target


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A rosbags reader of a recording.

    Raises:
        InvalidInputError: no recording, or one without an end; the message says how to repair it.
        PerceptionError: rosbags is not installed.
    """
    require_rosbags()
    from rosbags.rosbag2 import Reader

    if not path.exists():
        raise InvalidInputError(f"{path}: expected a recording, and nothing is there")
    try:
        reader = Reader(path)
        reader.open()
    except Exception as error:
        expected = "expected a rosbag2 recording (a folder, .mcap or .db3)"
        if path.suffix in (SUFFIX, UNFINISHED):
            expected += f" with an end (`sam-perception record --repair {path}` closes one that was cut off)"
        raise InvalidInputError(f"{path}: {expected}, got {error}") from error
    try:
        yield reader
    finally:
        reader.close()


def refuse_to_overwrite(*paths: Path) -> None:
    """Raise an InvalidInputError where one of the paths is taken, or its folder is not there."""
    for path in paths:
        if path.exists():
            raise InvalidInputError(f"{path} is there already, and is not overwritten: name another file")
        if not path.parent.is_dir():
            raise InvalidInputError(f"{path}: the folder {path.parent} is not there")


def _end_of_whole_records(file: IO[bytes], path: Path) -> int:
    """Where the last record of the data ends that is whole."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(len(_MAGIC)) != _MAGIC:
        raise InvalidInputError(f"{path}: expected the beginning of an MCAP file")
    end = file.tell()
    file.seek(max(end, size - len(_MAGIC)))
    if file.read() == _MAGIC:
        raise InvalidInputError(f"{path} has an end already: there is nothing to repair")
    while end + _RECORD.size <= size:
        file.seek(end)
        kind, length = _RECORD.unpack(file.read(_RECORD.size))
        if kind in _AFTER_DATA or end + _RECORD.size + length > size:
            break
        end += _RECORD.size + length
    return end


def _writer(folder: Path, compress: bool) -> Any:
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    writer = Writer(folder, version=_HUMBLE_READS, storage_plugin=StoragePlugin.MCAP)
    if compress:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    return writer


def _move_out(part: Path, path: Path) -> None:
    refuse_to_overwrite(path)
    (folder,) = part.iterdir()
    written = folder / f"{folder.name}{SUFFIX}" if path.suffix == SUFFIX else folder
    written.rename(path)
    shutil.rmtree(part)
