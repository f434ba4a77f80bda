"""Rewriting rules for a language model: rules as prompts, and an adapter tuned on a task and scored on it.

>>> prompt("aa", "bac", "caaba")
'Rule: aa -> bac\\nInput: caaba\\nOutput: '
>>> prompt("aa", "bac", "caaba", "words"), prompt("aa", "bac", "caaba", "signs")
('Replace a a by b a c in c a a b a =>', ' a a→ b a c| c a a b a=')
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unseen.evaluation import share_by_kind
from unseen.fields import lasting
from unseen.lm.chat import Row, answers, ids_of, readable
from unseen.lm.load import Loaded, load, untaught
from unseen.lm.tune import AdapterSpec, digest_of, kept
from unseen.runs.workers import Tell
from unseen.specs import EvaluationSpec
from unseen.worlds.base import Examples
from unseen.worlds.strings import TaskSpec, encipher

FORMS = {  # how a rule and an input are written; but in ``rule`` each letter is a token of its own
    "rule": "Rule: {x} -> {y}\nInput: {z}\nOutput: ",
    "words": "Replace{x} by{y} in{z} =>",
    "words behind": "In{z} replace{x} by{y} =>",  # the rule behind its input
    "signs": "{x}→{y}|{z}=",
}
STARTS = ("pre-trained", "random weights", "untouched")  # the last is evaluated, and not tuned


class AdapterRun(NamedTuple):
    """One tuning: the task, how it is evaluated, the adapter, and the fingerprint of the ``base``.

    ``form`` is one of ``FORMS``, ``start`` one of ``STARTS``.
    """

    task: TaskSpec
    evaluation: EvaluationSpec
    training: AdapterSpec
    base: str
    form: str = "rule"
    start: str = "pre-trained"

    def about(self) -> dict[str, Any]:
        """What the result depends on besides the adapter; later fields count where they are not usual."""
        found = {"task": lasting(self.task), "evaluation": lasting(self.evaluation), "base": self.base}
        usual = AdapterRun._field_defaults
        return found | {name: value for name in usual if (value := getattr(self, name)) != usual[name]}

    def digest(self) -> str:
        """Sixteen hexadecimal digits that name its folder."""
        return digest_of(self.training, self.about())

    @property
    def name(self) -> str:
        """It in a few words."""
        cipher = ", encrypted" * bool(self.task.cipher)
        return f"{self.start}, {self.form}{cipher}, I={self.task.instructions} seed {self.training.seed}"


def spelt(text: str, form: str) -> str:
    """Letters as a form writes them.

    >>> spelt("abc", "words"), spelt("abc", "rule")
    (' a b c', 'abc')
    """
    return text if form == "rule" else "".join(f" {letter}" for letter in text)


def prompt(pattern: str, replacement: str, text: str, form: str = "rule") -> str:
    """The prompt of a rule and an input; the paper does not give its own."""
    x, y, z = (spelt(part, form) for part in (pattern, replacement, text))
    return FORMS[form].format(x=x, y=y, z=z)


def ensure(run: AdapterRun, base: Path, say: Callable[[str], Any] = print, **how: Any) -> dict[str, Any]:
    """The manifest of a run, tuned now unless it is done: digest, scores, layers, width, seconds ...

    ``base`` is the folder of the model; further options are those of ``tune.kept``, and so are the errors.
    """

    def model() -> Loaded:
        loaded = load(base, quick=True)
        return untaught(loaded, run.training.seed) if run.start == "random weights" else loaded

    def rows(loaded: Loaded) -> list[Row]:
        untouched = run.start == "untouched"
        return [] if untouched else rows_of(loaded, run.task.training(run.task.split()), run.form)

    def outcome(loaded: Loaded, folder: Path) -> dict[str, Any]:
        shape = {"layers": loaded.settings.num_hidden_layers, "width": loaded.settings.hidden_size}
        return {"scores": scores(run, loaded), **shape, "dtype": str(loaded.model.dtype)}

    return kept(run.training, run.about(), model, rows, outcome, say, **how)


def tune_one(run: AdapterRun, tell: Tell, base: Path) -> None:
    """What a worker does with a run: ensure that it is done and report its steps; raises ``Held``."""
    ensure(run, base, lambda note: None, watch=tell, patience=0)


def rows_of(loaded: Loaded, examples: Examples, form: str = "rule") -> list[Row]:
    """Prompts and answers as the model's tokens, tokenized apart as in evaluation."""
    lines = [examples.line(i) for i in range(len(examples))]
    begin, end = loaded.tokenizer.bos_token_id, loaded.tokenizer.eos_token_id
    start = [] if begin is None else [begin]
    texts = [prompt(line.rule.pattern, line.rule.replacement, line.text, form) for line in lines]
    right = ids_of(loaded, [spelt(line.answer, form) for line in lines])
    rows = [
        ([*start, *ids], [*answer, end]) for ids, answer in zip(ids_of(loaded, texts), right, strict=True)
    ]
    readable(loaded, max(len(ids) + len(answer) for ids, answer in rows), "a rule with input and answer")
    return rows


def scores(run: AdapterRun, loaded: Loaded) -> list[dict[str, Any]]:
    """Exact match on seen and unseen rules, for inputs with and without the pattern, with 95 % intervals;
    ``copied`` is the share of answers that are the input (enciphered where answers are).

    Where letters are apart, only as many of them count as the right answer has: a model that was never tuned
    does not know that it should stop.
    """
    found, task, amount = [], run.task, run.evaluation
    for split, examples in task.evaluation(task.split(), amount.examples, amount.seed).items():
        rows, lines = rows_of(loaded, examples, run.form), [examples.line(i) for i in range(len(examples))]
        longest, apart = max(len(answer) for _, answer in rows), run.form != "rule"
        written = answers(loaded, [ids for ids, _ in rows], longest, unended=apart)
        texts = ["".join(text.split()) if apart and text else text for text in written]

        def hits(wanted: list[str], texts: list[str | None] = texts, apart: bool = apart) -> np.ndarray:
            pairs = zip(texts, wanted, strict=True)
            return np.array(
                [(text or "")[: len(want)] == want if apart else text == want for text, want in pairs]
            )

        copies = [encipher(line.text, task.alphabet, task.cipher) for line in lines]
        right, copied = (share_by_kind(hits(each), examples) for each in ([a.answer for a in lines], copies))
        found += [{"split": split, **one, "copied": other["accuracy"]}
                  for one, other in zip(right, copied, strict=True)]  # fmt: skip
    return found
