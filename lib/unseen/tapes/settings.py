"""The models that are to be machines, at each scale: few different rules or many, on equal budgets.

>>> [(setting.name, setting.instructions) for setting in settings("quick")]
[('main', (10, 10000))]
"""

from unseen.scales import Setting, scale
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec
from unseen.tapes.spec import TapeSpec

_QUICK = RunSpec(
    task=TapeSpec(),
    model=ModelSpec(width=96),
    training=TrainingSpec(steps=3_000, evaluate_every=250),
    evaluation=EvaluationSpec(1_000),
)
_SMOKE = RunSpec(
    task=TapeSpec(instructions=8, examples=320, unseen_instructions=50, disguises=2),
    model=ModelSpec(layers=2, width=16, heads=2),
    training=TrainingSpec(steps=6, batch=32, evaluate_every=3),
    evaluation=EvaluationSpec(examples=60),
)


_MACHINE = _QUICK.but(
    task=TapeSpec(examples=768_000),
    model=ModelSpec(layers=6, width=128),
    training=TrainingSpec(steps=12_000, evaluate_every=500),
)  # a better machine
_SIZES = {"smoke": (2, 64), "quick": (10, 10_000)}
_SEEDS = {"smoke": (0, 1), "quick": (0,)}


def settings(name: str) -> tuple[Setting, ...]:
    """The axis of rules at a scale, for models of one size; at ``full`` also one larger model, trained longer.

    Raises ``ValueError`` for an unknown scale.
    """
    scale(name)
    base = _SMOKE if name == "smoke" else _QUICK
    main = Setting("main", base, _SIZES.get(name, (10, 100, 300, 1_000, 10_000)), _SEEDS.get(name, (0, 1, 2)))
    larger = Setting("larger", _MACHINE, (10_000,), (0,))
    return (main, larger) if name in ("full", "paper") else (main,)
