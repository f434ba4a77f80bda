"""The two kinds of base behind one interface: the own small model, or any causal language model in a local folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from unseen.pretrained import shelf
from unseen.pretrained.adapters import AdapterRun, AdapterSpec
from unseen.pretrained.local import checked, fingerprint
from unseen.pretrained.own import OwnBase, labelled
from unseen.pretrained.plan import AMOUNTS, Tuning
from unseen.running.workers import Executor
from unseen.scales import Setting


class Base(Protocol):
    """A pre-trained model that can be fine-tuned on the settings of the plan."""

    @property
    def name(self) -> str:
        """What it is, in words."""

    def measure(self, tunings: Sequence[Tuning], executor: Executor | None = None) -> pd.DataFrame:
        """Train what is missing: one row per setting, run, split and kind of input.

        Columns start, work, data, setting, no_op_share, concentration, instructions, examples_per_instruction, seed,
        split, kind, accuracy, low, high, examples, seconds, run, and what is known of the model.
        """


@dataclass(frozen=True)
class LocalBase:
    """A model from a folder of this machine with an adapter for each run, trained here, one after the other."""

    folder: Path
    adapter: AdapterSpec

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"{self.folder.name}, with an adapter of rank {self.adapter.rank}"

    def measure(self, tunings: Sequence[Tuning], executor: Executor | None = None) -> pd.DataFrame:
        """See ``Base.measure``; only what starts pre-trained, for nobody has this model's budget from scratch."""
        chosen = [each for each in tunings if each.start == "pre-trained"]
        return labelled(pd.DataFrame([row for each in chosen for row in self._rows(each.setting)]), chosen)

    def _rows(self, setting: Setting) -> list[dict[str, object]]:
        found = []
        for spec in setting.runs():
            adapter = self.adapter.but(seed=spec.model.seed)
            run = AdapterRun(spec.task, spec.evaluation, adapter, fingerprint(self.folder))
            told, task = shelf.ensure(run, self.folder), spec.task
            about = {"setting": setting.name, "no_op_share": task.no_op_share, "concentration": task.concentration,
                     "recipe": "adapter", "layers": told["layers"], "width": told["width"],
                     "pattern_length": task.pattern_length, "input_length": task.input_length,
                     "instructions": task.instructions, "examples_per_instruction": task.examples_per_instruction,
                     "seed": task.rule_seed}  # fmt: skip
            found += [{**about, **line, "seconds": told["seconds"], "run": told["digest"]} for line in told["scores"]]
        return found


def base_of(base: str, scale: str, rank: int = 512) -> Base:
    """The base that a notebook's parameters ask for: the own one of the scale, or that in the folder ``base``.

    The adapter is the paper's (alpha is twice the rank) but for the steps, which are the scale's own.  Raises ``BadBase``.

    >>> base_of("", "quick").name
    'a model pre-trained here on 13,000 drills'
    """
    if not base:
        return OwnBase(scale)
    return LocalBase(checked(base), AdapterSpec(rank=rank, alpha=2 * rank, steps=AMOUNTS[scale].steps))
