"""Sentences that read the law, made from its numbers."""

import numpy as np
import pandas as pd

from unseen.law.factors import WORDS
from unseen.law.fit import Law


def readings(law: Law | None, table: pd.DataFrame, why: str = "") -> list[str]:
    """What matters, what the law rests on, how it did on the held-out settings of ``by_setting``, and what was censored.

    Without a law, ``why`` there is none and where the settings' steps lie.
    """
    if law is None:
        outside = [f"{row['setting']}: {row['note']}" for row in table.to_dict("records") if row["note"]]
        return [
            f"There is no law to fit here: {why}.",
            *(f"Its step lies outside its sizes: {line}." for line in outside),
        ]
    return [_matters(law), _rests(law, table), *_tested(law, table), *_censored(law, table)]


def _matters(law: Law) -> str:
    found = law.exponents()
    certain = found[(found["low"] > 0) | (found["high"] < 0)].sort_values("exponent", key=abs, ascending=False)
    open_ = [name for name in found["factor"] if name not in set(certain["factor"])]
    said = [f"{row.factor} ({_effect(row.factor, row.exponent, row.low, row.high)})" for row in certain.itertuples()]
    first = f"What moves the threshold: {'; '.join(said)}." if said else "No factor is certain to move the threshold."
    return first + (f" Not told from no effect: {', '.join(open_)}." if open_ else "")


def _effect(name: str, exponent: float, low: float, high: float) -> str:
    """What doubling a factor does, or another recipe."""
    times = [np.exp(v) if name.startswith("recipe") else 2**v for v in (exponent, low, high)]
    what = "times" if name.startswith("recipe") else "doubling it: times"
    return f"{what} {times[0]:.2g}, {times[1]:.2g} to {times[2]:.2g}"


def _rests(law: Law, table: pd.DataFrame) -> str:
    fitted = int((~table["held_out"] & table["middle"].notna()).sum())
    seeds = (
        f"seeds of one setting scatter by a factor of {np.exp(np.sqrt(law.scatter.variance)):.2f}"
        if law.scatter.degrees
        else "one seed a setting tells no scatter"
    )
    first = f"{fitted} settings, {len(law.names)} coefficients: {law.misfit_degrees} degrees of freedom left for the law's misfit, {law.scatter.degrees} for seeds; {seeds}"
    if not law.misfit_degrees:
        return f"{first}. With none left the law goes through every setting, and its intervals hold it to be exact between them."
    worst = law.residuals(table[~table["held_out"]])["ratio"].map(lambda ratio: max(ratio, 1 / ratio)).max()
    blur = np.exp(np.sqrt(law.misfit_variance))
    more = (
        f"settings lie off the law by a further factor of {blur:.2f}"
        if blur > 1.005
        else "settings lie off the law by no more than seeds explain"
    )
    return f"{first}; {more}, the farthest by {worst:.2f}."


def _tested(law: Law, table: pd.DataFrame) -> list[str]:
    tests = law.residuals(table[table["held_out"]])
    if tests.empty:
        return ["No held-out setting has a threshold, so the law is untested."]
    base = law.predict().middle
    said = [f"Held out, {row.setting}: predicted {row.predicted:,.0f} ({row.predicted_low:,.0f} to {row.predicted_high:,.0f}), measured "
            f"{row.middle:,.0f}, {'inside' if row.inside else 'outside'}" for row in tests.itertuples()]  # fmt: skip
    off, still = (float(np.exp(np.abs(np.log(tests["middle"] / by)).mean())) for by in (tests["predicted"], base))
    return [f"{line}." for line in said] + [
        f"{tests['inside'].sum()} of {len(tests)} held-out settings lie in their 95 % prediction intervals; the law is off by a factor of {off:.2f} "
        f"on the average, saying that nothing matters (always {base:,.0f}) by {still:.2f}."]  # fmt: skip


def _censored(law: Law, table: pd.DataFrame) -> list[str]:
    """Settings that were left out of the fit because their step lies outside their sizes, and whether the law agrees."""
    said = []
    for row in table[table["middle"].isna()].to_dict("records"):
        predicted = law.expect({name: row[name] for name in WORDS if name != "recipe"}, row["recipe"]).middle
        agrees = (predicted > row["size"]) == (row["outside"] == "above")
        said.append(
            f"Censored and left out, {row['setting']}: {row['note']}; the law says {predicted:,.0f}, which {'agrees' if agrees else 'does not agree'}."
        )
    return said
