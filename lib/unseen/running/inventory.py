"""What lies in a store: how each run stands, whether its hashes hold, and what can go.

Nothing here trains, and nothing is deleted that a run would need.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from unseen.disk import holding
from unseen.disk.checkpoints import newest_first, whole
from unseen.disk.files import BrokenRun, brief, leftovers, read_json
from unseen.specs import RunSpec
from unseen.store import Store

STANDINGS = ("running", "interrupted", "diverged", "failed", "done")
_DIGEST = re.compile("[0-9a-f]{16}")  # names a folder
_OLD = 3_600  # seconds after which a half-written file has no writer any more


@dataclass(frozen=True)
class Entry:
    """One run of a store.  ``age`` is seconds since it last wrote something, ``size`` is bytes."""

    run: str
    what: str
    state: str
    step: int
    steps: int
    age: float
    size: int
    reason: str


def folders(store: Store) -> Iterator[Path]:
    """The folders of runs, in order of their digests; one that holds nothing but its lock is of a run that has not begun."""
    if store.root.is_dir():
        with os.scandir(store.root) as found:
            names = sorted(each.name for each in found if each.is_dir(follow_symlinks=False))
        chosen = (store.root / name for name in names if _DIGEST.fullmatch(name))
        yield from (folder for folder in chosen if {path.name for path in folder.iterdir()} - {".lock"})


def spec_of(folder: Path) -> RunSpec:
    """The spec of a run's folder; raises ``BrokenRun`` when ``spec.json`` is not the one that the folder is named by."""
    try:
        spec = RunSpec.from_dict(read_json(folder / "spec.json"))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise BrokenRun(f"{folder / 'spec.json'} is not the spec of a run ({brief(error)})") from error
    if spec.digest() != folder.name:
        raise BrokenRun(f"{folder / 'spec.json'} is of run {spec.digest()}")
    return spec


def status(store: Store) -> pd.DataFrame:
    """One row per run: run, what, state, step, steps, age (seconds), size (bytes), reason; under way first, done last."""
    found = [asdict(entry(store, folder)) for folder in folders(store)]
    frame = pd.DataFrame(found, columns=list(Entry.__annotations__))
    order = frame["state"].map(STANDINGS.index)
    return frame.assign(order=order).sort_values(["order", "what", "run"], ignore_index=True).drop(columns="order")


def entry(store: Store, folder: Path) -> Entry:
    """How one run stands."""
    newest, size = _last_write(folder)
    about = {"run": folder.name, "age": max(0.0, time.time() - newest), "size": size}  # a clock may have been set back
    try:
        spec = spec_of(folder)
        done = store.manifest(spec, whole=False) is not None
    except BrokenRun as error:
        return Entry(what="?", state="failed", step=0, steps=0, reason=str(error), **about)
    total = spec.training.steps
    about |= {"what": what(spec), "steps": total}
    if done:
        return Entry(state="done", step=total, reason="", **about)
    said = holding.state(folder)
    state, reason = said.get("state", "interrupted"), str(said.get("reason", ""))
    if holding.held(folder):
        state, reason = "running", holding.holder(folder)
    elif state == "running":  # it says so, but nobody holds it
        state, reason = "interrupted", f"its process {said.get('process')} on {said.get('host')} is gone"
    return Entry(state=state, step=_step(store, spec), reason=reason, **about)


def _last_write(folder: Path) -> tuple[float, int]:
    """When something was last written in a folder, and the bytes in it."""
    found = []
    for path in folder.iterdir():
        with suppress(OSError):  # a run under way moves its files
            found.append(path.stat())
    return max((each.st_mtime for each in found), default=time.time()), sum(each.st_size for each in found)


_TOLD = {"task.instructions", "task.rule_seed", "task.example_seed", "model.recipe", "model.seed"}


def what(spec: RunSpec) -> str:
    """A run in words: its world unless that is string rewriting, recipe, instructions, seed, and what is not as by default.

    >>> run = RunSpec()
    >>> what(run.but(task=run.task.but(instructions=300, no_op_share=0.1), model=run.model.but(width=96)))
    'modern I=300 seed 0 no_op_share=0.1 width=96'
    """
    rest = []
    for part, given in spec.to_dict().items():
        usual = {each.name: each.default for each in fields(getattr(spec, part))}  # each world has fields of its own
        rest += [f" {name}={value}" for name, value in given.items()
                 if value != usual[name] and f"{part}.{name}" not in _TOLD]  # fmt: skip
    world = getattr(spec.task, "world", "")  # string rewriting is the only one without a name
    return f"{world}{', ' * bool(world)}{spec.model.recipe} I={spec.task.instructions} seed {spec.model.seed}{''.join(rest)}"


def _step(store: Store, spec: RunSpec) -> int:
    """The last step that is known of a run under way."""
    names = [path.stem.rpartition("-")[2] for path in newest_first(store.folder(spec))]
    kept = max(map(int, names), default=0)
    try:
        steps = store.history(spec)["step"]
        return max(kept, int(steps.iloc[-1]) if len(steps) else 0)
    except BrokenRun:  # of a person, not of the run: it does not read this file
        return kept


def verify(store: Store) -> tuple[int, list[str]]:
    """Check every hash of every run: how many files are whole, and a sentence for each that is not."""
    good, bad = 0, []
    for folder in folders(store):
        try:
            spec = spec_of(folder)
            manifest = store.manifest(spec)
            good += len(manifest["files"]) + 1 if manifest else 1
        except BrokenRun as error:
            bad.append(str(error))
            continue
        for path in newest_first(folder):
            if trouble := whole(path, spec):
                bad.append(f"{path}: {trouble}; a run goes on from the one before")
            else:
                good += 1
    return good, bad


def broken(store: Store) -> list[Path]:
    """The folders of runs that cannot be read and cannot go on, which nobody holds."""
    return [folder for folder in folders(store) if not holding.held(folder) and _is_broken(store, folder)]


def _is_broken(store: Store, folder: Path) -> bool:
    try:
        spec = spec_of(folder)
        if store.manifest(spec) is not None:
            return False
    except BrokenRun:
        return True
    kept = newest_first(folder)
    return bool(kept) and all(whole(path, spec) for path in kept)


def litter(store: Store) -> list[Path]:
    """What can be deleted safely: half-written files of writers that are gone, and what finished runs no longer need."""
    found = [path for folder in (store.root, store.root.parent) for path in leftovers(folder) if _old(path)]
    found += [path for path in store.root.glob(".probe*") if _old(path)] if store.root.is_dir() else []
    for folder in folders(store):
        if holding.held(folder):
            continue
        found += leftovers(folder)
        try:
            spec = spec_of(folder)
            found += store.superseded(spec) if store.manifest(spec) is not None else []
        except BrokenRun:
            continue
    return sorted(set(found))


def _old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _OLD
    except OSError:  # it has just gone
        return False


def put_aside(store: Store, folder: Path) -> Path:
    """Move a broken run out of the store, where it is in nobody's way and can still be looked at."""
    place = store.root.parent / "broken"
    place.mkdir(parents=True, exist_ok=True)
    target = next(place / f"{folder.name}-{n}" for n in range(1, 10**6) if not (place / f"{folder.name}-{n}").exists())
    return Path(shutil.move(folder, target))
