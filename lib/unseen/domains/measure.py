"""From designs to one tidy frame: what is missing is trained, then every model is asked instructions of every kind.

Scored are inputs that hold the pattern: a model that copies the input is right on every no-op.
"""

import numpy as np
import pandas as pd

from unseen.claims.domains import own
from unseen.domains.designs import Design, designs, runs
from unseen.domains.draw import draw_split, questions
from unseen.domains.kinds import KINDS
from unseen.domains.spec import DOMAINS
from unseen.evaluation import all_right, share
from unseen.running.workers import Executor
from unseen.scales import Setting
from unseen.specs import RunSpec
from unseen.store import Store
from unseen.sweep import frame, manifests


def measure(scale: str, store: Store | None = None, executor: Executor | None = None) -> pd.DataFrame:
    """One row per experiment, design, seed, kind and split (``seen``: of the domain that counts, ``unseen``: of every kind).

    Columns: experiment, setting, own_rules (of algebra), own_share (of the budget), domains (trained ones), budget, seed,
    kind, split, accuracy, low, high (95 % interval), examples, seconds (of training), run.
    """
    store, chosen = store or Store(), designs(scale)
    specs = [spec for design in chosen for spec in runs(scale, design)]
    frame(sorted(specs, key=lambda spec: spec.task.examples), store, executor)  # the long ones last
    asked = {spec: answers(spec, store) for spec in dict.fromkeys(specs)}
    return pd.DataFrame(
        [about(design, spec) | row for design in chosen for spec in runs(scale, design) for row in asked[spec]]
    )


def about(design: Design, spec: RunSpec) -> dict[str, object]:
    """The columns that tell which design and run a row is of."""
    task = spec.task
    return {"experiment": design.experiment, "setting": design.name, "own_rules": task.number("algebra"),
            "own_share": task.share("algebra"), "domains": sum(task.budget(each) > 0 for each in DOMAINS),
            "budget": task.examples, "seed": task.rule_seed}  # fmt: skip


def answers(spec: RunSpec, store: Store) -> list[dict[str, object]]:
    """Exact match of a finished run on seen instructions of its own domain and unseen ones of every kind."""
    model, split, manifest = store.model(spec), draw_split(spec.task), manifests([spec], store)[spec]
    rows = []
    for kind, side in [(spec.task.counts, "seen"), *((kind, "unseen") for kind in KINDS)]:
        drawn = questions(spec.task, split, spec.evaluation, kind, side)
        right = all_right(model, drawn.where(drawn.applies))
        rows.append({"kind": kind, "split": side, **share(right), "seconds": manifest["train_seconds"], "run": spec.digest()})  # fmt: skip
    return rows


def settings(scale: str) -> tuple[Setting, ...]:
    """The designs as ``report.write_table`` notes them beside the results."""
    return tuple(Setting(f"{design.experiment}: {design.name}, {design.task.number('algebra')} own rules", found[0],
                         (design.task.instructions,), tuple(each.task.rule_seed for each in found))
                 for design in designs(scale) for found in [runs(scale, design)])  # fmt: skip


def worth(results: pd.DataFrame) -> pd.DataFrame:
    """What an example of the other domain was worth, in own examples: one row for each mixture of experiment 7 that has a control.

    ``as own`` is the number of own examples that alone would reach the mixture's mean accuracy, read off the line through the
    controls and the pure set; ``worth`` is what that has more than the mixture, for each of the mixture's other examples.

    >>> rows = [("7", 1.0, 100, 0.4), ("7", 0.5, 100, 0.3), ("7 alone", 1.0, 50, 0.2)]
    >>> frame = pd.DataFrame(rows, columns=["experiment", "own_share", "budget", "accuracy"]).assign(
    ...     own_rules=60, kind="algebra", split="unseen", seed=0)
    >>> worth(frame)["worth"].tolist()
    [0.5]
    """
    alone, mixed = own(results, "7 alone"), own(results, "7")
    mixed = mixed[mixed["own_rules"].isin(alone["own_rules"])]
    pure = pd.concat([alone, mixed[mixed["own_share"] == 1]]).groupby("budget")["accuracy"].mean()
    mixed = mixed.assign(own=(mixed["own_share"] * mixed["budget"]).round().astype(int))
    table = mixed[mixed["own"].isin(alone["budget"])].groupby(["own", "budget"], as_index=False)["accuracy"].mean()
    table = table.assign(alone=table["own"].map(pure), others=table["budget"] - table["own"])
    table["as own"] = np.interp(table["accuracy"], pure.to_numpy(), pure.index.to_numpy()).round().astype(int)
    return table.assign(worth=(table["as own"] - table["own"]) / table["others"])[
        ["own", "others", "accuracy", "alone", "as own", "worth"]
    ]
