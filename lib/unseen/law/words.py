"""Sentences that read the law, made from its numbers."""

import numpy as np
import pandas as pd

from unseen.law.fit import Law

_FEW = 5  # degrees of freedom for the misfit below which an interval rests on the power law being true


def sentences(law: Law | None, table: pd.DataFrame, why: str = "") -> list[str]:
    """What matters, what the law rests on, how it did on the held-out settings of ``by_setting``, and what was censored.

    Without a law, ``why`` there is none and what the settings' curves do.
    """
    if law is None:
        outside = [f"{row['setting']}: {row['note']}" for row in table.to_dict("records") if row["note"]]
        return [
            f"There is no law to fit here: {why}.",
            *(f"No step is seen among its sizes: {line}." for line in outside),
        ]
    return [_matters(law), *_examples_or_steps(law), *_rests(law, table), *_tested(law, table), *_censored(law, table)]


def agreed(found: pd.DataFrame) -> str:
    """Which factors are told from no effect, one at a time, under all readings of ``fit.by_reading``, under some, and under none."""
    certain = (found["low"] > 0) | (found["high"] < 0)
    share = certain.groupby(found["factor"], sort=False).mean()
    parts = {"under every reading": share == 1, "under some only": (share > 0) & (share < 1), "under none": share == 0}
    said = [f"{where}: {', '.join(share.index[which])}" for where, which in parts.items() if which.any()]
    return f"Told from no effect {'; '.join(said)}." if said else "There is no law under any reading."


def side_by_side(found: pd.DataFrame) -> pd.DataFrame:
    """The exponents of ``fit.by_reading`` with their intervals, in words: a row a factor, a column a reading."""
    said = found.assign(said=[_with_interval(row.exponent, row.low, row.high) for row in found.itertuples()])
    order = {"index": found["factor"].unique(), "columns": found["reading"].unique()}
    return said.pivot(index="factor", columns="reading", values="said").reindex(**order)


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


def _examples_or_steps(law: Law) -> list[str]:
    """The budget's exponent is of examples and steps together; what was read twice takes them apart."""
    if not {"budget", "passes"} <= set(law.names):
        return []
    examples, steps = law.contrast({"budget": 1, "passes": -1}), law.contrast({"passes": 1})
    return [f"More different examples in as many steps (budget minus passes): exponent {_with_interval(**examples)}; more steps on the same examples "
            f"(passes): exponent {_with_interval(**steps)}."]  # fmt: skip


def _with_interval(exponent: float, low: float, high: float) -> str:
    return f"{exponent:.2f} ({low:.2f} to {high:.2f})"


def _rests(law: Law, table: pd.DataFrame) -> list[str]:
    rows = law.residuals(table[~table["held_out"]])
    seeds = (
        f"seeds of one setting scatter by a factor of {np.exp(np.sqrt(law.scatter.variance)):.2f}"
        if law.scatter.degrees
        else "one seed a setting tells no scatter"
    )
    first = f"{len(rows)} settings, {len(law.names)} coefficients: {law.misfit_degrees} degree{'s' * (law.misfit_degrees != 1)} of freedom left for the law's misfit, {law.scatter.degrees} for seeds; {seeds}"
    if not law.misfit_degrees:
        return [
            f"{first}. With none left the law goes through every setting, and its intervals hold it to be exact between them."
        ]
    worst = rows["ratio"].map(lambda ratio: max(ratio, 1 / ratio)).max()
    blur = np.exp(np.sqrt(law.misfit_variance))
    more = (
        f"settings lie off the law by a further factor of {blur:.2f}"
        if blur > 1.005
        else "settings lie off the law by no more than seeds explain"
    )
    said = [f"{first}; {more}, the farthest by {worst:.2f}."]
    if rows["alone"].any():
        names = ", ".join(rows.loc[rows["alone"], "setting"])
        said.append(f"The law goes through these by construction, for each alone tells a coefficient: {names}.")
    if law.misfit_degrees < _FEW:
        said.append("So few degrees of freedom can hardly show a misfit: the intervals hold as far as power laws do.")
    return said


def _tested(law: Law, table: pd.DataFrame) -> list[str]:
    held_out = table[table["held_out"] & table["middle"].notna()]
    tests = law.residuals(held_out)
    said = [f"Held out, {row.setting}: predicted {row.predicted:,.0f} ({_interval(row)}), measured "
            f"{row.middle:,.0f}{_inside(row)}{', beyond the fitted range' * row.beyond}." for row in tests.itertuples()]  # fmt: skip
    said += [f"Held out, {name}: cannot be predicted, for {why}." for name, why in law.unpredictable(held_out).items()]
    if tests.empty:
        return [*said, "No held-out setting has a threshold that the law can predict, so the law is untested."]
    ranges = {"": tests[~tests["beyond"]], "beyond the fitted range, ": tests[tests["beyond"]]}
    return said + [_how_far(law, part, where) for where, part in ranges.items() if len(part)]


def _how_far(law: Law, tests: pd.DataFrame, where: str) -> str:
    base = law.predict().middle
    off, still = (float(np.exp(np.abs(np.log(tests["middle"] / by)).mean())) for by in (tests["predicted"], base))
    inside = f"{tests['inside'].sum()} of {len(tests)} held-out settings lie in their 95 % prediction intervals"
    unjudged = "nothing tells how wide the prediction intervals are"
    said = (
        f"{where}{unjudged if tests['predicted_low'].isna().any() else inside}; the law is off by a factor of {off:.2f}"
    )
    return (
        f"{said[0].upper()}{said[1:]} on the average, saying that nothing matters (always {base:,.0f}) by {still:.2f}."
    )


def _interval(row: tuple) -> str:
    return "no interval" if np.isnan(row.predicted_low) else f"{row.predicted_low:,.0f} to {row.predicted_high:,.0f}"


def _inside(row: tuple) -> str:
    if np.isnan(row.predicted_low):
        return ""
    return ", inside" if row.inside else ", outside"


def _censored(law: Law, table: pd.DataFrame) -> list[str]:
    """Settings left out of the fit because no step is seen among their sizes, and what the law says of them."""
    rows = table[table["middle"].isna()]
    unknown = law.unpredictable(rows)
    said = []
    for row in rows.to_dict("records"):
        why = unknown.get(row["setting"])
        law_says = f"the law cannot predict it, for {why}" if why else f"the law says {law.predict_row(row)}"
        said.append(f"Censored and left out, {row['setting']}: {row['note']}; {law_says}.")
    return said
