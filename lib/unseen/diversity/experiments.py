"""The axes of each experiment at each scale; an experiment is a few settings of the one study, each with its own base run.

Every setting shares its runs with whichever other has the same ones: the store knows a run by its spec.

    >>> [setting.name for setting in no_ops("quick")]
    ['0 % no-ops', '10 % no-ops', '50 % no-ops']
    >>> len({run for setting in long_tail("quick") for run in setting.runs()})
    33
"""

from unseen.scales import Setting, scale
from unseen.specs import RunSpec

SEEDS = {"smoke": (0, 1), "quick": (0, 1, 2), "full": (0, 1, 2), "paper": (0,)}


def no_ops(name: str) -> tuple[Setting, ...]:
    """Paper, experiment 2: a share of inputs without the pattern, against the number of instructions."""
    shares = {"smoke": (0.0, 0.5), "quick": (0.0, 0.1, 0.5)}.get(name, (0.0, 0.1, 0.2, 0.3, 0.4, 0.5))
    sizes = {"smoke": (2, 64), "quick": (200, 300, 500, 1_000), "full": (100, 200, 250, 300, 500, 1_000, 3_000)}
    paper = (100, 200, 300, 400, 500, 1_000, 2_000, 5_000, 10_000, 100_000)
    base = scale(name).main.base
    return tuple(
        Setting(f"{100 * share:.0f} % no-ops", with_task(base, no_op_share=share), sizes.get(name, paper), SEEDS[name])
        for share in shares
    )


def long_tail(name: str) -> tuple[Setting, ...]:
    """Paper, experiment 3: a few instructions get most examples; ``concentration`` a = 1 gives each as many.

    The even shape has more sizes, so that there is a curve to hold the others against.
    """
    shapes = {"smoke": (1.0, 0.1), "quick": (1.0, 0.2, 0.1, 0.03)}.get(name, (2.0, 1.0, 0.5, 0.2, 0.1, 0.07, 0.03))
    sizes = {"smoke": (64,), "paper": (1_000, 10_000, 100_000)}.get(name, (1_000, 10_000))
    even = {"smoke": (8,), "quick": (200, 300, 500), "full": (100, 150, 200, 250, 300, 500)}.get(name, ()) + sizes
    base = scale(name).main.base
    return tuple(
        Setting(f"a = {shape:g}", with_task(base, concentration=shape), even if shape == 1 else sizes, SEEDS[name])
        for shape in shapes
    )


def with_task(base: RunSpec, **changes: float) -> RunSpec:
    """The base run in another task world."""
    return base.but(task=base.task.but(**changes))
