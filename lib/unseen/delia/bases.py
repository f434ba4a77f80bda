"""The base of DELIA's world: pre-trained here, or taken over from the run that comes with the project in ``data/store/``."""

import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from unseen.disk.files import project_folder
from unseen.running.workers import Executor
from unseen.specs import RunSpec
from unseen.store import Store
from unseen.sweep import frame


def shelf() -> Path:
    """Where runs lie that come with the project, in the form of a store."""
    return project_folder() / "data" / "store"


def ready(bases: Iterable[RunSpec], store: Store | None = None, executor: Executor | None = None) -> None:
    """Make sure that the bases are in the store: taken over from the ``shelf``, which is said, else trained.

    A run from the shelf is checked against its hashes.  Raises as ``Store.manifest`` and ``sweep.frame`` do.
    """
    store, bases = store or Store(), list(dict.fromkeys(bases))
    for base in bases:
        if not store.folder(base).exists() and (shelf() / base.digest() / "manifest.json").is_file():
            Store(shelf()).manifest(base)
            take_over(Store(shelf()).folder(base), store.folder(base))
            print(f"base {base.digest()} is the one that comes with the project, in data/store/")
    frame(bases, store, executor)


def take_over(source: Path, target: Path) -> None:
    """Copy the folder of a finished run, whole or not at all."""
    beside = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    shutil.copytree(source, beside)
    try:
        os.replace(beside, target)
    except OSError:  # another process was first
        shutil.rmtree(beside)
