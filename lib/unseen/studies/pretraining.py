"""Notebook 15: a pre-trained base, fine-tuned on plain and encrypted rewriting; the same from scratch.

The base is a small model that is pre-trained here on drills, or any causal language model in a local folder,
with an adapter per run.  All runs of a scale take the same number of steps, so half of the data is read twice
as often.

>>> [tuning.name for tuning in tunings("smoke")][:3]
['pre-trained, plain: all', 'from scratch, plain: all', 'softened, plain: all']
>>> sum(len(tuning.runs()) for tuning in tunings("quick"))
69
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from unseen.lm import rules
from unseen.lm.load import checked, fingerprint, outline
from unseen.lm.rules import AdapterRun
from unseen.lm.tune import AdapterSpec, adapted
from unseen.runs.sweep import about, frame
from unseen.runs.workers import Executor
from unseen.scales import Setting, amounts, scale
from unseen.specs import RunSpec
from unseen.studies import diversity
from unseen.worlds.drills import DrillSpec

WORKS = ("plain", "encrypted")
UNEVEN = ("half the instructions lose all", "most lose nearly all")  # ways to halve a budget unevenly
NO_OPS = 0.4  # share of inputs without the pattern, as in the paper
TAIL = 0.1  # the shape a x^(a-1) by which most instructions lose nearly all of their examples
HALVES = {"even half": {}, UNEVEN[0]: {}, UNEVEN[1]: {"concentration": TAIL}}  # and what changes in the task
CHANGED = ("softened", "rescaled")  # starts from the base with changed weights: ``ModelSpec.inherits``
STARTS = ("pre-trained", "from scratch", *CHANGED)


@dataclass(frozen=True)
class Tuning(Setting):
    """A setting that says where it ``start``s, which ``work`` it learns, on which part of the ``data``, and
    in which ``form`` a language model reads it.
    """

    start: str
    work: str
    data: str = "all"
    form: str = "rule"


def base_run(name: str) -> RunSpec:
    """The pre-training of the own base: an ordinary run on drills, with the model and recipe of the scale."""
    chosen, run = amounts("pretraining", name), _run(name, "from scratch")
    unseen = min(run.task.unseen_instructions, 650)
    task = DrillSpec.like(run.task, instructions=chosen.drills, unseen_instructions=unseen,
                          examples=chosen.drill_steps * run.training.batch)  # fmt: skip
    training = run.training.but(steps=chosen.drill_steps)
    return run.but(task=task, training=training, evaluation=scale(name).main.base.evaluation)


def _run(name: str, start: str) -> RunSpec:
    """A run on the whole budget, from random weights or those of the base, with the recipe of the scale."""
    chosen, base = amounts("pretraining", name), scale(name).main.base
    task = base.task.but(no_op_share=NO_OPS, examples=chosen.examples, instructions=chosen.sizes[-1],
                         unseen_instructions=min(5_000, base.task.unseen_instructions))  # fmt: skip
    training = base.training.but(steps=chosen.steps, batch=min(64, base.training.batch),
                                 evaluate_every=2 * base.training.evaluate_every)  # fmt: skip
    run = base.but(task=task, training=training, evaluation=base.evaluation.but(examples=chosen.tested))
    if start == "from scratch":
        return run
    inherits = start if start in CHANGED else "all"
    return run.but(model=run.model.but(base=base_run(name).digest(), inherits=inherits))


def _tuning(
    name: str, start: str, work: str, data: str, sizes: tuple[int, ...], seeds: tuple[int, ...],
    **changes: float | str,
) -> Tuning:  # fmt: skip
    base = _run(name, start).with_task(**changes)
    return Tuning(f"{start}, {work}: {data}", base, sizes, seeds, start, work, data, scale=name)


def tunings(name: str, cipher: str = "substitution:7") -> tuple[Tuning, ...]:
    """Every setting of a scale: both kinds of work on all data from every start, then halves of the data.

    Starts from a changed base have the sizes from 300 on, where pre-training may hinder, and only the modern
    recipe has them.
    """
    chosen, found = amounts("pretraining", name), []
    large = tuple(size for size in chosen.sizes if size >= 300) or chosen.sizes
    starts = STARTS if base_run(name).model.recipe == "modern" else STARTS[:2]
    for work, secret in zip(WORKS, ("", cipher), strict=True):
        for start in starts:
            sizes = large if start in CHANGED else chosen.sizes
            found.append(_tuning(name, start, work, "all", sizes, chosen.seeds, cipher=secret))
    return (*found, *_halves(name, chosen.sizes[-1], chosen.seeds))


def on_bases(name: str, cipher: str = "substitution:7") -> tuple[Tuning, ...]:
    """Both kinds of work on all data, pre-trained and from scratch; each seed has a base of its own."""
    every = {(each.start, each.work): each for each in tunings(name, cipher) if each.data == "all"}
    scratch = tuple(every["from scratch", work] for work in WORKS)
    return (*(_apart(name, every["pre-trained", work]) for work in WORKS), *scratch)


def near_the_step(name: str) -> tuple[Tuning, ...]:
    """All data and its halves where half of the instructions are too few; each seed has a base of its own."""
    chosen = amounts("pretraining", name)
    whole = _tuning(name, "pre-trained", "plain", "all", (chosen.near,), chosen.near_seeds)
    return tuple(_apart(name, each) for each in (whole, *_halves(name, chosen.near, chosen.near_seeds)))


def _apart(name: str, each: Tuning) -> Tuning:
    """The same with a base for each seed, pre-trained on other drills from other weights."""
    return replace(each, bases=tuple(base_run(name).with_seed(run.task.rule_seed) for run in each.runs()))


def _halves(name: str, most: int, seeds: tuple[int, ...]) -> list[Tuning]:
    """``HALVES`` of the examples of so many instructions, of which the second has half left."""
    examples, found = amounts("pretraining", name).examples // 2, []
    for data, changes in HALVES.items():
        sizes = (most // 2 if data == UNEVEN[0] else most,)
        found.append(_tuning(name, "pre-trained", "plain", data, sizes, seeds, examples=examples, **changes))
    return found


def measure(
    name: str, tunings: Sequence[Tuning], executor: Executor | None = None, base: str = "", rank: int = 512
) -> pd.DataFrame:
    """Train what is missing, bases first: one row per setting, run, split and kind of input.

    With ``base``, a model in a folder of this machine, each run is an adapter on it (alpha is twice the rank,
    as in the paper; steps are the scale's), trained here one after the other, and only tunings that start
    pre-trained are measured: its budget from scratch is out of reach.  Raises ``BadBase``.
    Columns: start, work, data, then those of ``diversity.measure``.
    """
    if base:
        folder, steps = checked(base), amounts("pretraining", name).steps
        adapter = AdapterSpec(rank=rank, alpha=2 * rank, steps=steps)
        adapted(outline(folder), adapter)  # whether it fits, before anything is loaded
        pairs = [(each, run) for each in tunings if each.start == "pre-trained" for run in each.runs()]
        table = pd.DataFrame([row for pair in pairs for row in _adapted(*pair, folder, adapter)])
    else:
        bases = [own for each in tunings for own in each.bases or (base_run(name),)]
        frame(list(dict.fromkeys(bases)), executor=executor)
        table = diversity.measure(tunings, executor=executor, by_kind=True)
    which = pd.DataFrame({each.name: vars(each) for each in tunings}).T[["start", "work", "data"]]
    return pd.concat([which.loc[table["setting"]].reset_index(drop=True), table], axis=1)


def _adapted(setting: Setting, spec: RunSpec, folder: Path, adapter: AdapterSpec) -> list[dict[str, object]]:
    """The rows of one run: an adapter on the model in a folder."""
    task, adapter = spec.task, adapter.but(seed=spec.model.seed)
    found = rules.ensure(AdapterRun(task, spec.evaluation, adapter, fingerprint(folder)), folder)
    world = {"no_op_share": task.no_op_share, "concentration": task.concentration}
    model = {"recipe": "adapter", "layers": found["layers"], "width": found["width"]}
    before = {"setting": setting.name} | world | about(spec) | model
    after = {"seconds": found["seconds"], "run": found["digest"]}
    return [before | row | after for row in found["scores"]]
