"""In-context classification: what the labels mean is new in every prompt, so it must be read there.

Each prompt draws four patterns and gives each a label.  Its demonstrations, each a string and its label, and
its query hold exactly one of the four; the answer is the label of the query's pattern.  A few labels may be
flipped. This is the toy of DETAIL (Zhou and others, 2024, arXiv 2405.14899), with letters in place of MNIST's
digits.

    >>> task = ContextSpec(demonstrations=3, examples=64)
    >>> examples = task.training(task.split())
    >>> examples.texts(0)
    ('cedChbeDhbgDdff', 'B')
    >>> task.layout.labels
    (3, 7, 11, 15, 16)
"""

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from unseen.fields import Count, Share, among, real, spec, whole
from unseen.layout import Layout
from unseen.worlds.base import Examples, Split, Task, generator

LABELS = "ABCD"


class Prompts(NamedTuple):
    """Demonstrations and, last, a query: ``strings`` (N, D + 1, L) letter ids, ``kinds`` (N, D + 1) which of
    the prompt's ``patterns`` (N, 4, p) each holds, ``labels`` (N, D + 1) as shown, ``flipped`` (N, D + 1).
    """

    strings: np.ndarray
    kinds: np.ndarray
    labels: np.ndarray
    flipped: np.ndarray
    patterns: np.ndarray


@spec
class ContextSpec(Task):
    """Prompts of ``demonstrations`` strings of ``input_length`` letters, each with a pattern of
    ``pattern_length``; a share ``flipped`` of the demonstrations' labels is wrong.

    How often each pattern occurs in a prompt is drawn anew for each, from a Dirichlet distribution of
    parameter ``spread``.  Where it is small, copying an earlier label already helps: a learner begins there.

    An instruction is a pattern: ``unseen_instructions`` of them are in no training prompt.
    """

    streams: ClassVar[tuple[str, str]] = ("training contexts", "{} contexts")

    world: among(("contexts",)) = "contexts"
    letters: str = "abcdefgh"
    demonstrations: whole(1, 100) = 16
    input_length: whole(1, 20) = 3
    pattern_length: whole(1, 4) = 2
    flipped: Share = 0.1
    spread: real(0.01, 1_000) = 0.5
    instructions: whole(len(LABELS)) = 48
    unseen_instructions: whole(len(LABELS)) = 16
    examples: Count = 32_000

    def _check(self) -> None:
        super()._check()
        self._letters("letters", 2)
        if not self.letters.islower():
            self._refuse("letters", "must be lower-case: capitals are labels")
        self._within("pattern_length", 1, self.input_length)
        there = len(self.letters) ** self.pattern_length
        self._within("instructions", len(LABELS), there - self.unseen_instructions)

    @property
    def period(self) -> int:
        """Tokens of a demonstration: its string and its label."""
        return self.input_length + 1

    @property
    def layout(self) -> Layout:
        """Demonstrations are in the prompt; the loss counts the label of each."""
        prompt = (self.demonstrations + 1) * self.period - 1
        labels = range(self.period - 1, prompt + 1, self.period)
        return Layout(self.letters + LABELS, prompt, 2, labels=(*labels, prompt + 1))

    @property
    def even(self) -> "ContextSpec":
        """What a learner is tested on: all four patterns equally often, no label flipped."""
        return self.but(flipped=0.0, spread=1_000.0)

    def split(self) -> Split:
        """The patterns of training and those held out, as letter ids (R, p)."""
        shape = (len(self.letters),) * self.pattern_length
        order = generator(self.rule_seed, "patterns").permutation(np.prod(shape))
        patterns = np.stack(np.unravel_index(order, shape), 1).astype(np.uint8)
        held = self.unseen_instructions
        return Split(patterns[held : held + self.instructions], patterns[:held])

    def draw(self, patterns: np.ndarray, which: np.ndarray, rng: np.random.Generator) -> Examples:
        """As many prompts as entries of ``which``, each about any of the patterns."""
        return self.examples_of(self.prompts(patterns, len(which), rng))

    def evaluation(self, split: Split, size: int, seed: int) -> dict[str, Examples]:
        """Fresh prompts of seen and of held-out patterns, without flipped labels."""
        return Task.evaluation(self.even, split, size, seed)

    def prompts(self, patterns: np.ndarray, size: int, rng: np.random.Generator) -> Prompts:
        """``size`` prompts about patterns (R, p), four of them each; queries are never flipped."""
        count, kinds = self.demonstrations + 1, len(LABELS)
        chosen = patterns[rng.random((size, len(patterns))).argsort(1)[:, :kinds]]  # (N, 4, p)
        meaning = rng.random((size, kinds)).argsort(1)  # (N, 4): the label of each pattern
        often = rng.gamma(self.spread, size=(size, 1, kinds)).cumsum(2)
        holds = (rng.random((size, count, 1)) * often[..., -1:] > often).sum(2)
        strings = self._strings(chosen, holds, rng)
        flipped = rng.random((size, count)) < self.flipped
        flipped[:, -1] = False
        right = np.take_along_axis(meaning, holds, 1)
        labels = np.where(flipped, (right + rng.integers(1, kinds, right.shape)) % kinds, right)
        return Prompts(strings, holds, labels.astype(np.uint8), flipped, chosen)

    def _strings(self, chosen: np.ndarray, holds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Random strings (N, D + 1, L), each with exactly the one of its prompt's patterns that it holds."""
        size, count = holds.shape
        strings = np.empty((size, count, self.input_length), np.uint8)
        row, column = map(np.ravel, np.indices(holds.shape))
        places = self.input_length - self.pattern_length + 1
        while row.size:
            drawn = rng.integers(0, len(self.letters), (row.size, self.input_length)).astype(np.uint8)
            at = rng.integers(0, places, (row.size, 1)) + np.arange(self.pattern_length)
            np.put_along_axis(drawn, at, chosen[row, holds[row, column]], 1)
            windows = sliding_window_view(drawn, self.pattern_length, 1)  # (n, places, p)
            found = (windows[:, :, None] == chosen[row][:, None]).all(3).any(1)  # (n, 4)
            strings[row, column] = drawn
            again = found.sum(1) > 1
            row, column = row[again], column[again]
        return strings

    def examples_of(self, prompts: Prompts) -> Examples:
        """Prompts as token ids; each answer is the label of the query."""
        layout, size = self.layout, len(prompts.labels)
        labels = prompts.labels + len(self.letters)
        text = np.concatenate([prompts.strings, labels[..., None]], 2).reshape(size, -1)
        answers = np.stack([text[:, -1], np.full(size, layout.special("end"), np.uint8)], 1)
        return Examples(layout, text[:, :-1], answers, prompts.kinds[:, -1], np.ones(size, bool))
