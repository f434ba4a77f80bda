"""Runs that are measured again and again while they train: trained for that alone, and what was found kept beside the store.

A run that was followed once, by its digest and the name of what was looked at, is read and not trained again.
"""

import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from unseen.files import BrokenRun, read_sealed, runs_folder, sealed, write
from unseen.progress import Board
from unseen.specs import RunSpec
from unseen.workers import Executor, Tell, suited

Follow = Callable[[RunSpec, Tell], pd.DataFrame]  # trains a run; a worker finds it by its name
_LARGEST = 4 * 2**20  # bytes of a file


def path_of(spec: RunSpec, name: str) -> Path:
    """Where the measures of a run are kept: beside the store."""
    return runs_folder() / "followed" / f"{spec.digest()}-{name}.csv"


def followed(specs: Sequence[RunSpec], follow: Follow, name: str, executor: Executor | None = None) -> pd.DataFrame:
    """``follow`` of all specs, one after another; those that were followed before are read, which is said.

    ``name`` changes when ``follow`` looks at something else.  Raises ``BrokenRun`` when a file of measures is not what was
    written, and when a run failed.
    """
    missing = [spec for spec in specs if not path_of(spec, name).exists()]
    print(
        f"{len(specs)} runs to follow: {len(specs) - len(missing)} were followed before and are read, {len(missing)} to train"
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
    return pd.concat([_read(path_of(spec, name)) for spec in specs], ignore_index=True)


def _keep(spec: RunSpec, tell: Tell, follow: Follow, name: str, folder: Path) -> None:
    """What a worker does: follow a run, and write what it found."""
    text = follow(spec, tell).to_csv(index=False, lineterminator="\n", float_format="%.6g")
    write(folder / path_of(spec, name).name, sealed(text.encode()))


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(io.BytesIO(read_sealed(path, _LARGEST)))
    except (OSError, ValueError) as error:
        raise BrokenRun(
            f"{path} is not what was written ({error}); delete it, and the run is followed again"
        ) from error
