"""The verdict on each published claim from the tidy frame that its notebook leaves.

Texts and criteria are in ``claims.toml``, and there the name of each claim's judge: below a function of that
name after an underscore, which returns whether the claim is reproduced, whether partly, and what was
measured, in words.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp, inf, log, nan
from pathlib import Path

import pandas as pd

from unseen.files import project_folder, write
from unseen.stats import half_at, mean_interval
from unseen.studies.published import (
    DOMAINS,
    INSTRUCTION_DIVERSITY,
    TEXTS,
    UNEVEN,
    WORKS,
    lower_k,
    occurrence_table,
    own,
    widest,
)
from unseen.studies.results import COMMITTED
from unseen.worlds.tuning import KINDS

REPRODUCED, PARTLY, NOT, NOT_RUN = "reproduced", "partly", "not", "not run"
Judged = tuple[bool, bool, str]


@dataclass(frozen=True)
class Verdict:
    """``reproduced``, ``partly``, ``not`` or ``not run``, and what was measured, in words."""

    word: str
    measured: str


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
        reproduced, partly, measured = globals()[f"_{self.judge}"](results)
        return Verdict(REPRODUCED if reproduced else PARTLY if partly else NOT, measured)

    def verdict_in(self, folder: Path) -> Verdict:
        """The verdict from the table in a folder of results; ``not run`` if it is not there."""
        path = folder / f"{self.notebook}.csv"
        return self.verdict(pd.read_csv(path)) if path.is_file() else Verdict(NOT_RUN, "")


CLAIMS = tuple(Claim(**text) for text in TEXTS["claims"])


def told(notebook: str, results: pd.DataFrame, scale: str) -> str:
    """The claims that a notebook's results judge, as Markdown: a table each, with the committed verdicts.

    >>> print(told("11_no_ops", pd.DataFrame(), "smoke").splitlines()[0])
    **no-ops do not move the threshold: not run**
    """
    blocks = []
    for claim in (each for each in CLAIMS if each.notebook == notebook):
        now = Verdict(NOT_RUN, "this scale teaches nothing") if scale == "smoke" else claim.verdict(results)
        rows = {
            "published": claim.published,
            "criterion": claim.criterion,
            f"this run (`{scale}`)": shown(now),
        }
        for name in COMMITTED:
            rows[f"committed, `{name}`"] = shown(
                claim.verdict_in(project_folder() / "data" / "results" / name)
            )
        lines = [f"**{claim.name}: {now.word}**", "", "| | |", "|---|---|"]
        blocks.append("\n".join(lines + [f"| {name} | {text} |" for name, text in rows.items()]))
    return "\n\n".join(blocks)


def shown(found: Verdict) -> str:
    """A verdict in one line.

    >>> shown(Verdict(PARTLY, "5.1% at 200 already")), shown(Verdict(NOT_RUN, ""))
    ('partly: 5.1% at 200 already', 'not run')
    """
    return f"{found.word}: {found.measured}" if found.measured else found.word


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
            found = claim.verdict_in(folder)
            row |= {scale: found.word, f"measured at {scale}": found.measured}
        rows.append(row)
    return pd.DataFrame(rows)


def as_markdown(table: pd.DataFrame, scales: Iterable[str]) -> str:
    """The table of verdicts as ``data/README.md`` shows it."""
    scales = list(scales)
    lines = [f"| experiment | claim | {' | '.join(scales)} |", "|---" * (2 + len(scales)) + "|"]
    for row in table.to_dict("records"):
        cells = [shown(Verdict(row[scale], row[f"measured at {scale}"])) for scale in scales]
        lines.append(f"| {row['experiment']} | {row['published']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_verdicts(data: Path) -> None:
    """Put the verdicts on the results in a folder ``data/`` between the two marks of its README."""
    table = as_markdown(verdicts({name: data / "results" / name for name in COMMITTED}), COMMITTED)
    path, block = data / "README.md", f"<!-- verdicts -->\n{table}\n<!-- end of verdicts -->"
    text = path.read_text("utf-8")
    write(path, re.sub("<!-- verdicts -->.*<!-- end of verdicts -->", lambda _: block, text, flags=re.S))


# Readings


def _means(results: pd.DataFrame, by: str | list[str], value: str = "accuracy", **where: object) -> pd.Series:
    """Means by some columns of the rows in which other columns have these values."""
    for column, wanted in where.items():
        results = results[results[column] == wanted]
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
    ratios = [
        exp(abs(log(each) - log(without))) if max(each, without) < inf else inf for each in half.values()
    ]
    measured = f"half accuracy at {without:.0f} without; " + _list(pd.Series(half), "{:.0%}: {:.0f}")
    return max(ratios) <= 1.5, max(ratios) <= 2.5, measured


def _no_op_share(results: pd.DataFrame) -> Judged:
    means = _means(
        results, ["kind", "no_op_share"], split="unseen", instructions=results["instructions"].max()
    )
    has_op, no_op = means["has-op"], means["no-op"]
    spread = has_op.max() - has_op.min()
    measured = (
        f"has-op {has_op.min():.1%} to {has_op.max():.1%} over the shares, no-op at least {no_op.min():.1%}"
    )
    return spread <= 0.05 and no_op.min() >= 0.95, spread <= 0.15, measured


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


def _large_k(results: pd.DataFrame) -> tuple[Judged, Judged]:
    """Whether training on large k alone suffices for k below 3, and whether it does not."""
    low_k = lower_k(results)
    large = low_k[low_k["k_low"] == low_k["k_low"].max()]
    values = large[large["instructions"] == large["instructions"].max()]["accuracy"]
    low, high = mean_interval(values, -inf, inf) if len(values) > 1 else (nan, nan)
    suffices, fails = (low >= 0.5, values.mean() >= 0.1), (high <= 0.1, values.mean() <= 0.25)
    measured = f"on k below 3: {values.mean():.1%} (95 % interval {max(0, low):.1%} to {min(1, high):.1%})"
    if suffices == fails == (False, True):
        measured += ", which decides for neither version"
    return (*suffices, measured), (*fails, measured)


def _large_k_suffices(results: pd.DataFrame) -> Judged:
    return _large_k(results)[0]


def _large_k_fails(results: pd.DataFrame) -> Judged:
    return _large_k(results)[1]


def _mix_and_alone(results: pd.DataFrame, size: int) -> tuple[float, pd.Series]:
    """Accuracy over all numbers of occurrences of the mix, and of each single number."""
    column = occurrence_table(results)[size]
    mixed = column.index.str.contains(",")
    return column[mixed].iloc[0], column[~mixed]


def _mixed_occurrences(results: pd.DataFrame) -> Judged:
    most = results["instructions"].max()
    mix, alone = _mix_and_alone(results, most)
    measured = f"{most:,} instructions: mix {mix:.1%}, {_list(alone, '{}: {:.1%}')}"
    return mix >= 0.9 and mix > alone.max(), mix > alone.mean(), measured


def _mix_at_500(results: pd.DataFrame) -> Judged:
    mix, alone = _mix_and_alone(results, 500)
    measured = f"500 instructions: mix {mix:.1%}, best single number {alone.max():.1%}"
    return mix >= alone.max() + 0.3 and alone.max() <= 0.1, mix >= alone.max() + 0.1, measured


def _none_at_200(results: pd.DataFrame) -> Judged:
    at = occurrence_table(results)[200].dropna()
    rows = "; ".join(f"trained on {name}: {value:.1%}" for name, value in at.items())
    return at.max() < 0.05, at.max() < 0.25, f"200 instructions, {rows}"


# Experiment 6: fine-tuning


def _tuned(results: pd.DataFrame, work: str) -> pd.DataFrame:
    """Mean accuracy of pre-trained models on unseen instructions by data and number, a column per kind."""
    keys = ["data", "instructions", "kind"]
    return _means(results, keys, split="unseen", start="pre-trained", work=work).unstack()


def _low_diversity(results: pd.DataFrame) -> Judged:
    all_of_it, some, parts = [], [], []
    for work in WORKS:
        means = _tuned(results, work).loc["all"]
        few, many = means.iloc[0], means.iloc[-1]
        all_of_it.append(few["no-op"] >= 0.9 and few["has-op"] <= 0.1 and many["has-op"] >= 0.5)
        some.append(few["no-op"] - few["has-op"] >= 0.5)
        at_few = f"at {means.index[0]} no-op {few['no-op']:.1%} and has-op {few['has-op']:.1%}"
        parts.append(f"{work}: {at_few}, at {means.index[-1]:,} has-op {many['has-op']:.1%}")
    return all(all_of_it), any(all_of_it) or all(some), "; ".join(parts)


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
    known = results["kind"].isin(DOMAINS)
    overall, strange = (
        _means(rows, "setting", experiment="9", split="unseen") for rows in (results[known], results[~known])
    )
    best, strange_best, mixed = (
        overall[list(DOMAINS)].max(),
        strange[list(DOMAINS)].max(),
        ["algebra and letters", "all three"],
    )
    (two, three), (strange_two, strange_three) = overall[mixed], strange[mixed]
    measured = f"mean over the domains: one {best:.1%} at best, two {two:.1%}, three {three:.1%}; "
    measured += f"untrained kinds: {strange_best:.1%}, {strange_two:.1%}, {strange_three:.1%}"
    wins, gain = min(two, three) >= best + 0.02, min(strange_two, strange_three) - strange_best >= 0.02
    return wins and gain, wins or gain, measured


# D1 to D5: DELIA


def _translation(results: pd.DataFrame) -> Judged:
    tuned = results[results["method"] != "base"]
    diverse = _means(tuned, "ratio", "value", task="translation", prompts="task", score="chrF")
    plain = diverse.pop(0)
    gain = diverse.max() / plain - 1
    measured = (
        f"chrF {plain:.1f} without diverse data, {diverse.max():.1f} at {diverse.idxmax()} ({gain:+.0%})"
    )
    return gain >= 0.17, gain > 0.02, measured


def _formats(results: pd.DataFrame) -> Judged:
    results = results[results["prompts"].isin(KINDS[:5])]  # not the sixth: refusals
    diverse = _means(results, "ratio", study="ratio")
    plain = diverse.pop(0)
    gain = diverse.max() / plain - 1
    means = f"{plain:.1%} by plain tuning, {diverse.max():.1%} at {diverse.idxmax()} ({gain:+.0%})"
    return gain >= 0.361, gain >= 0.1, f"mean over five kinds of prompts {means}"


def _format_loss(results: pd.DataFrame) -> Judged:
    steps = _means(results, ["step", "ratio"], "loss", prompts="other+token")
    begin = results[(results["prompts"] == "other+token") & (results["step"] == 0)]["loss"].mean()
    ends = steps[results["step"].max()]
    diverse = ends[ends.index > 0]
    measured = f"from {begin:.1f} to " + _list(ends.set_axis(ends.index), "{1:.2f} at {0}")
    lower = ends.is_monotonic_decreasing and diverse.iloc[-1] <= 0.9 * ends[0]
    return lower, (diverse < ends[0]).any(), measured


def _new_token(results: pd.DataFrame) -> Judged:
    means = _means(results, ["regime", "ratio", "prompts"], study="phases").unstack()
    means = means.loc[results["regime"].unique()]  # in the order of the regimes
    ratios = means.index.get_level_values("ratio")
    diverse = means[ratios > 0]
    works = (diverse["other+token"] >= 0.8) & (diverse[["other", "not token"]].min(axis=1) >= 0.95)
    ratio = min(ratios[ratios > 0], key=lambda each: abs(each - 67))  # the smallest published one
    at, best = diverse.loc[("equal", ratio)], diverse["other+token"].idxmax()
    with_token, plain = diverse["other+token"].max(), means.loc[("equal", 0), "other+token"]
    measured = (
        f"equal rates, ratio {ratio}: other operations {at['other+token']:.1%} with the token, "
        f"{at['other']:.1%} without, refused {at['not token']:.1%}; "
        f"best with diverse data {with_token:.1%} ({best[0]}, {best[1]}); plain tuning {plain:.1%}"
    )
    return works[("equal", ratio)], works.any(), measured


def _buffering(results: pd.DataFrame) -> Judged:
    means = _means(results[results["ratio"] > 0], ["gradient", "along"], "cosine", part="all weights")
    task, composite = means["task", "ideal"], means["composite", "ideal"]
    nearer, opposed = composite - task >= 0.1, means["diverse", "bias"] <= 0
    measured = f"cosine to the ideal {task:.2f} of the task's gradient, {composite:.2f} of the composite; "
    measured += (
        f"along the bias {means['task', 'bias']:.2f} and {means['diverse', 'bias']:.2f} (diverse data)"
    )
    return nearer and opposed, nearer or opposed, measured
