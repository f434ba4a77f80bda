"""What notebook 15 trains at each scale: the base, and the fine-tunings beside the same budgets from scratch.

At ``paper`` the numbers are the paper's: 40,000 examples, up to 9,000 instructions, 2,000 steps of 64, 5,000 tested.
``full`` has its examples and instructions; ``quick`` a third of both, 13,333 and 3,000, so that an instruction has as many
examples, 4.4, as there, and both read them one and a half times (the paper 3.2 times).  All runs of a scale take the same
number of steps, so half of the data is read twice as often.

    >>> [tuning.setting.name for tuning in tunings("smoke")][:3]
    ['pre-trained, plain: all', 'from scratch, plain: all', 'softened, plain: all']
    >>> sum(len(tuning.setting.runs()) for tuning in tunings("quick"))
    69
"""

from typing import NamedTuple

from unseen.claims.pretrained import UNEVEN, WORKS
from unseen.diversity.experiments import with_task
from unseen.pretrained.spec import DrillSpec
from unseen.scales import Setting, scale
from unseen.specs import RunSpec

NO_OPS = 0.4  # share of inputs without the pattern, as in the paper
TAIL = 0.1  # the shape a x^(a-1) by which most instructions lose nearly all of their examples
CHANGED = ("softened", "rescaled")  # starts from the same base whose weights are changed first (``ModelSpec.inherits``)
STARTS = ("pre-trained", "from scratch", *CHANGED)


class Amount(NamedTuple):
    """How much there is of everything at one scale; the data of the largest of ``sizes`` are halved."""

    examples: int
    tested: int  # of each split
    steps: int
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    drills: int  # instructions of pre-training, and its steps
    drill_steps: int


AMOUNTS = {
    "smoke": Amount(640, 100, 12, (2, 64), (0, 1), 128, 12),
    "quick": Amount(13_333, 1_000, 320, (10, 300, 3_000), (0, 1, 2), 13_000, 1_400),
    "full": Amount(40_000, 2_000, 960, (10, 30, 100, 300, 1_000, 3_000, 9_000), (0, 1, 2), 13_000, 2_800),
    "paper": Amount(40_000, 5_000, 2_000, (10, 100, 300, 1_000, 3_000, 9_000), (0,), 100_000, 20_000),
}


class Tuning(NamedTuple):
    """One setting and what it is: where it ``start``s, which ``work`` it learns, on which part of the ``data``."""

    setting: Setting
    start: str
    work: str
    data: str


def base_run(name: str) -> RunSpec:
    """The pre-training of the own base: an ordinary run on drills, with the model and recipe of the scale."""
    amount, run = AMOUNTS[name], _run(name, "from scratch")
    unseen = min(run.task.unseen_instructions, 650)
    task = DrillSpec.like(run.task, instructions=amount.drills, unseen_instructions=unseen,
                          examples=amount.drill_steps * run.training.batch)  # fmt: skip
    return run.but(
        task=task, training=run.training.but(steps=amount.drill_steps), evaluation=scale(name).main.base.evaluation
    )


def _run(name: str, start: str) -> RunSpec:
    """A run on the whole budget, from random weights or from those of the base, with the recipe of the scale."""
    amount, base = AMOUNTS[name], scale(name).main.base
    task = base.task.but(no_op_share=NO_OPS, examples=amount.examples, instructions=amount.sizes[-1],
                         unseen_instructions=min(5_000, base.task.unseen_instructions))  # fmt: skip
    training = base.training.but(steps=amount.steps, batch=min(64, base.training.batch),
                                 evaluate_every=2 * base.training.evaluate_every)  # fmt: skip
    run = base.but(task=task, training=training, evaluation=base.evaluation.but(examples=amount.tested))
    if start == "from scratch":
        return run
    return run.but(model=run.model.but(base=base_run(name).digest(), inherits=start if start in CHANGED else "all"))


def tunings(name: str, cipher: str = "substitution:7") -> tuple[Tuning, ...]:
    """Every setting of a scale: both kinds of work on all data from every start, then the halves of the largest set.

    With fewer than 300 instructions there is nothing for a changed base to mend, and the paper's recipe has none.
    """
    amount, found = AMOUNTS[name], []
    starts = [start for start in STARTS if start not in CHANGED or base_run(name).model.recipe == "modern"]
    for work, secret in zip(WORKS, ("", cipher), strict=True):
        for start in starts:
            run = with_task(_run(name, start), cipher=secret)
            sizes = tuple(size for size in amount.sizes if start not in CHANGED or size >= 300) or amount.sizes
            found.append(_tuning(start, work, "all", run, sizes, amount.seeds))
    return (*found, *_halves(name))


def _halves(name: str) -> list[Tuning]:
    """Half of the largest budget, three ways: half of each instruction's examples; half of the instructions; hardly a tail."""
    amount, run = AMOUNTS[name], _run(name, "pre-trained")
    half = with_task(run, examples=amount.examples // 2)
    most = amount.sizes[-1]
    ways = {"even half": (half, most), UNEVEN[0]: (with_task(half, instructions=most // 2), most // 2),
            UNEVEN[1]: (with_task(half, concentration=TAIL), most)}  # fmt: skip
    return [_tuning("pre-trained", "plain", data, part, (size,), amount.seeds) for data, (part, size) in ways.items()]


def _tuning(start: str, work: str, data: str, run: RunSpec, sizes: tuple[int, ...], seeds: tuple[int, ...]) -> Tuning:
    return Tuning(Setting(f"{start}, {work}: {data}", run, sizes, seeds), start, work, data)
