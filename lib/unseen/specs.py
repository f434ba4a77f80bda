"""What a run is: frozen dataclasses for the task, the model, the training and the evaluation.

A ``RunSpec`` holds everything that decides the numbers of a run; ``digest()`` names its folder in the
store.  Nothing here draws, trains or reads files.  Impossible settings raise ``ValueError`` when the
spec is built, naming the field, the value and the bound, so nothing starts on a bad one.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from unseen.delia.spec import LanguageSpec, TuningSpec
from unseen.domains.spec import DomainSpec
from unseen.fields import MOST, Checked, lasting, late, later, same_names, short
from unseen.pretrained.spec import DrillSpec
from unseen.tapes.spec import TapeSpec
from unseen.tasks import SPECIAL, Task, TaskSpec

__all__ = ["SPECIAL", "EvaluationSpec", "ModelSpec", "RunSpec", "TaskSpec", "TrainingSpec", "differences"]

RECIPES = ("modern", "gpt2")
TRAINS = ("all", "adapter", "token")  # what fine-tuning changes
INHERITS = ("all", "softened", "rescaled")  # how the weights of a base are taken over
# By the ``world`` that a stored task names; string rewriting names none.
TASKS: dict[str, type[Task]] = {"": TaskSpec, "domains": DomainSpec, "drills": DrillSpec, "language": LanguageSpec,
                                "tapes": TapeSpec, "tuning": TuningSpec}  # fmt: skip
_DIGEST = re.compile(r"[0-9a-f]{16}")
_MOST_SAID = 50  # differences between two specs: more than there are fields
FORMAT = 1  # of the stored runs; raised when the same spec would give other numbers


@dataclass(frozen=True)
class ModelSpec(Checked):
    """One transformer.  ``recipe`` chooses its parts: ``gpt2`` as in the paper, or ``modern``.

    ``mlp_ratio`` is the width of the hidden layer of an MLP over ``width`` (GPT-2: 4).  On this task depth
    is worth more than wide MLPs, hence the default shape of ``modern``.

    ``seed`` draws the initial weights; with a ``base``, the digest of a finished run whose model reads the same layout,
    they are the weights of that run (fine-tuning); ``inherits`` is ``all``, as they are, ``softened``, with queries and
    keys at the size of fresh ones, or ``rescaled``, with every matrix (see ``model.inherited``).  Paper, section 2:
    6 layers, 256 dimensions, 4 heads.
    """

    recipe: str = "modern"
    layers: int = 5
    width: int = 64
    heads: int = 4
    mlp_ratio: int = 1
    seed: int = 0
    base: str = later("")
    inherits: str = later("all")

    def _check(self) -> None:
        if self.inherits not in INHERITS:
            self._refuse("inherits", f"known are {', '.join(INHERITS)}")
        if self.inherits != "all" and self.recipe != "modern":
            self._refuse(
                "inherits", f"recipe={self.recipe!r} takes weights over as they are; the other ways are for modern"
            )
        if self.base and not _DIGEST.fullmatch(self.base):
            self._refuse("base", "expected the digest of a run, sixteen hexadecimal digits, or nothing")
        if self.recipe not in RECIPES:
            self._refuse("recipe", f"known recipes are {', '.join(RECIPES)}")
        for name, most in {"layers": 1_000, "width": 100_000, "heads": 1_000, "mlp_ratio": 100}.items():
            self._within(name, 1, most)
        self._within("seed", 0, MOST)
        if self.width % (2 * self.heads):
            self._refuse("width", f"must be a multiple of 2 x heads={self.heads}")


@dataclass(frozen=True)
class TrainingSpec(Checked):
    """How a model is trained.  ``learning_rate`` is AdamW's; ``matrix_learning_rate`` is Muon's, for the
    weight matrices of the ``modern`` recipe (0 gives them to AdamW, as ``gpt2`` does); only what Muon trains
    has ``weight_decay``.

    Rates stay constant and fall linearly to zero over the last ``decay_share`` of ``steps``; 1 is the
    paper's linear schedule.  ``evaluate_every`` (steps) sets the rows of the history,
    ``checkpoint_every`` (steps) how much an interrupted run can lose.

    Of fine-tuning: ``trains`` is ``all`` weights, an ``adapter`` of some ``rank`` on attention and embeddings, or the new ``token`` alone;
    ``token_rate`` is the learning rate of the token's vectors where it is not that of the rest (0).  ``kl`` weighs the divergence from the base's answers, ``pull`` draws the weights
    towards the base's, ``smoothing`` smooths labels in the measure of each example's uncertainty.  See ``objectives``.
    """

    steps: int = 703
    batch: int = 64
    learning_rate: float = 0.015
    matrix_learning_rate: float = 0.02
    weight_decay: float = 0.1
    decay_share: float = 0.6
    evaluate_every: int = 50
    checkpoint_every: int = 250
    trains: str = later("all")
    token_rate: float = later(0.0)
    kl: float = later(0.0)
    pull: float = later(0.0)
    smoothing: float = later(0.0)
    rank: int = later(16)

    def _check(self) -> None:
        if self.trains not in TRAINS:
            self._refuse("trains", f"known are {', '.join(TRAINS)}")
        if self.trains != "adapter" and self.rank != late(type(self))["rank"]:
            self._refuse("rank", f"only trains='adapter' has one, this trains {self.trains!r}")
        if self.trains == "adapter" and self.token_rate:
            self._refuse(
                "token_rate", "must be 0 with trains='adapter': the token's vectors are part of what it adapts"
            )
        for name in ("token_rate", "kl", "pull"):
            self._within(name, 0, 1_000)
        self._within("smoothing", 0, 1)
        if self.matrix_learning_rate and (self.trains != "all" or self.token_rate):
            self._refuse("matrix_learning_rate", "must be 0 with an adapter, and where the new token has a rate of its own: "
                                                 "AdamW trains both")  # fmt: skip
        for name in ("steps", "batch", "evaluate_every", "checkpoint_every", "rank"):
            self._within(name, 1, MOST)
        self._within("learning_rate", 1e-8, 1)
        self._within("matrix_learning_rate", 0, 1)
        self._within("weight_decay", 0, 1)
        self._within("decay_share", 0, 1)


@dataclass(frozen=True)
class EvaluationSpec(Checked):
    """Fresh examples for the score: ``examples`` of seen and as many of unseen rules, drawn by ``seed``."""

    examples: int = 2_000
    seed: int = 1_000_000

    def _check(self) -> None:
        self._within("examples", 1, MOST)
        self._within("seed", 0, MOST)


@dataclass(frozen=True)
class RunSpec(Checked):
    """Everything that decides the numbers of one run.

    >>> RunSpec().digest() == RunSpec(task=TaskSpec()).digest()
    True
    >>> RunSpec().digest() == RunSpec(task=TaskSpec(instructions=999)).digest()
    False
    >>> RunSpec.from_dict(RunSpec().to_dict()) == RunSpec()
    True
    """

    task: Task = TaskSpec()  # noqa: RUF009 (frozen, as ruff cannot see in another file)
    model: ModelSpec = ModelSpec()
    training: TrainingSpec = TrainingSpec()
    evaluation: EvaluationSpec = EvaluationSpec()

    def _check(self) -> None:
        if self.evaluation.seed == self.task.example_seed:
            raise ValueError(f"EvaluationSpec.seed={self.evaluation.seed}: must differ from TaskSpec.example_seed, "
                             "or the model would be scored on its training examples")  # fmt: skip
        training, tuned = self.training, bool(self.model.base)
        for name in ("kl", "pull", "token_rate"):
            if getattr(training, name) and not tuned:
                raise ValueError(
                    f"TrainingSpec.{name}={getattr(training, name)}: only a run with a ModelSpec.base has it"
                )
        if self.model.inherits != "all" and not tuned:
            raise ValueError(
                f"ModelSpec.inherits={self.model.inherits!r}: only a run with a ModelSpec.base inherits anything"
            )
        if training.trains == "adapter" and not tuned:
            raise ValueError("TrainingSpec.trains='adapter': only a run with a ModelSpec.base has one")
        if (training.token_rate or training.trains == "token") and not getattr(self.task, "words", ()):
            raise ValueError(f"TrainingSpec.token_rate={training.token_rate}: this task has no new token")

    def with_seed(self, seed: int) -> "RunSpec":
        """The same run with other rules, other examples and other initial weights."""
        task = self.task.but(rule_seed=seed, example_seed=seed)
        return self.but(task=task, model=self.model.but(seed=seed))

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain nested dictionaries, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, dict[str, Any]]) -> "RunSpec":
        """The inverse of ``to_dict``; raises ``ValueError`` naming an unknown or missing field."""
        parts = _parts(data)
        same_names("RunSpec", data, parts)
        for name, part in parts.items():
            given = late(part) | data[name] if isinstance(data[name], dict) else data[name]
            same_names(part.__name__, given, [each.name for each in fields(part)])
        return cls(**{name: part(**data[name]) for name, part in parts.items()})

    def digest(self) -> str:
        """Sixteen hexadecimal digits that name this run: SHA-256 of its canonical JSON."""
        parts = {part.name: lasting(getattr(self, part.name)) for part in fields(self)}
        text = json.dumps({"format": FORMAT, **parts}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(before: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> list[str]:
    """Where two specs, as ``to_dict`` gives them, differ: one line for each field.

    Raises ``ValueError`` for what is not even of the form of a spec.

    >>> differences(RunSpec().to_dict(), RunSpec(training=TrainingSpec(steps=800)).to_dict())
    ['training.steps: 703 before, 800 now']
    """
    flat = [{f"{part}.{name}": value for part, given in _completed(spec).items() for name, value in given.items()}
            for spec in (before, now)]  # fmt: skip
    names = sorted(set(flat[0]) | set(flat[1]))
    said = [[short(spec[name]) if name in spec else "nothing" for spec in flat] for name in names]
    odd = [f"{name if name.isprintable() else ascii(name):.100}: {old} before, {new} now"
           for name, (old, new) in zip(names, said, strict=True) if old != new]  # fmt: skip
    return odd[:_MOST_SAID] + [f"and {len(odd) - _MOST_SAID:,} more"] * (len(odd) > _MOST_SAID)


def _completed(spec: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A stored spec with the defaults of fields that came later."""
    if not isinstance(spec, dict) or not all(isinstance(part, dict) for part in spec.values()):
        raise ValueError(f"expected the fields of a run, got {short(spec)}")
    parts = _parts(spec)
    return {name: (late(parts[name]) if name in parts else {}) | given for name, given in spec.items()}


def _parts(data: Any) -> dict[str, type]:
    """The classes of a stored spec's parts; the one of its task by the world that it names."""
    task = data.get("task") if isinstance(data, dict) else None
    world = task.get("world", "") if isinstance(task, dict) else ""
    if not isinstance(world, str) or world not in TASKS:
        raise ValueError(f"task.world={short(world)}: known worlds are {', '.join(filter(None, TASKS)) or 'none'}")
    return {each.name: each.type for each in fields(RunSpec)} | {"task": TASKS[world]}
