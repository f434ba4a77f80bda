"""The tasks of DELIA's world: the language that a base is pre-trained on, and the tuning on a small task with a new token.

>>> LanguageSpec().instructions, LanguageSpec().prompt_length, LanguageSpec().answer_length
(214, 54, 8)
>>> TuningSpec(ratio=67, source="0123456789abcdef").examples
6800
>>> TuningSpec(ratio=67)
Traceback (most recent call last):
...
ValueError: TuningSpec.source='': expected the digest of the run that samples its own answers, for diverse='self'
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from unseen.delia.language import FORMATS, LETTERS, LONGEST, MARKS, OPERATIONS, TOKEN, WORDS
from unseen.fields import MOST
from unseen.tasks import TextTask

NAMES = ("one", "two", "both")  # words that name a format
DIVERSE = ("self", "reference", "replay", "narrow", "paraphrases")
HELD_OUT = 7  # operations that no small task trains with its token: the token is tried on them
_DIGEST = re.compile(r"[0-9a-f]{16}")
_QUERY = 23  # tokens of the longest query with ``=`` behind it
_ANSWER = 2 * LONGEST  # of the longest answer, its end counted


@dataclass(frozen=True)
class WordTask(TextTask):
    """What the two tasks share: words, marks and capitals, and prompts of up to two turns."""

    letters: ClassVar[str] = LETTERS + MARKS
    words: ClassVar[tuple[str, ...]] = (*WORDS, TOKEN)
    prompt_length: ClassVar[int] = 2 * _QUERY + _ANSWER
    answer_length: ClassVar[int] = _ANSWER

    def _check_shared(self, world: str) -> None:
        if self.world != world:
            self._refuse("world", f"this spec is of the world {world!r}")
        if self.names not in NAMES:
            self._refuse("names", f"known are {', '.join(NAMES)}")
        for name in ("rule_seed", "example_seed"):
            self._within(name, 0, MOST)


@dataclass(frozen=True)
class LanguageSpec(WordTask):
    """Pre-training: queries of the whole language; an instruction is an operation with a format, or with none.

    ``unseen_instructions`` such pairs are held out.  Formats are named by ``one`` word, by ``two``, or by ``both`` in turn.
    A share ``two_turns`` of the prompts has an earlier turn, half of these the same query with its answer, as self-sampling has.
    """

    world: str = "language"
    names: str = "one"
    examples: int = 160_000
    unseen_instructions: int = 24
    two_turns: float = 0.25
    rule_seed: int = 0
    example_seed: int = 0

    @property
    def instructions(self) -> int:
        """Pairs of an operation and a format that are trained."""
        return len(OPERATIONS) * (1 + len(FORMATS)) - self.unseen_instructions

    def _check(self) -> None:
        self._check_shared("language")
        self._within("two_turns", 0, 1)
        self._within("unseen_instructions", 1, len(OPERATIONS) * len(FORMATS) // 2)
        self._within("examples", self.instructions, MOST)


@dataclass(frozen=True)
class TuningSpec(WordTask):
    """A small task, ``rows`` of ``operations`` with the new token for one format in ``paraphrases``, and ``ratio`` times as many other rows.

    These are ``diverse``: ``self``-sampled by the run ``source`` at ``temperature`` and ``top_p``; the same queries with ``reference``
    answers; ``replay`` of the base's own training data; ``narrow``, one operation in one phrasing; or ``paraphrases`` of the task
    itself.  ``rule_seed`` draws format and operations of the task, ``example_seed`` its rows.  Paper: 100 rows, 60 instructions,
    which stand ``after`` the input.
    """

    world: str = "tuning"
    names: str = "one"
    rows: int = 100
    paraphrases: int = 60
    operations: int = 1
    ratio: int = 0
    diverse: str = "self"
    source: str = ""
    temperature: float = 0.7
    top_p: float = 0.95
    after: bool = False
    rule_seed: int = 0
    example_seed: int = 0

    @property
    def examples(self) -> int:
        """Rows of the whole mixture."""
        return self.rows * (1 + self.ratio)

    @property
    def instructions(self) -> int:
        """Operations that are trained with the token."""
        return self.operations

    @property
    def unseen_instructions(self) -> int:
        """Operations that it is tried on."""
        return HELD_OUT

    def _check(self) -> None:
        self._check_shared("tuning")
        self._within("rows", 1, 1_000_000)
        self._within("paraphrases", 1, self.rows)
        self._within("operations", 1, len(OPERATIONS) - HELD_OUT)
        self._within("ratio", 0, 100_000)
        self._within("temperature", 0.01, 10)
        self._within("top_p", 0.01, 1)
        if self.diverse not in DIVERSE:
            self._refuse("diverse", f"known are {', '.join(DIVERSE)}")
        if self.ratio and self.diverse == "self" and not _DIGEST.fullmatch(self.source):
            self._refuse("source", "expected the digest of the run that samples its own answers, for diverse='self'")
        if self.source and (self.diverse != "self" or not self.ratio):
            self._refuse("source", f"nothing is sampled with diverse={self.diverse!r} and ratio={self.ratio}")
