"""The judges of experiment 6, fine-tuning: what notebook 15 measured, against criteria that stand in ``claims``.

Each gives whether the claim is reproduced, whether partly, and what was measured; ``claims`` makes a verdict of that.
They read rows of unseen instructions; ``start`` is ``pre-trained`` or ``from scratch``, ``work`` is ``plain`` or
``encrypted``, and ``data`` says which part of the budget was trained on.
"""

import pandas as pd

from unseen.claims.judging import Claim, verdict

Judged = tuple[bool, bool, str]
WORKS = ("plain", "encrypted")
UNEVEN = ("half the instructions lose all", "most lose nearly all")  # ways to halve a budget unevenly


def _means(results: pd.DataFrame, **where: object) -> pd.DataFrame:
    """Mean accuracy of pre-trained models on unseen instructions over seeds, one column for each kind."""
    chosen = results[(results["split"] == "unseen") & (results["start"] == "pre-trained")]
    for column, value in where.items():
        chosen = chosen[chosen[column] == value]
    return chosen.groupby(["data", "instructions", "kind"])["accuracy"].mean().unstack()


def low_diversity(results: pd.DataFrame) -> Judged:
    """See the criterion of the claim ``few instructions solve only the no-ops``."""
    full, some, told = [], [], []
    for work in WORKS:
        means = _means(results, work=work).loc["all"]
        few, many = means.iloc[0], means.iloc[-1]
        full.append(few["no-op"] >= 0.9 and few["has-op"] <= 0.1 and many["has-op"] >= 0.5)
        some.append(few["no-op"] - few["has-op"] >= 0.5)
        told.append(f"{work}: at {means.index[0]} no-op {few['no-op']:.1%} and has-op {few['has-op']:.1%}, "
                    f"at {means.index[-1]:,} has-op {many['has-op']:.1%}")  # fmt: skip
    return all(full), any(full) or all(some), "; ".join(told)


def halving(results: pd.DataFrame) -> Judged:
    """See the criterion of the claim ``halving evenly is harmless, unevenly it hurts``."""
    plain = _means(results, work="plain")["has-op"]
    whole, even = plain["all"].iloc[-1], plain["even half"].iloc[-1]
    uneven = {way: plain[way].iloc[-1] for way in UNEVEN}
    harmless, hurts = even >= 0.95 * whole, [value <= 0.9 * even for value in uneven.values()]
    measured = f"has-op on all {whole:.1%}, on an even half {even:.1%}, " + ", ".join(
        f"where {way} {value:.1%}" for way, value in uneven.items()
    )
    return harmless and all(hurts), (harmless and any(hurts)) or all(hurts), measured


CLAIMS = (
    Claim("few instructions solve only the no-ops", "6", "low-diversity fine-tuning solves only the no-ops",
          "at the fewest instructions no-op at least 90 % and has-op at most 10 %, and has-op at least 50 % at the most, in plain and in "
          "encrypted rewriting; partly: in one of the two, or 50 points between no-op and has-op in both",
          "15_pretrained_model", lambda results: verdict(*low_diversity(results))),
    Claim("halving evenly is harmless, unevenly it hurts", "6", "halving the data evenly is harmless, unevenly it hurts",
          "has-op on an even half at least 95 % of that on all data, and on both uneven halves (half the instructions lose all; most lose "
          "nearly all) at most 90 % of the even half; partly: harmless, and one of them hurts, or both hurt beyond an even half that is not harmless",
          "15_pretrained_model", lambda results: verdict(*halving(results))),
)  # fmt: skip
