"""What is in a store: how each run stands, whether its hashes hold, and what can be deleted.

Nothing here trains, and nothing is deleted that a run would need.
"""

import re
import shutil
import time
from contextlib import suppress
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from unseen.files import BrokenRun, leftovers
from unseen.once import held, holder, state
from unseen.runs.progress import name_of
from unseen.runs.store import Store, fault, newest_first, spec_of
from unseen.specs import RunSpec

STANDINGS = ("running", "interrupted", "diverged", "failed", "done")
_DIGEST = re.compile("[0-9a-f]{16}")  # names a folder
_OLD = 3_600  # seconds after which an unfinished file has no writer any more
_NAMED = {"task.instructions", "task.rule_seed", "task.example_seed", "model.recipe", "model.seed"}


class Entry(NamedTuple):
    """One run of a store.  ``age`` is seconds since it last wrote something, ``size`` is bytes."""

    run: str
    what: str
    state: str
    step: int
    steps: int
    age: float
    size: int
    reason: str


def folders(store: Store) -> list[Path]:
    """The folders of runs, in order of their digests, without those that hold nothing but a lock."""
    found = sorted(store.root.iterdir()) if store.root.is_dir() else []
    named = [path for path in found if _DIGEST.fullmatch(path.name)]
    chosen = [path for path in named if path.is_dir() and not path.is_symlink()]
    return [folder for folder in chosen if {path.name for path in folder.iterdir()} - {".lock"}]


def _read(store: Store, folder: Path, whole: bool = True) -> tuple[RunSpec | None, dict[str, Any], str]:
    """The spec of a run, its manifest (empty if it is not done), and why the two cannot be read."""
    try:
        spec = spec_of(folder)
        return spec, store.manifest(spec, whole) or {}, ""
    except BrokenRun as error:
        return None, {}, str(error)


def status(store: Store) -> pd.DataFrame:
    """One row per run: the fields of ``Entry``; running first, done last."""
    found = [entry(store, folder) for folder in folders(store)]
    found.sort(key=lambda run: (STANDINGS.index(run.state), run.what, run.run))
    return pd.DataFrame(found, columns=Entry._fields)


def entry(store: Store, folder: Path) -> Entry:
    """How one run stands."""
    stats = []
    for path in folder.iterdir():
        with suppress(OSError):  # a running run moves its files
            stats.append(path.stat())
    written = max((each.st_mtime for each in stats), default=time.time())
    age = max(0.0, time.time() - written)  # a clock may be set back
    size = sum(each.st_size for each in stats)
    spec, manifest, why = _read(store, folder, whole=False)
    if spec is None:
        return Entry(folder.name, "?", "failed", 0, 0, age, size, why)
    steps = spec.training.steps
    if manifest:
        return Entry(folder.name, what(spec), "done", steps, steps, age, size, "")
    standing, reason = _standing(folder)
    return Entry(folder.name, what(spec), standing, _step(store, spec), steps, age, size, reason)


def _standing(folder: Path) -> tuple[str, str]:
    """The state of a run that is not done, and the reason of it."""
    found = state(folder)
    standing = found.get("state", "interrupted")
    if held(folder):
        return "running", holder(folder)
    if standing == "running":  # it says so, but no process holds it
        return "interrupted", f"its process {found['process']} on {found['host']} has ended"
    return standing, found.get("reason", "")


def what(spec: RunSpec) -> str:
    """A run in words: its world unless that is string rewriting, its name, and what is not default.

    >>> run = RunSpec()
    >>> what(run.but(task=run.task.but(instructions=300, no_op_share=0.1), model=run.model.but(width=96)))
    'modern I=300 seed 0 no_op_share=0.1 width=96'
    """
    rest = []
    for part, given in spec.to_dict().items():
        default = {each.name: each.default for each in fields(getattr(spec, part))}
        rest += [f" {name}={value}" for name, value in given.items()
                 if value != default[name] and f"{part}.{name}" not in _NAMED]  # fmt: skip
    world = getattr(spec.task, "world", "")  # string rewriting has none
    return (f"{world}, " if world else "") + name_of(spec) + "".join(rest)


def _step(store: Store, spec: RunSpec) -> int:
    """The last step that is known of a run under way."""
    steps = [int(path.stem.rpartition("-")[2]) for path in newest_first(store.folder(spec))]
    with suppress(BrokenRun):  # the run itself does not read this file
        steps += store.history(spec)["step"].tolist()
    return max(steps, default=0)


def verify(store: Store) -> tuple[int, list[str]]:
    """Check every hash of every run: how many files are whole, and a sentence for each that is not."""
    good, bad = 0, []
    for folder in folders(store):
        spec, manifest, why = _read(store, folder)
        if spec is None:
            bad.append(why)
            continue
        kept = newest_first(folder)
        faults = {path: trouble for path in kept if (trouble := fault(path, spec))}
        bad += [f"{path}: {trouble}; the run resumes from the one before" for path, trouble in faults.items()]
        good += 1 + len(manifest.get("files", [])) + len(kept) - len(faults)
    return good, bad


def broken(store: Store) -> list[Path]:
    """The folders of runs that can neither be read nor resume, and that no process holds."""
    found = []
    for folder in folders(store):
        spec, manifest, _ = _read(store, folder)
        kept = [] if manifest else newest_first(folder)
        if (spec is None or (kept and all(fault(path, spec) for path in kept))) and not held(folder):
            found.append(folder)
    return found


def litter(store: Store) -> list[Path]:
    """What can be deleted safely: unfinished files of dead writers, and what finished runs no longer need."""
    found = [path for folder in (store.root, store.root.parent) for path in leftovers(folder) if _old(path)]
    for folder in folders(store):
        if held(folder):
            continue
        spec, manifest, _ = _read(store, folder)
        found += store.superseded(spec) if manifest else leftovers(folder)
    return sorted(found)


def _old(path: Path) -> bool:
    with suppress(OSError):  # it has just gone
        return time.time() - path.stat().st_mtime > _OLD
    return False


def put_aside(store: Store, folder: Path) -> Path:
    """Move a broken run out of the store, where it can still be looked at."""
    place = store.root.parent / "broken"
    place.mkdir(parents=True, exist_ok=True)
    targets = (place / f"{folder.name}-{number}" for number in count(1))
    return Path(shutil.move(folder, next(target for target in targets if not target.exists())))
