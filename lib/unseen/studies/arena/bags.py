"""Texts as vectors without a model: bags of letter and word n-grams, hashed to a fixed width."""

import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from unseen.studies.arena.plain import units


def bags(texts: Sequence[str], width: int = 512, letters: int = 2) -> np.ndarray:
    """Unit vectors (n, width), float32: how often each n-gram of so many letters, and each word, occurs.

    An n-gram has the place that its CRC-32 gives, so that the same text has the same vector everywhere.

    >>> one, other, far = bags(["to be or not", "or not to be", "quite different"])
    >>> bool(one @ other > 0.9 > 0.3 > one @ far)
    True
    """
    found = np.zeros((len(texts), width), np.float32)
    for row, text in zip(found, texts, strict=True):
        grams = [text[at : at + letters] for at in range(len(text) - letters + 1)]
        words = text.split() if " " in text else []
        for gram, times in Counter([*grams, *words]).items():
            row[zlib.crc32(gram.encode()) % width] += times
    return units(found)
