"""Experiments beside the main curve: the same study in other task worlds, one setting for each.

``measure`` trains what is missing.
"""

from collections.abc import Iterable

import pandas as pd

from unseen.running.workers import Executor
from unseen.scales import Setting
from unseen.store import Store
from unseen.sweep import frame, kinds


def measure(settings: Iterable[Setting], store: Store | None = None, executor: Executor | None = None,
            by_kind: bool = False) -> pd.DataFrame:  # fmt: skip
    """Train what is missing: one row per setting, run and split (and, ``by_kind``, has-op and no-op inputs).

    Columns of ``sweep.frame`` behind ``setting``, ``no_op_share`` and ``concentration``.
    """
    settings = list(settings)
    runs = [run for setting in settings for run in setting.runs()]
    table = frame(runs, store, executor)
    table, parts = kinds(runs, store) if by_kind else table, []
    for setting in settings:
        task, own = setting.base.task, {run.digest() for run in setting.runs()}
        part = table[table["run"].isin(own)]
        parts.append(part.assign(setting=setting.name, no_op_share=task.no_op_share, concentration=task.concentration))
    whole = pd.concat(parts, ignore_index=True)
    first = ["setting", "no_op_share", "concentration"]
    return whole[first + [name for name in whole if name not in first]]
