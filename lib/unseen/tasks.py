"""Task worlds as specs: what is drawn, and how much of it.  ``TaskSpec`` is the papers' string rewriting.

>>> TaskSpec(instructions=100).examples_per_instruction
450.0
>>> TaskSpec(pattern_length=11)
Traceback (most recent call last):
...
ValueError: TaskSpec.pattern_length=11: 1 pattern(s) of 11 letters do not fit in input_length=10
"""

import re
import string
from dataclasses import dataclass
from typing import ClassVar

from unseen.fields import LONGEST, MOST, Checked, later

SPECIAL = {"arrow": "→", "given": "|", "gives": "=", "end": "."}  # never letters of an alphabet
PAD = "·"  # fills up the prompts of a ``TextTask``, and is no letter either
FAMILIES = ("random", "repeated", "periodic", "mirrored", "mixed")
_NUMBERS = re.compile(r"[1-9][0-9]{0,5}(,[1-9][0-9]{0,5}){0,99}")
CIPHER = re.compile(r"(shift|substitution):[0-9]{1,9}")
_ENOUGH = 64  # letters: there are more strings of so many than are ever asked for, and longer powers take long


@dataclass(frozen=True)
class Task(Checked):
    """What every task has: ``instructions``, ``unseen_instructions``, ``examples``, ``rule_seed`` and ``example_seed``."""

    @property
    def examples_per_instruction(self) -> float:
        """S = N / I, the mean number of training examples of one instruction."""
        return self.examples / self.instructions


@dataclass(frozen=True)
class TextTask(Task):
    """A task whose prompts and answers are texts of any length up to a longest; prompts are filled up on their left.

    It has a field ``world``, its name in a stored spec, and says with which ``letters`` it writes, and the tokens of its
    longest prompt (``=`` counted) and of its longest answer (the end counted).  A word among its ``words`` is one token.
    """

    concentration: ClassVar[float] = 1.0  # its instructions have equal shares
    letters: ClassVar[str]
    words: ClassVar[tuple[str, ...]] = ()
    prompt_length: ClassVar[int]
    answer_length: ClassVar[int]


@dataclass(frozen=True)
class TaskSpec(Task):
    """The task world and the training budget: ``examples`` N = ``instructions`` I x S.

    Lengths are in letters.  Each input holds the pattern exactly ``occurrences`` times (counted from
    the left without overlap), except a share ``no_op_share`` of inputs, which hold it not at all.
    ``concentration`` a spreads the examples over the instructions by the density a x^(a-1): 1 gives each as many,
    2 makes shares grow in a line, smaller numbers give most to the first few and, below about 0.25 with
    thousands of instructions, none at all to the last (paper, long-tail experiment).
    ``rule_seed`` draws the instructions, ``example_seed`` the training examples.
    Paper, section 2: inputs of 50 letters, patterns of 20, N = 10^6.

    ``family`` gives the strings of the rules a form (see ``families``; ``mixed`` is a third of each), with k drawn between
    ``k_low`` and ``k_high`` for each rule.  ``also_occurrences`` are further numbers of occurrences, as in ``"5,10"``: an
    input holds its pattern each of these times, and ``occurrences`` times, equally often.  ``cipher`` enciphers the
    answers (see ``ciphers``).  Paper, semantics, occurrences and pre-trained experiments.
    """

    instructions: int = 1_000
    examples: int = 45_000
    alphabet: str = string.ascii_lowercase
    pattern_length: int = 3
    replacement_length: int = 3
    input_length: int = 10
    occurrences: int = 1
    no_op_share: float = 0.0
    unseen_instructions: int = 1_000
    rule_seed: int = 0
    example_seed: int = 0
    concentration: float = later(1.0)
    family: str = later("random")
    k_low: int = later(1)
    k_high: int = later(1)
    also_occurrences: str = later("")
    cipher: str = later("")

    @property
    def all_occurrences(self) -> tuple[int, ...]:
        """Every number of times that an input may hold its pattern, no-ops aside.

        >>> TaskSpec(also_occurrences="2,3").all_occurrences
        (1, 2, 3)
        """
        return self.occurrences, *map(int, filter(None, self.also_occurrences.split(",")))

    @property
    def output_length(self) -> int:
        """Letters of the longest answer: a no-op keeps its length, one rewrite swaps x for y."""
        rewritten = self.input_length - self.pattern_length + self.replacement_length
        return max(rewritten, self.input_length if self.no_op_share else 0)

    def _check(self) -> None:
        for name in ("instructions", "examples", "unseen_instructions"):
            self._within(name, 1, MOST)
        for name in ("pattern_length", "replacement_length", "input_length", "occurrences"):
            self._within(name, 1, LONGEST)
        for name in ("rule_seed", "example_seed"):
            self._within(name, 0, MOST)
        self._within("no_op_share", 0, 1)
        self._within("concentration", 0.001, 100)
        self._letters("alphabet", 1)
        self._check_occurrences()
        self._check_family()
        if self.cipher and not CIPHER.fullmatch(self.cipher):
            self._refuse("cipher", "expected shift:NUMBER, substitution:SEED or nothing, as in shift:3")
        if self.examples < self.instructions:
            self._refuse("examples", f"fewer than instructions={self.instructions}: each needs at least one")
        if self.no_op_share and len(self.alphabet) == 1:
            self._refuse("no_op_share", "with one letter every input holds every pattern, so no no-op exists")
        self._check_room()

    def _check_occurrences(self) -> None:
        if self.also_occurrences and not _NUMBERS.fullmatch(self.also_occurrences):
            self._refuse("also_occurrences", "expected numbers from 1 on with commas between, as in 5,10")
        if len(set(self.all_occurrences)) < len(self.all_occurrences):
            self._refuse("also_occurrences", f"each number once, and not occurrences={self.occurrences} again")
        most = max(self.all_occurrences)
        if most * self.pattern_length > self.input_length:
            name = "also_occurrences" if most > self.occurrences else "occurrences"
            name = "pattern_length" if self.pattern_length > self.input_length else name
            self._refuse(name, f"{most} pattern(s) of {self.pattern_length} letters "
                         f"do not fit in input_length={self.input_length}")  # fmt: skip

    def _check_family(self) -> None:
        if self.family not in FAMILIES:
            self._refuse("family", f"known families are {', '.join(FAMILIES)}")
        self._within("k_low", 1, self.pattern_length)
        self._within("k_high", self.k_low, self.pattern_length)
        if self.family == "random" and self.k_high > 1:
            self._refuse("k_high", "random rules have no k; choose a family, or k_low = k_high = 1")

    def _check_room(self) -> None:
        """Seen and unseen strings must be disjoint, so there must exist enough of them."""
        forms = 1 if self.family == "random" else 3 * (self.k_high - self.k_low + 1)  # at most: some strings have two
        patterns, replacements = (forms * len(self.alphabet) ** min(-(-length // self.k_low), _ENOUGH)
                                  for length in (self.pattern_length, self.replacement_length))  # fmt: skip
        shared = self.pattern_length == self.replacement_length
        needed = max(self.instructions, 2) + self.unseen_instructions * (2 if shared else 1)
        if needed > patterns:
            of_k = f" with k_low={self.k_low}" if self.k_low > 1 else ""
            self._refuse("instructions", f"only {patterns} strings of pattern_length={self.pattern_length}{of_k} exist, and "
                         f"{needed} are needed with unseen_instructions={self.unseen_instructions} held out")  # fmt: skip
        if self.unseen_instructions + 2 > replacements:
            self._refuse("unseen_instructions", f"only {replacements} strings of "
                         f"replacement_length={self.replacement_length} exist")  # fmt: skip
