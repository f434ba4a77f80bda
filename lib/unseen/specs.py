"""What a run is: frozen dataclasses for the task, the model, the training and the evaluation.

A ``RunSpec`` holds everything that decides the numbers of a run; ``digest()`` names its folder in the store.
Nothing here draws, trains or reads files.  Impossible settings raise ``ValueError`` when the spec is built,
naming the field, the value and the bound, so nothing starts on a bad one.
"""

import re
from dataclasses import asdict, fields
from typing import Any

from unseen.fields import Checked, Count, Seed, Share, among, lasting, late, later, real, short, spec, whole
from unseen.files import brief, seal
from unseen.worlds import WORLDS, Task, TaskSpec

_DIGEST = re.compile(r"[0-9a-f]{16}")
FORMAT = 1  # of the stored runs; raised when the same spec would give other numbers
RECIPES = ("modern", "gpt2")
Factor = real(0, 1_000)


@spec
class ModelSpec(Checked):
    """One transformer.  ``recipe`` chooses its parts: ``gpt2`` as in the paper, or ``modern``.

    ``mlp_ratio`` is the width of the hidden layer of an MLP over ``width`` (GPT-2: 4).  On this task depth
    is worth more than wide MLPs, hence the default shape of ``modern``.  Paper, section 2: 6 layers, 256
    dimensions, 4 heads.

    ``modern`` helps a model twice: ``look_back`` is the number of tokens before each one whose embeddings it
    adds, and a prompt attends to itself ``both ways`` or, by ``prompt_attention``, ``causal``.  ``gpt2`` has
    neither.

    ``seed`` draws the initial weights; with a ``base``, the digest of a finished run whose model reads the
    same layout, they are the weights of that run (fine-tuning); ``inherits`` is ``all``, as they are,
    ``softened``, with queries and keys at the size of fresh ones, or ``rescaled``, with every matrix (see
    ``model.inherited``).
    """

    recipe: among(RECIPES) = "modern"
    layers: whole(1, 1_000) = 5
    width: whole(1, 100_000) = 64
    heads: whole(1, 1_000) = 4
    mlp_ratio: whole(1, 100) = 1
    seed: Seed = 0
    base: str = later("")
    inherits: among(("all", "softened", "rescaled")) = later("all")
    look_back: whole(0, 4) = later(2)
    prompt_attention: among(("both ways", "causal")) = later("both ways")

    def _check(self) -> None:
        for name in ("look_back", "prompt_attention"):
            if self.recipe != "modern" and getattr(self, name) != late(type(self))[name]:
                self._refuse(name, f"only modern has it, this is {self.recipe!r}")
        if self.inherits != "all" and self.recipe != "modern":
            why = f"recipe={self.recipe!r} inherits all weights as they are; the other ways need modern"
            self._refuse("inherits", why)
        if self.base and not _DIGEST.fullmatch(self.base):
            self._refuse("base", "expected the digest of a run, sixteen hexadecimal digits, or nothing")
        if self.width % (2 * self.heads):
            self._refuse("width", f"must be a multiple of 2 x heads={self.heads}")


@spec
class TrainingSpec(Checked):
    """How a model is trained.  ``learning_rate`` is AdamW's; ``matrix_learning_rate`` is Muon's, for the
    weight matrices of the ``modern`` recipe (0 gives them to AdamW, as ``gpt2`` does); only what Muon trains
    has ``weight_decay``.

    Rates stay constant and fall linearly to zero over the last ``decay_share`` of ``steps``; 1 is the
    paper's linear schedule.  ``evaluate_every`` (steps) sets the rows of the history, ``checkpoint_every``
    (steps) how much an interrupted run can lose.

    Of fine-tuning: ``trains`` is ``all`` weights, an ``adapter`` of some ``rank`` on attention and
    embeddings, or the new ``token`` alone; ``token_rate`` is the learning rate of the token's vectors where
    it is not that of the rest (0). ``kl`` weighs the divergence from the base's answers, ``pull`` draws the
    weights towards the base's, ``smoothing`` smooths labels in proportion to each example's uncertainty.
    See ``objectives``.
    """

    steps: Count = 703
    batch: Count = 64
    learning_rate: real(1e-8, 1) = 0.015
    matrix_learning_rate: Share = 0.02
    weight_decay: Share = 0.1
    decay_share: Share = 0.6
    evaluate_every: Count = 50
    checkpoint_every: Count = 250
    trains: among(("all", "adapter", "token")) = later("all")
    token_rate: Factor = later(0.0)
    kl: Factor = later(0.0)
    pull: Factor = later(0.0)
    smoothing: Share = later(0.0)
    rank: Count = later(16)

    def _check(self) -> None:
        if self.trains != "adapter" and self.rank != late(type(self))["rank"]:
            self._refuse("rank", f"only trains='adapter' has one, this trains {self.trains!r}")
        if self.trains == "adapter" and self.token_rate:
            self._refuse("token_rate", "must be 0 with an adapter, which adapts the token's vectors too")
        if self.matrix_learning_rate and (self.trains != "all" or self.token_rate):
            why = (
                "must be 0 with an adapter, and where the new token has a rate of its own: AdamW trains both"
            )
            self._refuse("matrix_learning_rate", why)


@spec
class EvaluationSpec(Checked):
    """Fresh examples for the score: ``examples`` of seen and as many of unseen rules, drawn by ``seed``."""

    examples: Count = 2_000
    seed: Seed = 1_000_000


@spec
class RunSpec(Checked):
    """Everything that decides the numbers of one run.

    >>> RunSpec().digest() == RunSpec(task=TaskSpec()).digest()
    True
    >>> RunSpec().digest() == RunSpec(task=TaskSpec(instructions=999)).digest()
    False
    >>> RunSpec.from_dict(RunSpec().to_dict()) == RunSpec()
    True
    """

    task: Task = TaskSpec()
    model: ModelSpec = ModelSpec()
    training: TrainingSpec = TrainingSpec()
    evaluation: EvaluationSpec = EvaluationSpec()

    def _check(self) -> None:
        if self.evaluation.seed == self.task.example_seed:
            why = "must differ from the task's example_seed, or the model is scored on its training examples"
            self.evaluation._refuse("seed", why)
        training = self.training
        if not self.model.base:
            for name in ("kl", "pull", "token_rate"):
                if getattr(training, name):
                    training._refuse(name, "only a run with a ModelSpec.base has it")
            if self.model.inherits != "all":
                self.model._refuse("inherits", "there is no ModelSpec.base to inherit from")
            if training.trains == "adapter":
                training._refuse("trains", "only a run with a ModelSpec.base has one")
        if (training.token_rate or training.trains == "token") and not self.task.words:
            training._refuse("token_rate", "this task has no new token")

    def with_seed(self, seed: int) -> "RunSpec":
        """The same run with other rules, other examples and other initial weights."""
        task = self.task.but(rule_seed=seed, example_seed=seed)
        return self.but(task=task).with_weights(seed)

    def with_weights(self, seed: int) -> "RunSpec":
        """The same run with other initial weights."""
        return self.but(model=self.model.but(seed=seed))

    def with_task(self, **changes: Any) -> "RunSpec":
        """The same run with some fields of its task changed."""
        return self.but(task=self.task.but(**changes))

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain nested dictionaries, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, dict[str, Any]]) -> "RunSpec":
        """The inverse of ``to_dict``; raises ``ValueError`` with a line for each unknown, missing or bad
        field.
        """
        built, problems = {}, []
        for name, (part, given) in _parts(data).items():
            try:
                if missing := sorted({each.name for each in fields(part)} - {*late(part), *given}):
                    raise ValueError("\n".join(f"{part.__name__}.{field}: required" for field in missing))
                built[name] = part(**given)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("\n".join(problems))
        return cls(**built)

    def digest(self) -> str:
        """Sixteen hexadecimal digits that name this run: SHA-256 of its canonical JSON."""
        parts = {part.name: lasting(getattr(self, part.name)) for part in fields(self)}
        return seal({"format": FORMAT, **parts})[:16]


def differences(before: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> list[str]:
    """Where two specs, as ``to_dict`` gives them, differ: one line for each field; raises ``ValueError`` for
    no spec at all.

    >>> differences(RunSpec().to_dict(), RunSpec(training=TrainingSpec(steps=800)).to_dict())
    ['training.steps: 703 before, 800 now']
    """
    old, new = ({f"{name}.{field}": short(value) for name, (part, given) in _parts(data).items()
                 for field, value in (late(part) | given).items()} for data in (before, now))  # fmt: skip
    return [
        f"{brief(name, 100)}: {old.get(name, 'nothing')} before, {new.get(name, 'nothing')} now"
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    ]


def _parts(data: Any) -> dict[str, tuple[type[Checked], dict[str, Any]]]:
    """The parts of a stored spec: the class of each (of the task by the world that it names), and its
    fields.
    """
    classes = {"task": Task, "model": ModelSpec, "training": TrainingSpec, "evaluation": EvaluationSpec}
    parts = data if isinstance(data, dict) else {}
    if parts.keys() != classes.keys() or not all(isinstance(part, dict) for part in parts.values()):
        raise ValueError(f"RunSpec: expected the fields {', '.join(classes)}, got {short(data)}")
    world = parts["task"].get("world", "")
    if not isinstance(world, str) or world not in WORLDS:
        raise ValueError(f"task.world={short(world)}: known worlds are {', '.join(filter(None, WORLDS))}")
    classes["task"] = WORLDS[world]
    return {name: (part, parts[name]) for name, part in classes.items()}
