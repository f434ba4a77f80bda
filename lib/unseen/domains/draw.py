"""The data of a run: instructions of every domain, training examples of each, and what a model may be asked.

>>> task = DomainSpec(algebra_examples=80, letter_examples=20, letter_instructions=5)
>>> len(training_examples(task, draw_split(task)))
100
"""

from typing import Any

import numpy as np

from unseen.datasets import Examples
from unseen.domains.kinds import KINDS, Instruction
from unseen.domains.spec import DOMAINS, DomainSpec
from unseen.encoding import layout_of
from unseen.instructions import generator
from unseen.specs import EvaluationSpec

DomainSplit = dict[str, tuple[list[Any], list[Any]]]  # kind: training instructions and held-out ones


def draw_split(task: DomainSpec) -> DomainSplit:
    """Training and held-out instructions of every kind; those of untrained kinds have no training instructions."""
    drawn = {name: kind.split(task) for name, kind in KINDS.items()}
    return {
        name: (seen if name in DOMAINS and task.budget(name) else [], unseen) for name, (seen, unseen) in drawn.items()
    }


def training_examples(task: DomainSpec, split: DomainSplit) -> Examples:
    """The whole budget, domain after domain; within one its instructions take turns."""
    parts = [examples(task, name, split[name][0], task.budget(name), generator(task.example_seed, f"training, {name}"))
             for name in DOMAINS if task.budget(name)]  # fmt: skip
    columns = ("prompts", "answers", "rule", "applies")
    return Examples(layout_of(task), *(np.concatenate([getattr(part, each) for part in parts]) for each in columns))


def evaluation_examples(task: DomainSpec, split: DomainSplit, evaluation: EvaluationSpec) -> dict[str, Examples]:
    """Fresh examples on seen and unseen instructions of the domain that counts."""
    return {side: questions(task, split, evaluation, task.counts, side) for side in ("seen", "unseen")}


def questions(
    task: DomainSpec, split: DomainSplit, evaluation: EvaluationSpec, kind: str, side: str = "unseen"
) -> Examples:
    """Fresh examples of any kind, its instructions taken in turn."""
    instructions = split[kind][side == "unseen"]
    return examples(task, kind, instructions, evaluation.examples, generator(evaluation.seed, f"{kind}, {side}"))


def examples(
    task: DomainSpec, kind: str, instructions: list[Instruction], count: int, rng: np.random.Generator
) -> Examples:
    """``count`` examples of instructions taken in turn, the right answers computed by the instructions themselves."""
    rule = np.arange(count) % len(instructions)
    asked = [(instructions[i], KINDS[kind].ask(instructions[i], rng)) for i in rule]
    layout = layout_of(task)
    prompts = layout.prompts([f"{instruction.text}|{text}=" for instruction, text in asked])
    answers = layout.answers([instruction.apply(text) for instruction, text in asked])
    applies = np.array([instruction.applies(text) for instruction, text in asked])
    return Examples(layout, prompts, answers, rule.astype(np.int32), applies)
