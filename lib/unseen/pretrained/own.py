"""The own base: a small model pre-trained on drills, and its fine-tunings, all of them ordinary runs of the store."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from unseen.evaluation import exact_match, greedy_answers
from unseen.pretrained.drills import OPERATIONS
from unseen.pretrained.plan import Tuning, base_run
from unseen.store import Store
from unseen.sweep import frame
from unseen.variations import measure
from unseen.workers import Executor
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

    def measure(self, tunings: Sequence[Tuning], executor: Executor | None = None) -> pd.DataFrame:
        """Train what is missing, the base first; columns of ``variations.measure`` behind start, work and data."""
        frame([base_run(self.scale)], executor=executor)
        table = measure([each.setting for each in tunings], executor=executor, by_kind=True)
        return labelled(table, tunings)


def labelled(table: pd.DataFrame, tunings: Sequence[Tuning]) -> pd.DataFrame:
    """A table with a column ``setting``, and in front of it what each setting is: start, work, data."""
    what = {each.setting.name: each for each in tunings}
    columns = {
        name: [getattr(what[setting], name) for setting in table["setting"]] for name in ("start", "work", "data")
    }
    return pd.concat([pd.DataFrame(columns), table.reset_index(drop=True)], axis=1)
