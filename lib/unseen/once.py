"""Compute once, keep, verify: the one way in which anything that takes long is stored.

::

    <folder>/
        .lock            held by the process that computes; the system frees it if that process dies
        state.json       running, interrupted, diverged or failed; which process, since when, why
        ...              whatever ``make`` writes
        manifest.json    written last: what it is, sizes and SHA-256 of the files, provenance, its own hash

A folder is done exactly when its manifest is there.  Files of a process that died are left to the next one,
which may resume from them.

    >>> from tempfile import TemporaryDirectory
    >>> def make(folder):
    ...     _ = write(folder / "answer.txt", "42")
    ...     return {"answer": 42}
    >>> with TemporaryDirectory() as place:
    ...     folder = Path(place) / "question"
    ...     [once(folder, {"question": "life"}, make)["answer"], done(folder, {"question": "life"})["answer"]]
    [42, 42]
"""

import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from unseen.errors import Held
from unseen.files import (
    BrokenRun,
    brief,
    cannot_write,
    hash_of,
    leftovers,
    provenance,
    read,
    read_json,
    seal,
    write,
)
from unseen.signals import at_once

STATES = ("running", "interrupted", "diverged", "failed")  # of a folder that was begun and is not done
ADVICE = "delete {} (or move it aside: 'unseen clean --broken'), and it is computed again when needed"
_OURS = (".lock", "state.json", "manifest.json")


def once(
    folder: Path,
    about: dict[str, Any],
    make: Callable[[Path], dict[str, Any]],
    patience: float = math.inf,
    say: Callable[[str], Any] = print,
    files: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The manifest of a folder: read and verified if it is done, else what ``make`` returns, kept.

    ``about`` says what the folder holds, as JSON values; a folder that holds something else is refused.
    ``make`` gets the folder, writes ``files`` there (by default whatever it leaves) and returns what else
    the manifest should say.  Another process that computes the same is waited for up to ``patience``
    seconds, then ``Held`` is raised.  Raises ``BrokenRun`` when a file is not what was written,
    ``CannotWrite``, and what ``make`` raises.
    """
    if found := done(folder, about):
        return found
    with hold(folder, patience, say):
        if found := done(folder, about):  # another process computed it meanwhile
            return found
        note(folder, "running")
        try:
            return finish(folder, about | make(folder), files)
        except BaseException as error:
            if state(folder).get("state") == "running":  # ``make`` may have said more
                with suppress(OSError):  # the disk may be what stopped it
                    how = "failed" if isinstance(error, Exception) else "interrupted"
                    note(folder, how, f"{type(error).__name__}: {error}")
            raise


def done(folder: Path, about: dict[str, Any], whole: bool = True) -> dict[str, Any] | None:
    """The manifest of a folder that is done, None where there is none.

    Sizes are always checked, hashes only if ``whole``; ``content`` checks a file's hash when it is read.
    Raises ``BrokenRun`` when the manifest or a file is not what was written, or describes something else.
    """
    path, advice = folder / "manifest.json", ADVICE.format(folder)
    if not os.path.lexists(path):
        return None
    try:
        manifest = read_json(path)
        if manifest.pop("seal") != seal(manifest):
            raise ValueError("its hash does not match")
        if odd := [name for name, value in json.loads(json.dumps(about)).items() if manifest[name] != value]:
            raise ValueError(f"it holds another {odd[0]}: {brief(manifest[odd[0]], 60)}")
        sizes, hashes = manifest["bytes"], manifest["files"]
        strange = [path for path in map(PurePosixPath, sizes) if path.is_absolute() or ".." in path.parts]
        if strange or sizes.keys() != hashes.keys():
            raise ValueError("its lists of files cannot be")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokenRun(f"{path} is not the expected manifest ({brief(error)}); {advice}") from error
    for name, size in sizes.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size or (whole and hash_of(file) != hashes[name]):
            raise BrokenRun(f"{file} is missing or was changed since it was written; {advice}")
    return manifest


def content(folder: Path, name: str, manifest: dict[str, Any], at_most: float = math.inf) -> bytes:
    """A file, of limited size, of a folder that is done; raises ``BrokenRun`` unless its hash matches."""
    size, expected = manifest["bytes"].get(name, 0), manifest["files"].get(name)
    try:
        if size <= at_most and hashlib.sha256(found := read(folder / name, size)).hexdigest() == expected:
            return found
    except (OSError, ValueError):
        pass
    raise BrokenRun(f"{folder / name} was changed since it was written; {ADVICE.format(folder)}")


def finish(folder: Path, about: dict[str, Any], files: Sequence[str] | None = None) -> dict[str, Any]:
    """Write the manifest over ``files`` (all that are there by default), last of all, and return it."""
    if files is None:
        unfinished = {*leftovers(folder), *(folder / name for name in _OURS)}
        found = {path for path in folder.rglob("*") if path.is_file()} - unfinished
        files = sorted(path.relative_to(folder).as_posix() for path in found)
    hashes = {name: hash_of(folder / name) for name in files}
    sizes = {name: (folder / name).stat().st_size for name in files}
    whole = {**about, **provenance(), "files": hashes, "bytes": sizes}
    manifest = json.loads(json.dumps(whole, allow_nan=False))
    write(folder / "manifest.json", json.dumps({**manifest, "seal": seal(manifest)}, indent=1))
    with suppress(OSError):
        (folder / "state.json").unlink(missing_ok=True)
    return manifest


# Who computes


@contextmanager
def hold(folder: Path, patience: float = math.inf, say: Callable[[str], Any] = print) -> Iterator[None]:
    """Hold a folder; the system frees it if the holder dies.

    ``say`` gets a sentence that names another holder; ``Held`` is raised after ``patience`` seconds.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not _taken(lock, 0):
            who = f"run {folder.name} is {holder(folder)} (its lock: {lock.lock_file})"
            if patience > 0:
                say(f"{who}; waiting")
            with at_once():
                if not _taken(lock, patience):
                    raise Held(who)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _taken(lock: FileLock, patience: float) -> bool:
    """Whether the lock was acquired within ``patience`` seconds."""
    with suppress(Timeout):
        lock.acquire(timeout=-1 if math.isinf(patience) else patience)
    return lock.is_locked


def held(folder: Path) -> bool:
    """Whether a process holds a folder now."""
    if not (folder / ".lock").is_file():
        return False
    with suppress(OSError):  # nothing computes in a folder that cannot be written
        lock = FileLock(folder / ".lock")
        free = _taken(lock, 0)
        lock.release()
        return not free
    return False


def holder(folder: Path) -> str:
    """Which process holds a folder, in words."""
    found = state(folder)
    if found.get("state") != "running":
        return "held by a process that has just begun"
    since = time.strftime("%d %b %H:%M:%S", time.localtime(found["since"]))
    return f"trained by process {found.get('process')} on {found.get('host')} since {since}"


def state(folder: Path) -> dict[str, Any]:
    """The content of ``state.json``; empty when there is none that can be read."""
    try:
        found = read_json(folder / "state.json")
        time.localtime(found["since"])
        found |= {name: brief(found.get(name, ""), 2_000) for name in ("reason", "process", "host")}
        return found if found["state"] in STATES else {}
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return {}


def note(folder: Path, state: str, reason: str = "") -> None:
    """Write ``state.json``."""
    about = {
        "state": state,
        "reason": reason,
        "process": os.getpid(),
        "host": platform.node(),
        "since": time.time(),
        "versions": provenance()["versions"],
    }
    write(folder / "state.json", json.dumps(about, indent=1))
