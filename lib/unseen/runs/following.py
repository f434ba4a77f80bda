"""What is measured of runs besides their scores: while they train, or afterwards; kept beside the store.

``runs/followed/<digest>-<name>/`` holds the table of one run, stored by ``once``.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from unseen.files import BrokenRun, runs_folder, write
from unseen.once import content, done, once
from unseen.runs.progress import Board
from unseen.runs.workers import Executor, Tell, suited
from unseen.specs import RunSpec
from unseen.training import Data, Row, State, train

Follow = Callable[[RunSpec, Tell], pd.DataFrame]  # measures a run; a worker finds it by its name
_LARGEST = 4 * 2**20  # bytes of a table


def carry_on(spec: RunSpec, state: State, data: Data, look: Callable[[Row], None]) -> None:
    """Train to the last step and call ``look`` at every row of the history, whose scores are not computed."""
    train(spec, state, replace(data, evaluation={}), watch=look)


def path_of(spec: RunSpec, name: str) -> Path:
    """The folder of a run's measures: beside the store."""
    return runs_folder() / "followed" / f"{spec.digest()}-{name}"


def followed(
    specs: Sequence[RunSpec],
    follow: Follow,
    name: str,
    executor: Executor | None = None,
    doing: str = "follow",
) -> list[pd.DataFrame]:
    """``follow`` of each spec, in their order; tables that were stored before are read.

    ``name`` changes when ``follow`` measures something else; ``doing`` is a verb for the progress line.
     Raises ``BrokenRun`` when a table is not what was written, and when a run failed.
    """
    folders = {run: path_of(run, name) for run in dict.fromkeys(specs)}
    missing = [run for run, folder in folders.items() if not (folder / "manifest.json").exists()]
    print(f"{len(folders)} runs to {doing}: {len(folders) - len(missing)} done before, {len(missing)} left")
    if missing:
        with Board(missing) as board:
            trainer = partial(_keep, follow=follow, name=name, place=folders[missing[0]].parent)
            (executor or suited(missing)).run(missing, trainer, board.report)
        if board.failed:
            digest, reason = next(iter(board.failed.items()))
            failed = f"{len(board.failed)} of {len(missing)} runs failed"
            raise BrokenRun(f"{failed}; the first, {digest}: {reason}")
    return [_read(folders[spec], _about(spec, name)) for spec in specs]


def _about(spec: RunSpec, name: str) -> dict[str, str]:
    return {"run": spec.digest(), "name": name}


def _keep(spec: RunSpec, tell: Tell, follow: Follow, name: str, place: Path) -> None:
    """What a worker does: follow a run and store its table."""

    def make(folder: Path) -> dict[str, int]:
        table = follow(spec, tell)
        write(folder / "table.csv", table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
        return {"rows": len(table)}

    folder = place / path_of(spec, name).name
    once(folder, _about(spec, name), make, patience=0, say=lambda note: tell(0, note))


def _read(folder: Path, about: dict[str, str]) -> pd.DataFrame:
    manifest = done(folder, about, whole=False) or {"bytes": {}, "files": {}}
    return pd.read_csv(io.BytesIO(content(folder, "table.csv", manifest, _LARGEST)))
