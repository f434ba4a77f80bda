"""From reciting to reading: what a model answers when a prompt asks for something else than its training did.

``table`` asks each trained model for training patterns with swapped replacements (``probes.changed_instructions``), and for
rules of which one half or both are new.  ``crossings`` tells at which number of instructions each curve passes one half.
"""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from scipy.stats import t as student

from unseen.crossing import crosses
from unseen.datasets import Examples, draw
from unseen.diversity.thresholds import NoThreshold, fit_threshold
from unseen.evaluation import exact_match, greedy_answers
from unseen.instructions import Instructions, Split, draw_split, generator
from unseen.model import Transformer
from unseen.specs import RunSpec, TaskSpec
from unseen.tour.probes import follows_or_recites

ASKS = ("known x, its own y", "known x, y of another rule", "known x, new y", "new x, known y", "new x, new y")
FOLLOWS, RECITES = "follows the prompt", "recites"
_SEED = 2_000_000  # of the examples, as in ``probes``


def asked(task: TaskSpec, ask: str, size: int = 500) -> Examples:
    """Examples (B = ``size``) of one of ``ASKS``: rules made of patterns and replacements that training had or had not.

    >>> task = TaskSpec(alphabet="abcdef", instructions=3, unseen_instructions=2)
    >>> rule = asked(task, "new x, known y", size=1).line(0).rule
    >>> rule.pattern == draw_split(task).unseen[0].pattern, rule.replacement == draw_split(task).seen[0].replacement
    (True, True)
    """
    split, chosen = draw_split(task), np.arange(size)
    rules = _rules(split, *ask.split(", "), chosen)
    return draw(task, rules, chosen, generator(_SEED, ask))


def _rules(split: Split, pattern: str, replacement: str, chosen: np.ndarray) -> Instructions:
    x, y = (split.unseen if part.startswith("new") else split.seen for part in (pattern, replacement))
    shift = replacement == "y of another rule"
    patterns, replacements = x.patterns[chosen % len(x)], y.replacements[(chosen + shift) % len(y)]
    return Instructions(split.seen.alphabet, patterns, replacements)


def probe(model: Transformer, task: TaskSpec, size: int = 500) -> list[tuple[str, str, float]]:
    """What a model does, as rows (ask, does, share): it follows the prompt, or recites what training said."""
    swapped = follows_or_recites(model, task, size)
    rows = [(ASKS[1], does, share) for does, share in swapped.items()]
    for ask in (ask for ask in ASKS if ask != ASKS[1]):
        examples = asked(task, ask, size)
        rows.append((ask, FOLLOWS, float(exact_match(greedy_answers(model, examples.prompts), examples).mean())))
    return rows


def table(specs: Iterable[RunSpec], model_of: Callable[[RunSpec], Transformer], size: int = 500) -> pd.DataFrame:
    """``probe`` of finished runs: columns instructions, seed, ask, does, share."""
    rows = [(spec.task.instructions, spec.task.rule_seed, *row)
            for spec in specs for row in probe(model_of(spec), spec.task, size)]  # fmt: skip
    return pd.DataFrame(rows, columns=["instructions", "seed", "ask", "does", "share"])


def crossings(axis: pd.DataFrame, unseen: pd.DataFrame) -> pd.DataFrame:
    """Where each curve passes one half, seed by seed: columns curve, seed, middle (instructions; missing if it does not).

    ``axis`` is a ``table``, ``unseen`` the accuracy of the same runs on unseen rules (columns of ``sweep.frame``).  Rising
    curves are fitted as the threshold is (``thresholds.fit_threshold``).  ``recites = follows`` is where the two answers
    to swapped replacements are equally frequent, and ``half of reciting`` where reciting has lost half of its best share;
    both between neighbouring sizes on a log scale.
    """
    swapped = axis[axis["ask"] == ASKS[1]].pivot(index=["seed", "instructions"], columns="does", values="share")
    rising = {f"follows: {ask}": part for ask, part in axis[axis["does"] == FOLLOWS].groupby("ask", sort=False)}
    rising = {name: part.rename(columns={"share": "accuracy"}) for name, part in rising.items()}
    rising["unseen exact match"] = unseen[unseen["split"] == "unseen"]
    rows = [(name, seed, _middle(one)) for name, part in rising.items() for seed, one in part.groupby("seed")]
    for seed, one in swapped.groupby("seed"):
        sizes = one.index.get_level_values("instructions").to_numpy(float)
        follows, recites = one[FOLLOWS].to_numpy(), one[RECITES].to_numpy()
        rows += [("recites = follows", seed, crosses(sizes, follows - recites)),
                 ("half of reciting", seed, crosses(sizes, recites.max() / 2 - recites))]  # fmt: skip
    return pd.DataFrame(rows, columns=["curve", "seed", "middle"])


def _middle(curve: pd.DataFrame) -> float:
    """The threshold of one seed's curve; NaN where it does not step."""
    try:
        return fit_threshold(curve.assign(split="unseen")).middle
    except NoThreshold:
        return np.nan


def interval(values: pd.Series) -> tuple[float, float, float]:
    """The geometric mean of positive numbers, one a seed, and its 95 % interval (Student's t on logarithms).

    >>> [round(value, 1) for value in interval(pd.Series([90.0, 100.0, 110.0]))]
    [99.7, 77.7, 127.9]
    """
    logs = np.log(values)
    half = student.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs)) if len(logs) > 1 else np.nan
    low, middle, high = np.exp([logs.mean() - half, logs.mean(), logs.mean() + half])
    return float(middle), float(low), float(high)


def summary(crossed: pd.DataFrame, against: str = "unseen exact match") -> pd.DataFrame:
    """Each curve of ``crossings`` over seeds: curve, middle, low, high, seeds, and its ratio to ``against`` in the same seeds
    (ratio, ratio_low, ratio_high).  Curves that some seed never crosses are left out."""
    wide = crossed.pivot(index="seed", columns="curve", values="middle")[list(dict.fromkeys(crossed["curve"]))]
    wide = wide.dropna(axis=1)
    if against not in wide:
        return pd.DataFrame(columns=["curve", "middle", "low", "high", "seeds", "ratio", "ratio_low", "ratio_high"])
    rows = [(name, *interval(wide[name]), len(wide), *interval(wide[name] / wide[against])) for name in wide]
    return pd.DataFrame(rows, columns=["curve", "middle", "low", "high", "seeds", "ratio", "ratio_low", "ratio_high"])


def reading(found: pd.DataFrame) -> str:
    """A sentence on whether reciting turns into reading at the threshold of generalisation, made from ``summary``."""
    rows = found.set_index("curve")
    turn = "recites = follows"
    if turn not in rows.index:
        return "At this scale reciting does not turn into reading in every seed, so there is nothing to compare."
    a, b = rows.loc[turn], rows.loc["unseen exact match"]
    said = "differs from" if not a["ratio_low"] <= 1 <= a["ratio_high"] else "cannot be told from"
    return (f"Models answer as the prompt says more often than as training said from {a['middle']:.0f} instructions on (95 % interval "
            f"{a['low']:.0f} to {a['high']:.0f}, {a['seeds']:.0f} seeds), and follow half of the unseen rules from {b['middle']:.0f} "
            f"({b['low']:.0f} to {b['high']:.0f}). In the same seeds the first is {a['ratio']:.2f} times the second "
            f"({a['ratio_low']:.2f} to {a['ratio_high']:.2f}): it {said} the threshold.")  # fmt: skip
