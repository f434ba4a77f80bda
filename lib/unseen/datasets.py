"""A fixed budget of examples as compact arrays, drawn once, vectorised, checked against the oracle.

Inputs are drawn with their pattern planted at random places; those in which the pattern occurs another
number of times than asked for are drawn again, so the count is exact.  The work runs on arrays of shape
(letters, examples), in which each letter position is one contiguous row of bytes.

    >>> from unseen.instructions import draw_split
    >>> task = TaskSpec(alphabet="abcdef", instructions=3, unseen_instructions=2, examples=6)
    >>> examples = training_examples(task, draw_split(task))
    >>> len(examples), examples.prompts.shape, examples.answers.shape
    (6, (6, 19), (6, 11))
    >>> line = examples.line(0)
    >>> rule, text, answer = line.rule, line.text, line.answer
    >>> rule.apply(text) == answer
    True
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from unseen.ciphers import cipher_table
from unseen.encoding import Encoding, TextEncoding, WordEncoding
from unseen.instructions import Instructions, Split, generator
from unseen.rewriting import Rule
from unseen.specs import EvaluationSpec, TaskSpec
from unseen.tasks import PAD, Task

_CHUNK = 1 << 14  # examples drawn at a time: their arrays stay in the processor's cache
_ROUNDS = 10_000  # draws before inputs of the asked kind are taken to be too rare to find


class Line(NamedTuple):
    """One example as plain strings."""

    rule: Rule
    text: str
    answer: str


@dataclass(frozen=True)
class Examples:
    """Examples as token ids: ``prompts`` (N, P) and ``answers`` (N, O), uint8; see ``encoding``.

    ``rule`` (N,) is the index of each example's rule in the instructions it was drawn from, and
    ``applies`` (N,) whether the pattern occurs in the input (False: a no-op).
    """

    encoding: Encoding | TextEncoding | WordEncoding
    prompts: np.ndarray
    answers: np.ndarray
    rule: np.ndarray
    applies: np.ndarray

    def __len__(self) -> int:
        return len(self.prompts)

    def texts(self, index: int) -> tuple[str, str]:
        """Prompt and answer of the example at ``index``, as text without what fills them up."""
        return self.encoding.text(self.prompts[index]).lstrip(PAD), self.encoding.answer(self.answers[index])

    def line(self, index: int) -> Line:
        """The example at ``index`` as rule, input and answer, where the rule is one of string rewriting."""
        prompt = self.encoding.text(self.prompts[index])
        x, y = self.encoding.pattern_length, self.encoding.replacement_length
        rule = Rule(prompt[:x], prompt[x + 1 : x + 1 + y])
        return Line(rule, prompt[x + y + 2 : -1], self.encoding.answer(self.answers[index]))

    @property
    def inputs(self) -> np.ndarray:
        """The letters of the inputs z, shape (N, |z|)."""
        return self.prompts[:, -1 - self.encoding.input_length : -1]

    def first(self, size: int) -> "Examples":
        """The first ``size`` examples."""
        return self.where(slice(size))

    def where(self, chosen: slice | np.ndarray) -> "Examples":
        """The examples of a slice or a mask (N,)."""
        parts = (self.prompts, self.answers, self.rule, self.applies)
        return Examples(self.encoding, *(part[chosen] for part in parts))

    def tokens(self) -> np.ndarray:
        """What a model is trained on: prompt and answer side by side, shape (N, P + O)."""
        return np.concatenate([self.prompts, self.answers], axis=1)


def training_examples(task: TaskSpec, split: Split) -> Examples:
    """The whole training budget: N = ``task.examples`` examples, shared by the seen rules; see ``shares``."""
    rules = np.repeat(np.arange(len(split.seen)), shares(task, len(split.seen)))
    return draw(task, split.seen, rules, generator(task.example_seed, "training examples"))


def shares(task: Task, instructions: int) -> np.ndarray:
    """How many of the N training examples each of I instructions gets: (I,), adding up to N.

    With ``concentration`` 1 it is N / I for each; where I does not divide N, the first N mod I get one more.  Else
    instruction i gets the part of the density a x^(a-1) that lies between i / I and (i + 1) / I.

    >>> [shares(TaskSpec(examples=1_000, concentration=a), 4).tolist() for a in (1.0, 2.0, 0.2)]
    [[250, 250, 250, 250], [62, 188, 312, 438], [758, 113, 73, 56]]
    """
    if task.concentration == 1:
        return np.bincount(np.arange(task.examples) % instructions, minlength=instructions)
    below = (np.arange(instructions + 1) / instructions) ** task.concentration  # the density, added up
    return np.diff(np.round(below * task.examples).astype(np.int64))


def evaluation_examples(task: TaskSpec, split: Split, evaluation: EvaluationSpec) -> dict[str, Examples]:
    """Fresh examples to score on: ``seen`` and ``unseen`` rules, taken in turn from the first on.

    With more seen rules than examples only the first are asked about.  Where shares are uneven (``concentration`` below
    1) those are the rules with most training examples, so ``seen`` is the accuracy on the favoured ones.
    """
    return {
        name: draw(task, rules, np.arange(evaluation.examples) % len(rules), generator(evaluation.seed, name))
        for name, rules in (("seen", split.seen), ("unseen", split.unseen))
    }


def draw(task: TaskSpec, instructions: Instructions, rule: np.ndarray, rng: np.random.Generator) -> Examples:
    """One example for each entry of ``rule`` (N,), the index of its instruction."""
    encoding = Encoding.of(task)
    size, answer_length = len(rule), encoding.answer_length
    prompts = np.empty((size, encoding.prompt_length), np.uint8)
    answers = np.empty((size, answer_length), np.uint8)
    applies = rng.random(size) >= task.no_op_share
    times = np.where(applies, _times(task, size, rng), 0)
    secret = cipher_table(task.alphabet, task.cipher)
    for start in range(0, size, _CHUNK):
        part = slice(start, start + _CHUNK)
        x = np.ascontiguousarray(instructions.patterns[rule[part]].T)  # (|x|, n)
        y = np.ascontiguousarray(instructions.replacements[rule[part]].T)  # (|y|, n)
        z = _inputs(task, x, times[part], rng)  # (|z|, n)
        prompts[part] = _layout(encoding, x, y, z).T
        answers[part] = secret[rewrite(x, y, z, answer_length, encoding.special("end"))].T
    return Examples(encoding, prompts, answers, rule.astype(np.int32), applies)


def rewrite(x: np.ndarray, y: np.ndarray, z: np.ndarray, length: int, end: int) -> np.ndarray:
    """The answers (length, n) to rules x (|x|, n) -> y (|y|, n) on inputs z (|z|, n), filled up with ``end``.

    The vectorised twin of ``Rule.apply``.
    """
    found = _matches(x, z)  # (|z| - |x| + 1, n)
    at = np.full(z.shape[1], length, np.int16)  # (n,): where the leftmost match starts; behind the end without one
    for place in reversed(range(len(found))):
        at = np.where(found[place], np.int16(place), at)
    filled = np.full((length + len(x), z.shape[1]), end, np.uint8)
    filled[: len(z)] = z
    answer = filled[:length].copy()
    if shift := len(x) - len(y):
        for j in range(max(0, -shift), length):
            _choose(answer[j], filled[j + shift], at + len(y) <= j)
    _write(answer, at, y)
    return answer


def _write(target: np.ndarray, at: np.ndarray, letters: np.ndarray) -> None:
    """Write letters (k, n) into ``target`` (L, n), each column from its place ``at`` (n,) on; places outside do nothing."""
    for place in range(len(target)):
        here = at == place
        if here.any():
            for i in range(min(len(letters), len(target) - place)):
                _choose(target[place + i], letters[i], here)


def _choose(row: np.ndarray, other: np.ndarray, where: np.ndarray) -> None:
    """``row[where] = other[where]`` on bytes without a branch, ten times as fast as with a mask."""
    row ^= (row ^ other) & np.negative(where.view(np.uint8))


def _layout(encoding: Encoding, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The prompts (P, n) of rules and inputs given as letters."""
    arrow, given, gives = (np.full((1, z.shape[1]), encoding.special(name), np.uint8)
                           for name in ("arrow", "given", "gives"))  # fmt: skip
    return np.concatenate([x, arrow, y, given, z, gives])


def _times(task: TaskSpec, size: int, rng: np.random.Generator) -> np.ndarray | int:
    """How often each of ``size`` inputs is to hold its pattern, where it is no no-op: (n,), or one number for all."""
    asked = task.all_occurrences
    return rng.choice(np.array(asked), size) if len(asked) > 1 else task.occurrences


def _inputs(task: TaskSpec, x: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Inputs (|z|, n) that hold their pattern exactly ``times`` (n,): draw, count, draw the wrong ones again."""
    z = _plant(task, x, times, rng)
    bad = np.flatnonzero(count(x, z) != times)
    for _ in range(_ROUNDS):
        if not bad.size:
            return z
        z[:, bad] = _plant(task, x[:, bad], times[bad], rng)
        bad = bad[count(x[:, bad], z[:, bad]) != times[bad]]
    raise ValueError(f"TaskSpec.input_length={task.input_length}: too few inputs over {task.alphabet!r} hold a pattern "
                     f"of {len(x)} letters exactly as often as asked ({', '.join(map(str, task.all_occurrences))}, no-ops 0) to find them")  # fmt: skip


def _plant(task: TaskSpec, x: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random inputs (|z|, n), with the pattern written ``times`` (n,) at non-overlapping random places."""
    size = x.shape[1]
    z = rng.integers(0, len(task.alphabet), (task.input_length, size), np.uint8)
    for asked in task.all_occurrences:
        rows = np.flatnonzero(times == asked)
        slots = task.input_length - asked * (len(x) - 1)  # places left when each pattern shrinks to one letter
        if asked == 1:
            places = rng.integers(0, slots, (1, len(rows)))
        else:
            places = np.sort(rng.random((slots, len(rows))).argsort(0)[:asked], axis=0)
        for i, place in enumerate(places):
            at = np.full(size, -1, np.int16)
            at[rows] = place + i * (len(x) - 1)
            _write(z, at, x)
    return z


def _matches(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Whether the pattern stands at each place of the input: (|z| - |x| + 1, n), bool."""
    places = len(z) - len(x) + 1
    found = z[:places] == x[0]
    for j in range(1, len(x)):
        found &= z[j : j + places] == x[j]
    return found


def count(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """How often each pattern x (|x|, n) occurs in its input z (|z|, n), from the left without overlap: (n,)."""
    found = _matches(x, z)
    total = found.sum(0, dtype=np.int16)
    several = np.flatnonzero(total > 1)  # only these can overlap
    free = np.zeros(len(several), np.int16)  # the next place at which a match may start
    total[several] = 0
    for place in range(len(found)):
        hit = found[place, several] & (free <= place)
        total[several] += hit
        free[hit] = place + len(x)
    return total
