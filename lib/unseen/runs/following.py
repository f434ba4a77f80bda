"""What is measured of runs besides their scores: while they train, or afterwards; kept beside the store.

``runs/followed/<digest>-<name>/`` holds the table of one run, stored by ``once``.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from unseen.files import runs_folder, write
from unseen.model import Transformer
from unseen.once import content, done, once
from unseen.runs.store import Store, begun
from unseen.runs.sweep import carry_out
from unseen.runs.workers import Executor, Tell, suited
from unseen.specs import RunSpec
from unseen.training import Data, Row, train

Follow = Callable[[RunSpec, Tell], pd.DataFrame]  # measures a run; a worker finds it by its name
_LARGEST = 4 * 2**20  # bytes of a table


def while_trained(
    spec: RunSpec,
    tell: Tell,
    measure: Callable[[Transformer], list[dict[str, Any]]],
    due: Callable[[RunSpec, int], bool] = lambda spec, step: True,
    **about: Any,
) -> pd.DataFrame:
    """Train a run, and ``measure`` its model before the first step and at each row of its history that is
    ``due``: rows with what they are ``about``, and their step.  Its scores are not computed.
    """
    state, rows = begun(spec, Store(), "cpu"), []

    def look(row: Row | None = None) -> None:
        tell(state.step)
        if due(spec, state.step):
            rows.extend({**about, "step": state.step, **line} for line in measure(state.model))

    look()
    train(spec, state, Data(spec.task.training(spec.task.split())), watch=look)
    return pd.DataFrame(rows)


def path_of(digest: str, name: str) -> Path:
    """The folder of what is measured of a run, or of a tuning: beside the store."""
    return runs_folder() / "followed" / f"{digest}-{name}"


def followed(
    specs: Sequence[RunSpec],
    follow: Follow,
    name: str,
    executor: Executor | None = None,
    doing: str = "follow",
) -> list[pd.DataFrame]:
    """``follow`` of each spec, in their order; tables that were stored before are read.

    ``name`` changes when ``follow`` measures something else; ``doing`` is a verb for the progress line.
    Raises ``SweepFailed``, and ``BrokenRun`` when a table is not what was written.
    """
    folders = {run: path_of(run.digest(), name) for run in dict.fromkeys(specs)}
    missing = [run for run, folder in folders.items() if not (folder / "manifest.json").exists()]
    print(f"{len(folders)} runs to {doing}: {len(folders) - len(missing)} done before, {len(missing)} left")
    if missing:
        trainer = partial(_keep, follow=follow, name=name, place=folders[missing[0]].parent)
        carry_out(missing, trainer, executor or suited(missing))
    return [kept(run, name) for run in specs]


def kept(spec: RunSpec, name: str) -> pd.DataFrame:
    """The table that ``followed`` stored for a run; raises ``BrokenRun`` when it is not what was written."""
    folder = path_of(spec.digest(), name)
    manifest = done(folder, _about(spec, name), whole=False) or {"bytes": {}, "files": {}}
    return pd.read_csv(io.BytesIO(content(folder, "table.csv", manifest, _LARGEST)))


def by_arm(
    specs: Sequence[RunSpec], follow: Follow, name: str, arms: Mapping[str, str], executor: Executor | None
) -> pd.DataFrame:
    """``followed`` for each arm, in one table; ``arms`` maps each to a text for its progress line.

    The arm takes the place of the braces in ``name``, and ``follow`` gets it as ``arm``.
    """
    tables = []
    for arm, label in arms.items():
        tables += followed(specs, partial(follow, arm=arm), name.format(arm), executor, label)
    return pd.concat(tables, ignore_index=True)


def _about(spec: RunSpec, name: str) -> dict[str, str]:
    return {"run": spec.digest(), "name": name}


def _keep(spec: RunSpec, tell: Tell, follow: Follow, name: str, place: Path) -> None:
    """What a worker does: follow a run and store its table."""

    def make(folder: Path) -> dict[str, int]:
        table = follow(spec, tell)
        write(folder / "table.csv", table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
        return {"rows": len(table)}

    folder = place / path_of(spec.digest(), name).name
    once(folder, _about(spec, name), make, patience=0, say=lambda note: tell(0, note))
