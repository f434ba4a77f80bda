"""What may set the threshold: the factors of a run, as numbers read from its spec.

>>> levels(RunSpec())["budget"], levels(RunSpec())["passes"]
(45000, 1.0)
>>> wider = RunSpec().but(model=RunSpec().model.but(width=96))
>>> round(logs(levels(wider), levels(RunSpec()))["width"], 3)
0.405
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unseen.specs import RunSpec
from unseen.training import batch_size

Levels = Mapping[str, float | str]  # of each factor, by name, and the name of the recipe


@dataclass(frozen=True)
class Factor:
    """One quantity of a run that is varied; ``words`` tells it in a figure."""

    name: str
    words: str
    of: Callable[[RunSpec], float]


def passes(spec: RunSpec) -> float:
    """How often training reads each example: steps x batch / N, to a tenth (an incomplete last batch is left out).

    >>> passes(RunSpec())
    1.0
    """
    return round(spec.training.steps * batch_size(spec.task, spec.training) / spec.task.examples, 1)


FACTORS = (
    Factor("alphabet", "letters in the alphabet", lambda spec: len(spec.task.alphabet)),
    Factor("pattern", "letters of pattern and replacement", lambda spec: spec.task.pattern_length),
    Factor("input", "letters of the input", lambda spec: spec.task.input_length),
    Factor("width", "width of the model", lambda spec: spec.model.width),
    Factor("depth", "layers of the model", lambda spec: spec.model.layers),
    Factor("budget", "training examples", lambda spec: spec.task.examples),
    Factor("passes", "passes over the examples", passes),
)
NAMES = tuple(factor.name for factor in FACTORS)
WORDS = {factor.name: factor.words for factor in FACTORS} | {"recipe": "recipe"}


def levels(spec: RunSpec) -> dict[str, float | str]:
    """The level of every factor of a run, and its recipe."""
    return {"recipe": spec.model.recipe} | {factor.name: factor.of(spec) for factor in FACTORS}


def logs(here: Levels, base: Levels) -> dict[str, float]:
    """What a power law is linear in: log (level / base level) of each factor."""
    return {name: float(np.log(here[name] / base[name])) for name in NAMES}


def apart(settings: Sequence[Levels]) -> list[str]:
    """What sets each setting apart from its recipe's base, the first with that recipe: ``input and budget``, empty for the base.

    Beside the first recipe, ``recipe`` comes before the factors.

    >>> shallow = RunSpec().but(model=RunSpec().model.but(layers=3))
    >>> apart([levels(RunSpec()), levels(shallow)])
    ['', 'depth']
    """
    bases: dict[object, Levels] = {}
    for each in settings:
        bases.setdefault(each["recipe"], each)
    first = next(iter(bases), None)
    return [" and ".join(["recipe"] * (each["recipe"] != first) + [name for name in NAMES if each[name] != bases[each["recipe"]][name]])
            for each in settings]  # fmt: skip
