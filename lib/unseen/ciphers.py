"""Ciphers for *encrypted* rewriting: rewrite, then encipher the answer (paper, pre-trained experiment; its cipher was not published).

>>> encipher("abz", "abcdefghijklmnopqrstuvwxyz", "shift:3")
'dec'
>>> sorted(encipher("abcd", "abcd", "substitution:1"))
['a', 'b', 'c', 'd']
"""

import numpy as np

from unseen.tasks import SPECIAL


def cipher_table(alphabet: str, cipher: str) -> np.ndarray:
    """What each token id becomes, (V,), uint8: letters by the cipher, special tokens themselves.

    ``shift:N`` moves each letter N places on in the alphabet, around its end; ``substitution:SEED`` is a random
    permutation of the letters; no cipher changes nothing.
    """
    size, table = len(alphabet), np.arange(len(alphabet) + len(SPECIAL), dtype=np.uint8)
    kind, _, number = cipher.partition(":")
    if kind == "shift":
        table[:size] = (np.arange(size) + int(number)) % size
    elif kind == "substitution":
        table[:size] = np.random.default_rng(int(number)).permutation(size)
    return table


def encipher(text: str, alphabet: str, cipher: str) -> str:
    """The text with each of its letters enciphered."""
    table = cipher_table(alphabet, cipher)
    return "".join(alphabet[table[alphabet.index(letter)]] for letter in text)
