"""Which settings are measured at each scale: one factor changed at a time to fit, several at once to be held out.

The numbers of instructions of each setting stand around the step that single scouting runs had shown, so that it lies inside.

    >>> design = design_of("quick")
    >>> design.settings[0].base == RunSpec()
    True
    >>> sorted(setting.name for setting in design.held_out)
    ['13 letters, width 32', 'input 6, budget 22,500']
"""

import string
from dataclasses import dataclass
from math import inf

import pandas as pd

from unseen.law.factors import apart, levels
from unseen.scales import GPT2, GPT2_TRAINING, Setting, scale
from unseen.specs import ModelSpec, RunSpec, TrainingSpec

Step = tuple[float, dict[str, float]]  # where single runs had shown a setting's step, and its levels
_LETTERS = string.ascii_letters + string.digits
_SEEDS = (0, 1)
_TITLES = {"alphabet": "{} letters", "pattern": "pattern {}", "input": "input {}", "width": "width {}",
           "depth": "{} layers", "budget": "budget {:,}", "passes": "{:g} times the passes"}  # fmt: skip
_AROUND = {
    "quick": (0.4, 0.75, 1.3, 4.0),
    "full": (0.35, 0.6, 1.0, 1.7, 5.0),
    "paper": (0.25, 0.5, 1.0, 2.5, 25.0),
}  # sizes over the step guessed


@dataclass(frozen=True)
class Design:
    """Settings to fit a law to, the base first, and settings it is tested on, which it never sees."""

    fitted: tuple[Setting, ...]
    held_out: tuple[Setting, ...]

    @property
    def settings(self) -> tuple[Setting, ...]:
        """All settings, those to fit first."""
        return self.fitted + self.held_out


def as_table(design: Design) -> pd.DataFrame:
    """The design as a person reads it: setting, used to (fit or test), varied, held-out rules, instructions, seeds."""
    varied = apart([levels(setting.base) for setting in design.settings])
    rows = [{"setting": setting.name, "used to": "test" if setting in design.held_out else "fit", "varied": what or "the base",
             "unseen rules": setting.base.task.unseen_instructions,
             "instructions": ", ".join(f"{size:,}" for size in setting.instructions), "seeds": len(setting.seeds)}
            for setting, what in zip(design.settings, varied, strict=True)]  # fmt: skip
    return pd.DataFrame(rows)


def at(base: RunSpec, **given: float) -> RunSpec:
    """The base run with factors at other levels, its recipe as it is.

    Steps follow the budget and the passes.  Where few strings exist, at most an eighth of them is held out as unseen
    patterns: the test then has fewer rules.

    >>> few = at(RunSpec(), alphabet=13, budget=22_500)
    >>> few.task.unseen_instructions, few.training.steps
    (274, 351)
    """
    task = base.task
    letters = _LETTERS[: given["alphabet"]] if "alphabet" in given else task.alphabet
    pattern, budget = given.get("pattern", task.pattern_length), given.get("budget", task.examples)
    unseen = min(task.unseen_instructions, len(letters) ** pattern // 8)
    task = task.but(alphabet=letters, pattern_length=pattern, replacement_length=pattern, examples=budget,
                    input_length=given.get("input", task.input_length), unseen_instructions=unseen, instructions=2)  # fmt: skip
    model = base.model.but(width=given.get("width", base.model.width), layers=given.get("depth", base.model.layers))
    steps = int(base.training.steps * budget / base.task.examples * given.get("passes", 1.0))
    return base.but(task=task, model=model, training=base.training.but(steps=steps))


def title(**given: float) -> str:
    """The name of a setting: ``13 letters, width 32``."""
    return ", ".join(_TITLES[name].format(value) for name, value in given.items())


def sizes(step: float, name: str, room: float = inf) -> tuple[int, ...]:
    """Numbers of instructions around a step, to two digits, those above the room there is cut down to it.

    >>> sizes(270, "quick"), sizes(270, "quick", room=508)
    ((110, 200, 350, 1100), (110, 200, 350, 508))
    """
    return tuple(sorted({int(min(room, float(f"{step * share:.2g}"))) for share in _AROUND[name]}))


def room_of(spec: RunSpec) -> int:
    """How many instructions a task has strings for, beside those held out.

    >>> room_of(at(RunSpec(), pattern=2))
    508
    """
    task = spec.task
    return len(task.alphabet) ** task.pattern_length - 2 * task.unseen_instructions


def _setting(name: str, step: float, base: RunSpec, given: dict[str, float]) -> Setting:
    spec, recipe = at(base, **given), base.model.recipe
    beside = [recipe] * (recipe != scale(name).main.base.model.recipe)
    called = ", ".join(beside + [title(**given)] * bool(given))
    return Setting(called, spec, sizes(step, name, room_of(spec)), _SEEDS)


def design_of(name: str) -> Design:
    """The design of a scale; raises ``ValueError`` for a name that is none."""
    main = scale(name).main
    return {"smoke": _smoke, "quick": _quick, "full": _full, "paper": _paper}[name](main)


def _smoke(main: Setting) -> Design:
    other = [Setting(title(**levels), at(main.base, **levels), (2, 64), _SEEDS)
             for levels in ({"width": 8}, {"budget": 320}, {"width": 8, "budget": 320})]  # fmt: skip
    return Design((main, *other[:2]), (other[2],))


def _quick(main: Setting) -> Design:
    """Levels that are cheaper than the base, and two of the budget, so that one degree of freedom is left to judge the law by."""
    steps = [(150, {"alphabet": 13}), (220, {"input": 6}), (500, {"width": 32}), (300, {"depth": 3}),
             (450, {"budget": 31_500}), (750, {"budget": 22_500})]  # fmt: skip
    tests = [(190, {"alphabet": 13, "width": 32}), (620, {"input": 6, "budget": 22_500})]
    return _design("quick", main, steps, tests)


def _full(main: Setting) -> Design:
    """All factors at several levels.  The budget alone moves the steps with it; the two settings with more passes tell one from the other.

    Two that are held out go on where those end: a quarter and a tenth of the examples in as many steps as the base.
    """
    steps = [(105, {"alphabet": 13}), (180, {"alphabet": 20}), (450, {"alphabet": 40}), (600, {"alphabet": 52}),
             (220, {"pattern": 2}), (330, {"pattern": 4}), (400, {"pattern": 5}),
             (220, {"input": 6}), (300, {"input": 15}), (350, {"input": 20}),
             (500, {"width": 32}), (350, {"width": 48}), (180, {"width": 96}),
             (300, {"depth": 3}), (270, {"depth": 4}), (250, {"depth": 7}),
             (750, {"budget": 22_500}), (450, {"budget": 31_500}), (120, {"budget": 90_000}),
             (400, {"budget": 22_500, "passes": 2}), (150, {"passes": 2})]  # fmt: skip
    tests = [(190, {"alphabet": 13, "width": 32}), (620, {"input": 6, "budget": 22_500}), (300, {"alphabet": 40, "width": 96}),
             (200, {"alphabet": 20, "input": 15}), (350, {"pattern": 4, "depth": 3}),
             (250, {"alphabet": 13, "width": 48, "budget": 31_500}),
             (250, {"budget": 11_250, "passes": 4}), (300, {"budget": 4_500, "passes": 10})]  # fmt: skip
    gpt2 = main.base.but(model=GPT2, training=GPT2_TRAINING)
    return _design("full", main, steps, tests, gpt2, (1_000,))


def _paper(main: Setting) -> Design:
    """One level further each way from the paper's own setting, around the step that it published."""
    steps = [(200, {"alphabet": 13}), (800, {"alphabet": 52}), (400, {"pattern": 10}), (400, {"pattern": 40}),
             (400, {"input": 100}), (400, {"input": 200}), (800, {"width": 128}), (300, {"width": 512}),
             (400, {"depth": 3}), (400, {"depth": 12}), (1_000, {"budget": 500_000}), (200, {"budget": 2_000_000}),
             (600, {"passes": 0.5}), (300, {"passes": 2})]  # fmt: skip
    tests = [
        (400, {"alphabet": 13, "width": 128}),
        (400, {"input": 100, "pattern": 40}),
        (400, {"alphabet": 52, "budget": 2_000_000}),
    ]
    one_pass = TrainingSpec(steps=main.base.task.examples // 64, evaluate_every=500, checkpoint_every=2_000)
    modern = main.base.but(model=ModelSpec(layers=6, width=256), training=one_pass)
    return _design("paper", main, steps, tests, modern, (400, 200))


def _design(name: str, main: Setting, steps: list[Step], tests: list[Step], other: RunSpec | None = None,
            its: tuple[float, ...] = ()) -> Design:  # fmt: skip
    """Settings of the main recipe, and of an ``other`` recipe its base to fit and, given a second step, one of fewer letters to test."""
    fitted = [_setting(name, step, main.base, levels) for step, levels in steps]
    held_out = [_setting(name, step, main.base, levels) for step, levels in tests]
    if other:
        fitted += [_setting(name, step, other, {}) for step in its[:1]]
        held_out += [_setting(name, step, other, {"alphabet": 13}) for step in its[1:]]
    return Design((main, *fitted), tuple(held_out))
