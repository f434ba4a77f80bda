"""Files that are whole or absent, the folders a user may choose, and what produced a result.

Everything is written beside its place and moved into it: a reader sees the old file or the new one, never
half of one.
"""

import errno
import hashlib
import json
import math
import os
import platform
import re
import shutil
import subprocess
import tempfile
import tomllib
from functools import lru_cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from unseen.errors import Explained

LARGEST, LARGEST_TEXT, LARGEST_NOTE = 2**36, 2**26, 2**22  # bytes read of any file, of a text, of a JSON file
_PART = re.compile(r"\..+\.[a-z0-9_]{8}\.part")  # how ``write`` names a file that is not whole yet
_SEAL = 32  # bytes of a SHA-256
POINTER = b"version https://git-lfs"  # how the file begins that git-lfs leaves in place of another
_FOREIGN = {  # how a file begins that is no text in UTF-8: what it is and what to do
    rb"\xff\xfe\0\0|\0\0\xfe\xff|\0\0\0[^\0]|[^\0]\0\0\0": "this is text in UTF-32; save it as UTF-8",
    rb"\xff\xfe|\xfe\xff|[^\0]\0|\0[^\0]": "this is text in UTF-16; save it as UTF-8 (iconv -f UTF-16)",
    rb"\x1f\x8b": "this is compressed (gzip); unpack it first (gunzip)",
    rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!|\x04\x22\x4d\x18": "this is compressed; unpack it first",
    rb"PK\x03\x04|\xd0\xcf\x11\xe0": "this is a workbook (xlsx, ods, xls) or a zip archive; "
    "save the sheet as 'CSV UTF-8', or unpack the archive",
    rb"PAR1|ARROW1|\xff\xff\xff\xff": "this is a table in Parquet or Arrow; write it as text with pandas: "
    "to_json(..., orient='records', lines=True) for conversations, to_csv(..., index=False) for a sweep",
    rb"\x80[\x02-\x05]|\x89HDF|SQLite format|%PDF|\x93NUMPY|\0\0": "this is binary; export it as text",
    POINTER: "this is a pointer that git-lfs left; 'git lfs pull' fetches the file",
    rb"\{\\rtf": "this is formatted text (RTF); save it as plain text in UTF-8",
    rb"(\xef\xbb\xbf)?\s*<(!doctype|html|\?xml|table)": "this is a web page or XML, not the file; "
    "download the file itself (raw)",
}

_NO_PATH = {  # texts that would be files or folders of odd names: what each is, and what to do
    r"\s*": "it is empty; is a variable of the shell unset?",
    r"~.*": "no user of this machine has that name, so it is no home folder",
    r"\$(\w|\{).*": "it begins with a variable that no shell has filled in; write the path itself",
    r"[a-z][a-z+]+:/.*": "it is an address; give a path",
    r"[a-z]:[\\/].*": "it is a path of Windows; give this system's (in WSL, C:\\ is /mnt/c/)",
}
SUCCESS = "UNSEEN_SUCCESS"  # in the environment of a kernel: where its success is marked, and with what


class BadPath(Explained, ValueError):
    """A text is no path of this system; the message says what it is."""


class BrokenRun(Explained):
    """A stored file is missing or is not what was written; the message names it and what to do."""


class CannotWrite(Explained, OSError):
    """A file or folder cannot be written; the message says which and why; what was there is intact."""

    def __str__(self) -> str:
        return str(self.strerror)


class NoProject(Explained):
    """The package was installed without the checkout; the message says what to do."""


def packaged(name: str) -> dict[str, Any]:
    """A TOML table that is part of this package, by its path in it, as in ``scales.toml``."""
    return tomllib.loads((resources.files("unseen") / name).read_text("utf-8"))


_ROOT = Path(__file__).resolve().parents[2]  # of the checkout, if this package lies in one


def project_folder() -> Path:
    """The root of the checkout: this package's, else the one that the working directory lies in, as that of a
    notebook does; raises ``NoProject``.
    """
    for root in (_ROOT, here := Path.cwd(), *here.parents):
        if (root / "lib" / "unseen" / "scales.toml").is_file() and (root / "notebooks").is_dir():
            return root  # and not another project, which may have notebooks too
    raise NoProject(
        f"the package {Path(__file__).parent} was installed without its notebooks and data: "
        "clone the project, and in its folder run: python -m pip install -c constraints.txt -e ."
    )


def absolute(path: str | Path, name: str = "path") -> Path:
    """A path from outside, absolute: relative ones begin in the working directory, ``~`` is a home folder.

    Raises ``BadPath``, with the ``name`` that it was given by, for what is most likely none.

    >>> absolute("/a/../b"), absolute("~/rows.jsonl") == Path.home() / "rows.jsonl"
    (PosixPath('/b'), True)
    >>> absolute("file:///rows.jsonl", "out")
    Traceback (most recent call last):
    ...
    unseen.files.BadPath: out='file:///rows.jsonl': it is an address; give a path
    """
    text = os.path.expanduser(path)
    for odd, why in _NO_PATH.items():
        if re.fullmatch(odd, str(text), re.IGNORECASE | re.DOTALL) and not os.path.lexists(text):
            raise BadPath(f"{name}={str(path)!r:.200}: {why}")
    return Path(os.path.abspath(text))


def runs_folder() -> Path:
    """Where all results are written: ``$UNSEEN_RUNS``, or ``runs/`` of the checkout or the working directory.

    Raises ``CannotWrite`` for circular links, and for a relative ``$UNSEEN_RUNS`` in a kernel, which does not
    know the folder of its caller; ``BadPath``.
    """
    named = os.environ.get("UNSEEN_RUNS", "")
    if named and "JPY_PARENT_PID" in os.environ and not os.path.isabs(os.path.expanduser(named)):
        raise CannotWrite(errno.EINVAL, _unusable(Path(named), "in a kernel it must be absolute"))
    try:
        place = absolute(named, "UNSEEN_RUNS") if named else project_folder() / "runs"
    except NoProject:
        place = Path.cwd() / "runs"
    try:
        return resolved(place)
    except OSError as error:
        raise CannotWrite(errno.ELOOP, _unusable(place, "its links are circular")) from error


def resolved(path: Path) -> Path:
    """The path without links; raises ``OSError`` for circular ones, as ``Path.resolve`` did until 3.12."""
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise
    return path.resolve()


def _unusable(place: Path, why: str) -> str:
    return f"the runs folder {place} cannot be used ({why}); UNSEEN_RUNS chooses another place"


# Writing


def write(path: Path, content: bytes | str) -> str:
    """Write a file so that it is whole or absent; returns its SHA-256.  Raises ``CannotWrite``."""
    content = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(part, 0o644)  # other users may read it
            os.replace(part, path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_write(path, error) from error
    return hashlib.sha256(content).hexdigest()


def cannot_write(path: Path, error: OSError) -> CannotWrite:
    """The error of a failed write, as a sentence for a user."""
    why = error.strerror or error
    return CannotWrite(error.errno, f"cannot write {path}: {why}; what was there before is intact")


def leftovers(folder: Path) -> list[Path]:
    """Files that killed writers left unfinished in a folder."""
    return sorted(path for path in folder.glob(".*.part") if _PART.fullmatch(path.name) and path.is_file())


def check_room(root: Path, needed: int = 0) -> None:
    """Raise ``CannotWrite`` when a folder cannot take ``needed`` more bytes."""
    try:
        write(root / ".probe", "")
        (root / ".probe").unlink(missing_ok=True)
        free = shutil.disk_usage(root).free
    except OSError as error:
        raise CannotWrite(error.errno, _unusable(root, os.strerror(error.errno))) from error
    if free < needed:
        room = f"{root} has {free / 1e6:.1f} MB free and this run needs {needed / 1e6:.1f} MB"
        advice = "'unseen clean' shows what can be deleted, UNSEEN_RUNS chooses another place"
        raise CannotWrite(errno.ENOSPC, f"{room}; {advice}")


# Reading


def read(path: Path, at_most: int = LARGEST_TEXT) -> bytes:
    """The bytes of a regular file; raises ``OSError``, and ``ValueError`` for more than ``at_most`` bytes."""
    if not path.is_file():  # opening a pipe would block
        odd = "it is a folder, not a file" if path.is_dir() else "it is a pipe or a device: give a file"
        what = odd if path.exists() else "no such file"
        raise FileNotFoundError(errno.ENOENT, what, str(path))
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > at_most:
            raise ValueError(f"{path} is larger than {at_most:,} bytes")
        return file.read(size)


def read_text(path: Path, at_most: int = LARGEST_TEXT) -> str:
    """The text of a file in UTF-8, without a byte-order mark.

    Raises as ``read`` and ``text_of`` do.
    """
    return text_of(read(path, at_most))


def text_of(content: bytes) -> str:
    """Bytes in UTF-8 as text, without a byte-order mark; raises ``ValueError`` that says what others are."""
    for begin, what in _FOREIGN.items():
        if re.match(begin, content, re.DOTALL | re.IGNORECASE):
            raise ValueError(what)
    if (at := content.find(b"\0")) >= 0:
        line = content.count(b"\n", 0, at) + 1
        raise ValueError(
            f"line {line} holds a zero byte: it is binary, or was damaged; write it again as text"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len((content[: error.start] + b".").splitlines())
        why = f"line {line}: byte {content[error.start]:#04x} is not UTF-8 (Latin-1 or Windows-1252?)"
        raise ValueError(f"{why}; save it as UTF-8") from error


def hash_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sealed(content: bytes) -> bytes:
    """A content with its SHA-256 appended."""
    return content + hashlib.sha256(content).digest()


def read_sealed(path: Path, at_most: int) -> bytes:
    """The inverse of ``sealed`` on a file; raises as ``read``, and ``ValueError`` for another hash."""
    found = read(path, at_most + _SEAL)
    content = found[:-_SEAL]
    if hashlib.sha256(content).digest() != found[-_SEAL:]:
        raise ValueError("its hash does not match")
    return content


def seal(manifest: dict[str, Any]) -> str:
    """The hash of a manifest's content."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def read_json(path: Path, at_most: int = LARGEST_NOTE) -> Any:
    """The content of a JSON file; raises as ``read`` and ``parse`` do."""
    return parse(read(path, at_most).decode())


def parse(text: str) -> Any:
    """The value of a JSON text; raises ``ValueError`` for anything else, as for numbers not finite."""
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except RecursionError as error:
        raise ValueError("its lists are nested too deeply") from error


def _finite(number: str) -> float:
    if not math.isfinite(float(number)):
        raise ValueError(f"{brief(number)} is not a finite number")
    return float(number)


def brief(what: object, longest: int = 300) -> str:
    """Any value as the end of a sentence: on one line, printable, short.

    >>> brief(ValueError("two\\nlines")), brief(KeyError("x" * 100), longest=10), brief(MemoryError())
    ('two lines', "'xxxxxx...", 'MemoryError')
    """
    text = str(what) or type(what).__name__ * isinstance(what, Exception)
    text = text if len(text) <= longest else f"{text[: longest - 3]}..."
    return "".join(sign if sign.isprintable() else " " for sign in text)


# Provenance


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
    """The commit of the checkout, with ``-modified`` when tracked files differ from it; or why it is unknown.

    Whoever owns the checkout runs its code already, so git need not refuse it; nor may git take a checkout
    around it, or one that ``GIT_DIR`` names, for this one.
    """
    command = ["git", "-c", f"safe.directory={_ROOT}", "-c", "core.fsmonitor=false", "-C", str(_ROOT)]
    # No tag is named: it can move.
    command += ["describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=-modified"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CEILING_DIRECTORIES": str(_ROOT.parent), "LC_ALL": "C"}
    if not (_ROOT / ".git").exists():
        return "unknown: no git checkout"
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=20, env=environment)
        return done.stdout.decode().strip()
    except subprocess.TimeoutExpired as error:  # of a slow disk, or a filter of the user's
        return f"unknown: git took longer than {error.timeout:.0f} s"
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip()
        return f"unknown: {brief(said or error, 100)}"


def mark_success() -> None:
    """Write the marker of the run that this kernel executes; in an executed copy elsewhere, nothing."""
    if SUCCESS in os.environ:
        path, content = json.loads(os.environ[SUCCESS])
        write(Path(path), content)
