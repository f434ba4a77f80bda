"""The verdict on each published claim from the tidy frame that its notebook leaves.

Texts and criteria are in ``claims.toml``, and there the name of each claim's judge: below a function of that
name after an underscore, which returns whether the claim is reproduced, whether partly, and what was
measured, in words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, nan
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from unseen.scales import SHOW
from unseen.stats import half_at, mean_interval
from unseen.studies.published import (
    DOMAINS,
    INSTRUCTION_DIVERSITY,
    TEXTS,
    UNEVEN,
    WORKS,
    lower_k,
    own,
    widest,
)
from unseen.studies.results import COMMITTED, committed_folder, write_block
from unseen.worlds.tuning import KINDS

REPRODUCED, PARTLY, NOT, NOT_RUN = "reproduced", "partly", "not", "not run"
Judged = tuple[bool, bool, str]


class Verdict(NamedTuple):
    """``reproduced``, ``partly``, ``not`` or ``not run``, and what was measured, in words."""

    word: str
    measured: str = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, self))


@dataclass(frozen=True)
class Claim:
    """A published finding, its criterion, the notebook whose results are judged, and its judge's name."""

    name: str
    experiment: str
    published: str
    criterion: str
    notebook: str
    judge: str

    def verdict(self, results: pd.DataFrame) -> Verdict:
        """The verdict from the tidy frame of the notebook."""
        if (judged := globals()[f"_{self.judge}"](results)) is None:
            return Verdict(NOT_RUN, "not measured at this scale")
        reproduced, partly, measured = judged
        return Verdict(REPRODUCED if reproduced else PARTLY if partly else NOT, measured)

    def verdict_in(self, folder: Path) -> Verdict:
        """The verdict from the table in a folder of results; ``not run`` if it is not there."""
        path = folder / f"{self.notebook}.csv"
        return self.verdict(pd.read_csv(path)) if path.is_file() else Verdict(NOT_RUN)


CLAIMS = tuple(Claim(**text) for text in TEXTS["claims"])


def false_pass(claim: Claim, no_effect: Callable[[], pd.DataFrame], draws: int = 400) -> float:
    """How often a claim is reproduced, or partly, by data without an effect: a share of ``draws``."""
    passed = (claim.verdict(no_effect()).word in (REPRODUCED, PARTLY) for _ in range(draws))
    return sum(passed) / draws


def judged(notebook: str, results: pd.DataFrame, scale: str) -> str:
    """The claims that a notebook's results judge, as Markdown: a table each, with the committed verdicts.

    >>> print(judged("11_no_ops", pd.DataFrame(), "smoke").splitlines()[0])
    **no-ops do not move the threshold: not run**
    """
    tables = []
    for claim in CLAIMS:
        if claim.notebook != notebook:
            continue
        now = Verdict(NOT_RUN, "this scale teaches nothing") if scale == "smoke" else claim.verdict(results)
        rows = {"published": claim.published, "criterion": claim.criterion}
        rows |= {} if scale == SHOW else {f"this run (`{scale}`)": now}
        rows |= {f"committed, `{name}`": claim.verdict_in(committed_folder(name)) for name in COMMITTED}
        lines = [f"**{claim.name}: {now.word}**", "", "| | |", "|---|---|"]
        tables.append("\n".join(lines + [f"| {name} | {text} |" for name, text in rows.items()]))
    return "\n\n".join(tables)


def verdicts(folders: Mapping[str, Path]) -> pd.DataFrame:
    """A row per claim: experiment, claim, published, criterion; per scale the verdict and ``measured at`` it.

    ``folders`` maps a scale to the folder of its results; without a notebook's results the verdict is ``not
    run``.
    """
    rows = []
    for claim in CLAIMS:
        row = {"experiment": claim.experiment, "claim": claim.name}
        row |= {"published": claim.published, "criterion": claim.criterion}
        for scale, folder in folders.items():
            row[scale], row[f"measured at {scale}"] = claim.verdict_in(folder)
        rows.append(row)
    return pd.DataFrame(rows)


def write_verdicts(data: Path) -> None:
    """Put the verdicts on the results in a folder ``data/`` between the two marks of its README."""
    lines = [f"| experiment | claim | {' | '.join(COMMITTED)} |", "|---" * (2 + len(COMMITTED)) + "|"]
    for claim in CLAIMS:
        found = [f"{claim.verdict_in(data / 'results' / name)}" for name in COMMITTED]
        lines.append(f"| {claim.experiment} | {claim.published} | {' | '.join(found)} |")
    write_block(data / "README.md", "verdicts", lines)


# Readings


def _means(results: pd.DataFrame, by: str | list[str], value: str = "accuracy", **where: object) -> pd.Series:
    """Means by some columns of the rows in which other columns have these values."""
    for column, chosen in where.items():
        results = results[results[column] == chosen]
    return results.groupby(by)[value].mean()


def _list(values: pd.Series, form: str = "{} {:.1%}") -> str:
    return ", ".join(form.format(name, value) for name, value in values.items())


# Experiments 1 to 3: the threshold, no-ops, long tails


def _threshold(results: pd.DataFrame) -> Judged:
    unseen = _means(results, "instructions", setting="main", split="unseen")
    few, many = unseen.iloc[0], unseen.iloc[-1]
    low, high = unseen[unseen < 0.1 * many], unseen[unseen > 0.9 * many]
    width = high.index.min() / low.index.max() if len(low) else inf
    below = unseen[unseen.index < INSTRUCTION_DIVERSITY.never_below]
    parts = [f"{few:.1%} at {unseen.index[0]}, {many:.1%} at {unseen.index[-1]:,}"]
    if len(low):
        parts.append(f"a tenth to nine tenths of it between {low.index.max():,} and {high.index.min():,}")
    parts += [f"{value:.1%} at {size} already" for size, value in below[below >= 0.05].iloc[:1].items()]
    if not len(below):
        parts.append("no number below 300")
    sharp = len(below) > 0 and below.max() < 0.05 and many > 0.9 and width <= 10
    return sharp, many - few > 0.5, "; ".join(parts)


def _memory(results: pd.DataFrame) -> Judged:
    few = results["instructions"].min()
    means = _means(results, "split", setting="main", instructions=few)
    seen, unseen = means["seen"], means["unseen"]
    measured = f"at {few}: seen {seen:.1%}, unseen {unseen:.1%}"
    return seen > 0.9 and unseen < 0.05, seen - unseen > 0.5, measured


def _no_op_threshold(results: pd.DataFrame) -> Judged:
    curves = _means(results, ["no_op_share", "instructions"], split="unseen", kind="has-op")
    half = {share: half_at(curves[share]) for share in curves.index.levels[0]}
    without = half.pop(0.0)
    factor = max(max(each / without, without / each) if each < inf else inf for each in half.values())
    measured = f"half accuracy at {without:.0f} without; " + _list(pd.Series(half), "{:.0%}: {:.0f}")
    return factor <= 1.5, factor <= 2.5, measured


def _no_op_share(results: pd.DataFrame) -> Judged:
    most = results["instructions"].max()
    means = _means(results, ["kind", "no_op_share"], split="unseen", instructions=most)
    has_op, no_op = means["has-op"], means["no-op"].min()
    low, high = has_op.min(), has_op.max()
    measured = f"has-op {low:.1%} to {high:.1%} over the shares, no-op at least {no_op:.1%}"
    return high - low <= 0.05 and no_op >= 0.95, high - low <= 0.15, measured


def _tail_robust(results: pd.DataFrame) -> Judged:
    means = _means(results, "concentration", split="unseen", instructions=10_000)
    even, peaked = means[1.0], means[means.index < 1]
    measured = f"10,000 instructions: {even:.1%} evenly, " + _list(peaked[::-1], "a={:g} {:.1%}")
    return (peaked >= 0.9 * even).all(), (peaked[peaked.index >= 0.1] >= 0.9 * even).all(), measured


def _tail_drop(results: pd.DataFrame) -> Judged:
    means = _means(results, "concentration", split="unseen", instructions=1_000)
    even, mild, worst = means[1.0], means[0.2], means.iloc[0]
    measured = f"1,000 instructions: {even:.1%} evenly, a=0.2 {mild:.1%}, a={means.index[0]:g} {worst:.1%}"
    return mild >= 0.9 * even and worst <= 0.5 * even, worst <= 0.9 * even, measured


# Experiments 4 and 5: rules of another form, numbers of occurrences


def _mixture_of_families(results: pd.DataFrame) -> Judged:
    low = widest(lower_k(results))
    alone = _means(low, "family", instructions=low["instructions"].max())
    mixed = alone.pop("mixed")
    measured = f"on k below 3: mixed {mixed:.1%}, {_list(alone)}"
    return mixed >= 0.5 and alone.max() <= mixed / 2, mixed > alone.max(), measured


def _few_rules(results: pd.DataFrame) -> Judged:
    few = _means(widest(lower_k(results)), "family", instructions=500).get("mixed", nan)
    return few < 0.05, few < 0.25, f"on k below 3 with 500 mixed rules: {few:.1%}"


def _large_k(results: pd.DataFrame) -> tuple[float, float, float, str]:
    """Mean and 95 % interval on k below 3 after training on large k alone, and both in words."""
    found = lower_k(results)
    large = found[found["k_low"] == found["k_low"].max()]
    values = large[large["instructions"] == large["instructions"].max()]["accuracy"]
    mean, (low, high) = values.mean(), _ends(values)
    measured = f"on k below 3: {mean:.1%} (95 % interval {max(0, low):.1%} to {min(1, high):.1%})"
    if 0.1 <= mean <= 0.25 and not (low >= 0.5 or high <= 0.1):
        measured += ", which decides for neither version"
    return mean, low, high, measured


def _large_k_suffices(results: pd.DataFrame) -> Judged:
    mean, low, _, measured = _large_k(results)
    return low >= 0.5, mean >= 0.1, measured


def _large_k_fails(results: pd.DataFrame) -> Judged:
    mean, _, high, measured = _large_k(results)
    return high <= 0.1, mean <= 0.25, measured


def _by_seed(results: pd.DataFrame, size: int) -> tuple[pd.Series, pd.DataFrame]:
    """Accuracy over all numbers of occurrences, trained and tested with decoys: the mix (seeds,), and each
    single number (seeds, numbers).
    """
    chosen = results[(results["decoys"] > 0) & (results["among"] > 0) & (results["instructions"] == size)]
    table = chosen.pivot_table("accuracy", "seed", "trained")
    mixed = table.columns.str.contains(",")
    return table.loc[:, mixed].mean(axis=1), table.loc[:, ~mixed]


def _ends(values: pd.Series) -> tuple[float, float]:
    """A 95 % interval over seeds, not clipped; NaN for a single seed."""
    return mean_interval(values, -inf, inf) if len(values) > 1 else (nan, nan)


def _between(values: pd.Series, form: str = ".1%", least: float = 0.0, most: float = 1.0) -> str:
    """A mean over seeds and its 95 % interval in words, clipped to what is possible."""
    low, high = _ends(values)
    return f"{values.mean():{form}} ({max(least, low):{form}} to {min(most, high):{form}})"


def _mix_beside_alone(results: pd.DataFrame, size: int) -> tuple[pd.Series, pd.DataFrame, pd.Series, str]:
    """Mix and single numbers by seed, where the interval of each difference begins, and all in words."""
    mix, alone = _by_seed(results, size)
    gaps = alone.rsub(mix, axis=0)
    ends = pd.DataFrame({name: _ends(gap) for name, gap in gaps.items()}, index=["low", "high"]).T
    measured = f"{size:,} instructions, {len(mix)} seeds: mix {_between(mix)}; points above "
    measured += "; ".join(f"{name}: {_between(100 * gap, '.1f', -100, 100)}" for name, gap in gaps.items())
    measured += ", undecided" if (ends["low"] * ends["high"] <= 0).any() else ""
    return mix, alone, ends["low"], measured


def _mixed_occurrences(results: pd.DataFrame) -> Judged:
    mix, _, above, measured = _mix_beside_alone(results, results["instructions"].max())
    better = (above > 0).all()
    return better and _ends(mix)[0] >= 0.9, better, measured


def _mix_at_500(results: pd.DataFrame) -> Judged:
    _, alone, above, measured = _mix_beside_alone(results, 500)
    fail = all(_ends(values)[1] <= 0.1 for _, values in alone.items())
    return fail and (above >= 0.3).all(), (above >= 0.1).all(), measured


def _none_at_200(results: pd.DataFrame) -> Judged | None:
    mix, alone = _by_seed(results, 200)
    if not len(mix):
        return None
    ways = alone.assign(mix=mix)
    high = max(_ends(values)[1] for _, values in ways.items())
    rows = "; ".join(f"trained on {name}: {_between(values)}" for name, values in ways.items())
    chance = 1 / (results["decoys"].max() + 1)
    return high <= 0.05, high < chance, f"200 instructions, {len(mix)} seeds, {rows}"


# The arena: choosing data


def _choices(results: pd.DataFrame) -> pd.DataFrame:
    """Unseen accuracy by seed and way to choose."""
    return results[results["split"] == "unseen"].pivot_table("accuracy", "seed", "setting")


def _beats(results: pd.DataFrame, *pairs: tuple[str, str]) -> Judged | None:
    """Whether one way is above another within seeds, for all of the pairs, and for the first."""
    table = _choices(results)
    if not {way for pair in pairs for way in pair} <= {*table}:
        return None
    gaps = {f"{one} less {other}": table[one] - table[other] for one, other in pairs}
    above = [_ends(gap)[0] > 0 for gap in gaps.values()]
    measured = f"{len(table)} seeds, points: "
    measured += "; ".join(f"{name} {_between(100 * gap, '.1f', -100, 100)}" for name, gap in gaps.items())
    return all(above), above[0], measured


def correlations(results: pd.DataFrame, measure: str) -> pd.Series:
    """Pearson's correlation, by seed, of a measure of the chosen sets with unseen accuracy, over the sets."""
    unseen = results[results["split"] == "unseen"]
    return unseen.groupby("seed")[[measure, "accuracy"]].corr().unstack()[(measure, "accuracy")]


def clean(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of sets from the clean pool whose scouts were not paid."""
    return results[~results["setting"].str.contains(",")]


def _novelsum(results: pd.DataFrame) -> Judged:
    r, older = (correlations(clean(results), f"{name}, scout") for name in ("NovelSum", "mean distance"))
    above = _ends(r)[0] > 0
    measured = f"r {_between(r, '.2f', -1)}, of the mean distance {_between(older, '.2f', -1)}"
    return above and r.mean() >= 0.8 and r.mean() > older.mean(), above, measured


def _novelselect(results: pd.DataFrame) -> Judged | None:
    return _beats(results, ("novelselect scout", "random"), ("novelselect scout", "k-center scout"))


def _coverage(results: pd.DataFrame) -> Judged | None:
    return _beats(results, ("sae answers", "random"), ("sae answers", "random-directions answers"))


def _kmq(results: pd.DataFrame) -> Judged | None:
    kmq, random, k_center = (f"{way}, 20 % wrong" for way in ("kmq scout", "random", "k-center scout"))
    return _beats(results, (kmq, random), (random, k_center))


# Experiment 6: fine-tuning


def _tuned(results: pd.DataFrame, work: str) -> pd.DataFrame:
    """Mean accuracy of pre-trained models on unseen instructions by data and number, a column per kind."""
    keys = ["data", "instructions", "kind"]
    return _means(results, keys, split="unseen", start="pre-trained", work=work).unstack()


def _low_diversity(results: pd.DataFrame) -> Judged:
    whole, some, parts = [], [], []
    for work in WORKS:
        means = _tuned(results, work).loc["all"]
        no_op, has_op = means.iloc[0][["no-op", "has-op"]]
        many = means["has-op"].iloc[-1]
        whole.append(no_op >= 0.9 and has_op <= 0.1 and many >= 0.5)
        some.append(no_op - has_op >= 0.5)
        few = f"at {means.index[0]} no-op {no_op:.1%} and has-op {has_op:.1%}"
        parts.append(f"{work}: {few}, at {means.index[-1]:,} has-op {many:.1%}")
    return all(whole), any(whole) or all(some), "; ".join(parts)


def _halving(results: pd.DataFrame) -> Judged:
    most = _tuned(results, "plain")["has-op"].groupby("data").last()
    whole, even, uneven = most["all"], most["even half"], most[list(UNEVEN)]
    harmless, hurts = even >= 0.95 * whole, uneven <= 0.9 * even
    measured = f"has-op on all {whole:.1%}, on an even half {even:.1%}, {_list(uneven, 'where {} {:.1%}')}"
    return harmless and hurts.all(), (harmless and hurts.any()) or hurts.all(), measured


# Experiments 7 to 9: specialists and generalists


def _mixture(results: pd.DataFrame) -> Judged:
    found = own(results, "7").pivot_table("accuracy", "seed", ["own_rules", "own_share"])
    judged, parts = [], []
    for rules in found.columns.levels[0]:
        table = found[rules].dropna(axis=1)  # columns: shares, rising
        least, pure, inside = table.iloc[:, 0], table.iloc[:, -1], table.iloc[:, 1:-1]
        share = inside.mean().idxmax()
        best = inside[share]
        judged.append((best.mean() - max(least.mean(), pure.mean()), bool((best > pure).all())))
        ends = f"{pure.mean():.1%} all own, {best.mean():.1%} at {share:.0%} own"
        parts.append(f"{rules} own rules: {ends}, {least.mean():.1%} at {table.columns[0]:.0%}")
    margin, in_each_seed = max(judged)
    return margin >= 0.02 and in_each_seed, margin >= 0.005, "; ".join(parts)


def _tenth(results: pd.DataFrame) -> Judged:
    means = _means(own(results, "8"), "setting")
    mixed, pure, same = (means[name] for name in ("nine tenths own", "N own", "3.75 N own"))
    wider = means.get("3.75 N own, 3.75 x rules", -inf)
    measured = f"N own {pure:.1%}, nine tenths own {mixed:.1%}, 3.75 N own {same:.1%}"
    measured += f", with 3.75 times the rules {wider:.1%}" if wider >= 0 else ""
    return mixed >= pure + 0.01 and mixed > max(same, wider), mixed > pure or mixed > same, measured


def _generalist(results: pd.DataFrame) -> Judged:
    results = results.astype({"experiment": str})
    found = []
    for known in (True, False):  # the kinds of the domains, and those that no model is trained on
        rows = results[results["kind"].isin(DOMAINS) == known]
        means = _means(rows, "setting", experiment="9", split="unseen")
        found.append((means[list(DOMAINS)].max(), means["algebra and letters"], means["all three"]))
    (one, two, three), (strange_one, strange_two, strange_three) = found
    measured = f"mean over the domains: one {one:.1%} at best, two {two:.1%}, three {three:.1%}; "
    measured += f"untrained kinds: {strange_one:.1%}, {strange_two:.1%}, {strange_three:.1%}"
    wins, gain = min(two, three) >= one + 0.02, min(strange_two, strange_three) - strange_one >= 0.02
    return wins and gain, wins or gain, measured


# D1 to D5: DELIA


def _gain(diverse: pd.Series) -> tuple[float, float, float, str]:
    """Means by ratio: without diverse data, the best with it, what is gained, and with which in words."""
    plain, best = diverse[0], diverse[diverse.index > 0]
    gain = best.max() / plain - 1
    return plain, best.max(), gain, f"at {best.idxmax()} ({gain:+.0%})"


def _translation(results: pd.DataFrame) -> Judged:
    tuned = results[results["method"] != "base"]
    means = _means(tuned, "ratio", "value", task="translation", prompts="task", score="chrF")
    plain, best, gain, where = _gain(means)
    return gain >= 0.17, gain > 0.02, f"chrF {plain:.1f} without diverse data, {best:.1f} {where}"


def _formats(results: pd.DataFrame) -> Judged:
    answered = results[results["prompts"].isin(KINDS[:5])]  # not the sixth: refusals
    plain, best, gain, where = _gain(_means(answered, "ratio", study="ratio"))
    measured = f"mean over five kinds of prompts {plain:.1%} by plain tuning, {best:.1%} {where}"
    return gain >= 0.361, gain >= 0.1, measured


def _format_loss(results: pd.DataFrame) -> Judged:
    steps = _means(results, ["step", "ratio"], "loss", prompts="other+token")
    begin = _means(results, "step", "loss", prompts="other+token")[0]
    ends = steps[results["step"].max()]
    diverse = ends[ends.index > 0]
    measured = f"from {begin:.1f} to " + _list(ends, "{1:.2f} at {0}")
    lower = ends.is_monotonic_decreasing and diverse.iloc[-1] <= 0.9 * ends[0]
    return lower, (diverse < ends[0]).any(), measured


def _new_token(results: pd.DataFrame) -> Judged:
    means = _means(results, ["regime", "ratio", "prompts"], study="phases").unstack()
    means = means.loc[results["regime"].unique()]  # in the order of the regimes
    plain, diverse = means.loc[("equal", 0)], means[means.index.get_level_values("ratio") > 0]
    works = (diverse["other+token"] >= 0.8) & (diverse[["other", "not token"]].min(axis=1) >= 0.95)
    ratio = min(diverse.loc["equal"].index, key=lambda each: abs(each - 67))  # the smallest published one
    at, best = diverse.loc[("equal", ratio)], diverse["other+token"].idxmax()
    measured = (
        f"equal rates, ratio {ratio}: other operations {at['other+token']:.1%} with the token, "
        f"{at['other']:.1%} without, refused {at['not token']:.1%}; best with diverse data "
        f"{diverse['other+token'].max():.1%} ({best[0]}, {best[1]}); plain tuning {plain['other+token']:.1%}"
    )
    return works[("equal", ratio)], works.any(), measured


def _buffering(results: pd.DataFrame) -> Judged:
    means = _means(results[results["ratio"] > 0], ["gradient", "along"], "cosine", part="all weights")
    task, composite = means["task"], means["composite", "ideal"]
    nearer, opposed = composite - task["ideal"] >= 0.1, means["diverse", "bias"] <= 0
    measured = (
        f"cosine to the ideal {task['ideal']:.2f} of the task's gradient, {composite:.2f} of the composite; "
        f"along the bias {task['bias']:.2f} and {means['diverse', 'bias']:.2f} (diverse data)"
    )
    return nearer and opposed, nearer or opposed, measured
