"""Compute once, keep, verify: the one way in which anything that takes long lies on disk.

::

    <folder>/
        .lock            held by the process that computes
        state.json       which process that is, since when
        ...              whatever ``make`` writes
        manifest.json    written last: what it is, sizes and SHA-256 of the files, provenance, a hash of all this

A folder is done exactly when its manifest is there.  A process that dies leaves the lock to the system and its files to
the next one, which may resume from them.

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
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from unseen.disk.files import BrokenRun, brief, hash_of, leftovers, provenance, read, read_json, seal, write
from unseen.disk.holding import hold, note

_OURS = (".lock", "state.json", "manifest.json")
ADVICE = "delete {folder}, and it is computed again when it is needed next"


def once(
    folder: Path,
    about: dict[str, Any],
    make: Callable[[Path], dict[str, Any]],
    patience: float = math.inf,
    say: Callable[[str], Any] = print,
) -> dict[str, Any]:
    """The manifest of a folder: read and verified if it is done, else what ``make`` returns, kept.

    ``about`` says what the folder holds, as JSON values; a folder that holds something else is refused.  ``make`` gets the
    folder, writes its files there (directly in it, or in folders of it) and returns what the manifest should say besides.
    Another process that computes the same is waited for up to ``patience`` seconds, then ``Held`` is raised.  Raises
    ``BrokenRun`` when a file is not what was written, ``CannotWrite``, and what ``make`` raises.
    """
    if found := done(folder, about):
        return found
    with hold(folder, patience, say):
        if found := done(folder, about):  # another process computed it meanwhile
            return found
        note(folder, "running")
        told = make(folder)
        return finish(folder, about | told)


def done(folder: Path, about: dict[str, Any], whole: bool = True) -> dict[str, Any] | None:
    """The manifest of a folder that is done, None where there is none.

    Sizes are checked always, hashes only if ``whole``; ``content`` checks a file's hash when it is read.
    Raises ``BrokenRun`` when the manifest or a file is not what was written, or it is of something else.
    """
    path = folder / "manifest.json"
    if not os.path.lexists(path):
        return None
    try:
        manifest = read_json(path)
        if manifest.pop("seal") != seal(manifest):
            raise ValueError("its hash does not match")
        if odd := [name for name, value in json.loads(json.dumps(about)).items() if manifest[name] != value]:
            raise ValueError(f"it holds another {odd[0]}")
        sizes, hashes = manifest["bytes"], manifest["files"]
        if sizes.keys() != hashes.keys():
            raise ValueError("its lists of files differ")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokenRun(f"{path} is not the expected manifest ({brief(error)}); {ADVICE.format(folder=folder)}") from error
    for name, size in sizes.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size or (whole and hash_of(file) != hashes[name]):
            raise BrokenRun(f"{file} is missing or was changed since it was written; {ADVICE.format(folder=folder)}")
    return manifest


def content(folder: Path, name: str, manifest: dict[str, Any]) -> bytes:
    """A file of a folder that is done, its hash checked; raises ``BrokenRun``."""
    found = read(folder / name, manifest["bytes"][name])
    if hashlib.sha256(found).hexdigest() != manifest["files"][name]:
        raise BrokenRun(f"{folder / name} was changed since it was written; {ADVICE.format(folder=folder)}")
    return found


def finish(folder: Path, told: dict[str, Any], files: list[str] | None = None) -> dict[str, Any]:
    """Write the manifest over ``files`` (all that are there by default), last of all, and return it."""
    names = sorted(_files(folder)) if files is None else files
    hashes = {name: hash_of(folder / name) for name in names}
    sizes = {name: (folder / name).stat().st_size for name in names}
    manifest = json.loads(json.dumps({**told, **provenance(), "files": hashes, "bytes": sizes}, allow_nan=False))
    write(folder / "manifest.json", json.dumps({**manifest, "seal": seal(manifest)}, indent=1))
    with suppress(OSError):
        (folder / "state.json").unlink(missing_ok=True)
    return manifest


def _files(folder: Path) -> list[str]:
    beside = set(leftovers(folder))
    found = (path for path in folder.rglob("*") if path.is_file() and path not in beside)
    return [name for path in found if (name := path.relative_to(folder).as_posix()) not in _OURS]
