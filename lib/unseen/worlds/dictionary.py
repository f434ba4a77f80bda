"""A small made-up language: sentences, their word-by-word gloss, and the translation in another order.

The made-up language puts adjective and article behind the noun and the verb last; the gloss keeps that order.

>>> sentence = sample(np.random.default_rng(5))
>>> sentence.gloss, sentence.translation
('lamp a queen cold a sees today', 'a lamp sees a cold queen today')
>>> len(sentence.source.split()) == len(sentence.gloss.split())
True
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from unseen.files import packaged
from unseen.worlds.base import generator, pick

_TEXTS = packaged("worlds/dictionary.toml")
NOUNS, ADJECTIVES, VERBS = _TEXTS["nouns"], _TEXTS["adjectives"], _TEXTS["verbs"]
ARTICLES, WHEN, THINGS = _TEXTS["articles"], _TEXTS["when"], _TEXTS["things"]
PHRASES = _TEXTS["phrases"]  # what a base learns to do with sentences
WORDS = (*NOUNS, *ADJECTIVES, *VERBS, *ARTICLES, *filter(None, WHEN))
HELD_OUT = (*NOUNS[12:], *ADJECTIVES[6:], *VERBS[6:])  # words that no row of the small task has
PARAPHRASES = tuple(map(" ".join, product(*_TEXTS["paraphrases"])))  # sixty ways to ask for a translation


@cache
def dictionary() -> dict[str, str]:
    """The made-up word for each word, always the same: two or three syllables, no two alike."""
    rng, made = generator(0, "dictionary"), {}
    for word in WORDS:
        new = word
        while new in made.values() or new in WORDS:
            count = rng.integers(2, 4)
            new = "".join(pick("kvtrslmnpd", rng) + pick("aeiou", rng) for _ in range(count))
        made[word] = new
    return made


@dataclass(frozen=True)
class Sentence:
    """A sentence: its translation, and the same words in the order of the made-up language."""

    translation: str
    gloss: str

    @property
    def source(self) -> str:
        """The sentence in the made-up language."""
        return " ".join(dictionary()[word] for word in self.gloss.split())


def sample(rng: np.random.Generator, words: Sequence[str] = WORDS) -> Sentence:
    """A sentence of some of the words: someone does something to something, perhaps at a time."""

    def some(kind: Sequence[str]) -> str:
        return pick([word for word in kind if word in words], rng)

    def noun_phrase() -> list[str]:
        noun, article = some(NOUNS), pick(ARTICLES, rng)
        return [article, some(ADJECTIVES), noun] if rng.random() < 0.7 else [article, noun]

    one, two, verb, when = noun_phrase(), noun_phrase(), [some(VERBS)], pick(WHEN, rng).split()
    translation, gloss = one + verb + two + when, one[::-1] + two[::-1] + verb + when
    return Sentence(" ".join(translation), " ".join(gloss))


def exercise(rng: np.random.Generator, kind: str = "") -> tuple[str, str]:
    """A query about a sentence and its right answer, of a kind by its name in ``PHRASES``, or of any.

    >>> exercise(np.random.default_rng(1), "order")
    ('river bright a letter old the finds : straighten the sentence', 'a bright river finds the old letter')
    """
    kind = kind or pick(tuple(PHRASES), rng)
    request = pick(PHRASES[kind], rng).format(pick(THINGS, rng))
    sentence = sample(rng)
    text = {"gloss": sentence.source, "order": sentence.gloss, "again": sentence.translation}[kind]
    answer = sentence.gloss if kind == "gloss" else sentence.translation
    return (f"{text} : {request}" if rng.random() < 0.5 else f"{request} : {text}"), answer
