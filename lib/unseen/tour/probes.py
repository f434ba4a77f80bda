"""Questions to a trained model that its score does not ask: a rule of one's own, a changed instruction, a world it
was never shown."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from unseen.datasets import Examples, draw, rewrite
from unseen.encoding import Encoding
from unseen.evaluation import exact_match, greedy_answers
from unseen.instructions import Instructions, draw_split, generator
from unseen.model import Transformer
from unseen.rewriting import Rule
from unseen.specs import SPECIAL, TaskSpec


def one_example(encoding: Encoding, rule: Rule, text: str) -> Examples:
    """A rule and an input of one's own as examples (B = 1).

    Raises ``ValueError`` where they, or their answer, do not fit the encoding.

    >>> one_example(Encoding.of(TaskSpec()), Rule("iss", "art"), "kissmeonce").line(0).answer
    'kartmeonce'
    """
    prompt, answer = encoding.prompt(rule, text), rule.apply(text)
    if len(answer) > encoding.output_length:
        raise ValueError(f"answer: {len(answer)} letters, but this model writes at most {encoding.output_length}")
    filled = answer.ljust(encoding.answer_length, SPECIAL["end"])
    return Examples(encoding, encoding.ids(prompt)[None], encoding.ids(filled)[None], np.zeros(1, np.int32),
                    np.array([rule.applies_to(text)]))  # fmt: skip


def changed_instructions(task: TaskSpec, size: int = 500, seed: int = 2_000_000) -> tuple[Examples, Examples]:
    """Training patterns asked for with replacements of *other* training rules: what is right now, and what was.

    Two sets of examples with the same prompts; the answers of the second put in what the training rule of
    that pattern would.

    >>> now, before = changed_instructions(TaskSpec(alphabet="abcdef", instructions=3, unseen_instructions=2), size=2)
    >>> [(line.rule.replacement in line.answer) for line in (now.line(0), before.line(0))]
    [True, False]
    """
    seen = draw_split(task).seen
    other = Instructions(seen.alphabet, seen.patterns, np.roll(seen.replacements, 1, axis=0))
    now = draw(task, other, np.arange(size) % len(seen), generator(seed, "changed instructions"))
    encoding, x, y = now.encoding, seen.patterns[now.rule].T, seen.replacements[now.rule].T
    before = rewrite(x, y, now.inputs.T, encoding.answer_length, encoding.special("end")).T
    return now, replace(now, answers=before)


def follows_or_recites(model: Transformer, task: TaskSpec, size: int = 500) -> dict[str, float]:
    """Of ``changed_instructions`` the share that a model answers as the prompt says, and as it was trained to."""
    now, before = changed_instructions(task, size)
    answers = greedy_answers(model, now.prompts)
    return {
        "follows the prompt": float(exact_match(answers, now).mean()),
        "recites": float(exact_match(answers, before).mean()),
    }


def other_worlds(
    model: Transformer, task: TaskSpec, worlds: Mapping[str, Mapping[str, Any]], size: int = 500
) -> pd.DataFrame:
    """Answers to unseen rules in worlds that differ from ``task`` in some fields; lengths must stay the same.

    Columns: world, exact match, and the share of answers in which *every* x was replaced.
    """
    unseen, found = draw_split(task).unseen, []
    for name, changes in worlds.items():
        asked = draw(task.but(**changes), unseen, np.arange(size) % len(unseen), generator(2_000_000, name))
        answers = greedy_answers(model, asked.prompts)
        lines = [asked.line(i) for i in range(size)]
        everywhere = [line.text.replace(line.rule.pattern, line.rule.replacement) for line in lines]
        said = [asked.encoding.answer(answer) for answer in answers]
        found.append(
            (name, exact_match(answers, asked).mean(), np.mean([a == b for a, b in zip(said, everywhere, strict=True)]))
        )
    return pd.DataFrame(found, columns=["world", "exact match", "every x replaced"])
