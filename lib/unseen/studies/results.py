"""The committed results: tables of ``data/results``, runs of ``data/store``, what ``show`` draws of them; and
what was published.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from unseen.errors import NotFinished
from unseen.files import packaged, project_folder, write
from unseen.runs.store import Store, committed_store
from unseen.scales import SHOW, SHOWN

TEXTS = packaged("studies/claims.toml")  # published claims, and numbers that notebooks show beside ours
COMMITTED = ("quick", "full")  # scales of which data/results holds tables


def committed_folder(scale: str) -> Path:
    """Where the committed tables of a scale are; those of ``show`` are another scale's."""
    return project_folder() / "data" / "results" / (SHOWN if scale == SHOW else scale)


def committed_table(name: str, scale: str) -> pd.DataFrame:
    """The committed table of that name: at ``quick`` or ``full``, or at ``show`` the larger that has run.

    Raises ``NotFinished`` where neither has.
    """
    path = committed_folder(scale) / f"{name}.csv"
    if scale == SHOW and not path.is_file():
        path = committed_folder("quick") / path.name
    if not path.is_file():
        raise NotFinished(f"{name} has no committed results yet: run its notebook at quick, then unseen keep")
    return pd.read_csv(path)


def store(scale: str) -> Store:
    """Where a notebook finds its runs: at ``show`` among those that come with the project."""
    return committed_store() if scale == SHOW else Store()


def beside(name: str, scale: str, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The table of this run and those committed ones of that name that exist, by label; at ``show`` only
    the latter.

    >>> list(beside("20_biased_features", "smoke", pd.DataFrame()))
    ['smoke, this run', 'quick', 'full']
    """
    now = {} if scale == SHOW else {f"{scale}, this run": table}
    there = [each for each in COMMITTED if (committed_folder(each) / f"{name}.csv").is_file()]
    return now | {each: committed_table(name, each) for each in there}


def committed(name: str, scale: str, table: pd.DataFrame) -> pd.DataFrame:
    """The tables ``beside`` each other in one frame, with a further categorical column ``scale``.

    >>> committed("20_biased_features", "show", pd.DataFrame())["scale"].unique().tolist()
    ['quick', 'full']
    """
    tables = beside(name, scale, table)
    found = pd.concat([each.assign(scale=label) for label, each in tables.items()], ignore_index=True)
    return found.assign(scale=pd.Categorical(found["scale"], list(tables)))


def write_block(path: Path, name: str, lines: Sequence[str]) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- end of name -->`` in a Markdown file."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    block = "\n".join([begin, *lines, end])
    write(path, re.sub(f"{begin}.*{end}", lambda _: block, path.read_text("utf-8"), flags=re.S))
