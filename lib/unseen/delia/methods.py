"""What DELIA's notebooks train at each scale: the base, and tunings of it by ratio, by rival and by regime.

All tunings of a scale take the same number of updates unless they are asked to see the same number of task rows.

    >>> [method.name for method in by_ratio("quick")]
    ['ratio 0', 'ratio 5', 'ratio 67', 'ratio 260']
    >>> len({run for method in (*by_ratio("quick"), *rivals("quick")) for run in method.runs()})
    48
"""

from dataclasses import dataclass
from typing import Any

from unseen.delia.spec import LanguageSpec, TuningSpec
from unseen.scales import scale
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec

RATIOS = {
    "smoke": (0, 2),
    "quick": (0, 5, 67, 260),
    "full": (0, 1, 5, 20, 67, 135, 260, 520),
    "paper": (0, 67, 135, 260, 520),
}
BEST = {"smoke": 2}  # ratio at which methods are compared, 67 at all other scales
SEEDS = {"smoke": (0,), "quick": (0, 1, 2), "full": (0, 1, 2, 3, 4), "paper": (0, 1, 2, 3, 4)}
UPDATES = {"smoke": 4, "quick": 300, "full": 600, "paper": 3_000}
RATE, SLOW, FAST = 1e-3, 1e-4, 1e-2  # learning rates: of all weights; of the rest and of the token where they differ
ADAPTER = {
    "trains": "adapter",
    "learning_rate": 3e-3,
}  # the rate: the middle one of three tried on a seed that is not reported


@dataclass(frozen=True)
class Method:
    """One way to tune: its ``name``, the ``base`` it starts from, and the run of seed 0 that all ``seeds`` are like."""

    name: str
    base: RunSpec
    run: RunSpec
    seeds: tuple[int, ...]

    def runs(self) -> list[RunSpec]:
        """One run a seed: other operations and another format, other rows, another order."""
        return [self.run.with_seed(seed) for seed in self.seeds]


def base_run(name: str, names: str = "one") -> RunSpec:
    """The pre-training of the base; at ``smoke`` one that learns little more than to end its answers."""
    if scale(name).name == "smoke":
        return RunSpec(LanguageSpec(names=names, examples=320), ModelSpec(layers=1, width=16, heads=2),
                       TrainingSpec(steps=60, batch=32, learning_rate=0.03, evaluate_every=60), EvaluationSpec(20))  # fmt: skip
    training = TrainingSpec(steps=2_500, batch=64, learning_rate=0.01, matrix_learning_rate=0.015, evaluate_every=100)
    return RunSpec(LanguageSpec(names=names), ModelSpec(layers=3, width=96), training, EvaluationSpec(1_000))


def tuned(name: str, method: str, training: dict[str, Any] | None = None, **task: Any) -> Method:
    """A tuning of the base of a scale, with changes to its task and training; self-sampled rows are the base's own."""
    base = base_run(name, task.get("names", "one"))
    if task.get("ratio") and task.get("diverse", "self") == "self":
        task["source"] = base.digest()
    small = scale(name).name == "smoke"
    common = TrainingSpec(steps=UPDATES[name], batch=32, learning_rate=RATE, matrix_learning_rate=0.0, decay_share=1.0,
                          evaluate_every=UPDATES[name] // 4, checkpoint_every=1_000)  # fmt: skip
    run = RunSpec(TuningSpec(**task), base.model.but(base=base.digest()), common.but(**(training or {})),
                  EvaluationSpec(20 if small else 500))  # fmt: skip
    return Method(method, base, run, SEEDS[name])


def best(name: str) -> int:
    """The ratio at which methods are compared."""
    return BEST.get(name, 67)


def by_ratio(name: str) -> tuple[Method, ...]:
    """All weights at one learning rate, by ratio of diverse data; equal updates."""
    return tuple(tuned(name, f"ratio {ratio}", ratio=ratio) for ratio in RATIOS[name])


def rivals(name: str) -> tuple[Method, ...]:
    """What else might keep a model from formatting everything, beside plain tuning and DELIA; equal updates."""
    ratio = best(name)
    return (
        tuned(name, "plain tuning"),
        tuned(name, "DELIA", ratio=ratio),
        tuned(name, "reference answers", ratio=ratio, diverse="reference"),
        tuned(name, "replay of pre-training", ratio=ratio, diverse="replay"),
        tuned(name, "narrow data", ratio=ratio, diverse="narrow"),
        tuned(name, "paraphrases only", ratio=ratio, diverse="paraphrases"),
        tuned(name, "KL to the base", {"kl": 1.0}),
        tuned(name, "pull to the base", {"pull": 0.01}),
        tuned(name, "label smoothing", {"smoothing": 0.1}),
        tuned(name, "instruction behind", after=True),
        tuned(name, "adapter", ADAPTER),
        tuned(name, "adapter, DELIA", ADAPTER, ratio=ratio),
        tuned(name, "token alone", {"trains": "token", "learning_rate": FAST}),
        tuned(name, "token alone, DELIA", {"trains": "token", "learning_rate": FAST}, ratio=ratio),
    )


def once(name: str) -> tuple[Method, ...]:
    """By ratio again, but each reads its mixture once, as in the paper: equal numbers of task rows seen, ever more updates."""
    ratios = [ratio for ratio in RATIOS[name] if ratio <= {"smoke": 2, "quick": 67, "full": 260}.get(name, 520)]
    return tuple(
        tuned(name, f"ratio {ratio}, once", _steps(max(1, 100 * (1 + ratio) // 32)), ratio=ratio) for ratio in ratios
    )


def _steps(steps: int) -> dict[str, int]:
    return {"steps": steps, "evaluate_every": max(1, steps // 4)}


REGIMES = {  # learning rates of the weights and of the token; the same for both, the token ever faster, the token alone
    "equal": {},
    "token 10 x": {"learning_rate": RATE, "token_rate": FAST},
    "token 100 x": {"learning_rate": SLOW, "token_rate": FAST},
    "token alone": {"trains": "token", "learning_rate": FAST},
}


def regimes(name: str) -> tuple[Method, ...]:
    """Every regime of learning rates at every ratio but the largest: the phase diagram of what the token comes to mean."""
    ratios = {"smoke": (0, 2), "quick": (0, 5, 67)}.get(name, (0, 1, 5, 20, 67, 260))
    return tuple(
        tuned(name, f"{regime}, ratio {ratio}", rates, ratio=ratio)
        for regime, rates in REGIMES.items()
        for ratio in ratios
    )


def spread(name: str, ratios: tuple[int, ...] | None = None) -> tuple[Method, ...]:
    """The same 100 rows of the task spread over more operations, without diverse data and with it."""
    numbers = {"smoke": (1, 2), "quick": (1, 2, 4, 7)}.get(name, (1, 2, 3, 4, 5, 7))
    return tuple(
        tuned(name, f"{number} operations, ratio {ratio}", operations=number, ratio=ratio)
        for ratio in ratios or (0, best(name))
        for number in numbers
    )


def two_words(name: str) -> tuple[Method, ...]:
    """The same in a world where only two words together name a format, so that one token cannot mean what one word does."""
    return tuple(
        tuned(name, f"two words, {regime}, ratio {ratio}", REGIMES[regime], ratio=ratio, names="two")
        for regime in ("equal", "token alone")
        for ratio in (0, best(name))
    )
