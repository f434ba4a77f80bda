"""String rewriting from a pool: a run is trained on a few lines that a chooser took from many candidates.

A run is still its spec: it names the pool, the chooser with its parameters, and the run whose states the
chooser read.  Choosing takes long, so the chosen indices are computed once (``ensure``) and kept under the
spec of the task; the world only reads them.

    >>> task = PoolSpec(instructions=30, examples=30, pool=100, unseen_instructions=20, wrong=0.2)
    >>> lines = task.candidates(task.split())
    >>> right = [line.rule.apply(line.text) == line.answer for line in map(lines.line, range(100))]
    >>> sum(right), bool((task.spoiled(lines.rule) != right).all())
    (83, True)
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from unseen.errors import NotFinished
from unseen.fields import Count, Share, among, lasting, spec
from unseen.files import runs_folder, seal, write
from unseen.once import content, done, once
from unseen.worlds.base import Examples, Split, generator, shares
from unseen.worlds.strings import TaskSpec, count, leftmost, replace_at, rewrite

RANDOM = "random"  # the one chooser that this world knows itself


@spec
class PoolSpec(TaskSpec):
    """``examples`` lines of a ``pool`` of candidates, chosen by ``chooser``, which may read the states of the
    run ``scout`` (its digest).

    ``concentration`` is the shape of the pool over its ``instructions``.  A share ``near`` of the candidates
    are near-duplicates: another candidate with one letter of its input changed.  In a share ``wrong`` the
    answer is wrong, y written at another place; these are all lines of some rules.  What a chooser is called
    is the study's to know (``studies.arena.choosing``).
    """

    world: among(("pool",)) = "pool"
    instructions: Count = 3_000
    examples: Count = 4_500
    pool: Count = 45_000
    near: Share = 0.3
    wrong: Share = 0.0
    chooser: str = RANDOM
    scout: str = ""

    @property
    def drawn(self) -> int:
        """How many candidates there are."""
        return self.pool

    def _check(self) -> None:
        plains = {"no_op_share": 0, "decoys": 0, "cipher": "", "also_occurrences": "", "position": "before"}
        for name, plain in plains.items():
            if getattr(self, name) != plain:
                self._refuse(name, f"lines of a pool have none: expected {plain!r}")
        super()._check()
        self._within("pool", max(self.examples, self.instructions), 10**7)
        self._within("near", 0, 1 - self.instructions / self.pool)

    def training(self, split: Split) -> Examples:
        """The chosen lines; raises ``NotFinished`` where they were not chosen yet."""
        return self.candidates(split).where(stored(self))

    def candidates(self, split: Split) -> Examples:
        """The whole pool, in the order of its rules, near-duplicates last."""
        copies = round(self.near * self.pool)
        sizes = shares(self.but(examples=self.pool - copies), len(split.seen))
        which = np.repeat(np.arange(len(split.seen)), sizes)
        fresh = self.draw(split.seen, which, generator(self.example_seed, "pool"))
        rng = generator(self.example_seed, "near-duplicates")
        originals = rng.integers(0, len(fresh), copies)
        copied = self._nearly(fresh.where(originals), split, rng)
        parts = zip(*((lines.prompts, lines.answers, lines.rule, lines.applies) for lines in (fresh, copied)),
                    strict=True)  # fmt: skip
        lines = Examples(self.layout, *map(np.concatenate, parts))
        return self._spoiled(lines, split) if self.wrong else lines

    def _nearly(self, lines: Examples, split: Split, rng: np.random.Generator) -> Examples:
        """The same lines with one letter of each input changed, so that the pattern still occurs as often."""
        x, y, z = _sides(lines, split)
        changed, bad = z.copy(), np.arange(len(lines))
        while bad.size:
            places = rng.integers(0, len(z), bad.size)
            shift = rng.integers(1, len(self.alphabet), bad.size, np.uint8)
            changed[:, bad] = z[:, bad]
            changed[places, bad] = (z[places, bad] + shift) % len(self.alphabet)
            bad = bad[count(x[:, bad], changed[:, bad]) != self.occurrences]
        prompts, layout = lines.prompts.copy(), self.layout
        prompts[:, layout.place("z")] = changed.T
        answers = rewrite(x, y, changed, layout).T
        return Examples(layout, prompts, answers, lines.rule, lines.applies)

    def spoiled(self, rule: np.ndarray) -> np.ndarray:
        """Which candidates have a wrong answer, (n,) bool, by the ``rule`` (n,) of each."""
        order = generator(self.example_seed, "wrong").permutation(self.instructions)
        held = np.bincount(rule, minlength=self.instructions)[order].cumsum()
        return np.isin(rule, order[held <= self.wrong * len(rule)])

    def _spoiled(self, lines: Examples, split: Split) -> Examples:
        """The lines with the wrong answers of ``spoiled``: y written where the pattern is not."""
        x, y, z = _sides(lines, split)
        length, places = self.layout.answer_length, len(z) - len(x) + 1
        shift = generator(self.example_seed, "wrong places").integers(1, places, len(lines))
        at = (leftmost(x, z, length) + shift) % places
        wrong = replace_at(at, len(x), y, z, length, self.layout.special("end")).T
        answers = np.where(self.spoiled(lines.rule)[:, None], wrong, lines.answers)
        return Examples(self.layout, lines.prompts, answers, lines.rule, lines.applies)


def _sides(lines: Examples, split: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patterns x (|x|, n), replacements y (|y|, n) and inputs z (|z|, n) of lines."""
    rules = split.seen
    sides = rules.patterns[lines.rule], rules.replacements[lines.rule], lines.inputs
    return tuple(np.ascontiguousarray(side.T) for side in sides)


# What was chosen


def _folder(task: PoolSpec) -> tuple[Path, dict[str, Any]]:
    about = {"task": lasting(task)}
    return runs_folder() / "chosen" / seal(about)[:16], about


def ensure(task: PoolSpec, choose: Callable[[], np.ndarray]) -> dict[str, Any]:
    """The manifest of a task's chosen indices, chosen now unless they are kept; raises as ``once``."""
    folder, about = _folder(task)

    def make(place: Path) -> dict[str, Any]:
        began = time.monotonic()
        write(place / "chosen.txt", "".join(f"{index}\n" for index in choose()))
        return about | {"seconds": round(time.monotonic() - began, 3)}

    return once(folder, about, make)


def seconds(task: PoolSpec) -> float:
    """How long choosing took, as noted when it was done; 0 for random lines."""
    folder, about = _folder(task)
    return 0.0 if task.chooser == RANDOM else done(folder, about)["seconds"]


def stored(task: PoolSpec) -> np.ndarray:
    """The chosen indices (N,) of a task: random ones are drawn, others must be kept.

    Raises ``NotFinished`` where they are not, ``BrokenRun``.
    """
    if task.chooser == RANDOM:
        return generator(task.example_seed, "random lines").choice(task.pool, task.examples, replace=False)
    folder, about = _folder(task)
    if (manifest := done(folder, about)) is None:
        why = f"{folder}: nothing was chosen by {task.chooser!r} yet"
        raise NotFinished(f"{why}: 'unseen run 30' or studies.arena.choosing.chosen does it")
    return np.array(content(folder, "chosen.txt", manifest).split(), int)
