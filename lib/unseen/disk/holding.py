"""Who works on a run, and how it stands: the lock and ``state.json`` in its folder."""

import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from unseen.disk.files import brief, cannot_write, provenance, read_json, write
from unseen.errors import Held
from unseen.running.signals import at_once

STATES = ("running", "interrupted", "diverged", "failed")  # of a run that is begun and not done


@contextmanager
def hold(folder: Path, patience: float = math.inf, say: Callable[[str], Any] = print) -> Iterator[None]:
    """Hold the run of a folder; the system frees it if the holder dies.

    Whoever else wants it is told once who holds it, and waits up to ``patience`` seconds before ``Held`` is raised.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not _taken(lock, 0):
            who = f"run {folder.name} is {holder(folder)} (its lock: {lock.lock_file})"
            if patience > 0:
                say(f"{who}; waiting")
            with at_once():
                taken = _taken(lock, patience)
            if not taken:
                raise Held(who)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def held(folder: Path) -> bool:
    """Whether a process holds a run now."""
    if not (folder / ".lock").is_file():
        return False
    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # nobody can train in a folder that cannot be written
        return False


def holder(folder: Path) -> str:
    """Who trains a run that is held, in words."""
    said = state(folder)
    if said.get("state") != "running":
        return "held by a process that has just begun"
    since = time.strftime("%d %b %H:%M:%S", time.localtime(said["since"]))
    return f"trained by process {said.get('process')} on {said.get('host')} since {since}"


def state(folder: Path) -> dict[str, Any]:
    """What ``state.json`` of a run says; empty when there is none that can be read."""
    try:
        said = read_json(folder / "state.json")
        time.localtime(said["since"])
        said |= {name: brief(said.get(name, ""), 2_000) for name in ("reason", "process", "host")}
        return said if said["state"] in STATES else {}
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return {}


def note(folder: Path, state: str, reason: str = "") -> None:
    """Write down how a run stands."""
    about = {"state": state, "reason": reason, "process": os.getpid(), "host": platform.node(),
             "since": time.time(), "versions": provenance()["versions"]}  # fmt: skip
    write(folder / "state.json", json.dumps(about, indent=1))


def _taken(lock: FileLock, patience: float) -> bool:
    """Whether the lock could be taken within ``patience`` seconds."""
    try:
        lock.acquire(timeout=-1 if math.isinf(patience) else patience)
    except Timeout:
        return False
    return True
