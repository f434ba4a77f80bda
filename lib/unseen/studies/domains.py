"""Notebook 18: mixtures of three domains for a specialist (experiments 7 and 8) and for a generalist (9).

A run may serve several experiments: the store trains it once.

>>> [design.label for design in designs("quick") if design.experiment == "8"]
['N own', 'nine tenths own', '3.75 N own']
>>> seven = [design for design in designs("quick") if design.experiment == "7"]
>>> [design.base.task.share("algebra") for design in seven[:4]]
[1.0, 0.9, 0.5, 0.2]
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pandas as pd
import torch

from unseen.evaluation import all_right, log_probabilities, share
from unseen.runs.store import Store
from unseen.runs.sweep import frame
from unseen.runs.workers import Executor
from unseen.scales import BySeed, amounts
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec
from unseen.studies.results import TEXTS
from unseen.worlds.domains import DOMAINS, KINDS, OPTIONS, DomainSpec

PUBLISHED = pd.DataFrame(TEXTS["specialists"]["rows"], columns=TEXTS["specialists"]["columns"])
MIXTURES_PUBLISHED = tuple(TEXTS["specialists"]["mixtures"])
MORE = 3.75  # how much larger the pure set of experiment 8 is: 75K against 20K
BATCH = 16
# In tuning from a base: algebra rules that it knows, shares of own examples
KNOWN = 4
SHARES = 1.0, 0.9, 0.5, 0.2
GENERAL = {
    "algebra": ("algebra",),
    "letters": ("letters",),
    "lists": ("lists",),
    "algebra and letters": ("algebra", "letters"),
    "all three": ("algebra", "letters", "lists"),
}


@dataclass(frozen=True)
class Mixture(BySeed):
    """One mixture of one ``experiment``, and its ``label`` within it; a run per seed."""

    experiment: str
    label: str


def mixture(chosen: SimpleNamespace, own: int, **shares: float) -> DomainSpec:
    """The budget divided by ``shares``, with ``own`` algebra rules; rounding goes to the first domain.

    >>> mixture(amounts("domains", "quick"), 100, algebra=0.9, letters=0.1).letter_examples
    1200
    """
    first, parts = next(iter(shares)), {each: round(part * chosen.budget) for each, part in shares.items()}
    parts[first] += round(sum(shares.values()) * chosen.budget) - sum(parts.values())
    letters, algebra, lists = (parts.get(domain, 0) for domain in DOMAINS)
    return DomainSpec(
        counts=first,
        letter_examples=letters,
        algebra_examples=algebra,
        list_examples=lists,
        letter_instructions=min(chosen.letters, letters or chosen.letters),
        algebra_instructions=own,
        list_instructions=min(chosen.lists, lists or chosen.lists),
    )


def designs(name: str) -> tuple[Mixture, ...]:
    """All mixtures of a scale: experiments 7, 8 and 9 in their order.

    ``7 alone`` are controls: the own part of a mixture without the rest, trained for as long as it lasts.
    ``8 longer`` has ever larger budgets of the same rules, in which more of these teach ever less.
    """
    chosen = amounts("domains", name)
    middle = chosen.own[len(chosen.own) // 2]

    tasks = [_seven(chosen, rules, share) for rules in chosen.own for share in chosen.shares]
    tasks += [("7 alone", f"{100 * share:g}:0", mixture(chosen, middle, algebra=share))
              for share in chosen.shares if share <= 0.5]  # fmt: skip
    larger = mixture(chosen, middle, algebra=MORE)
    tasks += [
        ("8", "N own", _diversified(chosen, middle, 1.0)),
        ("8", "nine tenths own", _diversified(chosen, middle, 0.9)),
        ("8", "3.75 N own", larger),
    ]
    if chosen.wider:
        tasks.append(("8", "3.75 N own, 3.75 x rules", larger.but(algebra_instructions=int(MORE * middle))))
    tasks += [("8 longer", f"{times:g} N, {100 * share:g} % own", _diversified(chosen, middle, share, times))
              for times in chosen.longer for share in SHARES[:2]]  # fmt: skip
    tasks += [("9", each, mixture(chosen, middle, **dict.fromkeys(parts, 1 / len(parts))))
              for each, parts in GENERAL.items()]  # fmt: skip
    return tuple(_design(name, *each) for each in tasks)


def from_a_base(name: str) -> tuple[Mixture, ...]:
    """Experiment 7 from models that know the formats, and these: a base for each seed.

    A base has read as much as a specialist does elsewhere, of all three domains, but of ``KNOWN`` algebra
    rules alone, which a specialist's rules include.  Tuning reads a third of that.
    """
    chosen = amounts("domains", name)
    less = SimpleNamespace(**vars(chosen) | {"budget": chosen.budget // 3})
    every = dict.fromkeys(GENERAL["all three"], 1 / 3)
    base = _design(name, "7 base", "base", mixture(chosen, min(KNOWN, *chosen.own), **every))
    found = [_design(name, *_seven(less, rules, share)) for rules in chosen.own[:2] for share in SHARES]
    return base, *(replace(each, bases=tuple(base.runs())) for each in found)


def _diversified(chosen: SimpleNamespace, rules: int, share: float, times: float = 1) -> DomainSpec:
    """A share of so many budgets for own rules, the rest for letter rules."""
    return mixture(chosen, rules, algebra=times * share, letters=times * (1 - share))


def _seven(chosen: SimpleNamespace, rules: int, share: float) -> tuple[str, str, DomainSpec]:
    """Experiment 7 with a share of own examples: its number, label and task."""
    return "7", f"{100 * share:g}:{100 - 100 * share:g}", _diversified(chosen, rules, share)


def _design(name: str, experiment: str, label: str, task: DomainSpec) -> Mixture:
    chosen = amounts("domains", name)
    steps = max(1, task.examples // BATCH)  # a run reads its budget once
    training = TrainingSpec(steps=steps, batch=BATCH, learning_rate=0.01, matrix_learning_rate=0.015,
                            evaluate_every=max(1, steps // 4), checkpoint_every=500)  # fmt: skip
    base = RunSpec(task, ModelSpec(**chosen.model), training, EvaluationSpec(chosen.tests))
    about = f"{experiment}: {label}, {task.number('algebra')} own rules"
    return Mixture(about, base, (task.instructions,), chosen.seeds, experiment, label, scale=name)


def measure(chosen: Sequence[Mixture], executor: Executor | None = None) -> pd.DataFrame:
    """Train what is missing: one row per experiment, design, seed, kind and split.

    Split ``seen`` is of the domain that counts, ``unseen`` of every kind; in experiment 9 also ``choice``,
    see ``choosing``.  Scored are inputs that hold the pattern: a model that copies the input is right on
    every no-op.  Columns: experiment, setting, own_rules
    (of algebra), own_share (of the budget), domains (trained ones), budget, seed, kind, split, accuracy, low,
    high (95 % interval), examples, seconds (of training), run.
    """
    store, rows = Store(), []
    pairs = [(design, spec) for design in chosen for spec in design.runs()]
    specs = [spec for _, spec in pairs]
    frame(sorted(specs, key=lambda spec: spec.task.examples), store, executor)  # the long ones last
    found = {spec: scores(spec, store) for spec in dict.fromkeys(specs)}
    for design, spec in pairs:
        task, about = spec.task, {"experiment": design.experiment, "setting": design.label}
        about |= {"own_rules": task.number("algebra"), "own_share": task.share("algebra")}
        about |= {"domains": sum(task.budget(each) > 0 for each in DOMAINS)}
        about |= {"budget": task.examples, "seed": task.rule_seed}
        last = {"seconds": store.finished(spec)["train_seconds"], "run": spec.digest()}
        choices = choosing(spec, store) if design.experiment == "9" else []
        rows += [about | row | last for row in (*found[spec], *choices)]
    return pd.DataFrame(rows)


def scores(spec: RunSpec, store: Store) -> list[dict[str, object]]:
    """Exact match of a finished run on seen instructions of its own domain and unseen ones of every kind."""
    model, split, rows = store.model(spec), spec.task.split(), []
    for kind, side in [(spec.task.counts, "seen"), *((kind, "unseen") for kind in KINDS)]:
        drawn = spec.task.questions(split, spec.evaluation.examples, spec.evaluation.seed, kind, side)
        right = all_right(model, drawn.where(drawn.applies))
        rows.append({"kind": kind, "split": side, **share(right)})
    return rows


def choosing(spec: RunSpec, store: Store) -> list[dict[str, object]]:
    """How often the right one of ``OPTIONS`` answers is the likeliest to a finished run, on untrained kinds.

    Exact match is near zero there; a choice has a chance above zero, and so can show what a model half knows.
    """
    model, split, rows = store.model(spec), spec.task.split(), []
    for kind in (kind for kind in KINDS if kind not in DOMAINS):
        examples = spec.task.choices(split, spec.evaluation.examples, spec.evaluation.seed, kind)
        likely = log_probabilities(model, examples).reshape(-1, OPTIONS, OPTIONS)
        right = (likely.argmax(-1) == torch.arange(OPTIONS)).numpy()  # (inputs, instructions)
        rows.append({"kind": kind, "split": "choice", **share(right.flatten())})
    return rows


def own(results: pd.DataFrame, experiment: str) -> pd.DataFrame:
    """The rows of notebook 18 on unseen algebra in one experiment, its name as text."""
    results = results.astype({"experiment": str})
    unseen = (results["kind"] == "algebra") & (results["split"] == "unseen")
    return results[unseen & (results["experiment"] == experiment)]
