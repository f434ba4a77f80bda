"""Drawing the tape world: rules of many lengths, unseen ones apart, and inputs on which they are one step of a program.

What *unseen* means here.  No held-out rule, as a pair ``x → y``, is trained on.  No held-out pattern of two or more
letters is the pattern of any training rule.  A pattern of one letter cannot be new (there are as many as letters),
nor can the empty replacement: there only the pair is.  Held out are the unseen rules and the rules of all programs in
the disguises in which models are asked to run them.

    >>> task = TapeSpec(instructions=3, unseen_instructions=2, examples=6)
    >>> split = draw_split(task)
    >>> len(split.seen), len(split.unseen), leaks(split)
    (3, 2, 0)
    >>> rule, text, answer = line(training_examples(task, split), 0)
    >>> rule.apply(text) == answer
    True
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from unseen.datasets import Examples, Line, shares
from unseen.encoding import TextEncoding, layout_of
from unseen.instructions import generator
from unseen.rewriting import Rule
from unseen.specs import EvaluationSpec
from unseen.tapes.programs import VERSION, collection, disguise
from unseen.tapes.spec import TapeSpec
from unseen.tasks import PAD, SPECIAL

_TRIES = 100_000  # draws in vain before there are taken to be no more rules
_UNSEEN_PART = 4  # unseen rules take at most one in so many of the rules of their lengths: few delete a single letter
_SKEW = 0.7  # of the letters of an input: below 1 some are much more frequent than others, as on the tapes of programs


@dataclass(frozen=True)
class TapeSplit:
    """The training rules (``seen``), the ``unseen`` ones, and those of the ``programs`` in their disguises."""

    seen: tuple[Rule, ...]
    unseen: tuple[Rule, ...]
    programs: tuple[Rule, ...]


def prompt(task: TapeSpec, rule: Rule, text: str) -> str:
    """What a model reads: ``x→y|z=``, each part filled up so that it stands where it always stands.

    Raises ``ValueError`` naming a part that is too long, an empty pattern or input, or a letter that is none.

    >>> prompt(TapeSpec(longest_input=6), Rule("ab", "c"), "aab")
    '·ab→···c|aab···='
    """
    parts = {"pattern": (rule.pattern, 1, task.longest_pattern), "input": (text, 1, task.longest_input),
             "replacement": (rule.replacement, 0, task.longest_replacement)}  # fmt: skip
    for name, (part, least, most) in parts.items():
        if not least <= len(part) <= most:
            raise ValueError(f"{name}: {len(part)} letters, but this model reads {least} to {most}")
        if unknown := sorted(set(part) - set(task.alphabet)):
            raise ValueError(f"{name}: unknown letter {unknown[0]!r}; the alphabet is {task.alphabet!r}")
    x, y = rule.pattern.rjust(task.longest_pattern, PAD), rule.replacement.rjust(task.longest_replacement, PAD)
    return f"{x}{SPECIAL['arrow']}{y}{SPECIAL['given']}{text.ljust(task.longest_input, PAD)}{SPECIAL['gives']}"


def line(examples: Examples, index: int) -> Line:
    """The example at ``index`` as rule, input and answer, without what fills them up."""
    text, answer = examples.texts(index)
    x, rest = text.replace(PAD, "").split(SPECIAL["arrow"])
    y, z = rest.removesuffix(SPECIAL["gives"]).split(SPECIAL["given"])
    return Line(Rule(x, y), z, answer)


def disguised_rules(task: TapeSpec) -> tuple[Rule, ...]:
    """The rules of all programs in all their disguises, as far as they are short enough for a model to read."""
    found: dict[Rule, None] = {}
    for program in collection().values():
        if len(program.symbols) <= len(task.alphabet):
            for number in range(task.disguises):
                rules = program.disguised(disguise(program.symbols, task.alphabet, number)).algorithm.rules
                found |= {Rule(rule.pattern, rule.replacement): None for rule in rules if _short(task, rule)}
    return tuple(found)


def _short(task: TapeSpec, rule: Rule) -> bool:
    return len(rule.pattern) <= task.longest_pattern and len(rule.replacement) <= task.longest_replacement


def draw_split(task: TapeSpec) -> TapeSplit:
    """The programs' rules, the unseen ones, and the seen from what those leave over; smaller training sets are the first of larger.

    Raises ``ValueError`` when there are too few rules, or the programs are not those of ``task.collection``.
    """
    if task.collection != VERSION:
        raise ValueError(f"TapeSpec.collection={task.collection}: this is edition {VERSION} of the programs")
    programs = disguised_rules(task)
    unseen = _rules(task, "unseen", task.unseen_instructions, programs, frozenset(), _UNSEEN_PART)
    taken = (*programs, *unseen)
    seen = _rules(task, "seen", task.instructions, taken, {rule.pattern for rule in taken if len(rule.pattern) > 1}, 1)
    return TapeSplit(seen, unseen, programs)


def _rules(
    task: TapeSpec, name: str, count: int, taken: Collection[Rule], patterns: Collection[str], part: int
) -> tuple[Rule, ...]:
    """``count`` rules that are not ``taken`` and whose pattern is none of ``patterns``; one in ``part`` of each length at most."""
    rng, found, sizes, taken = generator(task.rule_seed, f"{name} tape rules"), {}, Counter(), set(taken)
    for _ in range(100 * count + _TRIES):
        if len(found) == count:
            return tuple(found)
        rule = _rule(task, rng)
        lengths = len(rule.pattern), len(rule.replacement)
        room = max(1, len(task.alphabet) ** sum(lengths) // part)
        fresh = rule not in taken and rule not in found and rule.pattern not in patterns
        if fresh and rule.pattern != rule.replacement and sizes[lengths] < room:
            found[rule] = None
            sizes[lengths] += 1
    raise ValueError(
        f"TapeSpec.{'' if name == 'seen' else 'unseen_'}instructions={count}: only {len(found)} rules found"
    )


def _rule(task: TapeSpec, rng: np.random.Generator) -> Rule:
    some = _some(task.alphabet, rng.integers(1, task.most_letters + 1), rng)
    x, y = rng.integers(1, task.longest_pattern + 1), rng.integers(0, task.longest_replacement + 1)
    text = _text(some, x + y, rng)
    return Rule(text[:x], text[x:])


def _some(letters: str, count: int, rng: np.random.Generator) -> str:
    return "".join(letters[i] for i in rng.permutation(len(letters))[:count])


def _text(letters: str, length: int, rng: np.random.Generator, weights: np.ndarray | None = None) -> str:
    return "".join(letters[i] for i in rng.choice(len(letters), length, p=weights))


def leaks(split: TapeSplit) -> int:
    """How many held-out rules training shows: the pair itself, or a pattern of two letters or more; must be 0."""
    pairs, patterns = set(split.seen), {rule.pattern for rule in split.seen if len(rule.pattern) > 1}
    return sum(rule in pairs or rule.pattern in patterns for rule in (*split.unseen, *split.programs))


def shown(split: TapeSplit) -> list[dict[str, int | str]]:
    """How the held-out rules stand to training, as rows: by what is new in them, how many there are, and how many training shows."""
    seen = set(split.seen)
    patterns = {rule.pattern for rule in split.seen}
    rows: list[dict[str, int | str]] = []
    for name, part in (("unseen rules", split.unseen), ("rules of the programs", split.programs)):
        for new, single in (("pair and pattern", False), ("pair alone: a pattern of one letter", True)):
            rules = [rule for rule in part if (len(rule.pattern) == 1) == single]
            rows.append({"held out": name, "new is the": new, "rules": len(rules), "of them empty y": sum(not r.replacement for r in rules),
                         "pairs in training": sum(r in seen for r in rules), "patterns in training": sum(r.pattern in patterns for r in rules)})  # fmt: skip
    return rows


def training_examples(task: TapeSpec, split: TapeSplit) -> Examples:
    """The whole training budget: N = ``task.examples`` examples, N / I of each seen rule."""
    rules = np.repeat(np.arange(len(split.seen)), shares(task, len(split.seen)))
    return draw(task, split.seen, rules, generator(task.example_seed, "training tapes"))


def evaluation_examples(task: TapeSpec, split: TapeSplit, evaluation: EvaluationSpec) -> dict[str, Examples]:
    """Fresh examples to score on: ``seen`` and ``unseen`` rules, taken in turn."""
    return {name: draw(task, rules, np.arange(evaluation.examples) % len(rules), generator(evaluation.seed, f"{name} tapes"))
            for name, rules in (("seen", split.seen), ("unseen", split.unseen))}  # fmt: skip


def draw(task: TapeSpec, rules: tuple[Rule, ...], which: np.ndarray, rng: np.random.Generator) -> Examples:
    """One example for each entry of ``which`` (N,), the index of its rule."""
    pairs = [(rules[i], _input(task, rules[i], rng)) for i in which]
    return asked(task, pairs, which.astype(np.int32))


def asked(task: TapeSpec, pairs: Iterable[tuple[Rule, str]], which: np.ndarray | None = None) -> Examples:
    """Examples of these rules and inputs, answered by the oracle; raises ``ValueError`` as ``prompt`` does."""
    pairs, encoding = list(pairs), layout_of(task)
    assert isinstance(encoding, TextEncoding)
    prompts = encoding.prompts([prompt(task, rule, text) for rule, text in pairs])
    answers = encoding.answers([rule.apply(text) for rule, text in pairs])
    applies = np.array([rule.applies_to(text) for rule, text in pairs], bool)
    return Examples(encoding, prompts, answers, np.zeros(len(pairs), np.int32) if which is None else which, applies)


def _input(task: TapeSpec, rule: Rule, rng: np.random.Generator) -> str:
    """An input over the pattern's letters and a few more, some of them of the replacement; it holds the pattern, or is a no-op."""
    own, length = "".join(sorted(set(rule.pattern))), rng.integers(1, task.longest_input + 1)
    others = "".join(sorted(set(rule.replacement) - set(own))) if rng.random() < 0.5 else ""
    room = rng.integers(0, max(1, task.most_letters - len(own) + 1))
    more = others + _some("".join(letter for letter in task.alphabet if letter not in own + others), room, rng)
    letters = own + more[:room]
    weights = rng.dirichlet(np.full(len(letters), _SKEW))
    if rng.random() < task.no_op_share:
        return _without(task, rule.pattern, _text(letters, length, rng, weights), letters, rng)
    length = max(length, len(rule.pattern))
    text = _text(letters, length - len(rule.pattern), rng, weights)
    place = rng.integers(0, len(text) + 1)
    return text[:place] + rule.pattern + text[place:]


def _without(task: TapeSpec, pattern: str, text: str, letters: str, rng: np.random.Generator) -> str:
    """The text without the pattern: half of the time with it planted first, each place of it then spoilt by one letter.

    What is left is often all but the pattern, so that looking at a part of it is not enough.
    """
    if len(text) >= len(pattern) and rng.random() < 0.5:
        place = rng.integers(0, len(text) - len(pattern) + 1)
        text = text[:place] + pattern + text[place + len(pattern) :]
    others = letters if len(letters) > 1 else letters + _some(task.alphabet.replace(letters, ""), 1, rng)
    while (at := text.find(pattern)) >= 0:
        place = at + rng.integers(0, len(pattern))
        text = text[:place] + _some(others.replace(text[place], ""), 1, rng) + text[place + 1 :]
    return text
