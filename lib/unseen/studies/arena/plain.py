"""Choosing without much thought: random, longest, farthest first (k-center), most rules; and distances.

Every chooser takes rows ``x`` (n, d), how many to ``keep`` and a ``seed``, and returns indices (keep,) in the
order of choosing.  None makes an n x n matrix.
"""

import numpy as np


def units(x: np.ndarray) -> np.ndarray:
    """Rows (n, d) of length 1, float32; rows of zeros stay so."""
    x = np.asarray(x, np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def squared(x: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (n, m) between rows (n, d) and ``others`` (m, d).

    >>> squared(np.array([[0.0, 0], [3, 4]]), np.array([[0.0, 0]])).tolist()
    [[0.0], [25.0]]
    """
    products = x @ others.T
    products *= -2
    products += (x**2).sum(1)[:, None]
    products += (others**2).sum(1)
    return np.maximum(products, 0, out=products)


def random(x: np.ndarray, keep: int, seed: int) -> np.ndarray:
    """Any rows, evenly."""
    return np.random.default_rng(seed).choice(len(x), keep, replace=False)


def longest(x: np.ndarray, keep: int, seed: int) -> np.ndarray:
    """The rows whose first number, a length, is largest; equal ones in random order.

    >>> longest(np.array([[3], [9], [5]]), 2, 0).tolist()
    [1, 2]
    """
    order = np.random.default_rng(seed).permutation(len(x))
    return order[np.argsort(-x[order, 0], kind="stable")][:keep]


def repeated(x: np.ndarray, keep: int, seed: int, share: float = 0.5) -> np.ndarray:
    """Random rows, of which a ``share`` repeat others: a set that is less diverse by design.

    >>> len(set(repeated(np.zeros((90, 1)), 20, 0, 0.75).tolist()))
    5
    """
    distinct = random(x, max(1, round(keep * (1 - share))), seed)
    return np.resize(distinct, keep)


def k_center(x: np.ndarray, keep: int, seed: int) -> np.ndarray:
    """Farthest first (Gonzalez, 1985): a random row, then again and again the one farthest from all chosen.

    >>> sorted(k_center(np.array([[0.0], [0.1], [5.0], [9.0]]), 3, 0).tolist())[1:]
    [2, 3]
    """
    x = np.asarray(x, np.float32)
    norms = (x**2).sum(1)
    chosen = [int(np.random.default_rng(seed).integers(len(x)))]
    nearest = np.full(len(x), np.inf, np.float32)
    for _ in range(keep - 1):
        last = x[chosen[-1]]
        np.minimum(nearest, norms + last @ last - 2 * (x @ last), out=nearest)
        nearest[chosen[-1]] = -np.inf
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)


def equal_shares(sizes: np.ndarray, keep: int) -> np.ndarray:
    """Shares (k,) of ``keep`` as equal as groups of these ``sizes`` (k,) allow, the rest to the first.

    >>> equal_shares(np.array([10, 1, 10]), 8).tolist()
    [4, 1, 3]
    """
    shares = np.zeros_like(sizes)
    while left := min(keep, sizes.sum()) - shares.sum():
        room = np.flatnonzero(shares < sizes)
        each, more = divmod(left, len(room))
        shares[room] += each
        shares[room[:more]] += 1
        shares = np.minimum(shares, sizes)
    return shares


def most_groups(x: np.ndarray, keep: int, seed: int, groups: int = 0) -> np.ndarray:
    """Rows of as many different groups as there are, in equal shares; the first number of a row names its
    group (here: its rule, which no chooser of a real pool knows).

    With a number of ``groups`` only so many, the largest, so that their shares are as equal as possible.

    >>> sorted(most_groups(np.array([[7], [7], [7], [8], [9]]), 3, 0).tolist())[1:]
    [3, 4]
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    names, group, sizes = np.unique(x[order, 0], return_inverse=True, return_counts=True)
    largest = np.argsort(-sizes, kind="stable")[: groups or len(names)]
    shares = np.zeros_like(sizes)
    shares[largest] = equal_shares(sizes[largest], keep)
    return np.concatenate([order[group == each][: shares[each]] for each in largest])
