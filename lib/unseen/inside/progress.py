"""What moves inside a model before its score does: measures taken from a run again and again while it trains.

``followed`` trains runs of its own, probes each at every row of its history, and keeps what it found beside the store:
a run that was followed once, by its digest, is read and not trained again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from unseen.crossing import crosses
from unseen.datasets import Examples
from unseen.evaluation import all_right
from unseen.inside.heads import jobs_of_heads, kinds_of_letters
from unseen.model import Transformer
from unseen.running import following
from unseen.running.workers import Executor, Tell
from unseen.scales import Setting, scale
from unseen.specs import RunSpec
from unseen.tour.probes import changed_instructions
from unseen.training import Data, Row, data_of, start

EXACT = "exact match, unseen"
LETTER = "replaced letters right"
SIGNALS = (EXACT, "exact match, seen", LETTER, "probability of replaced letters", "loss, unseen", "finds the match",
           "copies z", "reads y", "follows the prompt", "recites")  # fmt: skip
_SIZE, _NAME = 200, "1"  # examples of each probe; another name when a probe changes


@dataclass(frozen=True)
class Probe:
    """The examples that a run is asked again and again: seen and unseen rules, and swapped replacements (now, before)."""

    seen: Examples
    unseen: Examples
    now: Examples
    before: Examples

    @classmethod
    def of(cls, spec: RunSpec, data: Data, size: int = _SIZE) -> "Probe":
        """The first examples that the run is scored on, and ``probes.changed_instructions``."""
        seen, unseen = (data.evaluation[name].first(size) for name in ("seen", "unseen"))
        return cls(seen, unseen, *changed_instructions(spec.task, size))


def measure(model: Transformer, probe: Probe) -> dict[str, float]:
    """All ``SIGNALS`` of a model.

    Of the three jobs of ``heads.jobs_of_heads`` it is the score of whichever head is best now; the loss is in nats a token;
    probabilities and the letters that are right are those of letters to be replaced, the right ones before them given.
    """
    exact = {name: float(all_right(model, examples).mean()) for name, examples in
             ((EXACT, probe.unseen), ("exact match, seen", probe.seen), ("follows the prompt", probe.now), ("recites", probe.before))}  # fmt: skip
    jobs = jobs_of_heads(model, probe.unseen).groupby("job")["score"].max()
    return exact | _letters(model, probe.unseen) | {str(job): float(score) for job, score in jobs.items()}


@torch.no_grad()
def _letters(model: Transformer, examples: Examples) -> dict[str, float]:
    """The continuous measures: loss of whole answers, and how the letters that are to be replaced fare."""
    tokens = torch.from_numpy(examples.tokens()).to(next(model.parameters()).device, torch.long)
    logits, wanted = model(tokens[:, :-1]), tokens[:, model.shape.prompt :]  # (B, O, V), (B, O)
    kinds = kinds_of_letters(examples)
    replaced = torch.from_numpy(kinds["first replaced"] | kinds["other replaced"]).to(tokens.device)
    chance = logits.softmax(-1).gather(2, wanted[..., None])[..., 0]
    return {
        "loss, unseen": F.cross_entropy(logits.flatten(0, 1), wanted.flatten()).item(),
        "probability of replaced letters": chance[replaced].mean().item(),
        LETTER: (logits.argmax(-1) == wanted)[replaced].float().mean().item(),
    }


def follow(spec: RunSpec, tell: Tell = lambda step, note="": None) -> pd.DataFrame:
    """Train a run and measure it before its first step and at each row of its history.

    Columns: instructions, seed, step, signal, value.
    """
    data, state = data_of(spec), start(spec)
    probe, found = Probe.of(spec, data), []

    def look(row: Row | None = None) -> None:
        found.extend((state.step, signal, value) for signal, value in measure(state.model, probe).items())
        tell(state.step)

    look()
    following.carry_on(spec, state, data, look)
    table = pd.DataFrame(found, columns=["step", "signal", "value"])
    table.insert(0, "seed", spec.task.rule_seed)
    table.insert(0, "instructions", spec.task.instructions)
    return table


def path_of(spec: RunSpec) -> Path:
    """Where the measures of a run are kept: beside the store."""
    return following.path_of(spec, _NAME)


def followed(specs: Sequence[RunSpec], executor: Executor | None = None) -> pd.DataFrame:
    """``follow`` of all specs, one after another; see ``following.followed``."""
    return pd.concat(following.followed(specs, follow, _NAME, executor), ignore_index=True)


def runs(name: str) -> tuple[Setting, ...]:
    """Which runs are followed at a scale: those of the main curve on both sides of the step, looked at more often."""
    sizes = {"smoke": (2, 64), "quick": (300, 1_000), "full": (300, 500, 1_000, 3_000)}.get(name, (1_000, 10_000))
    seeds = {"smoke": (0,), "paper": (0,)}.get(name, (0, 1, 2))
    every = {"smoke": 4, "paper": 500}.get(name, 10)
    base = scale(name).main.base
    often = base.but(training=base.training.but(evaluate_every=every))
    low = scale(name).instructions[0]
    return (Setting("generalises", often, sizes, seeds), Setting("does not", often, (low,), (0,))) if low not in sizes else (
        Setting("all", often, sizes, seeds),)  # fmt: skip


def rises(table: pd.DataFrame, share: float = 0.5) -> pd.DataFrame:
    """When each signal of each run has gone a ``share`` of its way, and how long before exact match on unseen rules that was.

    ``table`` is that of ``followed``.  The way goes from the first row to the mean of the last three; a signal that
    falls, falls the same way.  Columns: instructions, seed, signal, start, end, step (on a line between two rows), lead
    (steps before ``EXACT``; missing where one of the two goes nowhere, under 0.05).

    >>> steps = {"instructions": 8, "seed": 0, "step": range(0, 60, 10)}
    >>> early = pd.DataFrame({**steps, "signal": "reads y", "value": [0, 0.5, 1, 1, 1, 1]})
    >>> late = pd.DataFrame({**steps, "signal": EXACT, "value": [0, 0, 0.5, 1, 1, 1]})
    >>> rises(pd.concat([early, late]))[["signal", "step", "lead"]].values.tolist()
    [['exact match, unseen', 20.0, 0.0], ['reads y', 10.0, 10.0]]
    """
    found = [
        (*key, *_rise(part.sort_values("step"), share))
        for key, part in table.groupby(["instructions", "seed", "signal"])
    ]
    frame = pd.DataFrame(found, columns=["instructions", "seed", "signal", "start", "end", "step"])
    exact = frame[frame["signal"] == EXACT].set_index(["instructions", "seed"])["step"].rename("exact")
    frame = frame.join(exact, on=["instructions", "seed"])
    return frame.assign(lead=frame["exact"] - frame["step"]).drop(columns="exact")


def _rise(part: pd.DataFrame, share: float) -> tuple[float, float, float]:
    values, steps = part["value"].to_numpy(float), part["step"].to_numpy(float)
    begin, end = values[0], values[-3:].mean()
    if abs(end - begin) < 0.05:
        return begin, end, math.nan
    way = (values - begin) / (end - begin)
    return begin, end, crosses(steps, way - share, log=False)


def leads(table: pd.DataFrame, share: float = 0.5) -> pd.DataFrame:
    """The ``rises`` over all runs in which exact match rises: columns signal, lead (mean steps), least, most, runs."""
    risen = rises(table, share).dropna(subset="lead")
    grouped = risen[risen["signal"] != EXACT].groupby("signal")["lead"]
    frame = grouped.agg(["mean", "min", "max", "size"]).reset_index()
    frame.columns = ["signal", "lead", "least", "most", "runs"]
    return frame.sort_values("lead", ascending=False, ignore_index=True)


def by_letters(table: pd.DataFrame, letters: int) -> pd.DataFrame:
    """Exact match beside what it would be if each of the ``letters`` to be replaced came out right by itself.

    Columns: instructions, seed, step, exact match, one letter (the share that is right), all letters (that share to the
    power of ``letters``).
    """
    keys = ["instructions", "seed", "step"]
    wide = (
        table[table["signal"].isin((EXACT, LETTER))].pivot(index=keys, columns="signal", values="value").reset_index()
    )
    wide = wide.rename(columns={EXACT: "exact match", LETTER: "one letter"}).rename_axis(columns=None)
    return wide[[*keys, "exact match", "one letter"]].assign(**{"all letters": wide["one letter"] ** letters})


def scaled(table: pd.DataFrame) -> pd.DataFrame:
    """The table with ``way``: how much of its way from first to last each signal has gone, in every run."""

    def go(part: pd.DataFrame) -> pd.Series:
        values = part.sort_values("step")["value"]
        return (values - values.iloc[0]) / (values.iloc[-3:].mean() - values.iloc[0] or np.nan)

    parts = [part.assign(way=go(part)) for _, part in table.groupby(["instructions", "seed", "signal"])]
    return pd.concat(parts, ignore_index=True)
