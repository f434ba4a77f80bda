"""Diversify and Conquer: kMQ and iterative kMQ (Yu and others, 2024, arXiv 2409.11378).

Claim: at equal size, iterative kMQ > kMQ > rows at random from clusters > random > k-center.

kMQ groups rows by k-means, gives each cluster its share of the budget, and draws in it by quality.
*Printed*: a cluster of |X_j| of |X| rows gets |X_j| / |X| of the budget; rows are drawn with replacement,
with probabilities proportional to their quality.  *Coded*: every cluster gets as many, without replacement,
with probabilities by the softmax of quality.  The parameter ``coded`` chooses.

*Iterative*, in N rounds: the clusters' weights w start equal; a round draws 1/N of the budget by them; the
model is tuned on what is chosen so far and answers its own prompts; s_j is the mean of score(right answer) -
score(own answer) in cluster j, and w_j becomes w_j s_j / sum of s.

Ours: k-means in numpy, from random rows on; shares are rounded to the largest remainders; a cluster
without a chosen row keeps its weight; a negative s_j counts as zero; weights that would all become zero stay.
"""

from collections.abc import Callable

import numpy as np

from unseen.studies.arena.plain import equal_shares, squared

_CHUNK = 1 << 24  # distances held at a time


def k_means(x: np.ndarray, clusters: int, seed: int, rounds: int = 20) -> np.ndarray:
    """The cluster (n,) of each row of ``x`` (n, d), by Lloyd's algorithm; empty ones move to random rows.

    >>> label = k_means(np.array([[0.0], [0.1], [5.0], [5.1]]), 2, 0)
    >>> (label == label[0]).tolist()
    [True, True, False, False]
    """
    rng, x = np.random.default_rng(seed), np.asarray(x, np.float32)
    centres = x[rng.choice(len(x), clusters, replace=False)]
    size = max(1, _CHUNK // clusters)
    for _ in range(rounds):
        parts = [squared(x[at : at + size], centres).argmin(1) for at in range(0, len(x), size)]
        label = np.concatenate(parts)
        order = label.argsort(kind="stable")
        held, first, sizes = np.unique(label[order], return_index=True, return_counts=True)
        moved = x[rng.choice(len(x), clusters, replace=False)]
        moved[held] = np.add.reduceat(x[order], first, axis=0) / sizes[:, None]
        if np.allclose(moved, centres, atol=1e-6):
            break
        centres = moved
    return label


def apportioned(weights: np.ndarray, keep: int) -> np.ndarray:
    """``keep`` in whole shares (k,) proportional to ``weights`` (k,), rounded to the largest remainders.

    >>> apportioned(np.array([1.0, 1.0, 4.0]), 10).tolist()
    [2, 1, 7]
    """
    exact = keep * weights / weights.sum()
    shares = np.floor(exact).astype(int)
    shares[np.argsort(shares - exact, kind="stable")[: keep - shares.sum()]] += 1
    return shares


def drawn(
    label: np.ndarray, shares: np.ndarray, quality: np.ndarray, seed: int, coded: bool = False
) -> np.ndarray:
    """Indices of rows drawn by ``quality`` (n,) from their clusters ``label`` (n,), so many of each."""
    rng, parts = np.random.default_rng(seed), []
    for cluster, share in enumerate(shares):
        rows = np.flatnonzero(label == cluster)
        if share and len(rows):
            weight = np.exp(quality[rows] - quality[rows].max()) if coded else quality[rows]
            parts.append(rng.choice(rows, share, replace=not coded, p=weight / weight.sum()))
    return np.concatenate(parts)


def kmq(
    x: np.ndarray, keep: int, seed: int, clusters: int = 100, quality: np.ndarray | None = None,
    coded: bool = False,
) -> np.ndarray:  # fmt: skip
    """Indices (keep,) by kMQ, as printed or as ``coded``; without a ``quality`` (n,) all are equally good.

    As printed a row can be drawn twice.

    >>> rows = np.repeat(np.eye(3), [10, 4, 2], axis=0)
    >>> [np.unique(rows[kmq(rows, 6, 0, 3, coded=coded)].argmax(1), return_counts=True)[1].tolist()
    ...  for coded in (False, True)]
    [[4, 1, 1], [2, 2, 2]]
    """
    quality = np.ones(len(x)) if quality is None else quality
    label = k_means(x, clusters, seed)
    sizes = np.bincount(label, minlength=clusters)
    shares = equal_shares(sizes, keep) if coded else apportioned(sizes, keep)
    return drawn(label, shares, quality, seed, coded)


def iterative_kmq(
    x: np.ndarray, keep: int, seed: int, gain: Callable[[np.ndarray], np.ndarray], rounds: int = 3,
    clusters: int = 100, quality: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Indices (keep,) by iterative kMQ, as printed.

    ``gain`` tunes a model on the rows chosen so far (m,) and returns for each score(right) - score(own).
    """
    quality = np.ones(len(x)) if quality is None else quality
    label, chosen = k_means(x, clusters, seed), np.empty(0, int)
    weights = np.bincount(label, minlength=clusters).clip(max=1) / clusters
    for number in range(rounds):
        if number:
            weights = reweighted(weights, label[chosen], gain(chosen))
        shares = apportioned(weights, keep * (number + 1) // rounds - len(chosen))
        chosen = np.concatenate([chosen, drawn(label, shares, quality, seed + number)])
    return chosen


def reweighted(weights: np.ndarray, label: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """The clusters' weights (k,) after a round, from the clusters (m,) and gains (m,) of the chosen rows.

    >>> reweighted(np.ones(4) / 4, np.array([0, 0, 1, 2]), np.array([1.0, 3.0, 0.0, 4.0])).round(2).tolist()
    [0.25, 0.0, 0.5, 0.25]
    """
    held = np.bincount(label, minlength=len(weights))
    gain = np.bincount(label, gains, len(weights)) / held.clip(min=1)
    gain = gain.clip(min=0)
    mean = gain[held > 0].mean()
    changed = weights * np.where(held > 0, gain / mean if mean else 1.0, 1.0)
    return changed / changed.sum() if changed.any() else weights
