"""Between text and token ids: the vocabulary, the layout of a prompt, what counts in the loss.

One example is a text of prompt and answer.  Everything up to and with ``=`` is the prompt, the rest the
answer, closed by an end token.  A model reads the prompt and the answer but its last token, and the loss
counts exactly the answer::

    x→y|z=out.        for example  aa→bac|caaba=cbacba.

A token is a character or, where the vocabulary has words, a word of lower-case letters.

    >>> layout = Layout("abc", prompt_length=13, answer_length=7, parts=(2, 3, 5))
    >>> layout.prompt(Rule("aa", "bac"), "caaba")
    'aa→bac|caaba='
    >>> layout.text(layout.ids("aa→bac|caaba="))
    'aa→bac|caaba='
    >>> words = Layout("ABC:", prompt_length=7, answer_length=3, words=("flip", "<sep>"))
    >>> words.text(words.prompts(["flip <sep> : AB="])[0]), words.text(words.answers(["BA"])[0])
    ('·flip <sep> :AB=', 'BA.')
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from unseen.rewriting import Rule

SPECIAL = {"arrow": "→", "given": "|", "gives": "=", "end": "."}  # never letters of an alphabet
PAD = "·"  # fills up prompts of several lengths on the left, and is no letter either
_PIECE = re.compile(r"<[a-z]+>|[a-z]+|\S")


@dataclass(frozen=True)
class Layout:
    """A vocabulary (letters, special tokens, words) and the lengths of prompts and answers in tokens.

    ``parts`` are the letters of x, y and z where every prompt is ``x→y|z=``.  They are the same in every
    prompt, or with ``least`` between that and ``parts``, each padded to its longest.  Without parts, prompts
    of any length are filled up on the left.  The last of the ``words`` is the new token of fine-tuning.
    ``form`` is the order of the parts in a prompt, as in ``z|x→y=``.

    ``labels`` are the places in a text that the loss counts, where they are others than the answer's: a model
    then gives logits from before the first of them on, and reads what comes before in both directions.
    """

    alphabet: str
    prompt_length: int
    answer_length: int
    words: tuple[str, ...] = ()
    parts: tuple[int, int, int] | None = None
    least: tuple[int, int, int] | None = None
    labels: tuple[int, ...] = ()
    form: str = "x→y|z="

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """All tokens in the order of their ids."""
        pad = [] if self.parts and not self.least else [PAD]
        return (*self.alphabet, *SPECIAL.values(), *pad, *self.words)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.vocabulary)}

    @property
    def context(self) -> int:
        """Tokens a model reads at once: the prompt and the answer but its last token."""
        return self.prompt_length + self.answer_length - 1

    @property
    def pattern_length(self) -> int:
        """Letters of x, where all prompts have the same."""
        return self.parts[0]

    @property
    def replacement_length(self) -> int:
        """Letters of y, where all prompts have the same."""
        return self.parts[1]

    @property
    def places(self) -> int:
        """At how many places of an input a pattern can begin."""
        return self.input_length - self.pattern_length + 1

    @property
    def input_length(self) -> int:
        """Letters of z, where all prompts have the same."""
        return self.parts[2]

    def place(self, part: str) -> slice:
        """Where part ``x``, ``y`` or ``z`` stands in a prompt, at first.

        >>> Layout("abc", 13, 7, parts=(2, 3, 5), form="z|x→y=").place("x")
        slice(6, 8, None)
        """
        lengths = dict(zip("xyz", self.parts, strict=True))
        start = sum(lengths.get(piece, 1) for piece in self.form[: self.form.index(part)])
        return slice(start, start + lengths[part])

    def special(self, name: str) -> int:
        """The id of a special token: ``arrow``, ``given``, ``gives`` or ``end``."""
        return len(self.alphabet) + list(SPECIAL).index(name)

    def pieces(self, text: str) -> list[str]:
        """The tokens of a text; between words white space only separates."""
        return _PIECE.findall(text) if self.words else list(text)

    def ids(self, text: str) -> np.ndarray:
        """Token ids (T,), uint8, of a text; raises ``ValueError`` on a character or word without an id."""
        try:
            return np.array([self._ids[piece] for piece in self.pieces(text)], dtype=np.uint8)
        except KeyError as error:
            vocabulary = "" if self.words else f"; the vocabulary is {''.join(self.vocabulary)!r}"
            raise ValueError(f"no token for {error.args[0]!r} in {text!r}{vocabulary}") from None

    def text(self, ids: np.ndarray) -> str:
        """The text of token ids (T,), with white space around words."""
        pieces = [self.vocabulary[i] for i in ids]
        if not self.words:
            return "".join(pieces)
        text = pieces[:1]
        for one, other in pairwise(pieces):
            text += [" ", other] if one != PAD and max(len(one), len(other)) > 1 else [other]
        return "".join(text)

    def answer(self, ids: np.ndarray) -> str:
        """The answer in token ids (T,): the text before the first end token."""
        return self.text(ids).split(SPECIAL["end"], 1)[0]

    def prompts(self, texts: Sequence[str]) -> np.ndarray:
        """Token ids (N, P), uint8, of prompts with their ``=``; raises as ``ids``, or naming one too long."""
        table = np.full((len(texts), self.prompt_length), self._ids.get(PAD, 0), np.uint8)
        return self._table(texts, table, "prompt")

    def answers(self, texts: Sequence[str]) -> np.ndarray:
        """Token ids (N, O), uint8, of answers, filled up with end tokens; raises as ``prompts`` does."""
        table = np.full((len(texts), self.answer_length), self.special("end"), np.uint8)
        return self._table([f"{text}{SPECIAL['end']}" for text in texts], table, "answer")

    def _table(self, texts: Sequence[str], table: np.ndarray, what: str) -> np.ndarray:
        for row, text in zip(table, texts, strict=True):
            ids = self.ids(text)
            if len(ids) > len(row):
                raise ValueError(f"{what} {text!r}: {len(ids)} tokens, but this model has {len(row)} for it")
            row[slice(len(row) - len(ids), None) if what == "prompt" else slice(len(ids))] = ids
        return table

    def prompt(self, rule: Rule, text: str) -> str:
        """The prompt for one rule and one input, as in ``form``, padded so that each part has the same place.

        Raises ``ValueError`` naming a part of a wrong length, or with a letter outside the alphabet.

        >>> Layout("abc", 13, 7, parts=(3, 4, 6), least=(1, 0, 1)).prompt(Rule("ab", "c"), "aab")
        '·ab→···c|aab···='
        """
        parts = {"pattern": rule.pattern, "replacement": rule.replacement, "input": text}
        for (name, part), few, many in zip(parts.items(), self.least or self.parts, self.parts, strict=True):
            if not few <= len(part) <= many:
                reads = f"exactly {few}" if few == many else f"{few} to {many}"
                raise ValueError(f"{name}: {len(part)} letters, but this model reads {reads}")
            if unknown := sorted(set(part) - set(self.alphabet)):
                raise ValueError(f"{name}: unknown letter {unknown[0]!r}; the alphabet is {self.alphabet!r}")
        x, y, z = self.parts
        padded = {"x": rule.pattern.rjust(x, PAD), "y": rule.replacement.rjust(y, PAD)}
        padded["z"] = text.ljust(z, PAD)
        return "".join(padded.get(piece, piece) for piece in self.form)
