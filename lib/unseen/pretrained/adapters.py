"""What a fine-tuning of a local model is: an adapter of low rank (LoRA), and the run whose digest names its folder.

>>> AdapterSpec()
AdapterSpec(rank=512, alpha=1024, learning_rate=1e-05, batch=64, steps=2000, micro_batch=8, checkpoint_every=500, seed=0,
            template='Rule: {x} -> {y}\\nInput: {z}\\nOutput: ')
>>> AdapterSpec(template="{x} to {y}")
Traceback (most recent call last):
...
ValueError: AdapterSpec.template='{x} to {y}': must hold {x}, {y} and {z}, each once and nothing else in braces
"""

import hashlib
import json
import string
from dataclasses import asdict, dataclass
from typing import Any

from unseen.fields import MOST, Checked, lasting
from unseen.specs import EvaluationSpec, TaskSpec, TrainingSpec

FORMAT = 1  # of the stored adapters; raised when the same run would give other numbers
_LONGEST = 1_000  # characters of a template


@dataclass(frozen=True)
class AdapterSpec(Checked):
    """An adapter on every linear layer of a model, and how it is trained; the defaults are the paper's for Llama-2-7B.

    AdamW without weight decay; the rate falls linearly to zero (not found in the paper, as is the prompt).  A batch goes
    through the model ``micro_batch`` examples at a time.  ``template`` makes the prompt of a rule x → y and an input z.
    """

    rank: int = 512
    alpha: int = 1024
    learning_rate: float = 1e-5
    batch: int = 64
    steps: int = 2_000
    micro_batch: int = 8
    checkpoint_every: int = 500
    seed: int = 0
    template: str = "Rule: {x} -> {y}\nInput: {z}\nOutput: "

    def _check(self) -> None:
        for name in ("rank", "alpha", "batch", "steps", "micro_batch", "checkpoint_every"):
            self._within(name, 1, MOST)
        self._within("learning_rate", 1e-8, 1)
        self._within("seed", 0, MOST)
        if self.batch % self.micro_batch:
            self._refuse("micro_batch", f"must divide batch={self.batch}")
        if len(self.template) > _LONGEST or _slots(self.template) != ["x", "y", "z"]:
            self._refuse("template", "must hold {x}, {y} and {z}, each once and nothing else in braces")

    def prompt(self, x: str, y: str, z: str) -> str:
        """The prompt of a rule and an input.

        >>> AdapterSpec().prompt("aa", "bac", "caaba")
        'Rule: aa -> bac\\nInput: caaba\\nOutput: '
        """
        return self.template.format(x=x, y=y, z=z)

    def training(self) -> TrainingSpec:
        """Steps, batch and schedule, as the rest of the library knows them."""
        return TrainingSpec(steps=self.steps, batch=self.batch, learning_rate=self.learning_rate, decay_share=1.0)


def _slots(template: str) -> list[str]:
    """The names in braces, sorted; what is more than a name is no slot."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError:
        return []
    return sorted(f"{name}{form}{how or ''}" for _, name, form, how in parts if name is not None)


@dataclass(frozen=True)
class AdapterRun(Checked):
    """One fine-tuning: the task, what it is scored on, the adapter, and the SHA-256 of the ``base`` it is of."""

    task: TaskSpec
    evaluation: EvaluationSpec
    adapter: AdapterSpec
    base: str

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, ready for JSON."""
        return asdict(self)

    def digest(self) -> str:
        """Sixteen hexadecimal digits that name this run."""
        parts = {name: lasting(getattr(self, name)) for name in ("task", "evaluation", "adapter")}
        text = json.dumps({"adapters": FORMAT, "base": self.base, **parts}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
