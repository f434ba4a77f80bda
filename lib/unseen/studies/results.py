"""The committed tables of results, beside those of a run."""

from pathlib import Path

import pandas as pd

from unseen.files import project_folder

COMMITTED = ("quick", "full")  # scales of which data/results holds tables


def committed_folder(scale: str) -> Path:
    """Where the committed tables of a scale are."""
    return project_folder() / "data" / "results" / scale


def committed_table(name: str, scale: str) -> pd.DataFrame:
    """The committed table of that name at one scale, ``quick`` or ``full``."""
    return pd.read_csv(committed_folder(scale) / f"{name}.csv")


def committed(name: str, **now: pd.DataFrame) -> pd.DataFrame:
    """The committed table of that name at ``quick`` and ``full``, with a further column ``scale``.

    Frames given by name (``smoke=results``) come first, as ``smoke, this run``.

    >>> committed("20_biased_features")["scale"].unique().tolist()
    ['quick', 'full']
    """
    tables = {f"{scale}, this run": table for scale, table in now.items()}
    for scale in COMMITTED:
        tables[scale] = committed_table(name, scale)
    found = pd.concat([table.assign(scale=scale) for scale, table in tables.items()], ignore_index=True)
    return found.assign(scale=pd.Categorical(found["scale"], list(tables)))
