"""Many runs: when reciting turns into following, what is written instead, what moves first in training.

``followed`` trains runs of its own and measures ``signals`` at each row of their history; the rest evaluates
finished runs.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from unseen.evaluation import all_right
from unseen.model import Transformer
from unseen.runs import following
from unseen.runs.workers import Executor, Tell
from unseen.scales import Setting, amounts, scale
from unseen.specs import RunSpec
from unseen.stats import NoThreshold, crosses, fit_threshold, interval
from unseen.studies.inside import jobs_of_heads, kinds_of_letters, match_places
from unseen.studies.tour import changed_instructions
from unseen.training import data_of
from unseen.worlds.base import Examples, Line, generator
from unseen.worlds.rules import Instructions, nearest_rules
from unseen.worlds.strings import TaskSpec

_SEED = 2_000_000  # of the examples, as in ``probes``

# From reciting to following

PAIRINGS = ("known x, its own y", "known x, y of another rule", "known x, new y", "new x, known y",
            "new x, new y")  # fmt: skip
FOLLOWS, RECITES = "follows the prompt", "recites"


def paired(task: TaskSpec, pairing: str, size: int = 500) -> Examples:
    """Examples (B = ``size``) of one of ``PAIRINGS``: rules whose parts are from training, or new."""
    split, chosen = task.split(), np.arange(size)
    pattern, replacement = pairing.split(", ")
    x, y = (split.unseen if part.startswith("new") else split.seen for part in (pattern, replacement))
    shift = replacement == "y of another rule"
    patterns, replacements = x.patterns[chosen % len(x)], y.replacements[(chosen + shift) % len(y)]
    rules = Instructions(split.seen.alphabet, patterns, replacements)
    return task.draw(rules, chosen, generator(_SEED, pairing))


def crossings(table: pd.DataFrame, unseen: pd.DataFrame) -> pd.DataFrame:
    """At how many instructions each curve passes one half: a row per seed, a column per curve, NaN where not.

    ``table`` has the columns instructions, seed, ask (of ``PAIRINGS``), does (``FOLLOWS`` or ``RECITES``) and
    share; ``unseen`` is the accuracy of the same runs (columns of ``sweep.frame``).  Rising curves are fitted
    as the threshold is.  ``recites = follows`` is where the two answers to a swapped replacement are equally
    frequent, ``half of reciting`` where reciting has lost half of its best share; both between two sizes.
    """
    followed = table[table["does"] == FOLLOWS].rename(columns={"share": "accuracy"}).assign(split="unseen")
    rising = {f"follows: {ask}": part for ask, part in followed.groupby("ask", sort=False)}
    rising["unseen exact match"] = unseen
    found = {
        name: {seed: _middle(one) for seed, one in part.groupby("seed")} for name, part in rising.items()
    }
    found |= {"recites = follows": {}, "half of reciting": {}}
    swapped = table[table["ask"] == PAIRINGS[1]].pivot_table("share", ["seed", "instructions"], "does")
    for seed, one in swapped.groupby("seed"):
        sizes, follows, recites = one.index.get_level_values(1), one[FOLLOWS].array, one[RECITES].array
        found["recites = follows"][seed] = crosses(sizes, follows - recites)
        found["half of reciting"][seed] = crosses(sizes, recites.max() / 2 - recites)
    return pd.DataFrame(found).rename_axis("seed")


def _middle(curve: pd.DataFrame) -> float:
    """The threshold of one seed's curve; NaN where it does not step."""
    try:
        return fit_threshold(curve).middle
    except NoThreshold:
        return np.nan


def summary(crossed: pd.DataFrame) -> pd.DataFrame:
    """Each curve of ``crossings`` over seeds: curve, middle, low, high, seeds, and its ratio to exact match
    within seeds (ratio, ratio_low, ratio_high).  Curves that do not cross in every seed are left out."""
    known, against = crossed.dropna(axis=1), "unseen exact match"
    columns = ["curve", "middle", "low", "high", "seeds", "ratio", "ratio_low", "ratio_high"]
    curves = known.items() if against in known else ()
    rows = [(name, *interval(curve), len(curve), *interval(curve / known[against])) for name, curve in curves]
    return pd.DataFrame(rows, columns=columns)


# What is written instead

KINDS = ("right", "part of y, at the place", "training y, nearest rule", "training y, another rule",
         "training y, another place", "other letters, at the place", "copies the input",
         "something else")  # fmt: skip


def classify(answers: np.ndarray, examples: Examples, known: Instructions) -> np.ndarray:
    """The kind (of ``KINDS``) of each answer (N, O) to ``examples`` in which the pattern occurs, (N,).

    ``training y`` is the input with a replacement of a ``known`` rule put in, at the place of the match (that
    of a rule whose pattern is nearest to x, or of another one) or at another place.  ``part of y`` are other
    letters at the place, at least one of which is y's there and not the input's.
    """
    patterns = defaultdict(list)  # of each known replacement
    for rule in known:
        patterns[rule.replacement].append(rule.pattern)
    places, near, kinds = match_places(examples).tolist(), distances(examples, known).tolist(), []
    for i, answer in enumerate(answers):
        written, line = examples.layout.answer(answer), examples.line(i)
        kinds.append(_kind(written, line, places[i], patterns, near[i]))
    return np.array(kinds)


def _kind(written: str, line: Line, at: int, patterns: Mapping[str, list[str]], near: int) -> str:
    """The kind of one answer; ``at`` is where the match is, ``near`` how far the nearest known pattern is."""
    x, y, text = line.rule.pattern, line.rule.replacement, line.text
    if written in (line.answer, text):
        return "right" if written == line.answer else "copies the input"
    edits = {start: written[start : start + len(y)] for start in range(len(text) - len(x) + 1)}
    edits = {p: new for p, new in edits.items() if text[:p] + new + text[p + len(x) :] == written}
    new = edits.get(at)
    if new in patterns:
        far = [sum(a != b for a, b in zip(x, other, strict=True)) for other in patterns[new]]
        return "training y, nearest rule" if near in far else "training y, another rule"
    if any(edit in patterns for edit in edits.values()):
        return "training y, another place"
    if new is None:
        return "something else"
    old = text[at : at + len(x)].ljust(len(y))
    part = any(a == b != c for a, b, c in zip(new, y, old, strict=False))
    return "part of y, at the place" if part else "other letters, at the place"


def distances(examples: Examples, known: Instructions) -> np.ndarray:
    """In how many letters the nearest known pattern differs from that of each prompt, (N,)."""
    x = examples.prompts[:, examples.layout.place("x")]
    return (known.patterns[nearest_rules(x, known)] != x).sum(1)


# What moves before the score does

EXACT, LETTER = "exact match, unseen", "replaced letters right"
SIGNALS = (EXACT, "exact match, seen", LETTER, "probability of replaced letters", "loss, unseen",
           "finds the match", "copies z", "reads y", FOLLOWS, RECITES)  # fmt: skip
_SIZE, _NAME = 200, "1"  # examples of each probe; another name when a probe changes


@torch.no_grad()
def signals(model: Transformer, probes: Mapping[str, Examples]) -> dict[str, float]:
    """All ``SIGNALS`` of a model: exact match on each of ``probes``, the others on its ``EXACT``.

    Each of the three jobs has the score of whichever head is best now; the loss is in nats per token; letters
    to be replaced are predicted given the right ones before them.
    """
    found = {name: float(all_right(model, examples).mean()) for name, examples in probes.items()}
    unseen = probes[EXACT]
    tokens = torch.from_numpy(unseen.tokens()).to(next(model.parameters()).device, torch.long)
    logits, right = model(tokens[:, :-1]), tokens[:, model.shape.prompt :]  # (B, O, V), (B, O)
    chance = logits.softmax(-1).gather(2, right[..., None])[..., 0]
    kinds = kinds_of_letters(unseen)
    replaced = torch.from_numpy(kinds["first replaced"] | kinds["other replaced"]).to(tokens.device)
    found["loss, unseen"] = F.cross_entropy(logits.flatten(0, 1), right.flatten()).item()
    found["probability of replaced letters"] = chance[replaced].mean().item()
    found[LETTER] = (logits.argmax(-1) == right)[replaced].float().mean().item()
    jobs = jobs_of_heads(model, unseen).groupby("job")["score"].max()
    return found | {str(job): float(score) for job, score in jobs.items()}


def follow(spec: RunSpec, tell: Tell = lambda step, note="": None) -> pd.DataFrame:
    """Train a run and measure its ``signals`` before the first step and at each row of its history.

    Columns: instructions, seed, step, signal, value.
    """
    data = data_of(spec)
    seen, unseen = (data.evaluation[name].first(_SIZE) for name in ("seen", "unseen"))
    now, before = changed_instructions(spec.task, _SIZE)
    probes = {EXACT: unseen, "exact match, seen": seen, FOLLOWS: now, RECITES: before}

    def measure(model: Transformer) -> list[dict]:
        return [{"signal": name, "value": value} for name, value in signals(model, probes).items()]

    about = {"instructions": spec.task.instructions, "seed": spec.task.rule_seed}
    return following.while_trained(spec, tell, measure, **about)


def followed(specs: Sequence[RunSpec], executor: Executor | None = None) -> pd.DataFrame:
    """``follow`` of all specs, each computed once and kept; see ``following.followed``."""
    return pd.concat(following.followed(specs, follow, _NAME, executor), ignore_index=True)


def settings(name: str) -> tuple[Setting, ...]:
    """The runs followed at a scale: some of the main curve on both sides of the step, measured often."""
    row, main = amounts("inside", name), scale(name).main
    often = main.base.but(training=main.base.training.but(evaluate_every=row.every))
    found = Setting("generalises", often, row.sizes, row.seeds, scale=name)
    low = main.instructions[0]
    return (found,) if low in row.sizes else (found, Setting("does not", often, (low,), (0,), scale=name))
