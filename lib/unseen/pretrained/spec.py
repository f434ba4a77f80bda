"""The task world that the own base is pre-trained on: symbolic drills in the layout of string rewriting.

>>> DrillSpec.like(TaskSpec(no_op_share=0.4), instructions=2_600).examples_per_instruction
34.46153846153846
>>> DrillSpec(replacement_length=1, unseen_instructions=20)
Traceback (most recent call last):
...
ValueError: DrillSpec.instructions=2600: with unseen_instructions=20 more arguments than the 26 there are
"""

import string
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from unseen.fields import LONGEST, MOST
from unseen.tasks import Task, TaskSpec

_SHARED = ("alphabet", "pattern_length", "replacement_length", "input_length")
_ENOUGH = 64  # letters: longer powers take long, and nobody asks for as many


@dataclass(frozen=True)
class DrillSpec(Task):
    """Drills: the x slot of ``x→y|z=`` names an operation, the y slot is its argument, z its input; see ``drills``.

    An instruction is an operation with an argument; held-out instructions have arguments that no training instruction
    has.  Lengths are in letters and those of the rewriting task that is to follow (``like``), so that one model reads
    both.  The pre-training of the paper's model is its makers' affair; this stands in for it.
    """

    world: str = "drills"
    instructions: int = 2_600
    unseen_instructions: int = 650
    examples: int = 89_600
    alphabet: str = string.ascii_lowercase
    pattern_length: int = 3
    replacement_length: int = 3
    input_length: int = 10
    rule_seed: int = 0
    example_seed: int = 0

    concentration: ClassVar[float] = 1.0  # its instructions have equal shares

    @classmethod
    def like(cls, task: TaskSpec, **changes: Any) -> Self:
        """Drills in the layout of a rewriting task; it must have no-ops, or the longest answers may differ."""
        return cls(**{name: getattr(task, name) for name in _SHARED} | changes)

    @property
    def output_length(self) -> int:
        """Letters of the longest answer that a rewriting task with no-ops gives in this layout."""
        return max(self.input_length, self.input_length - self.pattern_length + self.replacement_length)

    def _check(self) -> None:
        if self.world != "drills":
            self._refuse("world", "this spec is of the world 'drills'")
        for name in ("instructions", "unseen_instructions", "examples"):
            self._within(name, 1, MOST)
        for name in ("pattern_length", "replacement_length", "input_length"):
            self._within(name, 1, LONGEST)
        for name in ("rule_seed", "example_seed"):
            self._within(name, 0, MOST)
        self._letters("alphabet", 2)
        if self.examples < self.instructions:
            self._refuse("examples", f"fewer than instructions={self.instructions}: each needs at least one")
        arguments = len(self.alphabet) ** min(self.replacement_length, _ENOUGH)
        if self.instructions + self.unseen_instructions > arguments:
            self._refuse("instructions", f"with unseen_instructions={self.unseen_instructions} more arguments than the "
                         f"{arguments} there are")  # fmt: skip
