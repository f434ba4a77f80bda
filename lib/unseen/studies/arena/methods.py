"""Every method of the arena that chooses from a pool, by its name, and how a choice is written as text.

>>> read("novelselect scout beta=0").options
{'beta': 0.0}
>>> read("novelselct scout")
Traceback (most recent call last):
...
ValueError: chooser='novelselct scout': known methods are random, longest, repeated, k-center, ...
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from unseen.studies.arena import clusters, coverage, novelty, plain

METHODS: dict[str, Callable[..., np.ndarray]] = {
    "random": plain.random,
    "longest": plain.longest,
    "repeated": plain.repeated,
    "k-center": plain.k_center,
    "most-rules": plain.most_groups,
    "novelselect": novelty.novelselect,
    "sae": coverage.sae,
    "random-directions": coverage.random_directions,
    "kmq": clusters.kmq,
    "iterative-kmq": clusters.iterative_kmq,
}


class Choice(NamedTuple):
    """A method, what it ``reads`` of each row, and its parameters."""

    method: str
    reads: str
    options: dict[str, Any]


def read(text: str) -> Choice:
    """A choice written as ``method``, ``method reads`` or ``method reads name=number ...``.

    Raises ``ValueError`` that names an unknown method or parameter, lists the known ones, or a bad number.
    """
    method, *rest = text.split()
    if method not in METHODS:
        raise ValueError(f"chooser={text!r}: known methods are {', '.join(METHODS)}")
    reads = rest.pop(0) if rest and "=" not in rest[0] else ""
    return Choice(method, reads, options_of(method, dict(each.partition("=")[::2] for each in rest)))


def options_of(method: str, given: dict[str, str]) -> dict[str, Any]:
    """The parameters of a method as numbers of its own types; raises ``ValueError`` as ``read``."""
    found = inspect.signature(METHODS[method]).parameters.values()
    known = {each.name: type(each.default) for each in found if type(each.default) in (int, float, bool)}
    options = {}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"{name}={value}: the parameters of {method} are {', '.join(known) or 'none'}")
        try:
            options[name] = known[name](float(value)) if known[name] is not float else float(value)
        except ValueError:
            raise ValueError(f"{name}={value}: {method} takes a number here") from None
    return options
