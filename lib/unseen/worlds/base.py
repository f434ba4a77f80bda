"""What every task world has: a spec that draws its own instructions and examples, and answers them by its
own oracle.

A world is one class, a ``Task``: its fields say what is drawn, its methods draw it.  It has a ``layout``, a
``split`` into ``seen`` and ``unseen``, and either ``draw``, or ``training`` and ``evaluation`` of its own.

    split = task.split()                      # training and held-out instructions, whatever the world's are
    examples = task.training(split)           # the whole budget
    asked = task.evaluation(split, 2_000, 7)  # fresh examples on seen and unseen instructions

Adding a world is one file with such a class, and its line in ``worlds.WORLDS``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from unseen.fields import Checked, Seed, spec
from unseen.layout import PAD, Layout
from unseen.rewriting import Rule


class Split(NamedTuple):
    """The instructions of a task: those of training (``seen``) and those held out for the test
    (``unseen``).
    """

    seen: Any
    unseen: Any


class Line(NamedTuple):
    """One example as plain strings."""

    rule: Rule
    text: str
    answer: str


@dataclass(frozen=True)
class Examples:
    """Examples as token ids: ``prompts`` (N, P) and ``answers`` (N, O), uint8; see ``layout``.

    ``rule`` (N,) is the index of each example's rule in the instructions it was drawn from, and
    ``applies`` (N,) whether the pattern occurs in the input (False: a no-op).
    """

    layout: Layout
    prompts: np.ndarray
    answers: np.ndarray
    rule: np.ndarray
    applies: np.ndarray

    @classmethod
    def of(cls, layout: Layout, pairs: Sequence[tuple[str, str]], rule: np.ndarray | None = None,
           applies: np.ndarray | None = None) -> "Examples":  # fmt: skip
        """Examples from texts: prompts, up to and with ``=``, and their right answers."""
        size = len(pairs)
        return cls(
            layout,
            layout.prompts([prompt for prompt, _ in pairs]),
            layout.answers([answer for _, answer in pairs]),
            np.zeros(size, np.int32) if rule is None else rule.astype(np.int32),
            np.ones(size, bool) if applies is None else np.asarray(applies, bool),
        )

    def __len__(self) -> int:
        return len(self.prompts)

    def texts(self, index: int) -> tuple[str, str]:
        """Prompt and answer of the example at ``index``, as text without padding."""
        return self.layout.text(self.prompts[index]).lstrip(PAD), self.layout.answer(self.answers[index])

    def line(self, index: int) -> Line:
        """The example at ``index`` as rule, input and answer, where its prompt has the layout's form."""
        prompt, answer = self.texts(index)
        pieces = re.split("[→|=]", prompt.replace(PAD, ""))
        names = re.findall("[xyz]", self.layout.form)  # the last piece is empty, and has none
        parts = dict(zip(names, pieces, strict=False))
        return Line(Rule(parts["x"], parts["y"]), parts["z"], answer)

    @property
    def inputs(self) -> np.ndarray:
        """The letters of the inputs z, shape (N, |z|)."""
        return self.prompts[:, self.layout.place("z")]

    def first(self, size: int) -> "Examples":
        """The first ``size`` examples."""
        return self.where(slice(size))

    def where(self, chosen: slice | np.ndarray) -> "Examples":
        """The examples of a slice or a mask (N,)."""
        parts = (self.prompts, self.answers, self.rule, self.applies)
        return Examples(self.layout, *(part[chosen] for part in parts))

    def tokens(self) -> np.ndarray:
        """What a model is trained on: prompt and answer side by side, shape (N, P + O)."""
        return np.concatenate([self.prompts, self.answers], axis=1)


@spec
class Task(Checked):
    """A task world and its budget: every one has the fields (or properties) ``instructions`` I,
    ``unseen_instructions`` and ``examples`` N.

    ``rule_seed`` draws the instructions, ``example_seed`` the examples.
    """

    world: ClassVar[str] = ""  # its name in a stored spec: a field of every world but the first
    concentration: ClassVar[float] = 1.0  # how evenly instructions share the budget
    words: ClassVar[tuple[str, ...]] = ()  # of the vocabulary; the last one is the new token of fine-tuning
    # the random streams of training, and of the examples on each side of an evaluation
    streams: ClassVar[tuple[str, str]] = ("training examples", "{}")

    rule_seed: Seed = 0
    example_seed: Seed = 0

    @property
    def examples_per_instruction(self) -> float:
        """S = N / I, the mean number of training examples of one instruction."""
        return self.examples / self.instructions

    @property
    def drawn(self) -> int:
        """How many examples are drawn: N, unless a run is trained on some of them only."""
        return self.examples

    @property
    def layout(self) -> Layout:
        """Vocabulary and lengths of prompts and answers."""
        raise NotImplementedError

    def split(self) -> Any:
        """Draw the training instructions and those that are held out."""
        raise NotImplementedError

    def draw(self, instructions: Any, which: np.ndarray, rng: np.random.Generator) -> Examples:
        """One example for each entry of ``which`` (N,), the index of its instruction."""
        raise NotImplementedError

    def _check(self) -> None:
        if self.drawn < self.instructions:
            self._refuse("examples", f"fewer than instructions={self.instructions}: each needs at least one")

    def training(self, split: Any) -> Examples:
        """The whole training budget, shared by the seen instructions as ``shares`` has it."""
        which = np.repeat(np.arange(len(split.seen)), shares(self, len(split.seen)))
        return self.draw(split.seen, which, generator(self.example_seed, self.streams[0]))

    def evaluation(self, split: Any, size: int, seed: int) -> dict[str, Examples]:
        """``size`` fresh examples each on ``seen`` and ``unseen`` instructions, in turn from the first on.

        With more seen instructions than examples only the first are used.  Where shares are uneven
        (``concentration`` below 1) those have most training examples.
        """
        drawn = {}
        for side, rules in (("seen", split.seen), ("unseen", split.unseen)):
            rng = generator(seed, self.streams[1].format(side))
            drawn[side] = self.draw(rules, np.arange(size) % len(rules), rng)
        return drawn


def generator(seed: int, role: str) -> np.random.Generator:
    """An independent random stream for one role of a seed (``unseen rules``, ``order``, ...)."""
    return np.random.default_rng([seed, *role.encode()])


def pick(options: Sequence[Any], rng: np.random.Generator) -> Any:
    """One of the options, evenly."""
    return options[int(rng.integers(len(options)))]


def word(letters: str, length: int, rng: np.random.Generator) -> str:
    """A random string of so many letters."""
    return "".join(letters[i] for i in rng.integers(0, len(letters), length))


def some(letters: str, count: int, rng: np.random.Generator) -> str:
    """So many different ones of the letters, in random order."""
    return "".join(letters[i] for i in rng.permutation(len(letters))[:count])


def possible(letters: str, length: int) -> int:
    """How many strings of so many letters there are; beyond 64 letters, which nobody needs, those of 64."""
    return len(letters) ** min(length, 64)


def shares(task: Task, instructions: int) -> np.ndarray:
    """How many of the N training examples each of I instructions gets: (I,), adding up to N.

    With ``concentration`` 1 it is N / I for each; where I does not divide N, the first N mod I get one more.
    Otherwise instruction i gets the part of the density a x^(a-1) that lies between i / I and (i + 1) / I.
    """
    if task.concentration == 1:
        return np.bincount(np.arange(task.examples) % instructions, minlength=instructions)
    below = (np.arange(instructions + 1) / instructions) ** task.concentration  # the density, summed
    return np.diff(np.round(below * task.examples).astype(np.int64))
