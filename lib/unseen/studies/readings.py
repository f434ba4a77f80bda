"""What the judges of ``claims.toml`` read off the frame of a notebook: numbers by seed, by part.

A judge has the name that its claim gives; where that is ``paired``, the parts of the claim say which two arms
are ``compared``, and no function is needed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from unseen.scales import amounts
from unseen.stats import crosses, half_at, wilson
from unseen.studies.diversity import INSTRUCTION_DIVERSITY
from unseen.studies.domains import own
from unseen.studies.pretraining import UNEVEN
from unseen.studies.results import TEXTS
from unseen.worlds.domains import DOMAINS
from unseen.worlds.tuning import KINDS

_OPEN = (amounts("open_semantics", name) for name in ("quick", "full"))
_PLACES = {each.length: each.input_length - each.length + 1 for each in _OPEN}  # of a pattern, without decoys
PUBLISHED_OCCURRENCES = pd.DataFrame(TEXTS["occurrences"]).set_index("trained").rename(columns=int)
Reading = pd.Series | pd.DataFrame | tuple[pd.Series, str]  # with a reason why it cannot come out otherwise


# Readings that judges share


def _rates(
    results: pd.DataFrame, columns: str | list[str], value: str = "accuracy", **where: Any
) -> pd.DataFrame:
    """Means by seed (rows) and some columns, of the rows in which other columns have these values."""
    for column, chosen in where.items():
        results = results[results[column] == chosen]
    return results.pivot_table(value, "seed", columns)


def compared(results: pd.DataFrame, arms: str, part: Mapping[str, Any]) -> pd.Series:
    """By seed, the mean of the column ``value`` for arm ``one`` less that for arm ``other``, on the rows in
    which the columns of ``where`` have a value, or one of some; empty where an arm is missing.

    >>> table = pd.DataFrame({"arm": ["old", "new"] * 2, "seed": [0, 0, 1, 1], "right": [0.5, 0.7, 0.2, 0.4]})
    >>> compared(table, "arm", {"value": "right", "one": "new", "other": "old"}).round(2).tolist()
    [0.2, 0.2]
    """
    for column, chosen in part.get("where", {}).items():
        results = results[results[column].isin(chosen if isinstance(chosen, list) else [chosen])]
    means = results.pivot_table(part["value"], "seed", arms)
    if not {part["one"], part["other"]} <= {*means}:
        return pd.Series(dtype=float)
    return means[part["one"]] - means[part["other"]]


def _best(options: pd.DataFrame) -> pd.Series:
    """What each seed has at the option (column) that is best in the mean of the *other* seeds: so a choice
    among many is no advantage.  A single seed has its own best.
    """
    if len(options) < 2:
        return options.max(axis=1)
    others = (options.sum() - options) / (len(options) - 1)
    return pd.Series({seed: row[others.loc[seed].idxmax()] for seed, row in options.iterrows()})


def _places(curves: pd.DataFrame, share: float) -> pd.Series:
    """Where each seed's curve over numbers of instructions first reaches a share of its top."""
    sizes = curves.columns.to_numpy(float)
    return curves.apply(lambda row: crosses(sizes, row.to_numpy() - share * row.max()), axis=1)


# Experiments 1 to 3: the threshold, no-ops, long tails


def threshold(results: pd.DataFrame) -> dict[str, Reading]:
    unseen = _rates(results, "instructions", setting="main", split="unseen")
    below = unseen.loc[:, unseen.columns < INSTRUCTION_DIVERSITY.never_below]
    above = unseen.loc[:, unseen.columns >= INSTRUCTION_DIVERSITY.always_from]
    width = _places(unseen, 0.9) / _places(unseen, 0.1)
    rise = unseen.iloc[:, -1] - unseen.iloc[:, 0]
    return {"rise": rise, "below": below.max(axis=1), "above": above.min(axis=1), "sharp": width}


def memory(results: pd.DataFrame) -> dict[str, Reading]:
    rates = _rates(results, "split", setting="main", instructions=results["instructions"].min())
    seen, unseen = rates["seen"], rates["unseen"]
    return {"gap": seen - unseen, "seen": seen, "unseen": unseen}


def no_op_threshold(results: pd.DataFrame) -> dict[str, Reading]:
    curves = _rates(results, ["no_op_share", "instructions"], split="unseen", kind="has-op")
    shares = curves.columns.levels[0]
    rises = pd.DataFrame({share: curves[share].iloc[:, -1] - curves[share].iloc[:, 0] for share in shares})
    half = pd.DataFrame({share: curves[share].apply(half_at, axis=1) for share in shares})
    factors = half.drop(columns=0.0).div(half[0.0], axis=0)
    return {"rise": rises.min(axis=1), "moves": np.maximum(factors, 1 / factors).max(axis=1)}


def no_op_share(results: pd.DataFrame) -> dict[str, Reading]:
    most = results["instructions"].max()
    rates = _rates(results, ["kind", "no_op_share"], split="unseen", instructions=most)
    has_op, no_op = rates["has-op"], rates["no-op"]
    between = has_op.max(axis=1) - has_op.min(axis=1)
    return {"worst": has_op.min(axis=1), "between": between, "no_op": no_op.min(axis=1)}


def _kept(results: pd.DataFrame, size: int) -> pd.DataFrame:
    """Accuracy of uneven sets (columns: a below 1) as a share of that of even ones, by seed."""
    rates = _rates(results, "concentration", split="unseen", instructions=size)
    return rates.loc[:, rates.columns < 1].div(rates[1.0], axis=0)


def tail_robust(results: pd.DataFrame) -> dict[str, Reading]:
    many, few = _kept(results, 10_000), _kept(results, 1_000)
    gain = (many - few).loc[:, many.columns <= 0.1].mean(axis=1)
    mild = many.loc[:, many.columns >= 0.1]
    return {"gain": gain, "mild": mild.min(axis=1), "every": many.min(axis=1)}


def tail_drop(results: pd.DataFrame) -> dict[str, Reading]:
    few = _kept(results, 1_000)
    return {"worst": few.iloc[:, 0], "mild": few[0.2]}


# Experiments 4 and 5: rules of another form, numbers of occurrences


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


def families(results: pd.DataFrame) -> dict[str, Reading]:
    low = lower_k(results)
    widest = low[(low["k_low"] == low["k_low"].min()) & (low["k_high"] == low["k_high"].max())]
    widest = widest[widest["instructions"] == widest["instructions"].max()]
    alone, mixed = _rates(widest, "family").drop(columns="mixed"), _rates(widest, "family")["mixed"]
    beyond = _rates(widest, "family", "beyond")
    return {"gap": mixed - _best(alone), "mixed": mixed, "alone": beyond.drop(columns="mixed")}


def few_rules(results: pd.DataFrame) -> dict[str, Reading]:
    low = lower_k(results).query("family == 'mixed'")
    few = low[(low["instructions"] == 500) & (low["k_low"] == low["k_low"].min())]
    few = few[few["k_high"] == few["k_high"].min()]
    many = low[(low["instructions"] > 500) & low["setting"].isin(few["setting"])]
    return {"reach": few["above"], "many": many.groupby("seed")["accuracy"].max()}


def large_k(results: pd.DataFrame) -> dict[str, Reading]:
    low = lower_k(results).query("family == 'mixed'")
    large = low[low["k_low"] == low["k_low"].max()]
    large = large[large["instructions"] == large["instructions"].max()]
    own = results[results["k"].between(results["k_low"], results["k_high"]) & results["run"].notna()]
    own = own[(own["family"] == "mixed") & (own["k_low"] == low["k_low"].max())]
    return {"reach": large["above"], "learned": own.groupby("run")["accuracy"].mean()}


def _occurrences(results: pd.DataFrame, size: int) -> tuple[pd.Series, pd.DataFrame]:
    """Accuracy over all numbers of occurrences, trained and tested with decoys: the mix (seeds,), and each
    single number (seeds, numbers).
    """
    chosen = results[(results["decoys"] > 0) & (results["among"] > 0)]
    rates = _rates(chosen, "trained", instructions=size)
    mixed = rates.columns.str.contains(",")
    return rates.loc[:, mixed].mean(axis=1), rates.loc[:, ~mixed]


def mixed_occurrences(results: pd.DataFrame) -> dict[str, Reading]:
    mix, alone = _occurrences(results, results["instructions"].max())
    gaps = alone.rsub(mix, axis=0)
    return {"gap": gaps.mean(axis=1), "each": gaps, "mix": mix}


def mix_at_500(results: pd.DataFrame) -> dict[str, Reading]:
    mix, alone = _occurrences(results, 500)
    return {"gap": mix - alone.mean(axis=1), "alone": alone}


def none_at_200(results: pd.DataFrame) -> dict[str, Reading]:
    found = {}
    for name, size in (("best", 200), ("most", results["instructions"].max())):
        mix, alone = _occurrences(results, size)
        found[name] = alone.assign(mix=mix).max(axis=1)
    return found if len(found["best"]) else {}


# Memory or rule


def nearer(results: pd.DataFrame, one: str = "memory", other: str = "rule follower") -> pd.DataFrame:
    """By how many nats per token a model is nearer to predictor ``other`` than to ``one``, on its own tokens.

    Columns: instructions, seed, trained, step, prompts, delta.

    >>> table = pd.DataFrame({"predictor": ["memory", "rule follower"], "nats": [0.5, 2.0], "seed": 0,
    ...                       "instructions": 10, "trained": 1.0, "step": 703, "prompts": "luring"})
    >>> nearer(table)["delta"].tolist()
    [-1.5]
    """
    keys = ["instructions", "seed", "trained", "step", "prompts"]
    wide = results.pivot_table("nats", keys, "predictor")
    return (wide[one] - wide[other]).rename("delta").reset_index()


def _nearer_at_last(results: pd.DataFrame, prompts: str) -> pd.DataFrame:
    """How much ``nearer`` trained models are to the rule, on a kind of prompts: a row per seed, a column per
    number of instructions.
    """
    last = results[(results["prompts"] == prompts) & (results["trained"] == 1)]
    return _rates(nearer(last), "instructions", "delta")


def crossing(results: pd.DataFrame, prompts: str) -> pd.Series:
    """By seed the number of instructions from which on trained models are nearer to the rule, interpolated in
    log I: behind the last number at which they are nearer to the memory.
    """

    def last(row: pd.Series) -> float:
        start = max(np.flatnonzero(row < 0), default=0)
        return crosses(row.index[start:].to_numpy(float), row.to_numpy()[start:])

    return _nearer_at_last(results, prompts).apply(last, axis=1)


def memory_crossing(results: pd.DataFrame) -> dict[str, Reading]:
    exact = _rates(results, "instructions", "exact", prompts="unseen", predictor="rule follower", trained=1)
    half = exact.apply(half_at, axis=1)
    kinds = ("luring", "swapped", "unseen")
    ratios = pd.DataFrame({kind: crossing(results, kind) / half for kind in kinds})
    luring = _nearer_at_last(results, "luring")
    return {"rise": luring.iloc[:, -1] - luring.iloc[:, 0], "later": ratios, "earlier": ratios}


# The arena: choosing data


def correlations(results: pd.DataFrame, measure: str) -> pd.Series:
    """Pearson's correlation, by seed, of a measure of the chosen sets with unseen accuracy, over the sets."""
    unseen = results[results["split"] == "unseen"]
    return unseen.groupby("seed")[[measure, "accuracy"]].corr().unstack()[(measure, "accuracy")]


def clean(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of sets from the clean pool whose scouts were not paid."""
    return results[~results["setting"].str.contains(",")]


def novelsum(results: pd.DataFrame) -> dict[str, Reading]:
    r, older = (correlations(clean(results), f"{name}, scout") for name in ("NovelSum", "mean distance"))
    return {"r": r, "high": r, "older": r - older}


# Experiment 6: fine-tuning


def low_diversity(results: pd.DataFrame) -> dict[str, Reading]:
    found = {name: {} for name in ("gap", "no_op", "has_op", "many", "learned")}
    tuned = results[(results["start"] == "pre-trained") & (results["data"] == "all")]
    ways = ["work", "form"] if "form" in results else ["work"]  # of a language model: how rules are written
    for way, part in tuned.groupby(ways, sort=False):
        rates = _rates(part, ["kind", "instructions"], split="unseen")
        no_op, has_op = rates["no-op"], rates["has-op"]
        seen = _rates(part, ["kind", "instructions"], split="seen")["has-op"].iloc[:, 0]
        gap = no_op.iloc[:, 0] - has_op.iloc[:, 0]
        values = gap, no_op.iloc[:, 0], has_op.iloc[:, 0], has_op.iloc[:, -1], seen
        for name, each in zip(found, values, strict=True):
            found[name][", ".join(way)] = each
    return {name: pd.DataFrame(each) for name, each in found.items()}


def halving(results: pd.DataFrame) -> dict[str, Reading]:
    size = results.loc[results["data"] == "even half", "instructions"].max()
    whole = (results["data"] != "all") | (results["instructions"] == size)
    about = {"split": "unseen", "start": "pre-trained", "work": "plain", "kind": "has-op"}
    about |= {"form": "words"} if "form" in results else {}
    rates = _rates(results[whole], "data", **about)
    if not {"even half", *UNEVEN} <= {*rates}:
        return {}
    uneven = rates[list(UNEVEN)].div(rates["even half"], axis=0)
    return {"uneven": uneven, "even": rates["even half"] / rates["all"]}


# Experiments 7 to 9: specialists and generalists


def mixture(results: pd.DataFrame) -> dict[str, Reading]:
    found, gains = own(results, "7").pivot_table("accuracy", "seed", ["own_rules", "own_share"]), {}
    for rules in found.columns.levels[0]:
        table = found[rules].dropna(axis=1)  # columns: shares, rising
        ends = table.iloc[:, [0, -1]].max(axis=1)
        gains |= {(rules, share): table[share] - ends for share in table.columns[1:-1]}
    return {"gain": _best(pd.DataFrame(gains))}


def tenth(results: pd.DataFrame) -> dict[str, Reading]:
    rates = _rates(own(results, "8"), "setting")
    mixed = rates.pop("nine tenths own")
    found = {"gain": mixed - rates.pop("N own"), "more": rates.rsub(mixed, axis=0)}
    longer = own(results, "8 longer")
    most = _rates(longer, "own_share", budget=longer["budget"].max())
    return found | {"longest": most.iloc[:, 0] - most.iloc[:, -1]}


def generalist(results: pd.DataFrame) -> dict[str, Reading]:
    results, found = results.astype({"experiment": str}), {}
    results = results[results["kind"].isin(DOMAINS) | (results["split"] == "choice")]
    for name, split in (("domains", "unseen"), ("strange", "choice")):
        rates = _rates(results, "setting", experiment="9", split=split)
        single = list(DOMAINS)
        found[name] = rates.drop(columns=single).min(axis=1) - _best(rates[single])
    return found


# D1 to D5: DELIA


def _gain(rates: pd.DataFrame, published: float, top: float) -> tuple[pd.Series, tuple[pd.Series, str]]:
    """What diverse data has, in times of plain tuning (ratio 0), and whether there is room for what is
    published.
    """
    gain, plain = _best(rates.loc[:, rates.columns > 0]) / rates[0], rates[0].mean()
    return gain, (gain, f"plain tuning has {plain / top:.0%} already" if plain * published > top else "")


def translation(results: pd.DataFrame) -> dict[str, Reading]:
    tuned = results[results["method"] != "base"]
    rates = _rates(tuned, "ratio", "value", task="translation", prompts="task", score="chrF")
    return dict(zip(("gain", "published"), _gain(rates, 1.17, 100), strict=True))


def formats(results: pd.DataFrame) -> dict[str, Reading]:
    answered, found = results[results["prompts"].isin(KINDS[:5])], {}  # not the sixth: refusals
    for study in ("once", "ratio"):
        gains = _gain(_rates(answered, "ratio", study=study), 1.361, 1)
        found |= dict(zip((study, f"{study}_published"), gains, strict=True))
    return found


def format_loss(results: pd.DataFrame) -> dict[str, Reading]:
    ends = _rates(results, "ratio", "loss", prompts="other+token", step=results["step"].max())
    diverse = ends.loc[:, ends.columns > 0]
    lower = np.exp(np.log(diverse).mean(axis=1)) / ends[0]
    slopes = np.polyfit(np.log(diverse.columns), np.log(diverse).T, 1)[0]
    return {"lower": lower, "largest": diverse.iloc[:, -1] / ends[0], "falls": pd.Series(slopes, ends.index)}


def _near_67(results: pd.DataFrame) -> pd.DataFrame:
    """At equal rates, the ratio nearest to 67, the smallest published one."""
    ratios = results.loc[results["ratio"] > 0, "ratio"]
    nearest = ratios[(ratios - 67).abs().idxmin()]
    return results[(results["regime"] == "equal") & (results["ratio"] == nearest)]


def new_token(results: pd.DataFrame) -> dict[str, Reading]:
    if "study" in results:
        rates, two = (_rates(_near_67(results), "prompts", study=study) for study in ("phases", "two words"))
    else:  # each seed from a base of its own
        rates, two = _rates(results, "prompts", method="DELIA"), ()
    found = {"both": rates["other+token"] + rates["other"] - 1, "with": rates["other+token"]}
    found |= {"out": rates["other"], "refused": rates["not token"]}
    return found | ({"two": two["other+token"]} if len(two) else {})


def unique(results: pd.DataFrame) -> dict[str, Reading]:
    far = _rates(_near_67(results), "against", "value", measure="distance")
    return {"nearer": far["its name"] / far.drop(columns="its name").min(axis=1)}


def buffering(results: pd.DataFrame) -> dict[str, Reading]:
    cosines = _rates(results[results["ratio"] > 0], ["gradient", "along"], "cosine", part="all weights")
    gain = cosines["composite", "ideal"] - cosines["task", "ideal"]
    return {"nearer": gain, "opposes": cosines["diverse", "bias"]}
