"""Which mixtures each experiment trains at each scale: the specialist's (7 and 8) and the generalist's (9).

A run may serve several experiments: the store trains it once.

    >>> [design.name for design in designs("quick") if design.experiment == "8"]
    ['N own', 'nine tenths own', '3.75 N own']
    >>> [round(design.task.share("algebra"), 2) for design in designs("quick") if design.experiment == "7"][:4]
    [1.0, 0.9, 0.5, 0.2]
"""

from dataclasses import dataclass

from unseen.domains.spec import DOMAINS, DomainSpec
from unseen.scales import scale
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec

MORE = 3.75  # how much larger the pure set of experiment 8 is: 75K against 20K


@dataclass(frozen=True)
class Size:
    """How large the runs of a scale are; ``own`` are numbers of own rules, ``shares`` what the own domain has of the budget."""

    budget: int
    own: tuple[int, ...]
    shares: tuple[float, ...]
    others: tuple[int, int]  # different rules of letters, chains of lists
    seeds: tuple[int, ...]
    model: ModelSpec
    batch: int = 16
    tests: int = 500
    widened: bool = True  # whether experiment 8 also has a larger set with more rules


@dataclass(frozen=True)
class Design:
    """One mixture of one experiment: ``name`` within it, and the task of seed 0."""

    experiment: str
    name: str
    task: DomainSpec


_SMALL = ModelSpec(layers=4)
SIZES = {
    "smoke": Size(320, (8,), (1.0, 0.9, 0.5, 0.2), (20, 20), (0, 1), ModelSpec(layers=1, width=16, heads=2), tests=40),
    "quick": Size(12_000, (20, 60), (1.0, 0.9, 0.5, 0.2), (700, 400), (0, 1, 2), _SMALL, widened=False),
    "full": Size(45_000, (20, 60, 200), (1.0, 0.9, 0.75, 0.5, 0.2, 0.1, 0.02), (700, 400), (0, 1, 2), _SMALL, tests=2_000),
    "paper": Size(50_000, (10, 20, 40), (1.0, 0.9, 0.75, 0.5, 0.2, 0.1, 0.02), (700, 400), (0, 1, 2),
                  ModelSpec(layers=6, width=256), tests=2_000),
}  # fmt: skip


def size(name: str) -> Size:
    """The size of a scale; raises ``ValueError`` listing the known ones."""
    return SIZES[scale(name).name]


def mixture(chosen: Size, own: int, **shares: float) -> DomainSpec:
    """The budget divided by shares of it: what is rounded off goes to the first domain that is named.

    >>> mixture(SIZES["quick"], 100, algebra=0.9, letters=0.1).letter_examples
    1200
    """
    parts = {domain: round(share * chosen.budget) for domain, share in shares.items()}
    parts[next(iter(shares))] += round(sum(shares.values()) * chosen.budget) - sum(parts.values())
    letters, algebra, lists = (parts.get(domain, 0) for domain in DOMAINS)
    return DomainSpec(counts=next(iter(shares)), letter_examples=letters, algebra_examples=algebra, list_examples=lists,
                      algebra_instructions=own, letter_instructions=_fitting(chosen.others[0], letters),
                      list_instructions=_fitting(chosen.others[1], lists))  # fmt: skip


def _fitting(instructions: int, examples: int) -> int:
    """As many instructions as asked for, but none without an example."""
    return min(instructions, examples) if examples else instructions


def designs(name: str) -> tuple[Design, ...]:
    """All mixtures of a scale: experiments 7, 8 and 9 in their order.

    ``7 alone`` are controls: the own part of a mixture without what stands beside it, trained for as long as it lasts.
    """
    chosen = size(name)
    own = chosen.own[len(chosen.own) // 2]
    specialist = [Design("7", f"{100 * share:g}:{100 - 100 * share:g}", _diversified(chosen, rules, share))
                  for rules in chosen.own for share in chosen.shares]  # fmt: skip
    alone = [
        Design("7 alone", f"{100 * share:g}:0", mixture(chosen, own, algebra=share))
        for share in chosen.shares
        if share <= 0.5
    ]
    larger = mixture(chosen, own, algebra=MORE)
    pure = [
        Design("8", "N own", mixture(chosen, own, algebra=1.0)),
        Design("8", "nine tenths own", _diversified(chosen, own, 0.9)),
        Design("8", "3.75 N own", larger),
    ]
    if chosen.widened:
        pure.append(Design("8", "3.75 N own, 3.75 x rules", larger.but(algebra_instructions=int(MORE * own))))
    parts = {"algebra": ("algebra",), "letters": ("letters",), "lists": ("lists",),
             "algebra and letters": ("algebra", "letters"), "all three": ("algebra", "letters", "lists")}  # fmt: skip
    general = [Design("9", each, mixture(chosen, own, **dict.fromkeys(chosen_parts, 1 / len(chosen_parts))))
               for each, chosen_parts in parts.items()]  # fmt: skip
    return (*specialist, *alone, *pure, *general)


def _diversified(chosen: Size, own: int, share: float) -> DomainSpec:
    """Own algebra, and letter rules for the rest."""
    return mixture(chosen, own, **{"algebra": share} | ({"letters": 1 - share} if share < 1 else {}))


def runs(name: str, design: Design) -> list[RunSpec]:
    """The runs of a design, one a seed; each reads its budget once."""
    chosen = size(name)
    steps = max(1, design.task.examples // chosen.batch)
    training = TrainingSpec(
        steps=steps,
        batch=chosen.batch,
        learning_rate=0.01,
        matrix_learning_rate=0.015,
        evaluate_every=max(1, steps // 4),
        checkpoint_every=500,
    )
    base = RunSpec(design.task, chosen.model, training, EvaluationSpec(chosen.tests))
    return [base.with_seed(seed) for seed in chosen.seeds]
