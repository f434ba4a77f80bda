"""Texts as vectors without a model: bags of letter pairs and words, hashed to a fixed width."""

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
