"""How much of the task world a training set shows: what it covers, how near it comes to unseen rules.

Diversity, counted.  With one ``rule_seed`` the patterns of a smaller training set are the first ones of a
larger (``instructions``), so one draw of the largest set serves every number of instructions.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from unseen.instructions import Instructions, Split, draw_split, nearest_rules
from unseen.specs import TaskSpec

KINDS = ("one letter, one place", "two letters, two places", "whole patterns")
SIDES = ("pattern", "replacement")
_CHUNK = 1 << 14  # texts searched at a time


def coverage(patterns: np.ndarray, letters: int, sizes: Sequence[int]) -> pd.DataFrame:
    """Which share of everything possible the first I patterns show, for each I of ``sizes``.

    ``patterns`` (R, |x|) are different letter ids below ``letters``.  Counted are single letters at their
    place in the pattern, pairs of letters at two places (neighbours or not), and whole patterns.
    Columns: instructions, kind (one of ``KINDS``), share, possible (how many there are in all).

    >>> patterns = np.array([[0, 0], [0, 1], [1, 1], [1, 0]])     # aa ab bb ba
    >>> coverage(patterns, 2, [1, 3]).pivot(index="instructions", columns="kind", values="share").loc[3].tolist()
    [1.0, 0.75, 0.75]
    """
    ids, length = patterns.astype(np.int64), patterns.shape[1]
    singles = [first_shown(ids[:, i], letters) for i in range(length)]
    pairs = [first_shown(ids[:, i] * letters + ids[:, j], letters**2) for i, j in combinations(range(length), 2)]
    found = []
    for size in sizes:
        for kind, first in zip(KINDS, (singles, pairs), strict=False):
            if first:  # a pattern of one letter holds no pair
                found.append((size, kind, float((np.array(first) < size).mean()), sum(map(len, first))))
        found.append((size, KINDS[-1], size / letters**length, letters**length))
    return pd.DataFrame(found, columns=["instructions", "kind", "share", "possible"])


def first_shown(codes: np.ndarray, possible: int) -> np.ndarray:
    """The index (possible,) at which each code below ``possible`` first stands in ``codes`` (R,); R if never.

    >>> first_shown(np.array([2, 0, 2]), 4).tolist()
    [1, 3, 0, 3]
    """
    first = np.full(possible, len(codes))
    np.minimum.at(first, codes, np.arange(len(codes)))
    return first


def expected_coverage(instructions: int, possible: int) -> float:
    """The share of ``possible`` equally likely things that I random draws show on average.

    >>> round(expected_coverage(10, 26), 3), round(expected_coverage(100, 26), 3)
    (0.324, 0.98)
    """
    return 1 - (1 - 1 / possible) ** instructions


def coverage_frame(task: TaskSpec, sizes: Sequence[int], seeds: Sequence[int]) -> pd.DataFrame:
    """``coverage`` of the training patterns that several rule seeds draw; one more column, seed."""
    parts = []
    for seed in seeds:
        patterns = _largest(task, sizes, seed).seen.patterns
        parts.append(coverage(patterns, len(task.alphabet), sizes).assign(seed=seed))
    return pd.concat(parts, ignore_index=True)


def distance_frame(task: TaskSpec, sizes: Sequence[int], seeds: Sequence[int], rules: int = 500) -> pd.DataFrame:
    """How far the first ``rules`` unseen rules are from the training rule with the most similar pattern.

    Columns: instructions, seed, side, distance, share.  ``distance`` counts letters that differ (Hamming),
    for the side ``pattern`` between the two patterns, for ``replacement`` between the two replacements.

    >>> task = TaskSpec(alphabet="abcdef", instructions=3, unseen_instructions=2)
    >>> distance_frame(task, [3], [0]).groupby("side")["share"].sum().tolist()
    [1.0, 1.0]
    """
    found = []
    for seed in seeds:
        split = _largest(task, sizes, seed)
        unseen = first_rules(split.unseen, rules)
        for size in sizes:
            known = first_rules(split.seen, size)
            for side, distances in zip(SIDES, distances_to_nearest(unseen, known), strict=True):
                shares = np.bincount(distances, minlength=getattr(task, f"{side}_length") + 1) / len(unseen)
                found += [(size, seed, side, distance, share) for distance, share in enumerate(shares)]
    return pd.DataFrame(found, columns=["instructions", "seed", "side", "distance", "share"])


def distances_to_nearest(rules: Instructions, known: Instructions) -> tuple[np.ndarray, np.ndarray]:
    """For each rule the letters in which its pattern, and its replacement, differ from those of the known
    rule with the most similar pattern: two arrays (R,).

    >>> known = Instructions("abc", np.array([[0, 0], [1, 1]]), np.array([[2, 2], [2, 0]]))     # aa->cc bb->ca
    >>> distances_to_nearest(Instructions("abc", np.array([[1, 2]]), np.array([[0, 0]])), known)  # bc->aa
    (array([1]), array([1]))
    """
    nearest = nearest_rules(rules.patterns, known)
    return ((rules.patterns != known.patterns[nearest]).sum(1),
            (rules.replacements != known.replacements[nearest]).sum(1))  # fmt: skip


def holding(texts: np.ndarray, strings: np.ndarray) -> np.ndarray:
    """Whether each text (N, L) holds at least one of the strings (R, l), anywhere: (N,), bool.

    >>> holding(np.array([[0, 1, 2], [2, 2, 2]]), np.array([[1, 2], [0, 0]])).tolist()
    [True, False]
    """
    wanted = _words(strings)
    parts = [np.isin(_words(sliding_window_view(texts[i : i + _CHUNK], strings.shape[1], axis=1)), wanted).any(1)
             for i in range(0, len(texts), _CHUNK)]  # fmt: skip
    return np.concatenate(parts)


def expected_holding(task: TaskSpec) -> float:
    """The share of training inputs in which chance puts the pattern of at least one unseen rule.

    Each place of the input but those of the planted pattern is taken for an independent draw, so this is
    a good guess, no more.

    >>> round(expected_holding(TaskSpec(unseen_instructions=1000)), 2)
    0.34
    """
    places = task.input_length - task.pattern_length + 1 - task.occurrences * (1 - task.no_op_share)
    return 1 - (1 - task.unseen_instructions / len(task.alphabet) ** task.pattern_length) ** places


def _largest(task: TaskSpec, sizes: Sequence[int], seed: int) -> Split:
    largest = max(sizes)
    return draw_split(task.but(instructions=largest, examples=max(task.examples, largest), rule_seed=seed))


def first_rules(rules: Instructions, size: int) -> Instructions:
    """The first rules of a set."""
    return Instructions(rules.alphabet, rules.patterns[:size], rules.replacements[:size])


def _words(strings: np.ndarray) -> np.ndarray:
    """One comparable value for each row of letters (..., l) -> (...): its bytes, shifted so that none is zero."""
    return np.ascontiguousarray(strings + 1, dtype=np.uint8).view(f"S{strings.shape[-1]}")[..., 0]
