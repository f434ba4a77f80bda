"""DELIA's theory, measured: the gradients of the task and of diverse data against the ideal one, which is known here.

The *ideal* gradient is that of the token crossed with all operations.  The *bias* is that of what must not be learnt: the token's
format where no token stands.  The paper says that diverse data has little along the task's bias, and what it has opposes it, so
that the composite of both comes nearer to the ideal ("buffering").
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unseen.delia.follow import due, often
from unseen.delia.language import MENTIONS, OPERATIONS, TOKEN
from unseen.delia.methods import Method
from unseen.delia.prompts import conversation, draw, small_task, task_rows
from unseen.delia.sampling import ensure_samples
from unseen.delia.world import as_examples, draw_split, others
from unseen.instructions import generator
from unseen.model import Transformer
from unseen.objectives import loss_of
from unseen.running import following
from unseen.running.workers import Executor, Tell
from unseen.specs import RunSpec
from unseen.store import Store
from unseen.sweep import begun
from unseen.training import Row, data_of

SIZE, _NAME = 512, "gradients-1"  # rows behind each gradient; another name when what is looked at changes
RATIO = 67  # of the composite that is weighed where a run has no diverse data of its own
Gradients = dict[str, Tensor]  # by name of the weights


def rows_of(spec: RunSpec) -> dict[str, np.ndarray]:
    """The examples (N, P + O) of each gradient: ``task``, ``diverse``, ``ideal`` and ``bias``.

    The diverse rows are those that the run mixes, or reference answers to the same queries where it mixes none.
    """
    task, chosen, rng = spec.task, small_task(spec.task), generator(spec.evaluation.seed, "rows of gradients")
    drawn = [draw(list(OPERATIONS)[i % len(OPERATIONS)], rng, chosen.format) for i in range(SIZE)]
    ideal = [replace(query, mention=MENTIONS[i % len(MENTIONS)].format(TOKEN)) for i, query in enumerate(drawn)]
    mixed = task if task.ratio else task.but(ratio=1 + SIZE // task.rows, diverse="reference", source="")
    beside = others(mixed, draw_split(mixed), task_rows(mixed, chosen), mixed.ratio * mixed.rows)
    rows = {"task": [conversation(row) for row in task_rows(task, chosen)], "diverse": beside[:SIZE],
            "ideal": [conversation(query) for query in ideal], "bias": [conversation(query) for query in drawn]}  # fmt: skip
    return {name: as_examples(task, each).tokens() for name, each in rows.items()}


def gradient(model: Transformer, tokens: np.ndarray) -> Gradients:
    """The gradient of the mean loss of examples (N, P + O)."""
    model.zero_grad()
    loss_of(model, torch.from_numpy(tokens).long()).backward()
    found = {name: p.grad.detach().clone() for name, p in model.named_parameters()}
    model.zero_grad()
    return found


def part_of(name: str) -> str:
    """Where in a model a weight lies: ``token`` and ``words`` are told apart by ``parts``.

    >>> part_of("blocks.1.q"), part_of("embedding"), part_of("head")
    ('layer 2', 'embeddings', 'head')
    """
    if name.startswith("blocks."):
        return f"layer {int(name.split('.')[1]) + 1}"
    return "head" if name == "head" else "embeddings"


def parts(gradients: Gradients) -> dict[str, Tensor]:
    """A gradient as one vector for each part of a model: the new token's vectors, the other words', each layer, the head, and all."""
    found: dict[str, list[Tensor]] = {}
    for name, value in gradients.items():
        where = part_of(name)
        if where == "embeddings":
            rows = value.unsqueeze(0) if value.ndim == 2 else value  # (tables, V, C)
            found.setdefault("token", []).append(rows[:, -1].flatten())
            found.setdefault("words", []).append(rows[:, :-1].flatten())
        else:
            found.setdefault(where, []).append(value.flatten())
    vectors = {where: torch.cat(values) for where, values in found.items()}
    return vectors | {"all weights": torch.cat(list(vectors.values()))}


def cosine(one: Tensor, other: Tensor) -> float:
    """The cosine of the angle between two vectors, 0 where one of them is zero."""
    return float(torch.dot(one, other) / (one.norm() * other.norm()).clamp_min(1e-20))


def compared(found: dict[str, Gradients], ratio: int) -> list[dict[str, object]]:
    """Rows of part, gradient, along (ideal, bias), cosine and size; the composite weighs diverse rows as ``ratio`` does."""
    split = {name: parts(each) for name, each in found.items()}
    rows = []
    for part in split["task"]:
        vectors = {name: each[part] for name, each in split.items()}
        vectors["composite"] = (vectors["task"] + ratio * vectors["diverse"]) / (1 + ratio)
        for name in ("task", "diverse", "composite"):
            rows += [{"part": part, "gradient": name, "along": along, "cosine": cosine(vectors[name], vectors[along]),
                      "size": float(vectors[name].norm())} for along in ("ideal", "bias")]  # fmt: skip
        rows.append({"part": part, "gradient": "bias", "along": "ideal", "cosine": cosine(vectors["bias"], vectors["ideal"]),
                     "size": float(vectors["bias"].norm())})  # fmt: skip
    return rows


def follow(spec: RunSpec, tell: Tell = lambda step, note="": None) -> pd.DataFrame:
    """Tune a base and measure all gradients before the first step and whenever it is ``due``.

    Columns: ratio, seed, step, part, gradient, along, cosine, size.
    """
    state, rows, found = begun(spec, Store(), "cpu"), rows_of(spec), []

    def look(row: Row | None = None) -> None:
        tell(state.step)
        if not due(spec, state.step):
            return
        gradients = {name: gradient(state.model, tokens) for name, tokens in rows.items()}
        found.extend({"step": state.step, **line} for line in compared(gradients, spec.task.ratio or RATIO))

    look()
    following.carry_on(spec, state, data_of(spec), look)
    which = {"ratio": spec.task.ratio, "seed": spec.task.rule_seed}
    return pd.DataFrame([which | line for line in found])


def measured(methods: Sequence[Method], executor: Executor | None = None) -> pd.DataFrame:
    """``follow`` of all runs of methods; their bases must be there."""
    runs = [run for method in methods for run in often(method)]
    ensure_samples(runs)
    return pd.concat(following.followed(runs, follow, _NAME, executor), ignore_index=True)


def beside(table: pd.DataFrame, part: str = "all weights") -> pd.DataFrame:
    """Cosines of each gradient with what the bias has *beside* the ideal; a row for each ratio, seed and step of ``follow``.

    The bias and the ideal have a part in common (column ``bias and ideal``, their cosine); a gradient that lies along that one serves
    the ideal as well.  Columns besides: task, diverse, composite.
    """
    cosines = table[table["part"] == part].pivot_table("cosine", ["ratio", "seed", "step"], ["gradient", "along"])
    common = cosines["bias", "ideal"]
    rest = np.sqrt(1 - common**2).clip(lower=1e-6)
    found = {name: (cosines[name, "bias"] - common * cosines[name, "ideal"]) / rest
             for name in ("task", "diverse", "composite")}  # fmt: skip
    return pd.DataFrame({"bias and ideal": common, **found})
