"""The one dial, ``show | smoke | quick | full | paper``, decides the size of everything; the numbers are in
``scales.toml``.

``show`` trains nothing: it draws the committed results of ``full``, whose settings it has.

>>> scale("quick").instructions
(10, 50, 100, 150, 200, 300, 500, 1000, 3000)
>>> scale("fast")
Traceback (most recent call last):
...
ValueError: scale='fast': known scales are show, smoke, quick, full, paper
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from unseen.files import packaged
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec
from unseen.worlds import Task, TaskSpec


@dataclass(frozen=True)
class Setting:
    """A way to run the threshold study: one base run, varied in its number of instructions and seed.

    With ``bases``, one for each of its runs in their order, a run starts from the model of its own, not from
    the one that ``base`` names.
    """

    name: str
    base: RunSpec
    instructions: tuple[int, ...]
    seeds: tuple[int, ...]
    scale: str = field(default="", kw_only=True)  # that it belongs to, and its results
    weights: tuple[int, ...] = field(default=(), kw_only=True)  # seeds of these, crossed; if none, the same
    bases: tuple[RunSpec, ...] = field(default=(), kw_only=True)

    def runs(self) -> list[RunSpec]:
        """The runs of this setting, first seeds first, so that a study cut short has a whole curve."""
        return self._started(
            self.base.with_task(instructions=number).with_seed(seed).with_weights(weights)
            for seed in self.seeds
            for weights in self.weights or (seed,)
            for number in self.instructions
        )

    def _started(self, runs: Iterable[RunSpec]) -> list[RunSpec]:
        """The runs, each from its base."""
        if not self.bases:
            return list(runs)
        pairs = zip(runs, self.bases, strict=True)
        return [run.but(model=run.model.but(base=base.digest())) for run, base in pairs]


class BySeed(Setting):
    """A setting whose task itself decides its numbers of instructions: one run per seed."""

    def runs(self) -> list[RunSpec]:
        """The runs of this setting."""
        return self._started(self.base.with_seed(seed) for seed in self.seeds)


@dataclass(frozen=True)
class Scale:
    """How large a study is: the first setting is the main one, the others stand beside it."""

    name: str
    minutes: str
    settings: tuple[Setting, ...]

    @property
    def main(self) -> Setting:
        """The setting of the main curve."""
        return self.settings[0]

    @property
    def instructions(self) -> tuple[int, ...]:
        """The numbers of instructions of the main curve."""
        return self.main.instructions

    def runs(self) -> list[RunSpec]:
        """All runs of the study, the main setting first."""
        return [run for setting in self.settings for run in setting.runs()]

    def run(self, instructions: int, seed: int = 0) -> RunSpec:
        """One run of the main setting, on or off its axis."""
        return self.main.base.with_task(instructions=instructions).with_seed(seed)

    def ends(self, seed: int = 0) -> tuple[RunSpec, RunSpec]:
        """The runs of the main setting with the fewest and the most instructions."""
        return self.run(self.instructions[0], seed), self.run(self.instructions[-1], seed)


def scale(name: str) -> Scale:
    """The scale of a name; raises ``ValueError`` listing the known ones."""
    if name not in SCALES:
        raise ValueError(f"scale={name!r}: known scales are {', '.join(SCALES)}")
    return SCALES[name]


def amounts(study: str, name: str) -> SimpleNamespace:
    """How much a study has of everything at a scale: its row in ``scales.toml``, lists as tuples.

    >>> amounts("no_ops", "quick").shares
    (0.0, 0.1, 0.5)
    """
    row = _row(study, scale(name).name)
    return SimpleNamespace(**{key: _frozen(value) for key, value in row.items()})


def each_seed(study: str, name: str, base: RunSpec) -> BySeed:
    """A run of ``base`` for each seed that the table of a study has at a scale.

    >>> [run.task.rule_seed for run in each_seed("less", "quick", RunSpec()).runs()]
    [0, 1, 2]
    """
    return BySeed(study, base, (base.task.instructions,), amounts(study, name).seeds, scale=name)


def run_of(world: type[Task], parts: Mapping[str, Mapping[str, Any]]) -> RunSpec:
    """The run in a row of ``scales.toml``: what its ``task``, of a ``world``, its ``model``, ``training`` and
    ``evaluation`` have other than the defaults.
    """
    specs = {"task": world, "model": ModelSpec, "training": TrainingSpec, "evaluation": EvaluationSpec}
    return RunSpec(**{name: part(**parts.get(name, {})) for name, part in specs.items()})


_TABLE = packaged("scales.toml")


def _row(study: str, name: str) -> dict[str, Any]:
    return _TABLE[study][SHOWN if name == SHOW else name]


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


SHOW, SHOWN = "show", "full"  # the scale that trains nothing, and the one whose committed results it draws


def _scale(name: str) -> Scale:
    row = _row("diversity", name)
    settings = [
        Setting(which, run_of(TaskSpec, its["base"]), *map(_frozen, (its["sizes"], its["seeds"])), scale=name)
        for which, its in {"main": row, **row["others"]}.items()
    ]
    return Scale(name, "seconds, nothing is trained" if name == SHOW else row["minutes"], tuple(settings))


SCALES = {name: _scale(name) for name in (SHOW, "smoke", "quick", "full", "paper")}
# The paper's recipe at this size: about as many weights as the modern model, GPT-2's own proportions.
_GPT2 = next(each.base for each in SCALES["full"].settings if each.name == "gpt2")
GPT2, GPT2_TRAINING = _GPT2.model, _GPT2.training
