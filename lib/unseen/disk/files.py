"""Files that are whole or not there, folders that a person may choose, and what produced a result.

Everything is written beside its place and moved into it, so a reader sees the old file or the new one and
never half of one, whatever dies when.
"""

import errno
import hashlib
import json
import math
import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from unseen.errors import Explained

_BESIDE = re.compile(r"\..+\.[a-z0-9_]{8}\.part")  # what ``write`` names a file that is not whole yet
LARGEST, LARGEST_TEXT, LARGEST_NOTE = (
    2**36,
    64 * 2**20,
    4 * 2**20,
)  # bytes of any file, a text, a JSON file that are read
_SEAL = 32  # bytes of a SHA-256


class BrokenRun(Explained):
    """A stored file is missing or is not what was written; the message names it and what to do."""


class CannotWrite(Explained, OSError):
    """A file or folder cannot be written; the message says which, why, and that the former state is intact."""

    def __str__(self) -> str:
        return str(self.strerror)


class TooLarge(ValueError):
    """A file is larger than anything this project writes in its place, so it is not even read."""


def project_folder() -> Path:
    """The root of the source checkout, or the working directory where the library is installed without one."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "pyproject.toml").is_file() else Path.cwd()


def runs_folder() -> Path:
    """Where everything that a run writes goes: ``$UNSEEN_RUNS``, or ``runs/`` of the project."""
    place = Path(os.environ.get("UNSEEN_RUNS") or project_folder() / "runs")
    try:
        return place.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise CannotWrite(errno.ELOOP, f"the runs folder {place} cannot be used (its links lead nowhere); "
                          "UNSEEN_RUNS chooses another place") from error  # fmt: skip


def write(path: Path, content: bytes | str) -> str:
    """Write a file so that it is whole or not there at all; returns its SHA-256.  Raises ``CannotWrite``."""
    content = content.encode() if isinstance(content, str) else content
    try:
        descriptor, beside = _beside(path)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(beside, 0o644)  # a teacher's folder is read by others
            os.replace(beside, path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_write(path, error) from error
    return hashlib.sha256(content).hexdigest()


def _beside(path: Path) -> tuple[int, str]:
    """A new file in the same folder, open; the folder is made if need be (not looked for: shared disks answer slowly)."""
    try:
        return tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")


def cannot_write(path: Path, error: OSError) -> CannotWrite:
    """The error of a failed write, as a sentence for a person."""
    return CannotWrite(
        error.errno, f"cannot write {path}: {error.strerror or error}; what stood there before is intact"
    )


def read(path: Path, at_most: int = LARGEST_TEXT) -> bytes:
    """The bytes of a regular file; raises ``TooLarge`` instead of reading more than ``at_most``, ``OSError`` as ever."""
    with _opened(path, at_most) as (file, size):
        return file.read(size)


@contextmanager
def _opened(path: Path, at_most: int) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file and its size, which is at most so many bytes: a hole can make it larger than any memory."""
    if not path.is_file():  # a pipe in its place would be waited for, for ever
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > min(at_most, LARGEST):
            raise TooLarge(f"{path} is larger than {min(at_most, LARGEST):,} bytes")
        yield file, size


def sealed(content: bytes) -> bytes:
    """A content with its SHA-256 behind it."""
    return content + hashlib.sha256(content).digest()


def read_sealed(path: Path, at_most: int) -> bytes:
    """What was ``sealed``; raises ``ValueError`` when the hash does not match, before the file is held in memory."""
    with _opened(path, at_most) as (file, size):
        found, left = hashlib.sha256(), size - _SEAL
        while left > 0 and (piece := file.read(min(left, 2**20))):
            found.update(piece)
            left -= len(piece)
        if left or file.read(_SEAL) != found.digest():
            raise ValueError("its hash does not match")
        file.seek(0)
        return file.read(size - _SEAL)


def seal(manifest: dict[str, Any]) -> str:
    """The hash of all that a manifest says."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def hash_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path, at_most: int = LARGEST_NOTE) -> Any:
    """What a JSON file says; raises ``ValueError`` where ``parse`` does or it is too large, ``OSError`` as ever."""
    return parse(read(path, at_most).decode())


def parse(text: str) -> Any:
    """What JSON says; raises ``ValueError`` for what none of this project's writers writes.

    That is: no JSON, numbers that are not finite, lists in lists without an end, or so many empty ones that they would
    take a multiple of the file's size as memory.
    """
    if text.count("[") + text.count("{") > 100 + len(text) // 32:
        raise ValueError("it holds too many lists and objects")
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except RecursionError as error:
        raise ValueError("it holds too many lists in lists") from error


def _finite(number: str) -> float:
    if not math.isfinite(float(number)):
        raise ValueError(f"{brief(number)} is not a finite number")
    return float(number)


def brief(what: object, longest: int = 300) -> str:
    """Anything that a foreign file brought up as the end of a sentence: on one line, printable, not long.

    >>> brief(ValueError("two\\nlines")), brief(KeyError("x" * 100), longest=10), brief(MemoryError())
    ('two lines', "'xxxxxx...", 'MemoryError')
    """
    text = str(what) or type(what).__name__ * isinstance(what, Exception)
    text = text if len(text) <= longest else f"{text[: longest - 3]}..."
    return "".join(sign if sign.isprintable() else " " for sign in text)


def leftovers(folder: Path) -> list[Path]:
    """What writers that were killed left in a folder: files that never became whole."""
    return sorted(path for path in folder.glob(".*.part") if _BESIDE.fullmatch(path.name) and path.is_file())


@lru_cache(maxsize=1)
def provenance() -> dict[str, Any]:
    """What produced a result: versions of the libraries, processor, commit of the project."""
    names = ("unseen", "torch", "numpy", "pandas", "scipy")
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "processor": _processor(),
        "cores": os.cpu_count(),
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> str:
    """The commit of the checkout, with ``-modified`` when tracked files differ from it."""
    command = ["git", "-C", str(project_folder()), "describe", "--always", "--abbrev=12", "--dirty=-modified"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
