"""Notebook 15: a pre-trained base, fine-tuned on plain and encrypted rewriting; the same from scratch.

The base is a small model that is pre-trained here on drills, or any causal language model in a local folder,
with an adapter per run.  All runs of a scale take the same number of steps, so half of the data is read twice
as often.

>>> [tuning.setting.name for tuning in tunings("smoke")][:3]
['pre-trained, plain: all', 'from scratch, plain: all', 'softened, plain: all']
>>> sum(len(tuning.setting.runs()) for tuning in tunings("quick"))
69
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from unseen.evaluation import exact_match, greedy_answers
from unseen.lm import rules
from unseen.lm.load import checked, fingerprint
from unseen.lm.rules import AdapterRun
from unseen.lm.tune import AdapterSpec
from unseen.rewriting import Rule
from unseen.runs.store import Store
from unseen.runs.sweep import about, frame
from unseen.runs.workers import Executor
from unseen.scales import Setting, amounts, scale
from unseen.specs import RunSpec
from unseen.studies.diversity import measure, with_task
from unseen.studies.published import UNEVEN, WORKS
from unseen.training import data_of
from unseen.worlds.drills import OPERATIONS, DrillSpec

NO_OPS = 0.4  # share of inputs without the pattern, as in the paper
TAIL = 0.1  # the shape a x^(a-1) by which most instructions lose nearly all of their examples
CHANGED = ("softened", "rescaled")  # starts from the base with changed weights: ``ModelSpec.inherits``
STARTS = ("pre-trained", "from scratch", *CHANGED)


class Tuning(NamedTuple):
    """One setting: where it ``start``s, which ``work`` it learns, on which part of the ``data``."""

    setting: Setting
    start: str
    work: str
    data: str


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


def tunings(name: str, cipher: str = "substitution:7") -> tuple[Tuning, ...]:
    """Every setting of a scale: both kinds of work on all data from every start, then halves of the data.

    Starts from a changed base have the sizes from 300 on, where pre-training may hinder, and only the modern
    recipe has them.  Halves: of each instruction's examples; of the instructions; few keep nearly all.
    """
    chosen, found = amounts("pretraining", name), []

    def add(start: str, work: str, data: str, sizes: tuple[int, ...], **changes: float | str) -> None:
        base = with_task(_run(name, start), **changes)
        setting = Setting(f"{start}, {work}: {data}", base, sizes, chosen.seeds)
        found.append(Tuning(setting, start, work, data))

    large = tuple(size for size in chosen.sizes if size >= 300) or chosen.sizes
    starts = STARTS if base_run(name).model.recipe == "modern" else STARTS[:2]
    for work, secret in zip(WORKS, ("", cipher), strict=True):
        for start in starts:
            add(start, work, "all", large if start in CHANGED else chosen.sizes, cipher=secret)
    half, most = chosen.examples // 2, chosen.sizes[-1]
    add("pre-trained", "plain", "even half", (most,), examples=half)
    add("pre-trained", "plain", UNEVEN[0], (most // 2,), examples=half, instructions=most // 2)
    add("pre-trained", "plain", UNEVEN[1], (most,), examples=half, concentration=TAIL)
    return tuple(found)


@dataclass(frozen=True)
class OwnBase:
    """A small model that is pre-trained on drills; it and its fine-tunings are ordinary runs of the store."""

    scale: str

    def drills(self, executor: Executor | None = None) -> pd.DataFrame:
        """Train it if needed; its accuracy on drills with held-out arguments: columns operation, accuracy."""
        spec, store = base_run(self.scale), Store()
        frame([spec], store, executor)
        data = data_of(spec)
        test = data.evaluation["unseen"]
        right = exact_match(greedy_answers(store.model(spec), test.prompts), test)
        operation = [data.split.unseen[rule].operation for rule in test.rule]
        means = pd.Series(right, operation, name="accuracy").groupby(level=0).mean()
        return means.reindex(list(OPERATIONS)).rename_axis("operation").reset_index()

    def measure(self, tunings: Sequence[Tuning], executor: Executor | None = None) -> pd.DataFrame:
        """Train what is missing, the base first: one row per setting, run, split and kind of input.

        Columns: start, work, data, then those of ``diversity.measure``.
        """
        frame([base_run(self.scale)], executor=executor)
        table = measure([each.setting for each in tunings], executor=executor, by_kind=True)
        return labelled(table, tunings)


@dataclass(frozen=True)
class LocalBase:
    """A model in a folder of this machine, with an adapter for each run, trained here one after the other."""

    folder: Path
    adapter: AdapterSpec

    def measure(self, tunings: Sequence[Tuning], executor: Executor | None = None) -> pd.DataFrame:
        """As ``OwnBase.measure``, from the base only: its budget from scratch is out of reach."""
        settings = [each.setting for each in tunings if each.start == "pre-trained"]
        rows = [row for each in settings for spec in each.runs() for row in self._rows(each, spec)]
        return labelled(pd.DataFrame(rows), tunings)

    def _rows(self, setting: Setting, spec: RunSpec) -> list[dict[str, object]]:
        task, adapter = spec.task, self.adapter.but(seed=spec.model.seed)
        run = AdapterRun(task, spec.evaluation, adapter, fingerprint(self.folder))
        found = rules.ensure(run, self.folder)
        world = {"no_op_share": task.no_op_share, "concentration": task.concentration}
        model = {"recipe": "adapter", "layers": found["layers"], "width": found["width"]}
        before = {"setting": setting.name} | world | about(spec) | model
        after = {"seconds": found["seconds"], "run": found["digest"]}
        return [before | row | after for row in found["scores"]]


def base_of(base: str, scale: str, rank: int = 512) -> OwnBase | LocalBase:
    """The base that a notebook's parameters name: the own one of the scale, or the model in a folder.

    The adapter is the paper's (alpha is twice the rank), its steps are the scale's.  Raises ``BadBase``.

    >>> base_of("", "quick")
    OwnBase(scale='quick')
    """
    if not base:
        return OwnBase(scale)
    steps = amounts("pretraining", scale).steps
    return LocalBase(checked(base), AdapterSpec(rank=rank, alpha=2 * rank, steps=steps))


def labelled(table: pd.DataFrame, tunings: Sequence[Tuning]) -> pd.DataFrame:
    """A table with a column ``setting``, preceded by what each setting is: start, work, data."""
    what = {each.setting.name: each[1:] for each in tunings}
    columns = pd.DataFrame(table["setting"].map(what).tolist(), columns=["start", "work", "data"])
    return pd.concat([columns, table.reset_index(drop=True)], axis=1)


def mistakes(tuning: Tuning) -> pd.DataFrame:
    """Wrong answers to no-ops of unseen rules, by a plain setting's run on the most instructions.

    Columns rule, input (the right answer too), answer, letterwise (see ``letter_by_letter``).
    """
    spec = max(tuning.setting.runs(), key=lambda run: (run.task.instructions, -run.task.rule_seed))
    test, rows = data_of(spec).evaluation["unseen"], []
    test = test.where(~test.applies)
    answers = greedy_answers(Store().model(spec), test.prompts)
    for i in np.flatnonzero(~exact_match(answers, test)):
        line, answer = test.line(i), test.layout.answer(answers[i])
        rows.append((str(line.rule), line.text, answer, letter_by_letter(line.rule, line.text, answer)))
    return pd.DataFrame(rows, columns=["rule", "input", "answer", "letterwise"])


def letter_by_letter(rule: Rule, text: str, answer: str) -> bool:
    """Whether an answer only replaces letters of the pattern, each by its counterpart in the replacement.

    >>> rule = Rule("bag", "xyz")
    >>> letter_by_letter(rule, "vdbmov", "vdxmov"), letter_by_letter(rule, "vdbmov", "vdbmox")
    (True, False)
    """
    swaps = set(zip(rule.pattern, rule.replacement, strict=False))
    return len(answer) == len(text) and {(a, b) for a, b in zip(text, answer, strict=True) if a != b} <= swaps
