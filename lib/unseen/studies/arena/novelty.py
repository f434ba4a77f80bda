"""NovelSum and NovelSelect (Yang and others, 2025, arXiv 2502.17184, section 3).

Claim: over training sets of equal size, NovelSum orders the scores of the tuned models (r near .97), and a
set that is chosen greedily for it beats random and k-center.

The novelty of a row x towards others is a mean of distances in which near ones weigh most, and rows in dense
places count more::

    v(x) = sum_j w_j sigma(x_j)^beta d(x, x_j),   w_j proportional to 1 / rank(j)^alpha,   d = 1 - cosine

``rank`` is by closeness to x; sigma(x_j) is 1 / (mean squared Euclidean distance to the K nearest rows of a
reference).  The printed density is that of the *other* row.  The released code differs and is here as
``coded``: the metric takes that of the row itself, and counts the row as its own nearest; NovelSelect takes
the sum of both.  As in the code, NovelSelect ranks by the weighted distance.

Ours: nothing of the size n x n is made, and most candidates are not looked at (see ``novelselect``).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from unseen.studies.arena.plain import squared, units

_CHUNK = 1 << 24  # distances held at a time
_TRIED = 64  # candidates whose novelty is computed at a time


def density(
    x: np.ndarray, beta: float, neighbours: int = 10, reference: np.ndarray | None = None, most: int = 5_000
) -> np.ndarray:
    """sigma^beta of rows (n, d) among a ``reference`` (m, d), by default themselves: (n,), float32.

    The reference is deduplicated, and the nearest hit, the row itself, is dropped, as in the code.  Ours: of
    more than ``most`` rows only so many are the reference, evenly spaced.

    >>> density(np.array([[0.0], [1.0], [3.0]]), 1, neighbours=1).tolist()
    [1.0, 1.0, 0.25]
    """
    x = np.asarray(x, np.float32)
    if not beta:
        return np.ones(len(x), np.float32)
    known = x if reference is None else np.asarray(reference, np.float32)
    known = np.unique(known[np.linspace(0, len(known) - 1, min(most, len(known))).astype(int)], axis=0)
    neighbours, size, found = min(neighbours, len(known) - 1), max(1, _CHUNK // len(known)), []
    for start in range(0, len(x), size):
        near = np.partition(squared(x[start : start + size], known), neighbours, axis=1)[:, : neighbours + 1]
        found.append((near.sum(1) - near.min(1)) / neighbours)
    return (np.concatenate(found) + 1e-9) ** -beta


def novelsum(
    x: np.ndarray, alpha: float = 1.0, beta: float = 0.5, neighbours: int = 10, coded: bool = False,
    reference: np.ndarray | None = None,
) -> float:  # fmt: skip
    """The mean novelty of rows (n, d) towards each other; densities are those among the ``reference``.

    >>> spread, twice = np.eye(4), np.repeat(np.eye(2), 2, axis=0)
    >>> round(novelsum(spread, beta=0), 3), round(novelsum(twice, beta=0), 3)
    (1.0, 0.455)
    """
    unit, sigma = units(x), density(x, beta, neighbours, reference)
    weights = np.arange(1, len(x) + coded) ** -float(alpha)
    size, total = max(1, _CHUNK // len(x)), 0.0
    for start in range(0, len(x), size):
        rows = np.arange(start, min(start + size, len(x)))
        apart = 1 - unit[rows] @ unit.T
        apart[np.arange(len(rows)), rows] = -np.inf  # the first of its order
        order = np.argsort(apart, axis=1)
        near = np.take_along_axis(apart, order, 1) * (sigma[rows][:, None] if coded else sigma[order])
        near[:, 0] = 0
        total += float((near[:, 1 - coded :] @ weights).sum())
    return float(total / weights.sum() / len(x))


def novelselect(
    x: np.ndarray, keep: int, seed: int, alpha: float = 1.0, beta: float = 0.5, neighbours: int = 10,
    coded: bool = False, most: int = 5_000, say: Callable[[str], Any] = lambda line: None,
) -> np.ndarray:  # fmt: skip
    """Indices (keep,): a random row of ``x`` (n, d), then repeatedly the row most novel towards those chosen.

    The result is that of computing all novelties at every step, but few are.  With the j-th nearest at
    weight j^-alpha, not normalised, the m-th row chosen, at weighted distance D from a candidate, raises its
    novelty by at most D m^-alpha: all that are farther lose weight, and none is nearer than D.  So each
    candidate has an upper bound, and the best is found when no bound exceeds its novelty.

    >>> rows = np.random.default_rng(0).normal(size=(200, 8))
    >>> one, other = (novelselect(rows, 20, 0, beta=beta) for beta in (0, 0.5))
    >>> len(set(one.tolist())), int(one[0]) == int(other[0])
    (20, True)
    """
    unit, sigma = units(x), density(x, beta, neighbours, most=most)
    weights = np.arange(1, keep + 1, dtype=np.float32) ** -np.float32(alpha)
    own = sigma if coded else np.zeros_like(sigma)
    chosen, bound = [int(np.random.default_rng(seed).integers(len(x)))], np.zeros(len(x), np.float32)
    known = np.empty((unit.shape[1], keep), np.float32)  # the chosen rows, as columns
    for m in range(1, keep):
        last = chosen[-1]
        known[:, m - 1] = unit[last]
        bound += (1 - unit @ unit[last]) * (own + sigma[last]) * weights[m - 1]
        bound[last] = -np.inf
        stale = bound.copy()
        while stale[best := int(bound.argmax())] != -np.inf:
            rows = np.argpartition(-stale, min(_TRIED, len(x) - 1))[:_TRIED]
            rows = rows[stale[rows] > -np.inf]
            apart = (1 - unit[rows] @ known[:, :m]) * (own[rows][:, None] + sigma[chosen])
            apart.sort(axis=1)
            bound[rows] = apart @ weights[:m]
            stale[rows] = -np.inf
        chosen.append(best)
        if m % 100 == 0:
            say(f"{m:,} of {keep:,} chosen")
    return np.array(chosen)


def mean_distance(x: np.ndarray) -> float:
    """The mean cosine distance between two rows of ``x`` (n, d), an older measure of diversity.

    >>> mean_distance(np.eye(3))
    1.0
    """
    size, centre = len(x), units(x).sum(0, dtype=float)
    return float(1 - (centre @ centre - size) / (size * (size - 1)))


def vendi(x: np.ndarray) -> float:
    """The Vendi score (Friedman and Dieng, 2023): how many different rows ``x`` (n, d) holds, by cosines.

    >>> round(vendi(np.repeat(np.eye(3), 2, axis=0)), 3)
    3.0
    """
    unit = units(x)
    shares = np.linalg.eigvalsh(unit.T.astype(float) @ unit / len(unit))
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))
