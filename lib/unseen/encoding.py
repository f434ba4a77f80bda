"""Between text and token ids: the vocabulary, the layout of a prompt, what counts in the loss.

One example is one line of text, one token a character::

    x→y|z=out.        e.g.  aa→bac|caaba=cbacba.

Everything up to and with ``=`` is the prompt, the rest the answer.  A model reads the prompt and the
answer but its last token, and the loss counts exactly the answer (the positions from ``=`` on).

    >>> encoding = Encoding.of(TaskSpec(alphabet="abc", pattern_length=2, input_length=5, unseen_instructions=1,
    ...                                 instructions=2))
    >>> encoding.prompt(Rule("aa", "bac"), "caaba")
    'aa→bac|caaba='
    >>> encoding.text(encoding.ids("aa→bac|caaba="))
    'aa→bac|caaba='
    >>> encoding.prompt_length, encoding.answer_length
    (13, 7)
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from unseen.rewriting import Rule
from unseen.specs import SPECIAL, TaskSpec
from unseen.tasks import PAD, Task, TextTask

_PIECE = re.compile(r"<[a-z]+>|[a-z]+|\S")


class Layout:
    """A vocabulary (letters first, then special tokens) and the lengths of prompts and answers in tokens."""

    alphabet: str
    prompt_length: int
    answer_length: int

    @property
    def vocabulary(self) -> Sequence[str]:
        """All tokens in the order of their ids."""
        return self.alphabet + "".join(SPECIAL.values())

    @property
    def context(self) -> int:
        """Tokens a model reads at once: the prompt and the answer but its last token."""
        return self.prompt_length + self.answer_length - 1

    def special(self, name: str) -> int:
        """The id of a special token: ``arrow``, ``given``, ``gives`` or ``end``."""
        return len(self.alphabet) + list(SPECIAL).index(name)

    def ids(self, text: str) -> np.ndarray:
        """Token ids of a text, shape (T,), uint8; raises ``ValueError`` on a character without an id."""
        lookup = {token: i for i, token in enumerate(self.vocabulary)}
        if unknown := [c for c in text if c not in lookup]:
            raise ValueError(f"no token for {unknown[0]!r}; the vocabulary is {self.vocabulary!r}")
        return np.array([lookup[c] for c in text], dtype=np.uint8)

    def text(self, ids: np.ndarray) -> str:
        """The text of token ids (T,)."""
        return "".join(self.vocabulary[i] for i in ids)

    def answer(self, ids: np.ndarray) -> str:
        """The answer in token ids (T,): the text before the first end token."""
        return self.text(ids).split(SPECIAL["end"], 1)[0]


@dataclass(frozen=True)
class TextEncoding(Layout):
    """The layout of a ``TextTask``: prompts of any length, filled up on the left with one more special token.

    >>> encoding = TextEncoding("abc", prompt_length=9, answer_length=4)
    >>> encoding.text(encoding.prompts(["a→b|ab="])[0]), encoding.text(encoding.answers(["bb"])[0])
    ('··a→b|ab=', 'bb..')
    """

    alphabet: str
    prompt_length: int
    answer_length: int

    @property
    def vocabulary(self) -> str:
        """All tokens in the order of their ids."""
        return super().vocabulary + PAD

    def prompts(self, texts: Sequence[str]) -> np.ndarray:
        """Token ids (N, P), uint8, of prompts up to and with ``=``.

        Raises ``ValueError`` naming a prompt that is too long or holds a character without an id.
        """
        return self._table([text.rjust(self.prompt_length, PAD) for text in texts], self.prompt_length, "prompt")

    def answers(self, texts: Sequence[str]) -> np.ndarray:
        """Token ids (N, O), uint8, of answers, each ended and filled up with end tokens; raises as ``prompts`` does."""
        return self._table([f"{text}{SPECIAL['end']}".ljust(self.answer_length, SPECIAL["end"]) for text in texts],
                           self.answer_length, "answer")  # fmt: skip

    def _table(self, texts: list[str], length: int, what: str) -> np.ndarray:
        if long := [text for text in texts if len(text) > length]:
            raise ValueError(f"{what} {long[0]!r}: {len(long[0])} tokens, but this model has {length} for it")
        points = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
        table = np.full(max(max(map(ord, self.vocabulary)), points.max(initial=0)) + 1, 255, np.uint8)
        table[[ord(token) for token in self.vocabulary]] = np.arange(len(self.vocabulary))
        ids = table[points]
        if (unknown := np.flatnonzero(ids == 255)).size:
            raise ValueError(f"{what}: no token for {chr(points[unknown[0]])!r}; the vocabulary is {self.vocabulary!r}")
        return ids.reshape(len(texts), length)


@dataclass(frozen=True)
class WordEncoding(Layout):
    """The layout of a ``TextTask`` that has words: one token a word of lower-case letters (``<new>`` too), or any other character.

    White space only separates; text that comes back has it around words.  The last of the words is the new token of fine-tuning.

    >>> encoding = WordEncoding("ABC:", ("flip", "<sep>"), prompt_length=7, answer_length=3)
    >>> ids = encoding.prompts(["flip <sep> : AB="])[0]
    >>> encoding.text(ids), encoding.pieces("flip AB")
    ('·flip <sep> :AB=', ['flip', 'A', 'B'])
    """

    alphabet: str
    words: tuple[str, ...]
    prompt_length: int
    answer_length: int

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All tokens in the order of their ids."""
        return _vocabulary(self.alphabet, self.words)

    def pieces(self, text: str) -> list[str]:
        """The tokens of a text."""
        return _PIECE.findall(text)

    def ids(self, text: str) -> np.ndarray:
        """Token ids of a text, shape (T,), uint8; raises ``ValueError`` on a word or character without an id."""
        lookup, pieces = _lookup(self.alphabet, self.words), self.pieces(text)
        if unknown := [piece for piece in pieces if piece not in lookup]:
            raise ValueError(f"no token for {unknown[0]!r} in {text!r}")
        return np.array([lookup[piece] for piece in pieces], dtype=np.uint8)

    def text(self, ids: np.ndarray) -> str:
        """The text of token ids (T,)."""
        pieces = [self.vocabulary[i] for i in ids]
        apart = [" " if one != PAD and max(len(one), len(other)) > 1 else "" for one, other in pairwise(pieces)]
        return "".join(piece + space for piece, space in zip(pieces, [*apart, ""], strict=True))

    def prompts(self, texts: Sequence[str]) -> np.ndarray:
        """As ``TextEncoding.prompts``."""
        return self._table([self.ids(text) for text in texts], texts, "prompt")

    def answers(self, texts: Sequence[str]) -> np.ndarray:
        """As ``TextEncoding.answers``."""
        return self._table([self.ids(f"{text}{SPECIAL['end']}") for text in texts], texts, "answer")

    def _table(self, rows: list[np.ndarray], texts: Sequence[str], what: str) -> np.ndarray:
        length = self.prompt_length if what == "prompt" else self.answer_length
        fill = len(self.alphabet) + len(SPECIAL) if what == "prompt" else self.special("end")
        table = np.full((len(rows), length), fill, np.uint8)
        for line, ids, text in zip(table, rows, texts, strict=True):
            if len(ids) > length:
                raise ValueError(f"{what} {text!r}: {len(ids)} tokens, but this model has {length} for it")
            line[slice(length - len(ids), None) if what == "prompt" else slice(len(ids))] = ids
        return table


@lru_cache
def _vocabulary(alphabet: str, words: tuple[str, ...]) -> tuple[str, ...]:
    return (*alphabet, *SPECIAL.values(), PAD, *words)


@lru_cache
def _lookup(alphabet: str, words: tuple[str, ...]) -> dict[str, int]:
    return {token: i for i, token in enumerate(_vocabulary(alphabet, words))}


@dataclass(frozen=True)
class Encoding(Layout):
    """The vocabulary (letters first, then the four special tokens) and the fixed layout of a task."""

    alphabet: str
    pattern_length: int
    replacement_length: int
    input_length: int
    output_length: int

    @classmethod
    def of(cls, task: TaskSpec) -> "Encoding":
        """The encoding that a task needs."""
        return cls(task.alphabet, task.pattern_length, task.replacement_length, task.input_length, task.output_length)

    @property
    def prompt_length(self) -> int:
        """Tokens of ``x→y|z=``."""
        return self.pattern_length + self.replacement_length + self.input_length + 3

    @property
    def answer_length(self) -> int:
        """Tokens of the longest answer with its end token; shorter ones are filled up with end tokens."""
        return self.output_length + 1

    def prompt(self, rule: Rule, text: str) -> str:
        """The prompt for one rule and one input.

        Raises ``ValueError`` when a part has the wrong length or a letter outside the alphabet.
        """
        parts = {"pattern": (rule.pattern, self.pattern_length), "input": (text, self.input_length),
                 "replacement": (rule.replacement, self.replacement_length)}  # fmt: skip
        for name, (part, length) in parts.items():
            if unknown := sorted(set(part) - set(self.alphabet)):
                raise ValueError(f"{name}: unknown letter {unknown[0]!r}; the alphabet is {self.alphabet!r}")
            if len(part) != length:
                raise ValueError(f"{name}: {len(part)} letters, but this model reads exactly {length}")
        return f"{rule.pattern}{SPECIAL['arrow']}{rule.replacement}{SPECIAL['given']}{text}{SPECIAL['gives']}"


def layout_of(task: Task) -> Encoding | TextEncoding | WordEncoding:
    """The layout that a task of any world needs."""
    if isinstance(task, TextTask) and task.words:
        return WordEncoding(task.letters, task.words, task.prompt_length, task.answer_length)
    if isinstance(task, TextTask):
        return TextEncoding(task.letters, task.prompt_length, task.answer_length)
    return Encoding.of(task)
