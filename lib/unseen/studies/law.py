"""What sets the threshold (notebook 17): thresholds of many settings, their exponents, and one constant.

Nobody has published this.  ``design_of`` says what is varied: one factor at a time to fit, several at once to
be held out.  ``measure`` trains, ``by_seed`` and ``by_setting`` read the thresholds.  ``one_constant``
predicts settings from one number, or two; ``fit`` describes what each factor does by itself.

    log threshold = b0 + sum of b_i log(factor_i / base)

Two variances blur the exponents b_i: that between seeds (pooled over settings), and the misfit, by which
settings lie off a product of powers more than seeds explain (DerSimonian and Laird's estimate, as in
random-effects meta-regression).  With as many settings as coefficients no degrees of freedom are left for the
misfit, and the intervals hold only if there is none.

    >>> sorted(setting.name for setting in design_of("quick").held_out)
    ['13 letters, width 32', 'input 6, budget 22,500']
"""

import string
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from unseen import stats
from unseen.runs.workers import Executor
from unseen.scales import GPT2, GPT2_TRAINING, Setting, amounts, scale
from unseen.specs import ModelSpec, RunSpec, TrainingSpec
from unseen.studies import diversity
from unseen.training import batch_size

Reading = Callable[[np.ndarray, np.ndarray], float]
BASE, NO_HELP = "threshold at the base", "main curve, no look-back"
_LETTERS = string.ascii_letters + string.digits  # every alphabet is a beginning of it
_TINY = 1e-12  # the variance of seeds that agree, so that weights stay finite
_WORST = 1e6  # condition of a fit that determines its numbers


# What is varied


@dataclass(frozen=True)
class Factor:
    """One quantity of a run that is varied: axis label, name of a setting that changes it, how to read it."""

    label: str
    title: str
    of: Callable[[RunSpec], float]


def _passes(spec: RunSpec) -> float:
    """How often training reads each example: steps x batch / N, to a tenth."""
    return round(spec.training.steps * batch_size(spec.task, spec.training) / spec.task.examples, 1)


FACTORS = {
    "alphabet": Factor("letters in the alphabet", "{} letters", lambda spec: len(spec.task.alphabet)),
    "pattern": Factor(
        "letters of pattern and replacement", "pattern {}", lambda spec: spec.task.pattern_length
    ),
    "input": Factor("letters of the input", "input {}", lambda spec: spec.task.input_length),
    "width": Factor("width of the model", "width {}", lambda spec: spec.model.width),
    "depth": Factor("layers of the model", "{} layers", lambda spec: spec.model.layers),
    "budget": Factor("training examples", "budget {:,}", lambda spec: spec.task.examples),
    "passes": Factor("passes over the examples", "{:g} times the passes", _passes),
}
LEVELS = ("recipe", *FACTORS)


def levels(spec: RunSpec) -> dict[str, float | str]:
    """The level of every factor of a run, and its recipe.

    >>> [levels(RunSpec())[name] for name in ("recipe", "budget", "passes")]
    ['modern', 45000, 1.0]
    """
    return {"recipe": spec.model.recipe} | {name: factor.of(spec) for name, factor in FACTORS.items()}


def bases(table: pd.DataFrame) -> pd.DataFrame:
    """The levels of each recipe's base, which is its first setting: a row per recipe, a column per factor."""
    return table.groupby("recipe", sort=False)[list(FACTORS)].first()


def varied(table: pd.DataFrame) -> list[str]:
    """What each setting (columns ``LEVELS``) changes of its recipe's base, the first with that recipe.

    A recipe other than the first counts as a change; the base changes nothing.

    >>> shallow = RunSpec().but(model=RunSpec().model.but(layers=3))
    >>> varied(pd.DataFrame([levels(RunSpec()), levels(shallow)]))
    ['', 'depth']
    """
    home, found = bases(table), []
    for row in table.to_dict("records"):
        changed = [name for name in FACTORS if row[name] != home.loc[row["recipe"], name]]
        found.append(" and ".join(["recipe"] * (row["recipe"] != home.index[0]) + changed))
    return found


@dataclass(frozen=True)
class Design:
    """Settings to fit, the base first, and held-out settings to predict."""

    fitted: tuple[Setting, ...]
    held_out: tuple[Setting, ...]

    @property
    def settings(self) -> tuple[Setting, ...]:
        """All settings, those to fit first."""
        return self.fitted + self.held_out


def design_of(name: str) -> Design:
    """The design of a scale, the main curve first; raises ``ValueError`` for an unknown name."""
    main, much = scale(name).main, amounts("law", name)
    fitted = [_setting(main, much, **row) for row in much.fitted]
    return Design((main, *fitted), tuple(_setting(main, much, **row) for row in much.held_out))


def _setting(
    main: Setting,
    much: SimpleNamespace,
    step: float,
    recipe: str = "",
    seeds: tuple[int, ...] = (),
    **given: float,
) -> Setting:
    """A setting with sizes around its step, to two digits, cut to the number of strings there are."""
    spec = at(with_recipe(main.base, recipe), **given)
    sizes = {int(min(room_of(spec), float(f"{step * share:.2g}"))) for share in much.around}
    title = [recipe] * bool(recipe) + [FACTORS[name].title.format(value) for name, value in given.items()]
    return Setting(", ".join(title), spec, tuple(sorted(sizes)), tuple(seeds) or much.seeds, scale=main.scale)


def with_recipe(base: RunSpec, recipe: str) -> RunSpec:
    """The base of another recipe: the main study's GPT-2, or a modern model of its size in one pass.

    Without a recipe, or with its own, it is the base itself.
    """
    if recipe in ("", base.model.recipe):
        return base
    if recipe == "gpt2":
        return base.but(model=GPT2, training=GPT2_TRAINING)
    one_pass = TrainingSpec(steps=base.task.examples // 64, evaluate_every=500, checkpoint_every=2_000)
    return base.but(model=ModelSpec(layers=base.model.layers, width=base.model.width), training=one_pass)


def at(base: RunSpec, **given: float) -> RunSpec:
    """The base run with factors at other levels.

    Steps follow the budget and the passes.  With few strings at most an eighth of them is held out as unseen
    patterns: the test then has fewer rules.

    >>> few = at(RunSpec(), alphabet=13, budget=22_500)
    >>> few.task.unseen_instructions, few.training.steps
    (274, 351)
    """
    level = levels(base) | given
    letters, length = _LETTERS[: level["alphabet"]], level["pattern"]
    task = base.task.but(
        alphabet=letters,
        pattern_length=length,
        replacement_length=length,
        input_length=level["input"],
        examples=level["budget"],
        unseen_instructions=min(base.task.unseen_instructions, len(letters) ** length // 8),
        instructions=2,
    )
    model = base.model.but(width=level["width"], layers=level["depth"])
    steps = int(base.training.steps * level["budget"] / base.task.examples * given.get("passes", 1.0))
    return base.but(task=task, model=model, training=base.training.but(steps=steps))


def room_of(spec: RunSpec) -> int:
    """How many instructions a task has strings for, without those held out.

    >>> room_of(at(RunSpec(), pattern=2))
    508
    """
    return len(spec.task.alphabet) ** spec.task.pattern_length - 2 * spec.task.unseen_instructions


def measure(design: Design, executor: Executor | None = None) -> pd.DataFrame:
    """``diversity.measure`` with the level of every factor, and whether a setting is held out."""
    results = diversity.measure(design.settings, executor=executor)
    about = {
        each.name: {"held_out": each in design.held_out, **levels(each.base)} for each in design.settings
    }
    return results.assign(**pd.DataFrame([about[setting] for setting in results["setting"]]))


def look_back(name: str) -> tuple[Setting, ...]:
    """Settings for each length of pattern and look-back: the help that ``modern`` gives a model, varied.

    Those in ``causal`` read their prompt from left to right, too.  A task with too few strings for a size
    gets as many as there are.  The last setting is the main curve without look-back, at scales that have it.
    """
    much, main = amounts("look_back", name), scale(name).main
    base = with_recipe(main.base, "modern")
    base = base.but(training=base.training.but(evaluate_every=base.training.checkpoint_every))
    cells = [(length, back, "both ways") for length in much.patterns for back in much.backs]
    found = []
    for length, back, attention in [*cells, *((*each, "causal") for each in much.causal)]:
        spec = at(base, pattern=length)
        spec = spec.but(model=spec.model.but(look_back=back, prompt_attention=attention))
        sizes = tuple(sorted({min(room_of(spec), size) for size in much.sizes}))
        title = f"pattern {length}, look-back {back}" + ", causal" * (attention == "causal")
        found.append(Setting(title, spec, sizes, much.seeds, scale=main.scale))
    if much.curve:
        without = base.but(model=base.model.but(look_back=0))
        found.append(Setting(NO_HELP, without, much.curve, much.curve_seeds, scale=main.scale))
    return tuple(found)


# The threshold of every setting

# Ways to read where a seed's curve passes half: of its top, or of all rules.  Notebook 17 uses the first,
# findings hold under all.  Where trainings end at different heights the second compares like with like.
HALF_OF_ALL = "half of all rules"
READINGS: dict[str, Reading] = {
    "line in the logit": stats.logit_line,
    HALF_OF_ALL: partial(stats.logit_line, top=1.0),
    "logistic curve": stats.fitted_curve,
}


def by_seed(
    results: pd.DataFrame,
    read: Reading = stats.logit_line,
    about: Sequence[str] = ("held_out", *LEVELS),
) -> pd.DataFrame:
    """One row per setting and seed: columns ``about`` it, its ``threshold``, or where that is ``outside``.

    The threshold is the number of instructions at half of the top of the seed's curve, as ``read`` finds
    it.  ``outside`` is ``below`` if the smallest size (``size``) is already past half of the top, ``above``
    if no size (the largest is ``size``) gets more than half of the answers right, else empty.
    """
    unseen, rows = results[results["split"] == "unseen"], []
    for (setting, seed), part in unseen.groupby(["setting", "seed"], sort=False):
        part = part.sort_values("instructions")
        sizes, accuracy = part["instructions"].to_numpy(float), part["accuracy"].to_numpy(float)
        top = accuracy.max()
        outside = "above" if top <= 0.5 else "below" if accuracy[0] > top / 2 else ""
        size = {"above": sizes[-1], "below": sizes[0], "": np.nan}[outside]
        threshold = np.nan if outside else read(sizes, accuracy)
        found = {"setting": setting, "seed": seed, **part[list(about)].iloc[0]}
        rows.append(found | {"threshold": threshold, "outside": outside, "size": size})
    return pd.DataFrame(rows)


def seed_variance(seeds: pd.DataFrame) -> tuple[float, int]:
    """The between-seed variance of log thresholds, pooled over fitted settings, and its degrees of freedom.

    >>> seeds = pd.DataFrame({"setting": list("aabb"), "held_out": False, "outside": ""})
    >>> seed_variance(seeds.assign(threshold=[100, 100, 200, 200 * np.e]))
    (0.25, 2)
    """
    censored = seeds.loc[seeds["outside"] != "", "setting"]
    inside = seeds[~seeds["held_out"] & ~seeds["setting"].isin(censored)]
    logs = np.log(inside["threshold"].astype(float))
    deviations = logs - logs.groupby(inside["setting"]).transform("mean")
    degrees = len(inside) - inside["setting"].nunique()
    return (float((deviations**2).sum() / degrees) if degrees else np.nan), degrees


def by_setting(seeds: pd.DataFrame) -> pd.DataFrame:
    """One row per setting: levels, seeds, ``middle``, ``low`` and ``high`` (95 %, pooled variance), ``note``.

    A setting with a seed outside its sizes is censored: it has no middle, ``outside`` and ``size`` are those
    of its first such seed, and ``note`` describes all of them.
    """
    variance, degrees = seed_variance(seeds)
    by_name = seeds.assign(log=np.log(seeds["threshold"].astype(float))).groupby("setting", sort=False)
    size, inside = by_name.size(), seeds["outside"] == ""
    first = pd.concat([seeds[~inside], seeds[inside]]).drop_duplicates("setting")  # outside, if any is
    first = first.set_index("setting").loc[size.index]
    half = size.map(lambda number: stats.half_width((variance / number, degrees)))
    middle = by_name["log"].mean().where(first["outside"] == "")
    table = first[["held_out", *LEVELS]].assign(seeds=size, middle=np.exp(middle))
    table = table.assign(low=np.exp(middle - half), high=np.exp(middle + half))
    return table.join(first[["outside", "size"]]).assign(note=_notes(seeds[~inside], size)).reset_index()


def _notes(outside: pd.DataFrame, size: pd.Series) -> pd.Series:
    """For each setting in ``size`` which of its seeds are outside, as words."""
    words, notes = {"above": "never half right up to", "below": "below"}, dict.fromkeys(size.index, "")
    for (name, side, end), number in outside.groupby(["setting", "outside", "size"]).size().items():
        note = f"{words[side]} {end:,.0f} ({number} of {size[name]} seeds)"
        notes[name] = ", ".join(filter(None, [notes[name], note]))
    return pd.Series(notes)


# What each factor does


class NoFit(ValueError):
    """Too few settings have a threshold, or they do not separate the factors; the message says which."""


@dataclass(frozen=True)
class Fit:
    """Fitted exponents; ``seed_part`` and ``misfit_part`` (p, p) add up to the covariance of the
    coefficients.
    """

    names: tuple[str, ...]
    coefficients: np.ndarray
    seed_part: np.ndarray
    misfit_part: np.ndarray
    seed_variance: float
    seed_degrees: int
    misfit_variance: float
    misfit_degrees: int

    def exponents(self) -> pd.DataFrame:
        """One row per factor: factor, exponent, low, high (95 %); a recipe's is the log of its effect."""
        rows = [{"factor": name, **self.contrast({name: 1})} for name in self.names[1:]]
        return pd.DataFrame(rows, columns=["factor", "exponent", "low", "high"])

    def contrast(self, weights: Mapping[str, float]) -> dict[str, float]:
        """A weighted sum of exponents: exponent, low, high (95 %).

        Budget minus passes is the exponent of different examples in as many steps.
        """
        row = np.array([weights.get(name, 0.0) for name in self.names])
        parts = (self.seed_part, self.seed_degrees), (self.misfit_part, self.misfit_degrees)
        variances = [(row @ part @ row, degrees) for part, degrees in parts]
        half = stats.half_width(*(each for each in variances if each[0] > 0))
        value = float(row @ self.coefficients)
        return {"exponent": value, "low": value - half, "high": value + half}


def fit(seeds: pd.DataFrame) -> Fit:
    """The exponents of the thresholds of ``by_seed``, weighted by their variances; raises ``NoFit``.

    Held-out and censored settings are left out.  The first setting of each recipe is that recipe's base.
    """
    table, (variance, degrees) = by_setting(seeds), seed_variance(seeds)
    chosen = table[~table["held_out"]]
    rows = chosen[chosen["middle"].notna()]
    if len(rows) < 2:
        raise NoFit(f"a fit needs two settings with a threshold, and {len(rows)} of {len(table)} have one")
    home = bases(chosen[chosen["recipe"].isin(rows["recipe"])])  # also a base without a threshold
    over = rows[list(FACTORS)] / home.loc[rows["recipe"]].to_numpy()
    recipes = {f"recipe {name}": (rows["recipe"] == name).astype(float) for name in home.index[1:]}
    factors = np.log(over.loc[:, (over != 1).any()])
    design = pd.DataFrame({BASE: 1.0}, rows.index).join(factors).assign(**recipes)
    names, x = tuple(design), design.to_numpy()  # (K, p)
    if (rank := np.linalg.matrix_rank(x)) < len(names):
        raise NoFit(f"{len(rows)} settings determine {rank} coefficients of {len(names)}: {', '.join(names)}")
    y = np.log(rows["middle"].to_numpy())
    noise = max(variance if degrees else 0.0, _TINY) / rows["seeds"].to_numpy()
    misfit = _misfit(x, y, noise)
    solve = _solver(x, 1 / (noise + misfit))  # (p, K)
    parts = (solve * noise @ solve.T, solve * misfit @ solve.T)
    return Fit(names, solve @ y, *parts, variance, degrees, misfit, len(rows) - len(names))


def _solver(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The matrix (p, K) that turns observations (K,) into the coefficients of weighted least squares."""
    return np.linalg.inv(x.T * weights @ x) @ (x.T * weights)


def _misfit(x: np.ndarray, y: np.ndarray, noise: np.ndarray) -> float:
    """The variance between settings that seeds do not explain, by the method of moments."""
    left, w = x.shape[0] - x.shape[1], 1 / noise
    if left == 0:
        return 0.0
    solve = _solver(x, w)
    residuals = y - x @ (solve @ y)
    trace = w.sum() - np.trace(solve @ (x.T * w).T)
    return float(max(0.0, ((w * residuals**2).sum() - left) / trace))


def by_reading(results: pd.DataFrame) -> pd.DataFrame:
    """The exponents under each of ``READINGS``: factor, exponent, low, high, reading.

    A reading under which there is no fit has no rows.
    """
    found = []
    for name, read in READINGS.items():
        with suppress(NoFit):
            found.append(fit(by_seed(results, read)).exponents().assign(reading=name))
    return pd.concat(found, ignore_index=True)


# One constant


def covering(letters: float, length: float) -> float:
    """How many rules show half of all new ones each of their letters, of x and of y, at its place.

    A place of ``length`` letters x and as many y has one of ``letters``; I rules show one of them with
    probability 1 - (1 - 1 / letters)^I, and all 2 x ``length`` with that to the power of their number.

    >>> round(covering(26, 3)), round(covering(26, 20))
    (56, 104)
    """
    return float(np.log(1 - 0.5 ** (1 / (2 * length))) / np.log(1 - 1 / letters))


def one_constant(table: pd.DataFrame, floor: bool = False) -> pd.DataFrame:
    """What each setting of ``by_setting`` needs if threshold x steps x width / ``covering`` is one constant,
    or, with a ``floor``, if that holds of what is above a number of instructions that all have in common.

    One number is fitted, or two, to the first recipe's settings that are not held out.  Columns: predicted,
    predicted_low, predicted_high (95 %, from how far these settings are off, which makes the numbers unsure
    too); NaN for other recipes.  Raises ``NoFit`` where so few settings do not determine the numbers.

    >>> base = pd.DataFrame([levels(RunSpec())] * 3).assign(held_out=False, middle=[240.0, 250.0, 260.0])
    >>> one_constant(base.assign(width=[64, 64, 32]))["predicted"].round().tolist()
    [198.0, 198.0, 397.0]
    >>> narrower = base.assign(width=[64, 32, 16], middle=[100.0, 150.0, 250.0])
    >>> one_constant(narrower, floor=True)["predicted"].round().tolist()
    [100.0, 150.0, 250.0]
    """
    cover = [covering(*each) for each in zip(table["alphabet"], table["pattern"], strict=True)]
    unit = np.log(cover) - np.log(table["budget"] * table["passes"] * table["width"])
    same = table["recipe"] == table["recipe"].iloc[0]
    known = same & ~table["held_out"] & table["middle"].notna()

    def logs(numbers: np.ndarray) -> pd.Series:
        constant, *lowest = numbers
        return np.log(np.exp(unit + constant) + sum(lowest))

    def off(numbers: np.ndarray) -> pd.Series:
        return (np.log(table["middle"]) - logs(numbers))[known]

    size = 1 + floor
    free = known.sum() - size
    refused = NoFit(f"{known.sum()} settings do not determine {size} number{'s' * floor}")
    if free < 1:
        raise refused
    start = [off(np.zeros(1)).mean(), 1.0][:size]
    found = least_squares(off, start, bounds=([-np.inf, 0.0][:size], np.inf), x_scale="jac")
    if np.linalg.cond(found.jac) > _WORST:  # the floor may be any
        raise refused
    spread = (found.fun**2).sum() / free
    middle = logs(found.x)
    total = np.exp(middle)
    slopes = np.stack([np.exp(unit + found.x[0]) / total, 1 / total], axis=1)[:, :size]
    unsure = np.einsum("sn,nm,sm->s", slopes, np.linalg.inv(found.jac.T @ found.jac), slopes)
    half = np.array([stats.half_width((spread * (1 + each), free)) for each in unsure])
    middle = middle.where(same)
    ends = {"predicted": middle, "predicted_low": middle - half, "predicted_high": middle + half}
    return np.exp(pd.DataFrame(ends))
