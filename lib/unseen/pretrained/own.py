"""The own base: a small model pre-trained on drills, and its fine-tunings, all of them ordinary runs of the store."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unseen.diversity.variations import measure
from unseen.evaluation import exact_match, greedy_answers
from unseen.pretrained.drills import OPERATIONS
from unseen.pretrained.plan import Tuning, base_run
from unseen.rewriting import Rule
from unseen.running.workers import Executor
from unseen.store import Store
from unseen.sweep import frame
from unseen.training import start
from unseen.worlds import data_of


@dataclass(frozen=True)
class OwnBase:
    """The base of a scale; see ``bases.Base``."""

    scale: str

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"a model pre-trained here on {base_run(self.scale).task.instructions:,} drills"

    def ready(self, executor: Executor | None = None) -> pd.DataFrame:
        """Pre-train it if it is not there: its accuracy on drills by operation, held-out arguments; columns operation, accuracy."""
        spec, store = base_run(self.scale), Store()
        frame([spec], store, executor)
        data = data_of(spec)
        asked = data.evaluation["unseen"]
        right = exact_match(greedy_answers(store.model(spec), asked.prompts), asked)
        operation = [data.split.unseen[rule].operation for rule in asked.rule]
        means = pd.DataFrame({"operation": operation, "accuracy": right}).groupby("operation")["accuracy"].mean()
        return means.reindex(list(OPERATIONS)).reset_index()

    def grown(self) -> pd.DataFrame:
        """How many times as large as fresh ones its matrices are (their norms): a row a layer, columns q, k, v, up.

        The base must be ``ready``.  The other matrices of a layer begin at zero.
        """
        spec = base_run(self.scale)
        old, new = Store().model(spec).state_dict(), start(spec).model.state_dict()
        table = pd.DataFrame({name: [float(old[f"blocks.{layer}.{name}"].norm() / new[f"blocks.{layer}.{name}"].norm())
                                     for layer in range(spec.model.layers)] for name in ("q", "k", "v", "up")})  # fmt: skip
        return table.set_axis(pd.RangeIndex(1, len(table) + 1, name="layer"))

    def measure(self, tunings: Sequence[Tuning], executor: Executor | None = None) -> pd.DataFrame:
        """Train what is missing, the base first; columns of ``variations.measure`` behind start, work and data."""
        frame([base_run(self.scale)], executor=executor)
        table = measure([each.setting for each in tunings], executor=executor, by_kind=True)
        return labelled(table, tunings)


def mistakes(tuning: Tuning) -> pd.DataFrame:
    """Wrong answers to no-ops of unseen rules, by the first finished run of a plain setting on the most instructions.

    Columns rule, input (the right answer too), answer, letterwise (see ``letter_by_letter``).
    """
    spec = max(tuning.setting.runs(), key=lambda run: (run.task.instructions, -run.task.rule_seed))
    asked = data_of(spec).evaluation["unseen"]
    asked = asked.where(~asked.applies)
    answers = greedy_answers(Store().model(spec), asked.prompts)
    wrong = [(asked.line(i), asked.encoding.answer(answers[i])) for i in np.flatnonzero(~exact_match(answers, asked))]
    rows = [{"rule": str(line.rule), "input": line.text, "answer": said,
             "letterwise": letter_by_letter(line.rule, line.text, said)} for line, said in wrong]  # fmt: skip
    return pd.DataFrame(rows, columns=["rule", "input", "answer", "letterwise"])


def letter_by_letter(rule: Rule, text: str, said: str) -> bool:
    """Whether an answer changes just such letters as stand in the pattern, each into the one at its place in the replacement.

    >>> letter_by_letter(Rule("bag", "xyz"), "vdbmov", "vdxmov"), letter_by_letter(Rule("bag", "xyz"), "vdbmov", "vdbmox")
    (True, False)
    """
    swaps = set(zip(rule.pattern, rule.replacement, strict=False))
    return len(said) == len(text) and {(a, b) for a, b in zip(text, said, strict=True) if a != b} <= swaps


def labelled(table: pd.DataFrame, tunings: Sequence[Tuning]) -> pd.DataFrame:
    """A table with a column ``setting``, and in front of it what each setting is: start, work, data."""
    what = {each.setting.name: each for each in tunings}
    columns = {
        name: [getattr(what[setting], name) for setting in table["setting"]] for name in ("start", "work", "data")
    }
    return pd.concat([pd.DataFrame(columns), table.reset_index(drop=True)], axis=1)
