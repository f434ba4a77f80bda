"""Published numbers that notebooks show beside ours, from ``claims.toml``, and readings of our frames.

The papers measured larger models on larger tasks; their numbers are references, and nothing is fitted to
them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from unseen.files import packaged
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
PUBLISHED_OCCURRENCES = pd.DataFrame(TEXTS["occurrences"]).set_index("trained").rename(columns=int)


def lower_k(results: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of each run of notebook 13 on k below 3, averaged evenly over forms, then over k.

    Columns: setting, family, k_low, k_high, instructions, seed, accuracy.
    """
    keys = ["setting", "family", "k_low", "k_high", "instructions", "seed"]
    low = results[results["k"] < 3].groupby([*keys, "k"])["accuracy"].mean()
    return low.groupby(keys).mean().reset_index()


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
