"""Rewriting rules for a language model: rules as prompts, and an adapter tuned on a task and scored on it.

>>> prompt("aa", "bac", "caaba")
'Rule: aa -> bac\\nInput: caaba\\nOutput: '
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unseen.evaluation import share_by_kind
from unseen.fields import lasting
from unseen.lm.chat import Row, answers, ids_of, readable
from unseen.lm.load import Loaded, load
from unseen.lm.tune import AdapterSpec, kept
from unseen.specs import EvaluationSpec
from unseen.worlds.base import Examples
from unseen.worlds.strings import TaskSpec


class AdapterRun(NamedTuple):
    """One tuning: the task, how it is evaluated, the adapter, and the fingerprint of the ``base``."""

    task: TaskSpec
    evaluation: EvaluationSpec
    adapter: AdapterSpec
    base: str


def prompt(pattern: str, replacement: str, text: str) -> str:
    """The prompt of a rule and an input; the paper does not give its own."""
    return f"Rule: {pattern} -> {replacement}\nInput: {text}\nOutput: "


def ensure(run: AdapterRun, base: Path, say: Callable[[str], Any] = print) -> dict[str, Any]:
    """The manifest of a run, tuned now unless it is done: digest, scores, layers, width, seconds ...

    ``base`` is the folder of the model.  Raises as ``tune.kept`` does.
    """
    about = {"task": lasting(run.task), "evaluation": lasting(run.evaluation), "base": run.base}

    def rows(loaded: Loaded) -> list[Row]:
        return rows_of(loaded, run.task.training(run.task.split()))

    def outcome(loaded: Loaded, folder: Path) -> dict[str, Any]:
        shape = {"layers": loaded.settings.num_hidden_layers, "width": loaded.settings.hidden_size}
        return {"scores": scores(run, loaded), **shape}

    return kept(run.adapter, about, lambda: load(base), rows, outcome, say)


def rows_of(loaded: Loaded, examples: Examples) -> list[Row]:
    """Prompts and answers as the model's tokens, tokenized apart as in evaluation."""
    lines = [examples.line(i) for i in range(len(examples))]
    begin, end = loaded.tokenizer.bos_token_id, loaded.tokenizer.eos_token_id
    start = [] if begin is None else [begin]
    prompts = ids_of(loaded, [prompt(line.rule.pattern, line.rule.replacement, line.text) for line in lines])
    right = ids_of(loaded, [line.answer for line in lines])
    rows = [([*start, *ids], [*answer, end]) for ids, answer in zip(prompts, right, strict=True)]
    readable(loaded, max(len(ids) + len(answer) for ids, answer in rows), "a rule with input and answer")
    return rows


def scores(run: AdapterRun, loaded: Loaded) -> list[dict[str, Any]]:
    """Exact match on seen and unseen rules, for inputs with and without the pattern, with 95 % intervals."""
    found, task, amount = [], run.task, run.evaluation
    for split, examples in task.evaluation(task.split(), amount.examples, amount.seed).items():
        rows = rows_of(loaded, examples)
        written = answers(loaded, [ids for ids, _ in rows], max(len(answer) for _, answer in rows))
        right = np.array([examples.line(i).answer == answer for i, answer in enumerate(written)])
        found += [{"split": split, **line} for line in share_by_kind(right, examples)]
    return found
