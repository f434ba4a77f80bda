"""What a run is: frozen dataclasses for the task, the model, the training and the evaluation.

A ``RunSpec`` holds everything that decides the numbers of a run; ``digest()`` names its folder in the
store.  Nothing here draws, trains or reads files.  Impossible settings raise ``ValueError`` when the
spec is built, naming the field, the value and the bound, so nothing starts on a bad one.

    >>> TaskSpec(instructions=100).examples_per_instruction
    450.0
    >>> TaskSpec(pattern_length=11)
    Traceback (most recent call last):
    ...
    ValueError: TaskSpec.pattern_length=11: 1 pattern(s) of 11 letters do not fit in input_length=10
"""

import hashlib
import json
import string
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

RECIPES = ("modern", "gpt2")
SPECIAL = {"arrow": "→", "given": "|", "gives": "=", "end": "."}  # never letters of an alphabet
_MOST, _LONGEST = 10**12, 100_000  # of anything counted; letters: a file may ask for anything, and gets an error
_ENOUGH = 64  # letters: there are more strings of so many than are ever asked for, and longer powers take long
_MOST_SAID = 50  # differences between two specs: more than there are fields
FORMAT = 1  # of the stored runs; raised when the same spec would give other numbers


def _later(default: Any) -> Any:
    """A field that came when runs were stored already: at its default it changes no digest, and a stored spec may lack it."""
    return field(default=default, metadata={"later": True})


class _Checked:
    """Shared by the specs: typed fields, errors that name the field, copies with changes."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.type is float and type(value) in (int, float):
                object.__setattr__(self, each.name, self._float(each.name, value))
            elif isinstance(each.type, type) and type(value) is not each.type:
                self._refuse(each.name, f"expected {each.type.__name__}, got {type(value).__name__}")
        self._check()

    def _float(self, name: str, value: float) -> float:
        try:
            return float(value) + 0.0  # -0.0 is equal to 0.0: one digest for both
        except OverflowError:
            self._refuse(name, "no such number")

    def _check(self) -> None:
        """Raise through ``_refuse`` or ``_within`` when the values cannot work together."""

    def _refuse(self, name: str, why: str) -> None:
        raise ValueError(f"{type(self).__name__}.{name}={_short(getattr(self, name))}: {why}")

    def _within(self, name: str, low: float, high: float) -> None:
        if not low <= getattr(self, name) <= high:
            self._refuse(name, f"must be at least {low:g} and at most {high:g}")

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked again."""
        return replace(self, **changes)


@dataclass(frozen=True)
class TaskSpec(_Checked):
    """The task world and the training budget: ``examples`` N = ``instructions`` I x S.

    Lengths are in letters.  Each input holds the pattern exactly ``occurrences`` times (counted from
    the left without overlap), except a share ``no_op_share`` of inputs, which hold it not at all.
    ``concentration`` a spreads the examples over the instructions by the density a x^(a-1): 1 gives each as many,
    2 makes shares grow in a line, smaller numbers give most to a few (paper, long-tail experiment).
    ``rule_seed`` draws the instructions, ``example_seed`` the training examples.
    Paper, section 2: inputs of 50 letters, patterns of 20, N = 10^6.
    """

    instructions: int = 1_000
    examples: int = 45_000
    alphabet: str = string.ascii_lowercase
    pattern_length: int = 3
    replacement_length: int = 3
    input_length: int = 10
    occurrences: int = 1
    no_op_share: float = 0.0
    unseen_instructions: int = 1_000
    rule_seed: int = 0
    example_seed: int = 0
    concentration: float = _later(1.0)

    @property
    def examples_per_instruction(self) -> float:
        """S = N / I, the mean number of training examples of one instruction."""
        return self.examples / self.instructions

    @property
    def output_length(self) -> int:
        """Letters of the longest answer: a no-op keeps its length, one rewrite swaps x for y."""
        rewritten = self.input_length - self.pattern_length + self.replacement_length
        return max(rewritten, self.input_length if self.no_op_share else 0)

    def _check(self) -> None:
        for name in ("instructions", "examples", "unseen_instructions"):
            self._within(name, 1, _MOST)
        for name in ("pattern_length", "replacement_length", "input_length", "occurrences"):
            self._within(name, 1, _LONGEST)
        for name in ("rule_seed", "example_seed"):
            self._within(name, 0, _MOST)
        self._within("no_op_share", 0, 1)
        self._within("concentration", 0.001, 100)
        self._check_alphabet()
        if self.occurrences * self.pattern_length > self.input_length:
            name = "pattern_length" if self.pattern_length > self.input_length else "occurrences"
            self._refuse(name, f"{self.occurrences} pattern(s) of {self.pattern_length} letters "
                         f"do not fit in input_length={self.input_length}")  # fmt: skip
        if self.examples < self.instructions:
            self._refuse("examples", f"fewer than instructions={self.instructions}: each needs at least one")
        if self.no_op_share and len(self.alphabet) == 1:
            self._refuse("no_op_share", "with one letter every input holds every pattern, so no no-op exists")
        self._check_room()

    def _check_alphabet(self) -> None:
        if not self.alphabet or len(set(self.alphabet)) < len(self.alphabet):
            self._refuse("alphabet", "must hold at least one letter, each once")
        if unknown := [c for c in self.alphabet if not c.isalnum()]:
            self._refuse("alphabet", f"only letters and digits are allowed, not {_short(''.join(unknown))}")
        if len(self.alphabet) > 200:
            self._refuse("alphabet", "at most 200 letters (ids are single bytes)")

    def _check_room(self) -> None:
        """Seen and unseen strings must be disjoint, so there must exist enough of them."""
        patterns = len(self.alphabet) ** min(self.pattern_length, _ENOUGH)
        replacements = len(self.alphabet) ** min(self.replacement_length, _ENOUGH)
        shared = self.pattern_length == self.replacement_length
        needed = max(self.instructions, 2) + self.unseen_instructions * (2 if shared else 1)
        if needed > patterns:
            self._refuse("instructions", f"only {patterns} strings of pattern_length={self.pattern_length} exist, and "
                         f"{needed} are needed with unseen_instructions={self.unseen_instructions} held out")  # fmt: skip
        if self.unseen_instructions + 2 > replacements:
            self._refuse("unseen_instructions", f"only {replacements} strings of "
                         f"replacement_length={self.replacement_length} exist")  # fmt: skip


@dataclass(frozen=True)
class ModelSpec(_Checked):
    """One transformer.  ``recipe`` chooses its parts: ``gpt2`` as in the paper, or ``modern``.

    ``mlp_ratio`` is the width of the hidden layer of an MLP over ``width`` (GPT-2: 4).  On this task depth
    is worth more than wide MLPs, hence the default shape of ``modern``.

    ``seed`` draws the initial weights.  Paper, section 2: 6 layers, 256 dimensions, 4 heads.
    """

    recipe: str = "modern"
    layers: int = 5
    width: int = 64
    heads: int = 4
    mlp_ratio: int = 1
    seed: int = 0

    def _check(self) -> None:
        if self.recipe not in RECIPES:
            self._refuse("recipe", f"known recipes are {', '.join(RECIPES)}")
        for name, most in {"layers": 1_000, "width": 100_000, "heads": 1_000, "mlp_ratio": 100}.items():
            self._within(name, 1, most)
        self._within("seed", 0, _MOST)
        if self.width % (2 * self.heads):
            self._refuse("width", f"must be a multiple of 2 x heads={self.heads}")


@dataclass(frozen=True)
class TrainingSpec(_Checked):
    """How a model is trained.  ``learning_rate`` is AdamW's; ``matrix_learning_rate`` is Muon's, for the
    weight matrices of the ``modern`` recipe (0 gives them to AdamW, as ``gpt2`` does); only what Muon trains
    has ``weight_decay``.

    Rates stay constant and fall linearly to zero over the last ``decay_share`` of ``steps``; 1 is the
    paper's linear schedule.  ``evaluate_every`` (steps) sets the rows of the history,
    ``checkpoint_every`` (steps) how much an interrupted run can lose.
    """

    steps: int = 703
    batch: int = 64
    learning_rate: float = 0.015
    matrix_learning_rate: float = 0.02
    weight_decay: float = 0.1
    decay_share: float = 0.6
    evaluate_every: int = 50
    checkpoint_every: int = 250

    def _check(self) -> None:
        for name in ("steps", "batch", "evaluate_every", "checkpoint_every"):
            self._within(name, 1, _MOST)
        self._within("learning_rate", 1e-8, 1)
        self._within("matrix_learning_rate", 0, 1)
        self._within("weight_decay", 0, 1)
        self._within("decay_share", 0, 1)


@dataclass(frozen=True)
class EvaluationSpec(_Checked):
    """Fresh examples for the score: ``examples`` of seen and as many of unseen rules, drawn by ``seed``."""

    examples: int = 2_000
    seed: int = 1_000_000

    def _check(self) -> None:
        self._within("examples", 1, _MOST)
        self._within("seed", 0, _MOST)


@dataclass(frozen=True)
class RunSpec(_Checked):
    """Everything that decides the numbers of one run.

    >>> RunSpec().digest() == RunSpec(task=TaskSpec()).digest()
    True
    >>> RunSpec().digest() == RunSpec(task=TaskSpec(instructions=999)).digest()
    False
    >>> RunSpec.from_dict(RunSpec().to_dict()) == RunSpec()
    True
    """

    task: TaskSpec = TaskSpec()
    model: ModelSpec = ModelSpec()
    training: TrainingSpec = TrainingSpec()
    evaluation: EvaluationSpec = EvaluationSpec()

    def _check(self) -> None:
        if self.evaluation.seed == self.task.example_seed:
            raise ValueError(f"EvaluationSpec.seed={self.evaluation.seed}: must differ from TaskSpec.example_seed, "
                             "or the model would be scored on its training examples")  # fmt: skip

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
        parts = {"task": TaskSpec, "model": ModelSpec, "training": TrainingSpec, "evaluation": EvaluationSpec}
        _same_names("RunSpec", data, parts)
        for name, part in parts.items():
            given = _late(part) | data[name] if isinstance(data[name], dict) else data[name]
            _same_names(part.__name__, given, [each.name for each in fields(part)])
        return cls(**{name: part(**data[name]) for name, part in parts.items()})

    def digest(self) -> str:
        """Sixteen hexadecimal digits that name this run: SHA-256 of its canonical JSON."""
        lasting = {part.name: _lasting(getattr(self, part.name)) for part in fields(self)}
        text = json.dumps({"format": FORMAT, **lasting}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _lasting(part: Any) -> dict[str, Any]:
    """The fields of a part that its digest is made of."""
    late = _late(type(part))
    return {name: value for name, value in asdict(part).items() if name not in late or value != late[name]}


def _late(part: type) -> dict[str, Any]:
    """The fields of a part that came later, with their defaults."""
    return {each.name: each.default for each in fields(part) if each.metadata.get("later")}


def differences(before: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> list[str]:
    """Where two specs, as ``to_dict`` gives them, differ: one line for each field.

    Raises ``ValueError`` for what is not even of the form of a spec.

    >>> differences(RunSpec().to_dict(), RunSpec(training=TrainingSpec(steps=800)).to_dict())
    ['training.steps: 703 before, 800 now']
    """
    flat = [{f"{part}.{name}": value for part, given in _completed(spec).items() for name, value in given.items()}
            for spec in (before, now)]  # fmt: skip
    names = sorted(set(flat[0]) | set(flat[1]))
    said = [[_short(spec[name]) if name in spec else "nothing" for spec in flat] for name in names]
    odd = [f"{name if name.isprintable() else ascii(name):.100}: {old} before, {new} now"
           for name, (old, new) in zip(names, said, strict=True) if old != new]  # fmt: skip
    return odd[:_MOST_SAID] + [f"and {len(odd) - _MOST_SAID:,} more"] * (len(odd) > _MOST_SAID)


def _completed(spec: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A stored spec with the defaults of fields that came later."""
    if not isinstance(spec, dict) or not all(isinstance(part, dict) for part in spec.values()):
        raise ValueError(f"expected the fields of a run, got {_short(spec)}")
    late = {part.name: _late(part.type) for part in fields(RunSpec)}
    return {part: late.get(part, {}) | given for part, given in spec.items()}


def _short(value: Any) -> str:
    """A value as code, cut where a person stops reading."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes, lists in lists
        text = "a very large number or list"
    return text if len(text) <= 250 else f"{text[:250]}..."


def _same_names(where: str, given: Any, known: Any) -> None:
    if not isinstance(given, dict):
        raise ValueError(f"{where}: expected fields {sorted(known)}, got {_short(given)}")
    if odd := set(given) ^ set(known):
        raise ValueError(f"{where}: unknown or missing {_short(sorted(odd))}; the fields are {sorted(known)}")
