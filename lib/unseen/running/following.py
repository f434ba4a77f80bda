"""What is measured of runs beside their scores: while they train, for which alone they are trained, or afterwards.

What was found of a run is kept beside the store, by its digest and the name of what was looked at, and read from then on.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from unseen.disk.files import BrokenRun, read_sealed, runs_folder, sealed, write
from unseen.running.progress import Board
from unseen.running.workers import Executor, Tell, suited
from unseen.specs import RunSpec
from unseen.training import Data, Row, State, train

Follow = Callable[[RunSpec, Tell], pd.DataFrame]  # trains a run; a worker finds it by its name
_LARGEST = 4 * 2**20  # bytes of a file


def carry_on(spec: RunSpec, state: State, data: Data, look: Callable[[Row], None]) -> None:
    """Train to the last step and look at every row of the history; its own scores are not made, for nobody reads them."""
    train(spec, state, replace(data, evaluation={}), watch=look)


def path_of(spec: RunSpec, name: str) -> Path:
    """Where the measures of a run are kept: beside the store."""
    return runs_folder() / "followed" / f"{spec.digest()}-{name}.csv"


def followed(
    specs: Sequence[RunSpec], follow: Follow, name: str, executor: Executor | None = None, doing: str = "follow"
) -> list[pd.DataFrame]:
    """``follow`` of each spec, in their order; what was found before is read, which is said.

    ``name`` changes when ``follow`` looks at something else; ``doing`` says what it does.  Raises ``BrokenRun`` when a file of
    measures is not what was written, and when a run failed.
    """
    runs = dict.fromkeys(specs)  # settings may share some
    missing = [run for run in runs if not path_of(run, name).exists()]
    print(
        f"{len(runs)} runs to {doing}: what was found of {len(runs) - len(missing)} before is read, {len(missing)} left"
    )
    if missing:
        folder = path_of(missing[0], name).parent
        with Board(missing) as board:
            (executor or suited(missing)).run(
                missing, partial(_keep, follow=follow, name=name, folder=folder), board.report
            )
        if board.failed:
            digest, reason = next(iter(board.failed.items()))
            raise BrokenRun(f"{len(board.failed)} of {len(missing)} runs failed; the first, {digest}: {reason}")
    return [_read(path_of(spec, name)) for spec in specs]


def _keep(spec: RunSpec, tell: Tell, follow: Follow, name: str, folder: Path) -> None:
    """What a worker does: follow a run, and write what it found."""
    text = follow(spec, tell).to_csv(index=False, lineterminator="\n", float_format="%.6g")
    write(folder / path_of(spec, name).name, sealed(text.encode()))


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(io.BytesIO(read_sealed(path, _LARGEST)))
    except (OSError, ValueError) as error:
        raise BrokenRun(
            f"{path} is not what was written ({error}); delete it, and the run is measured again"
        ) from error
