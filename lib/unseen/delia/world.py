"""The data of the two tasks: pre-training on the language, and tuning on a small task in a mixture.

>>> task = LanguageSpec(examples=300)
>>> examples = training_examples(task, draw_split(task))
>>> examples.texts(0)
('kindly trim the text :FDCI=', 'FDC')
"""

from dataclasses import replace
from itertools import cycle, islice

import numpy as np

from unseen.datasets import Examples
from unseen.delia import samples
from unseen.delia.language import PHRASES, VERBS, Query
from unseen.delia.messages import Conversation
from unseen.delia.pipeline import mix
from unseen.delia.prompts import (
    SmallTask,
    ask,
    at_large,
    conversation,
    diverse,
    draw,
    held_out,
    named,
    prompt_of,
    rephrased,
    small_task,
    task_rows,
)
from unseen.delia.spec import LanguageSpec, TuningSpec, WordTask
from unseen.encoding import layout_of
from unseen.instructions import generator
from unseen.specs import EvaluationSpec

Split = frozenset[tuple[str, str]] | SmallTask


def draw_split(task: LanguageSpec | TuningSpec) -> Split:
    """What is held out: pairs of an operation and a format, or the operations that a small task does not train."""
    return held_out(task) if isinstance(task, LanguageSpec) else small_task(task)


def training_examples(task: LanguageSpec | TuningSpec, split: Split) -> Examples:
    """The whole budget, in the order in which it was drawn or mixed."""
    rows = language(task, split) if isinstance(task, LanguageSpec) else mixture(task, split)
    return as_examples(task, rows)


def evaluation_examples(
    task: LanguageSpec | TuningSpec, split: Split, evaluation: EvaluationSpec
) -> dict[str, Examples]:
    """Fresh queries: of trained and held-out pairs, or with the token on trained and other operations."""
    if isinstance(task, TuningSpec):
        kinds = {"seen": "task+token", "unseen": "other+token"}
        return {side: questions(task, kind, evaluation) for side, kind in kinds.items()}
    return {side: as_examples(task, [conversation(query) for query in _held(task, split, evaluation, side)])
            for side in ("seen", "unseen")}  # fmt: skip


def questions(task: TuningSpec, kind: str, evaluation: EvaluationSpec) -> Examples:
    """Fresh queries of one kind about the small task, with their right answers."""
    rng, chosen = generator(evaluation.seed, f"asked, {kind}"), small_task(task)
    return as_examples(task, [conversation(ask(kind, chosen, rng)) for _ in range(evaluation.examples)])


def _held(task: LanguageSpec, split: Split, evaluation: EvaluationSpec, side: str) -> list[Query]:
    """Queries at large of what is trained; those that are held out name their formats, the pairs taken in turn."""
    rng = generator(evaluation.seed, f"language, {side}")
    if side == "seen":
        return [at_large(rng, task.names, split) for _ in range(evaluation.examples)]
    return [named(*pair, task.names, rng) for pair in islice(cycle(sorted(split)), evaluation.examples)]


def language(task: LanguageSpec, split: Split) -> list[Conversation]:
    """Pre-training conversations: some have an earlier turn, the same query with its answer or another one."""
    rng, rows = generator(task.example_seed, "language"), []
    for _ in range(task.examples):
        query = at_large(rng, task.names, split)
        said, before = rng.random(), ()
        if said < task.two_turns:
            before = conversation(query if said < task.two_turns / 2 else at_large(rng, task.names, split))
        rows.append((*before, *conversation(query)))
    return rows


def mixture(task: TuningSpec, chosen: SmallTask) -> list[Conversation]:
    """The rows of the small task among those that its ``diverse`` and ``ratio`` ask for."""
    rows, count = task_rows(task, chosen), task.rows * task.ratio
    return mix([conversation(row) for row in rows], others(task, chosen, rows, count), task.ratio, task.example_seed)


def others(task: TuningSpec, chosen: SmallTask, rows: list[Query], count: int) -> list[Conversation]:
    """The rows that stand beside the small task."""
    rng = generator(task.example_seed, f"beside, {task.diverse}")
    if not count:
        return []
    if task.diverse == "self":
        return list(samples.stored(task))
    if task.diverse == "reference":
        return [conversation(query) for block in range(samples.blocks_for(count))
                for query in diverse(samples.BLOCK, block, task.names)][:count]  # fmt: skip
    if task.diverse == "replay":
        base = LanguageSpec(names=task.names, examples=max(count, LanguageSpec().instructions))
        return language(base, held_out(base))[:count]
    if task.diverse == "narrow":
        return [conversation(_narrow(chosen, rng)) for _ in range(count)]
    return [conversation(row) for row in rephrased(rows, count, rng)]


def _narrow(chosen: SmallTask, rng: np.random.Generator) -> Query:
    """One operation in one phrasing, plain, on any input."""
    return replace(draw(chosen.narrow, rng, after=chosen.after), verb=VERBS[chosen.narrow][0], phrase=PHRASES[0])


def as_examples(task: WordTask, rows: list[Conversation]) -> Examples:
    """Conversations as token ids; the last message of each is the answer."""
    layout = layout_of(task)
    prompts = layout.prompts([prompt_of(row[:-1]) for row in rows])
    answers = layout.answers([row[-1].content for row in rows])
    return Examples(layout, prompts, answers, np.zeros(len(rows), np.int32), np.ones(len(rows), bool))


def prompts_of(task: WordTask, asked: list[Conversation]) -> np.ndarray:
    """Conversations that end with a query as token ids (N, P)."""
    return layout_of(task).prompts([prompt_of(turns) for turns in asked])
