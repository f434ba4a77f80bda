"""The tape world: single steps of programs, rules and inputs of many lengths.

>>> TapeSpec().prompt_length, TapeSpec().answer_length
(26, 20)
>>> TapeSpec(longest_pattern=17)
Traceback (most recent call last):
...
ValueError: TapeSpec.longest_pattern=17: must be at least 1 and at most 16
"""

import string
from dataclasses import dataclass

from unseen.fields import LONGEST, MOST
from unseen.tasks import TextTask


@dataclass(frozen=True)
class TapeSpec(TextTask):
    """Rules ``x → y`` and inputs ``z`` as the steps of a Markov algorithm have them.

    Patterns have 1 to ``longest_pattern`` letters, replacements 0 to ``longest_replacement``, inputs 1 to ``longest_input``,
    each length equally often.  A rule is over 1 to ``most_letters`` different letters, and so is an input, the
    pattern's letters among them: tapes repeat themselves, and a pattern may occur several times.  A share ``no_op_share``
    of inputs does not hold the pattern.

    The rules of the programs (``programs``, edition ``collection``) in ``disguises`` disguises are in no training set.
    """

    world: str = "tapes"
    instructions: int = 1_000
    examples: int = 192_000
    alphabet: str = string.ascii_lowercase
    longest_pattern: int = 3
    longest_replacement: int = 4
    longest_input: int = 16
    most_letters: int = 5
    no_op_share: float = 0.4
    unseen_instructions: int = 300
    disguises: int = 3
    collection: int = 1
    rule_seed: int = 0
    example_seed: int = 0

    @property
    def letters(self) -> str:
        """The letters of rules and inputs."""
        return self.alphabet

    @property
    def prompt_length(self) -> int:
        """Tokens of the longest ``x→y|z=``, which is the length of all: each part is filled up."""
        return self.longest_pattern + self.longest_replacement + self.longest_input + 3

    @property
    def answer_length(self) -> int:
        """Tokens of the longest answer: one letter of the longest input becomes the longest replacement; and the end."""
        return self.longest_input + max(0, self.longest_replacement - 1) + 1

    def _check(self) -> None:
        if self.world != "tapes":
            self._refuse("world", "this is the spec of the world 'tapes'")
        for name in ("instructions", "examples", "unseen_instructions", "disguises"):
            self._within(name, 1, MOST)
        for name in ("rule_seed", "example_seed", "collection"):
            self._within(name, 0, MOST)
        self._within("longest_input", 1, LONGEST)
        self._within("longest_pattern", 1, self.longest_input)
        self._within("longest_replacement", 0, LONGEST)
        self._within("no_op_share", 0, 1)
        self._letters("alphabet", 2)
        self._within("most_letters", 1, len(self.alphabet))
        if self.examples < self.instructions:
            self._refuse("examples", f"fewer than instructions={self.instructions}: each needs at least one")
