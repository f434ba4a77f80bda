"""How far more steps carry: thresholds after many times the steps, and what sets a floor (notebook 41).

Over the settings of notebook 17, threshold x steps x width / letters is nearly one constant.  If that held
for ever, enough steps would make any number of instructions do.  ``settings`` trains for up to so many
``times`` the steps; ``SENTENCES`` say where the threshold then lies, from those at two lengths of training.

    >>> [setting.name for setting in settings("quick")][:3]
    ['1 times the steps', '2 times the steps', '3 times the steps']
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from unseen.scales import Setting, amounts, scale
from unseen.specs import TrainingSpec
from unseen.studies import law

# Half of all rules: these trainings end at different heights, and half of one is not half of another.
READ = law.READINGS[law.HALF_OF_ALL]
Sentence = Callable[[float, float, float, np.ndarray], np.ndarray]


def constant(one: float, other: float, apart: float, times: np.ndarray) -> np.ndarray:
    """Steps and instructions replace each other one to one, for ever."""
    return one / times


def power(one: float, other: float, apart: float, times: np.ndarray) -> np.ndarray:
    """Each doubling of the steps divides the threshold by the same number, whichever that is."""
    return one * times ** (-np.log(one / other) / np.log(apart))


def bounded(one: float, other: float, apart: float, times: np.ndarray) -> np.ndarray:
    """Below a floor no number of steps helps; what lies above it shrinks in proportion to the steps."""
    above = (one - other) / (1 - 1 / apart)
    return one - above + above / times


SENTENCES: dict[str, Sentence] = {"one constant": constant, "a power": power, "a floor": bounded}

# What it may be of a training that lowers the threshold, which is then in inverse proportion to it.
AMOUNTS: dict[str, Callable[[TrainingSpec], float]] = {
    "steps": lambda training: training.steps,
    "examples read": lambda training: training.steps * training.batch,
    "rate added up": lambda training: (
        training.steps * training.learning_rate * (1 - training.decay_share / 2)
    ),
    "root of the rate added up": lambda training: (
        training.steps * np.sqrt(training.learning_rate) * (1 - training.decay_share / 3)
    ),
}


def settings(name: str) -> tuple[Setting, ...]:
    """The settings of a scale, shortest first: a smaller model than the main one, trained for longer.

    More steps read the same examples again, or ``fresh`` ones.
    """
    much, main = amounts("floor", name), scale(name).main
    return tuple(_setting(main, much.factors, **row) for row in much.rows)


def _setting(
    main: Setting,
    common: dict[str, float],
    times: int,
    sizes: list[int],
    seeds: list[int],
    what: str = "",
    recipe: str = "",
    **given: Any,
) -> Setting:
    """``given`` may hold levels of ``factors``, fields of ``model`` and ``training``, and ``fresh``.

    Another ``recipe`` has its own batch, rate and schedule, and as many steps.  With a ``branch`` of so many
    steps each run starts from the model of the run without it, and its rate falls to zero.
    """
    factors = common | given.get("factors", {})
    longer = {"budget": times * main.base.task.examples} if "fresh" in given else {"passes": times}
    base = law.with_recipe(main.base, recipe)
    base = base.but(training=base.training.but(steps=main.base.training.steps))
    spec = law.at(base, **factors, **longer)
    steps = spec.training.steps
    rare = {"evaluate_every": max(1, steps // 20), "checkpoint_every": main.base.training.steps}
    spec = spec.but(
        model=spec.model.but(**given.get("model", {})),
        training=spec.training.but(**rare | given.get("training", {})),
    )
    title = f"{times} times the steps" + f", {what}" * bool(what)
    whole = Setting(title, spec, tuple(sizes), tuple(seeds), scale=main.scale)
    if "branch" not in given:
        return whole
    steps = given["branch"]
    decaying = spec.training.but(steps=steps, evaluate_every=steps, decay_share=1.0)
    return replace(whole, base=spec.but(training=decaying), bases=tuple(whole.runs()))


def predicted(seeds: pd.DataFrame, apart: int, times: int) -> pd.DataFrame:
    """What each of ``SENTENCES`` says of a length of training, seed by seed, and what came.

    ``seeds`` are thresholds of ``law.by_seed``; a sentence is taken from those at 1 and ``apart`` times the
    steps. Columns: sentence, seed, predicted, threshold, ratio (of the threshold to the predicted).

    >>> found = pd.DataFrame({"setting": [f"{n} times the steps" for n in (1, 2, 4)], "seed": 0})
    >>> predicted(found.assign(threshold=[200, 125, 87.5]), 2, 4).round(1)[["sentence", "predicted", "ratio"]]
           sentence  predicted  ratio
    0  one constant       50.0    1.8
    1       a power       78.1    1.1
    2       a floor       87.5    1.0
    """
    wide = seeds.pivot(index="seed", columns="setting", values="threshold")
    one, other, came = (wide[f"{each} times the steps"] for each in (1, apart, times))
    found = []
    for name, sentence in SENTENCES.items():
        said = sentence(one, other, apart, times)
        found.append(pd.DataFrame({"sentence": name, "predicted": said, "threshold": came}))
    table = pd.concat(found).reset_index()
    return table.assign(ratio=table["threshold"] / table["predicted"])


def expected(plain: TrainingSpec, changed: TrainingSpec) -> dict[str, float]:
    """By what each of ``AMOUNTS`` says that a change of the training multiplies the threshold.

    >>> expected(TrainingSpec(), TrainingSpec(decay_share=0.0))
    {'steps': 1.0, 'examples read': 1.0, 'rate added up': 0.7, 'root of the rate added up': 0.8}
    """
    return {name: round(float(amount(plain) / amount(changed)), 3) for name, amount in AMOUNTS.items()}
