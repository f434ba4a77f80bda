"""Published numbers that notebooks show beside ours, from ``claims.toml``, and readings of our frames.

The papers measured larger models on larger tasks; their numbers are references, and nothing is fitted to
them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from unseen.files import packaged
from unseen.scales import amounts
from unseen.stats import wilson
from unseen.worlds.domains import DOMAINS as DOMAINS  # beside what is published on them

TEXTS = packaged("studies/claims.toml")
WORKS = ("plain", "encrypted")
UNEVEN = ("half the instructions lose all", "most lose nearly all")  # ways to halve a budget unevenly


class PublishedThreshold(NamedTuple):
    """How many instructions a model needs before it follows unseen ones, as published."""

    source: str
    never_below: int
    always_from: int
    sharp_near: Sequence[int]


INSTRUCTION_DIVERSITY = PublishedThreshold(**TEXTS["instruction_diversity"])
PUBLISHED = pd.DataFrame(TEXTS["specialists"]["rows"], columns=TEXTS["specialists"]["columns"])
MIXTURES_PUBLISHED = tuple(TEXTS["specialists"]["mixtures"])
_OPEN = (amounts("open_semantics", name) for name in ("quick", "full"))
_PLACES = {each.length: each.input_length - each.length + 1 for each in _OPEN}  # of a pattern, without decoys
PUBLISHED_OCCURRENCES = pd.DataFrame(TEXTS["occurrences"]).set_index("trained").rename(columns=int)


def lower_k(results: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of each run of notebook 13 on k below 3, averaged evenly over forms, then over k.

    Without decoys only k = 1 counts, where no form shows what is replaced.  Columns: those that name a run,
    accuracy, ``chance`` (of an answer that reads no pattern: one in decoys + 1 inputs, or one of the places
    where a pattern can stand), ``beyond`` (accuracy less chance), ``above``: whether its 95 % interval is.
    """
    results = results[results["run"].notna()] if "run" in results else results
    results = results.assign(**{name: results.get(name, other) for name, other in
                                (("decoys", 0), ("weights", results["seed"]))})  # fmt: skip
    run = ["setting", "family", "k_low", "k_high", "instructions", "seed", "weights", "decoys"]
    tests = results[(results["k"] == 1) | (results["k"] < 3) & (results["decoys"] > 0)]
    by_k = tests.groupby([*run, "k"])["accuracy"].mean().groupby(run).mean()
    low = by_k.reset_index().assign(examples=tests.groupby(run)["examples"].sum().to_numpy())
    low["chance"] = np.where(
        low["decoys"] > 0, 1 / (low["decoys"] + 1), 1 / _PLACES.get(results["k_high"].max(), 1)
    )
    ends = [
        wilson(round(right), total)[0]
        for right, total in zip(low["accuracy"] * low["examples"], low["examples"], strict=True)
    ]
    return low.assign(beyond=low["accuracy"] - low["chance"], above=ends > low["chance"])


def widest(results: pd.DataFrame) -> pd.DataFrame:
    """The rows trained on the widest range of k."""
    span = results["k_high"] - results["k_low"]
    return results[span == span.max()]


def own_number(results: pd.DataFrame) -> pd.Series:
    """Whether a row of notebook 14 tests a number of occurrences that its model was trained on, among as many
    decoys.
    """
    pairs = zip(results["asked"].astype(str), results["trained"].astype(str), strict=True)
    own = pd.Series([number in trained.split(", ") for number, trained in pairs], results.index, dtype=bool)
    return own & (results["decoys"] == results["among"]) if "decoys" in results else own


def occurrence_table(results: pd.DataFrame, own: bool = False) -> pd.DataFrame:
    """Accuracy over all numbers of occurrences: rows by numbers trained on, columns by instructions.

    With ``own`` each model is tested on the numbers that it was trained on, alone.
    """
    results = results[own_number(results)] if own else results
    order = list(dict.fromkeys(results["trained"]))
    runs = results.groupby(["trained", "instructions", "seed"])["accuracy"].mean()
    table = runs.groupby(["trained", "instructions"]).mean().unstack()
    return table.loc[order, sorted(table.columns, reverse=True)]


def own(results: pd.DataFrame, experiment: str) -> pd.DataFrame:
    """The rows of notebook 18 on unseen algebra in one experiment, its name as text."""
    results = results.astype({"experiment": str})
    unseen = (results["kind"] == "algebra") & (results["split"] == "unseen")
    return results[unseen & (results["experiment"] == experiment)]
