"""Drills: symbolic work other than rewriting, on plain strings, slow and obvious; the first thing the own base learns.

Each operation takes an input, an argument and the alphabet and gives an answer that is never longer than the input.
None of them replaces a substring: finding a *pattern* and putting something else in its place is left to be learnt.
Parts of that are among them, as they are in whatever a language model was trained on: copying, finding a letter,
writing the argument down.

    >>> {name: do("banana", "nax", "abnx") for name, do in OPERATIONS.items()}
    {'copy': 'banana', 'reverse': 'ananab', 'sort': 'aaabnn', 'rotate': 'nanaba', 'shift': 'xnanan', 'swap': 'baxaxa',
     'delete': 'baaa', 'drop': 'b', 'double': 'bbaann', 'front': 'naxban', 'back': 'ananax', 'from': 'nana',
     'neighbours': 'abanan', 'every other': 'bnnaaa'}
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from unseen.datasets import Examples, shares
from unseen.encoding import Encoding
from unseen.instructions import generator
from unseen.pretrained.spec import DrillSpec
from unseen.rewriting import Rule
from unseen.specs import EvaluationSpec

_PLANTED = 0.25  # share of an input's letters that are taken from the argument, so that there is something to be done


def _shift(z: str, y: str, alphabet: str) -> str:
    by = alphabet.index(y[0])
    return "".join(alphabet[(alphabet.index(letter) + by) % len(alphabet)] for letter in z)


def _rotate(z: str, y: str, alphabet: str) -> str:
    by = alphabet.index(y[0]) % len(z)
    return z[by:] + z[:by]


OPERATIONS: dict[str, Callable[[str, str, str], str]] = {
    "copy": lambda z, y, alphabet: z,
    "reverse": lambda z, y, alphabet: z[::-1],
    "sort": lambda z, y, alphabet: "".join(sorted(z, key=alphabet.index)),
    "rotate": _rotate,  # by the place of the argument's first letter in the alphabet
    "shift": _shift,  # each letter by so many places in the alphabet, around its end
    "swap": lambda z, y, alphabet: z.translate(str.maketrans(y[0] + y[-1], y[-1] + y[0])) if y[0] != y[-1] else z,
    "delete": lambda z, y, alphabet: z.replace(y[0], ""),
    "drop": lambda z, y, alphabet: "".join(letter for letter in z if letter not in y),
    "double": lambda z, y, alphabet: "".join(2 * letter for letter in z)[: len(z)],
    "front": lambda z, y, alphabet: (y + z)[: len(z)],
    "back": lambda z, y, alphabet: (z + y)[-len(z) :],
    "from": lambda z, y, alphabet: z[
        max(0, z.find(y[0])) :
    ],  # what stands from that letter on; all if it does not occur
    "neighbours": lambda z, y, alphabet: "".join(z[i : i + 2][::-1] for i in range(0, len(z), 2)),
    "every other": lambda z, y, alphabet: z[::2] + z[1::2],
}


class Drill(NamedTuple):
    """One instruction: an operation, the letters that name it in a prompt, and its argument."""

    operation: str
    name: str
    argument: str

    def apply(self, text: str, alphabet: str) -> str:
        """The right answer."""
        return OPERATIONS[self.operation](text, self.argument, alphabet)


class Drills(NamedTuple):
    """The training instructions (``seen``) and those with held-out arguments."""

    seen: list[Drill]
    unseen: list[Drill]


def draw_split(task: DrillSpec) -> Drills:
    """Draw names for the operations and arguments, unseen ones first; operations are taken in turn.

    >>> split = draw_split(DrillSpec(rule_seed=1))
    >>> len({drill.name for drill in split.seen}), len(split.seen), len(split.unseen)
    (14, 2600, 650)
    >>> {drill.argument for drill in split.seen} & {drill.argument for drill in split.unseen}
    set()
    """
    size = task.unseen_instructions
    names = _distinct(task.alphabet, task.pattern_length, len(OPERATIONS), generator(task.rule_seed, "names of drills"))
    arguments = _distinct(task.alphabet, task.replacement_length, size + task.instructions,
                          generator(task.rule_seed, "arguments of drills"))  # fmt: skip
    unseen, seen = (
        [Drill(list(OPERATIONS)[i % len(names)], names[i % len(names)], argument) for i, argument in enumerate(part)]
        for part in (arguments[:size], arguments[size:])
    )
    return Drills(seen, unseen)


def _distinct(alphabet: str, length: int, count: int, rng: np.random.Generator) -> list[str]:
    """So many different random strings."""
    found: dict[str, None] = {}
    while len(found) < count:
        block = rng.integers(0, len(alphabet), (max(64, count), length))
        found |= dict.fromkeys("".join(alphabet[i] for i in row) for row in block)
    return list(found)[:count]


def training_examples(task: DrillSpec, split: Drills) -> Examples:
    """The whole pre-training budget, shared evenly by the training instructions."""
    which = np.repeat(np.arange(len(split.seen)), shares(task, len(split.seen)))
    return _draw(task, split.seen, which, generator(task.example_seed, "training drills"))


def evaluation_examples(task: DrillSpec, split: Drills, evaluation: EvaluationSpec) -> dict[str, Examples]:
    """Fresh examples to score on, seen and unseen instructions taken in turn."""
    return {
        name: _draw(task, drills, np.arange(evaluation.examples) % len(drills), generator(evaluation.seed, f"{name} drills"))
        for name, drills in (("seen", split.seen), ("unseen", split.unseen))
    }  # fmt: skip


def _draw(task: DrillSpec, drills: Sequence[Drill], which: np.ndarray, rng: np.random.Generator) -> Examples:
    """One example for each entry of ``which`` (N,), the index of its instruction."""
    encoding, end = Encoding.of(task), Encoding.of(task).special("end")
    prompts = np.empty((len(which), encoding.prompt_length), np.uint8)
    answers = np.full((len(which), encoding.answer_length), end, np.uint8)
    ids = {letter: i for i, letter in enumerate(encoding.vocabulary)}
    for row, text in enumerate(_inputs(task, drills, which, rng)):
        drill = drills[which[row]]
        prompts[row] = [ids[c] for c in encoding.prompt(Rule(drill.name, drill.argument), text)]
        answer = drill.apply(text, task.alphabet)
        answers[row, : len(answer)] = [ids[c] for c in answer]
    return Examples(encoding, prompts, answers, which.astype(np.int32), np.ones(len(which), bool))


def _inputs(task: DrillSpec, drills: Sequence[Drill], which: np.ndarray, rng: np.random.Generator) -> list[str]:
    """Random inputs, with some of their letters taken from the argument."""
    size = len(which), task.input_length
    letters = np.array(list(task.alphabet))
    given = np.array([list(drill.argument) for drill in drills])[which]  # (N, |y|)
    own = np.take_along_axis(given, rng.integers(0, task.replacement_length, size), 1)  # (N, |z|)
    mixed = np.where(rng.random(size) < _PLANTED, own, letters[rng.integers(0, len(letters), size)])
    return ["".join(row) for row in mixed]
