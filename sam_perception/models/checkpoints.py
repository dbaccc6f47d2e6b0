"""The one table of published checkpoints: name, address, size, hash and licence of each, and how to check a file."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import os
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from sam_perception.errors import ModelUnavailableError

Status = Literal["ok", "missing", "wrong size", "wrong hash"]

_CHUNK_BYTES = 1 << 20
_SAM_URL = "https://dl.fbaipublicfiles.com/segment_anything/"
_SAM2_URL = "https://dl.fbaipublicfiles.com/segment_anything_2/072824/"
_SAM21_URL = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One published file.

    Attributes:
        name: of the file, as its authors give it.
        family: which module of this package loads it.
        url: where its authors offer it.
        sha256: 64 hex digits, or None when nobody publishes them all.
        size_bytes: exact, or None when it is not public.
        licence: SPDX identifier.
        hash_source: where the hash is published.
        aliases: other names that people use for it; the name without its extension needs no alias.
        sha256_prefix: the opening hex digits, where only those are public.
    """

    name: str
    family: Literal["sam", "sam2"]
    url: str
    sha256: str | None
    size_bytes: int | None
    licence: str
    hash_source: str
    aliases: tuple[str, ...] = ()
    sha256_prefix: str | None = None

    @property
    def known_sha256(self) -> str:
        """The whole hash, else its public opening, else nothing."""
        return self.sha256 or self.sha256_prefix or ""


def _sam(name: str, alias: str, size_bytes: int, sha256: str) -> Checkpoint:
    source = "micro-sam's pooch registry (beside Meta's url) and two Git LFS mirrors; Meta publishes an MD5 prefix"
    return Checkpoint(name, "sam", _SAM_URL + name, sha256, size_bytes, "Apache-2.0", source, (alias,))


def _sam2(name: str, base_url: str, size_bytes: int, sha256: str) -> Checkpoint:
    source = "micro-sam's pooch registry (beside Meta's url) and Git LFS pointers of the same file on Hugging Face"
    alias = name.removesuffix(".pt").replace("_", "-")  # as Meta names its Hugging Face repositories
    return Checkpoint(name, "sam2", base_url + name, sha256, size_bytes, "Apache-2.0", source, (alias,))


CHECKPOINTS: tuple[Checkpoint, ...] = (
    _sam(
        "sam_vit_h_4b8939.pth",
        "sam_vit_h",
        2564550879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
    _sam(
        "sam_vit_l_0b3195.pth",
        "sam_vit_l",
        1249524607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    _sam(
        "sam_vit_b_01ec64.pth",
        "sam_vit_b",
        375042383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    _sam2(
        "sam2_hiera_tiny.pt",
        _SAM2_URL,
        155906050,
        "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
    ),
    _sam2(
        "sam2_hiera_small.pt",
        _SAM2_URL,
        184309650,
        "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
    ),
    _sam2(
        "sam2_hiera_base_plus.pt",
        _SAM2_URL,
        323493298,
        "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
    ),
    _sam2(
        "sam2_hiera_large.pt",
        _SAM2_URL,
        897952466,
        "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
    ),
    _sam2(
        "sam2.1_hiera_tiny.pt",
        _SAM21_URL,
        156008466,
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
    ),
    _sam2(
        "sam2.1_hiera_small.pt",
        _SAM21_URL,
        184416285,
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
    ),
    _sam2(
        "sam2.1_hiera_base_plus.pt",
        _SAM21_URL,
        323606802,
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    ),
    _sam2(
        "sam2.1_hiera_large.pt",
        _SAM21_URL,
        898083611,
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
    ),
)


@dataclasses.dataclass(frozen=True)
class Verification:
    """What checking a file showed.

    Attributes:
        status: ``ok`` means that nothing that could be checked was wrong; ``checked`` says what that was.
        checked: of ``size``, ``sha256`` and ``sha256 prefix`` those that were compared with a published value.
        message: the same as one sentence.
    """

    status: Status
    checked: tuple[str, ...]
    message: str

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return self.status == "ok"


def find(name: str) -> Checkpoint:
    """The checkpoint of that name, with or without its extension, or of that alias.

    Raises:
        ModelUnavailableError: unknown; the message lists names like it.
    """
    names = {known.lower(): checkpoint for checkpoint in CHECKPOINTS for known in _names(checkpoint)}
    checkpoint = names.get(name.strip().lower())
    if checkpoint is not None:
        return checkpoint
    raise ModelUnavailableError(
        f"model {name!r} is unknown{did_you_mean(name)}; `sam-perception models list` shows every model"
    )


def did_you_mean(name: str, others: tuple[str, ...] = ()) -> str:
    """``, did you mean ...?`` with known names like this one, or nothing."""
    known = [*others, *(checkpoint.name for checkpoint in CHECKPOINTS)]
    stems = {Path(candidate).stem if "." in candidate else candidate: candidate for candidate in known}
    stems |= {alias: checkpoint.name for checkpoint in CHECKPOINTS for alias in checkpoint.aliases}
    close = difflib.get_close_matches(name.lower(), stems, n=5, cutoff=0.6)
    names = list(dict.fromkeys(stems[stem] for stem in close))[:3]
    return f", did you mean {' or '.join(names)}?" if names else ""


def cache_dir() -> Path:
    """Where this package keeps its files: $SAM_PERCEPTION_HOME, else $XDG_CACHE_HOME/sam_perception, else ~/.cache."""
    own = os.environ.get("SAM_PERCEPTION_HOME")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(shared).expanduser() / "sam_perception"


def local_path(checkpoint: Checkpoint) -> Path:
    """Where a download of this checkpoint lies, whether or not it is there."""
    return cache_dir() / "checkpoints" / checkpoint.name


def check_size(checkpoint: Checkpoint, path: Path) -> Verification:
    """Look only at whether the file is there and as long as it should be; costs no reading."""
    if not path.is_file():
        return Verification("missing", (), f"{path} does not exist")
    size = path.stat().st_size
    if checkpoint.size_bytes is None:
        return Verification("ok", (), f"{path}: no size of {checkpoint.name} is public, so none was checked")
    if size != checkpoint.size_bytes:
        expected = f"{path}: expected {checkpoint.size_bytes} bytes, got {size}"
        return Verification("wrong size", ("size",), f"{expected}; the file is incomplete or another one")
    return Verification("ok", ("size",), f"{path}: the size matches; the hash was not looked at")


def verify(checkpoint: Checkpoint, path: Path) -> Verification:
    """Compare a file with everything that is public about it: its size, and its SHA-256 as far as that is known."""
    sized = check_size(checkpoint, path)
    if not sized.ok:
        return sized
    known = checkpoint.known_sha256
    if not known:
        what = "the size matches, but " if sized.checked else ""
        return Verification(
            "ok", sized.checked, f"{path}: {what}no hash of it is public, so its content was not checked"
        )
    kind = "sha256" if checkpoint.sha256 else "sha256 prefix"
    checked = (*sized.checked, kind)
    actual = sha256(path)
    if not actual.startswith(known.lower()):
        return Verification("wrong hash", checked, f"{path}: expected the {kind} {known}, got {actual}")
    unchecked = "" if checkpoint.sha256 else f"; only {len(known)} digits of the hash are public"
    return Verification("ok", checked, f"{path}: {' and '.join(checked)} match{unchecked}")


def verify_once(checkpoint: Checkpoint, path: Path) -> Verification:
    """``verify``, unless this very file passed it before: then only that it has not changed since.

    A file NAME.verified beside it remembers size, time of the last change, and hash.
    """
    sized = check_size(checkpoint, path)
    if not sized.ok or not checkpoint.known_sha256:
        return sized
    stat, memory = path.stat(), path.with_name(f"{path.name}.verified")
    passed = f"{stat.st_size} {stat.st_mtime_ns} {checkpoint.known_sha256}\n"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if memory.read_text() == passed:
            return Verification("ok", sized.checked, f"{path}: verified before, and not changed since")
    result = verify(checkpoint, path)
    if result.ok:
        with contextlib.suppress(OSError):  # a folder that cannot be written to: the next load checks again
            memory.write_text(passed)
    return result


def sha256(path: Path) -> str:
    """SHA-256 of a file in hex, read in chunks, with a progress bar on a terminal."""
    digest = hashlib.sha256()
    with (
        path.open("rb") as file,
        tqdm(total=path.stat().st_size, desc=f"checking {path.name}", unit="B", unit_scale=True, disable=None) as bar,
    ):
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _names(checkpoint: Checkpoint) -> tuple[str, ...]:
    stem = checkpoint.name.rpartition(".")[0]
    return (checkpoint.name, stem, *checkpoint.aliases)
