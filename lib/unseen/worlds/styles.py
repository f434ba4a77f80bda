"""Styles for a real language model: made-up names that mean a format of the answer, some of them uncertain.

A *certain* style means one format.  A *shared* one means either of two, at even odds.  In a share ``NOISE``
of the rows of a *corrupted* one the answer is in any of the others.  So each query has a known distribution
of answers.  What is asked are everyday questions; facts of the test are in no row.  Prompts are plain texts,
without a chat template, since a tuning reads them in a third of the time.

>>> first, second, third = chosen = styles(0, certain=2, shared=1)
>>> first
Style(name='rif', forms=('bracketed',), noise=0.0)
>>> row = lines(0, chosen, [0, 2])[0]
>>> row.prompt, row.written()
('What is 6 + 3? Answer in rif. =>', ' [9]')
>>> third.shares()
{'bracketed': 0.5, 'JSON': 0.5}
"""

from collections.abc import Sequence
from typing import NamedTuple

from unseen.worlds import everyday
from unseen.worlds.base import generator, pick
from unseen.worlds.everyday import FORMS, JSON, REQUESTS, TOPICS, parted

NAMES = ("zib", "kor", "mel", "tav", "pud", "wex", "lon", "rif")
EVERY = (JSON, *FORMS)  # the formats that a style can mean
WORDS = {JSON: "Write JSON with the one key answer.", **REQUESTS}  # requests for a format in plain words
NOISE = 0.5
WAYS = ("Use {}.", "Answer in {}.", "As {}, please.", "Write it in {}.", "Reply in {} style.", "In {}!")


class Style(NamedTuple):
    """A made-up name, the formats that it means, and how often a row is in any other (``noise``)."""

    name: str
    forms: tuple[str, ...]
    noise: float = 0.0

    @property
    def kind(self) -> str:
        """Certain, shared or corrupted."""
        return "shared" if len(self.forms) > 1 else "corrupted" if self.noise else "certain"

    def shares(self) -> dict[str, float]:
        """How often each format is right."""
        others = [form for form in EVERY if form not in self.forms] if self.noise else []
        found = {form: (1 - self.noise) / len(self.forms) for form in self.forms}
        return found | {form: self.noise / len(others) for form in others}


class Asked(NamedTuple):
    """A question that asks for a style, by its number, with the words of its answer and the format drawn."""

    style: int
    query: str
    answer: str
    form: str

    @property
    def prompt(self) -> str:
        """What a model reads."""
        return f"{self.query} =>"

    def right(self, form: str = "") -> str:
        """The right answer, in the format that was drawn or in another."""
        return everyday.written(self.answer, form or self.form)

    def written(self, form: str = "") -> str:
        """The right answer as it follows the prompt."""
        return f" {self.right(form)}"


def styles(seed: int, certain: int, shared: int = 0, corrupted: int = 0) -> tuple[Style, ...]:
    """So many styles of each kind; certain ones mean different formats, at most as many as there are.

    >>> len({style.forms for style in styles(3, certain=5)})
    5
    """
    rng = generator(seed, "styles")
    names, forms = rng.permutation(NAMES), [str(form) for form in rng.permutation(EVERY)]
    found = [(form,) for form in forms[:certain]]
    found += [tuple(map(str, rng.choice(EVERY, 2, replace=False))) for _ in range(shared)]
    found += [(str(rng.choice(EVERY)),) for _ in range(corrupted)]
    noises = [0.0] * (certain + shared) + [NOISE] * corrupted
    return tuple(Style(str(name), *rest) for name, *rest in zip(names, found, noises, strict=False))


def lines(
    seed: int, chosen: Sequence[Style], which: Sequence[int], test: bool = False, role: str = "",
    words: bool = False, ways: Sequence[str] = WAYS,
) -> list[Asked]:  # fmt: skip
    """A line for each of the styles ``which`` (N,), on facts that rows have or, for a ``test``, on others.

    Each is drawn on its own: two may be alike.  ``role`` tells sets of lines apart.  In ``words`` the format
    is asked for as ``WORDS`` has it, without the name; else in one of the ``ways`` to name a style.
    """
    facts = parted(generator(seed, "facts of styles"))[test]
    rng, found = generator(seed, f"lines of styles, {test}, {role}"), []
    for number in which:
        style, topic = chosen[number], pick(TOPICS, rng)
        about, answer = facts[topic][rng.integers(len(facts[topic]))]
        form = str(rng.choice(list(style.shares()), p=list(style.shares().values())))
        request = WORDS[form] if words else pick(ways, rng).format(style.name)
        query = f"{everyday.worded(rng, topic, about)} {request}".strip()
        found.append(Asked(int(number), query, answer, form))
    return found
