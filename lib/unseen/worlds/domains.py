"""Three domains of instructions in one format and vocabulary: letters, algebra and lists.

Every domain is written ``instruction|input=answer.`` with the same characters.  Held out is, drawn first:

* ``letters``: patterns and replacements; no string of an unseen rule occurs on either side of a training
  rule;
* ``algebra``: patterns in canonical form (metavariables named in the order of writing) and replacements,
  likewise;
* ``lists``: whole chains of operations; each single operation also occurs in training chains.

``digits`` (letter rules over digits) and ``moves`` (chains over letters) are kinds that no run trains on:
tests alone.

    >>> task = DomainSpec(algebra_examples=18_000, letter_examples=2_000)
    >>> task.examples, task.share("algebra")
    (20000, 0.9)
    >>> seen, unseen = KINDS["algebra"].split(DomainSpec(algebra_instructions=3, unseen_instructions=2))
    >>> len(seen), len(unseen), {rule.pattern for rule in seen} & {rule.pattern for rule in unseen}
    (3, 2, set())
"""

import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle, islice, product
from typing import Any, ClassVar, NamedTuple

import numpy as np

from unseen.fields import among, spec, whole
from unseen.layout import Layout
from unseen.rewriting import Rule
from unseen.worlds.algebra import LEAVES, AlgebraRule, expression, patterns
from unseen.worlds.base import Examples, Split, Task, generator, word

DOMAINS = ("letters", "algebra", "lists")
ALPHABET = "abcdefghijkl"  # of letter rules: 1,728 strings of three
NO_OPS = 0.1  # share of inputs without the pattern, where there is one
_PARTS = {"letters": "letter", "algebra": "algebra", "lists": "list"}  # how a domain's fields begin
OPTIONS = 4  # answers to choose from
_LENGTH, _INPUT, _ITEMS = 3, 8, 6  # letters of a pattern and of an input, items of a list
_HELD_OUT_PATTERNS = 32  # of the 128 patterns of algebra
_PROMPT, _ANSWER = 22, 12  # tokens of the longest: those of algebra

Examples_ = whole(0)


@spec
class DomainSpec(Task):
    """A budget of examples, divided over three domains; in each they are shared evenly by its instructions.

    ``counts`` is the domain whose seen and unseen instructions score the run (a specialist's own); what the
    model does on the others is evaluated afterwards.  ``unseen_instructions`` are held out in *each* domain,
    trained or not. Paper, specialist and generalist experiments.
    """

    world: among(("domains",)) = "domains"
    counts: among(DOMAINS) = "algebra"
    letter_examples: Examples_ = 0
    algebra_examples: Examples_ = 20_000
    list_examples: Examples_ = 0
    letter_instructions: whole(1, 1_000) = 300
    algebra_instructions: whole(1, 5_000) = 40
    list_instructions: whole(1, 450) = 300
    unseen_instructions: whole(1, 100) = 100

    layout: ClassVar[Layout] = Layout(
        string.ascii_lowercase + string.digits + "ABC+-*/^&%#", _PROMPT, _ANSWER
    )

    def budget(self, domain: str) -> int:
        """Training examples of a domain."""
        return getattr(self, f"{_PARTS[domain]}_examples")

    def number(self, domain: str) -> int:
        """Different training instructions of a domain; none where it has no examples."""
        return getattr(self, f"{_PARTS[domain]}_instructions") if self.budget(domain) else 0

    def share(self, domain: str) -> float:
        """The part of the whole budget that a domain has."""
        return self.budget(domain) / self.examples

    @property
    def examples(self) -> int:
        """N, all training examples."""
        return sum(map(self.budget, DOMAINS))

    @property
    def instructions(self) -> int:
        """I, all training instructions."""
        return sum(map(self.number, DOMAINS))

    def _check(self) -> None:
        for domain, part in _PARTS.items():
            if 0 < self.budget(domain) < self.number(domain):
                self._refuse(f"{part}_examples", f"fewer than {part}_instructions={self.number(domain)}: "
                             "each needs at least one")  # fmt: skip
        if not self.budget(self.counts):
            why = "a domain that counts needs examples of its own, or it has no seen instructions"
            self._refuse("counts", why)

    def split(self) -> "DomainSplit":
        """Training and held-out instructions of every kind; what is not trained has held-out ones alone."""
        drawn = {name: kind.split(self) for name, kind in KINDS.items()}
        untrained = [name for name in KINDS if name not in DOMAINS or not self.budget(name)]
        return drawn | {name: Split([], drawn[name].unseen) for name in untrained}

    def training(self, split: "DomainSplit") -> Examples:
        """The whole budget, domain after domain; within one its instructions take turns."""
        asked = []
        for domain in DOMAINS:
            rng = generator(self.example_seed, f"training, {domain}")
            asked += _asked(domain, split[domain].seen, self.budget(domain), rng)
        return self._examples(asked)

    def evaluation(self, split: "DomainSplit", size: int, seed: int) -> dict[str, Examples]:
        """Fresh examples on seen and unseen instructions of the domain that counts."""
        return {side: self.questions(split, size, seed, self.counts, side) for side in ("seen", "unseen")}

    def questions(
        self, split: "DomainSplit", size: int, seed: int, kind: str, side: str = "unseen"
    ) -> Examples:
        """Fresh examples of any kind, its instructions taken in turn."""
        rng = generator(seed, f"{kind}, {side}")
        return self._examples(_asked(kind, getattr(split[kind], side), size, rng))

    def choices(self, split: "DomainSplit", size: int, seed: int, kind: str) -> Examples:
        """Inputs of a kind, each with ``OPTIONS`` instructions, and each of these with the answers of all.

        The examples are in the order of (input, instruction, answer), with about ``size`` pairs of the first
        two; right is an instruction's own answer.  A model that does not read the instruction likes the same
        answer best whatever was asked, and so is right in 1 of ``OPTIONS``.  Answers to one input are equally
        long, since how long one is takes less than an operation to know.

        >>> task = DomainSpec()
        >>> found = task.choices(task.split(), OPTIONS, 3, "digits")
        >>> [found.texts(i) for i in range(2)]
        [('749→810|58749949=', '58810949'), ('749→810|58749949=', '58749810')]
        """
        rng, pairs = generator(seed, f"{kind}, choices"), []
        for _, first, text in _asked(kind, split[kind].unseen, size // OPTIONS, rng):
            others, own = KINDS[kind].others(first, text), first.apply(text)
            found = {own: first} if first.applies_to(text) else {}
            for other in (others[i] for i in rng.permutation(len(others))):
                answer = other.apply(text)
                if len(answer) == len(own):
                    found.setdefault(answer, other)
            found = dict(islice(found.items(), OPTIONS))
            if len(found) == OPTIONS:
                pairs += [(f"{each.text}|{text}=", answer) for each in found.values() for answer in found]
        return Examples.of(self.layout, pairs)

    def _examples(self, asked: Iterable[tuple[int, "Instruction", str]]) -> Examples:
        which, rules, texts = zip(*asked, strict=True)
        pairs = [(f"{rule.text}|{text}=", rule.apply(text)) for rule, text in zip(rules, texts, strict=True)]
        applies = [rule.applies_to(text) for rule, text in zip(rules, texts, strict=True)]
        return Examples.of(self.layout, pairs, np.array(which), applies)


PRIMITIVES: dict[str, Callable[[str], str]] = {  # of lists, which are strings of digits
    "rev": lambda items: items[::-1],  # reverse
    "srt": lambda items: "".join(sorted(items)),  # sort
    "rot": lambda items: items[1:] + items[:1],  # the first goes to the end
    "drp": lambda items: items[1:],  # drop the first
    "dbl": lambda items: "".join(str(2 * int(item) % 10) for item in items),  # double each, modulo ten
    "big": lambda items: "".join(item for item in items if item >= items[0]),  # not smaller than the first
    "swp": lambda items: items[-1:] + items[1:-1] + items[:1] if len(items) > 1 else items,  # first, last
    "cut": lambda items: items[:-1],  # drop the last
}
MOVES = ("rev", "rot", "drp", "swp", "cut")  # do not look at what an item is, so they move letters as well


class Chain(NamedTuple):
    """List operations by their names, done from left to right.

    >>> chain = Chain(("rev", "drp", "dbl"))
    >>> chain.text, chain.apply("31452")
    ('rev→drp→dbl', '0826')
    """

    names: tuple[str, ...]

    @property
    def text(self) -> str:
        """The instruction as a model reads it."""
        return "→".join(self.names)

    def applies_to(self, items: str) -> bool:
        """Always: a chain needs no pattern."""
        return True

    def apply(self, items: str) -> str:
        """The list after all operations."""
        for name in self.names:
            items = PRIMITIVES[name](items)
        return items


def chains(names: Sequence[str] = tuple(PRIMITIVES)) -> list[Chain]:
    """All chains of two and of three operations: 64 + 512 with all eight."""
    return [Chain(chosen) for size in (2, 3) for chosen in product(names, repeat=size)]


Instruction = Rule | AlgebraRule | Chain
DomainSplit = dict[str, Split]  # of each kind


class Kind(NamedTuple):
    """``split(task)`` gives seen and unseen instructions, ``ask(instruction, rng)`` an input for one.

    ``others(instruction, input)`` are some that could as well have been given with the input.
    """

    split: Callable[[DomainSpec], Split]
    ask: Callable[[Any, np.random.Generator], str]
    others: Callable[[Any, str], Sequence[Any]] | None = None


def _split_letters(task: DomainSpec, alphabet: str = ALPHABET) -> Split:
    size, held_out = len(alphabet) ** _LENGTH, task.unseen_instructions
    codes = generator(task.rule_seed, "letters").permutation(size)  # all strings of the length of a pattern
    every = ["".join(reversed(letters)) for letters in product(alphabet, repeat=_LENGTH)]
    words = [every[code] for code in codes]
    unseen = list(map(Rule, words[:held_out], words[held_out : 2 * held_out]))
    seen_patterns = words[2 * held_out :][: task.letter_instructions]
    rng, free = generator(task.rule_seed, "letters, replacements"), len(words) - 2 * held_out
    replacements = [words[2 * held_out + i] for i in rng.integers(0, free, len(seen_patterns))]
    seen = [Rule(x, y if x != y else words[-1 - (y == words[-1])])
            for x, y in zip(seen_patterns, replacements, strict=True)]  # fmt: skip
    return Split(seen, unseen)


def _ask_letters(rule: Rule, rng: np.random.Generator, alphabet: str = ALPHABET) -> str:
    planted = rng.random() >= NO_OPS
    while True:
        text, place = word(alphabet, _INPUT, rng), int(rng.integers(0, _INPUT - _LENGTH + 1))
        text = text[:place] + rule.pattern + text[place + _LENGTH :] if planted else text
        if rule.applies_to(text) == planted:
            return text


def _other_patterns(rule: Rule, text: str) -> list[Rule]:
    """The same replacement for each string of the input."""
    ends = range(_LENGTH, len(text) + 1)
    return [Rule(text[end - _LENGTH : end], rule.replacement) for end in ends]


def _split_algebra(task: DomainSpec) -> Split:
    """Training rules take their patterns in turn, so up to 96 rules have as many different ones."""
    order = generator(task.rule_seed, "algebra, patterns").permutation(patterns())
    taken: set[str] = set()
    drawn = {}
    for side, sides, count in (
        ("unseen", order[:_HELD_OUT_PATTERNS], task.unseen_instructions),
        ("seen", order[_HELD_OUT_PATTERNS:], task.algebra_instructions),
    ):
        rng, rules = generator(task.rule_seed, f"algebra, {side}"), {}
        while len(rules) < count:
            rule = AlgebraRule(str(sides[len(rules) % len(sides)]), expression(2, "ABC", rng))
            if rule.replacement not in taken and rule.replacement != rule.pattern:
                rules[rule] = None
        taken = {rule.replacement for rule in rules}
        drawn[side] = list(rules)
    return Split(**drawn)


def _ask_algebra(rule: AlgebraRule, rng: np.random.Generator) -> str:
    """An expression of two to four operators: the pattern with up to two more, inside or around; or none."""
    planted = rng.random() >= NO_OPS
    while True:
        more = int(rng.integers(0, 3))
        text = _planted(rule.pattern, more, rng) if planted else expression(2 + more, LEAVES, rng)
        if rule.applies_to(text) == planted and len(rule.apply(text)) < _ANSWER:
            return text


def _planted(pattern: str, more: int, rng: np.random.Generator) -> str:
    """The pattern with expressions for its metavariables, and ``more`` operators in these or around it."""
    sizes = np.bincount(rng.integers(0, 4, more), minlength=4)
    bound = {name: expression(int(size), LEAVES, rng) for name, size in zip("ABC", sizes[1:], strict=True)}
    text = "".join(bound.get(token, token) for token in pattern)
    for _ in range(sizes[0]):
        outer, leaf = expression(1, LEAVES, rng)[:2]
        text = f"{outer}{text}{leaf}" if rng.random() < 0.5 else f"{outer}{leaf}{text}"
    return text


def _split_lists(task: DomainSpec) -> Split:
    every = chains()
    order = [every[i] for i in generator(task.rule_seed, "lists").permutation(len(every))]
    held_out, rest = order[: task.unseen_instructions], order[task.unseen_instructions :]
    return Split(rest[: task.list_instructions], held_out)


KINDS = {
    "letters": Kind(_split_letters, _ask_letters),
    "algebra": Kind(_split_algebra, _ask_algebra),
    "lists": Kind(_split_lists, lambda chain, rng: word(string.digits, _ITEMS, rng)),
    "digits": Kind(lambda task: _split_letters(task, string.digits),
                   lambda rule, rng: _ask_letters(rule, rng, string.digits), _other_patterns),
    "moves": Kind(lambda task: Split([], chains(MOVES)), lambda chain, rng: word(ALPHABET, _ITEMS, rng),
                  lambda chain, text: chains(MOVES)),
}  # fmt: skip


def _asked(
    kind: str, instructions: list[Instruction], count: int, rng: np.random.Generator
) -> Iterator[tuple[int, Instruction, str]]:
    """So many inputs for instructions taken in turn: index, instruction, input."""
    for index, each in islice(cycle(enumerate(instructions)), count):
        yield index, each, KINDS[kind].ask(each, rng)
