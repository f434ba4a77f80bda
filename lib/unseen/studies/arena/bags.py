"""Texts without a model: bags of letter pairs and words, hashed to a fixed width; and BM25."""

import zlib
from collections.abc import Sequence

import numpy as np

from unseen.studies.arena.plain import units

_MIX = np.uint32(2_654_435_761)  # Knuth's multiplicative hash


def bags(texts: Sequence[str], width: int = 512) -> np.ndarray:
    """Unit vectors (n, width), float32: how often each pair of bytes, and each of several words, occurs.

    Its hash gives each its place, the same everywhere.

    >>> one, other, far = bags(["to be or not", "or not to be", "quite different"])
    >>> bool(one @ other > 0.8 > 0.2 > one @ far)
    True
    """
    found = np.zeros((len(texts), width), np.float32)
    for row, text in zip(found, texts, strict=True):
        raw = np.frombuffer(text.encode(), np.uint8).astype(np.uint32)
        places = ((raw[:-1] << 8 | raw[1:]) * _MIX >> 16) % width
        words = [zlib.crc32(word.encode()) % width for word in text.split()] if " " in text else []
        row += np.bincount(np.concatenate([places, np.array(words, places.dtype)]), minlength=width)
    return units(found)


def held(prompts: np.ndarray, vocabulary: int) -> np.ndarray:
    """Which tokens of a vocabulary occur in each of the prompts (N, P): (N, V), true or false.

    >>> held(np.array([[2, 0, 2]]), 4).tolist()
    [[True, False, True, False]]
    """
    found = np.zeros((len(prompts), vocabulary), bool)
    np.put_along_axis(found, prompts.astype(np.int64), True, 1)
    return found


def bm25(texts: Sequence[str], queries: Sequence[str], k: float = 1.5, b: float = 0.75) -> np.ndarray:
    """How well (n,) each text fits the words of all queries (Robertson and others, TREC-3, 1994).

    >>> bm25(["sort this", "flip it", "sort it"], ["please flip"]).round(1).tolist()
    [0.0, 1.0, 0.0]
    """
    names = {word: at for at, word in enumerate(sorted(set(" ".join(texts).split())))}
    counts = np.zeros((len(texts), len(names)))
    for row, text in zip(counts, texts, strict=True):
        np.add.at(row, [names[word] for word in text.split()], 1)
    held, lengths = (counts > 0).sum(0), counts.sum(1, keepdims=True)
    rarity = np.log(1 + (len(texts) - held + 0.5) / (held + 0.5))
    weights = rarity * counts * (k + 1) / (counts + k * (1 - b + b * lengths / lengths.mean()))
    asked = [names[word] for word in " ".join(queries).split() if word in names]
    return weights[:, asked].sum(1)
