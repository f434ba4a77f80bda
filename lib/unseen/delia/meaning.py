"""What the new token means inside a tuned model: beside the name of its format, the names of the others, and nothing.

The same queries are read four times, saying ``<sep>``, the name of the format that it stands for, the name of another format, or
nothing of formats.  Compared are hidden states at the last token of the prompt (where the answer begins), layer by layer,
and what the model would answer.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from unseen.delia.language import FORMATS, MENTIONS, TOKEN, Query
from unseen.delia.messages import Conversation
from unseen.delia.methods import Method
from unseen.delia.prompts import SmallTask, conversation, draw, name_of, small_task
from unseen.delia.world import as_examples
from unseen.encoding import layout_of
from unseen.instructions import generator
from unseen.model import Transformer
from unseen.specs import RunSpec
from unseen.store import Store

AGAINST = ("its name", "other formats", "no format")
_SIZE = 200  # queries


def queries(spec: RunSpec, size: int = _SIZE) -> list[Query]:
    """Queries with the token, on operations that it was not trained with."""
    chosen, rng = small_task(spec.task), generator(spec.evaluation.seed, "queries of meaning")
    drawn = [draw(chosen.others[i % len(chosen.others)], rng, chosen.format, after=chosen.after) for i in range(size)]
    return [replace(query, mention=MENTIONS[i % len(MENTIONS)].format(TOKEN)) for i, query in enumerate(drawn)]


def renamed(query: Query, against: str, chosen: SmallTask, rng: np.random.Generator) -> Query:
    """The same query with something else in the token's place; the answer stays that of the token's format."""
    if against == "no format":
        return replace(query, mention="")
    others = [each for each in FORMATS if each != chosen.format]
    name = chosen.format if against == "its name" else others[int(rng.integers(len(others)))]
    return replace(query, mention=query.mention.replace(TOKEN, name_of(name, chosen.names, rng)))


@torch.no_grad()
def states(model: Transformer, prompts: np.ndarray) -> Tensor:
    """Hidden states at the last token of prompts (N, P), before the first layer and behind each: (L + 1, N, C)."""
    x = model.embed(torch.from_numpy(prompts).long())
    found = [x[:, -1]]
    for block in model.blocks:
        x = block(x, 0, 0, model.mask, None, None)
        found.append(x[:, -1])
    return torch.stack(found)


@torch.no_grad()
def said(model: Transformer, rows: list[Conversation], spec: RunSpec) -> Tensor:
    """Probabilities (N, O, V) of each next token along the given answers."""
    tokens = torch.from_numpy(as_examples(spec.task, rows).tokens()).long()
    return model(tokens[:, :-1]).softmax(-1)


def distance(one: Tensor, other: Tensor) -> float:
    """The mean Jensen-Shannon distance of distributions (N, O, V): 0 for equal ones, 1 for those that share nothing.

    >>> distance(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]]))
    1.0
    """
    middle = (one + other) / 2
    parts = [torch.special.entr(each).sum(-1) for each in (middle, one, other)]
    divergence = (parts[0] - (parts[1] + parts[2]) / 2).clamp_min(0) / np.log(2)
    return float(divergence.sqrt().mean())


def vectors(model: Transformer) -> Tensor:
    """What each token adds to the residual stream, at its own place and at the two behind it, side by side: (V, 3 C)."""
    tables = [model.embedding, *(model.before if model.modern else [])]
    return torch.cat([table.detach() for table in tables], dim=1)


def nearest(model: Transformer, spec: RunSpec) -> pd.DataFrame:
    """All words by the cosine of their vectors to the token's, nearest first; columns word, similarity, means (what it is)."""
    layout, chosen = layout_of(spec.task), small_task(spec.task)
    of_all = vectors(model)
    near = F.cosine_similarity(of_all, of_all[-1:], dim=1)
    words = layout.vocabulary[len(layout.vocabulary) - len(layout.words) : -1]
    table = pd.DataFrame({"word": words, "similarity": near[-len(layout.words) : -1].tolist()})
    own = set(
        name_of(chosen.format, chosen.names if chosen.names != "both" else "one", np.random.default_rng(0)).split()
    )
    kind = {word: "another format" for word in FORMATS} | {word: "its format" for word in own}
    return table.assign(means=table["word"].map(kind).fillna("")).sort_values(
        "similarity", ascending=False, ignore_index=True
    )


def meaning(spec: RunSpec, model: Transformer) -> list[dict[str, object]]:
    """Rows of measure (similarity, distance, rank), against, layer and value of one tuned model."""
    chosen, asked, rows = small_task(spec.task), queries(spec), []
    rng = generator(spec.evaluation.seed, "names in the token's place")
    own = _read(spec, model, asked)
    for against in AGAINST:
        other = _read(spec, model, [renamed(query, against, chosen, rng) for query in asked])
        for layer, (one, two) in enumerate(zip(own[0], other[0], strict=True)):
            rows.append(_row("similarity", against, layer, float(F.cosine_similarity(one, two, dim=1).mean())))
        rows.append(_row("distance", against, -1, distance(own[1], other[1])))
    words = nearest(model, spec)
    rows.append(_row("rank", "its name", -1, float(words.index[words["means"] == "its format"].min() + 1)))
    return rows


def _read(spec: RunSpec, model: Transformer, asked: list[Query]) -> tuple[Tensor, Tensor]:
    rows = [conversation(query) for query in asked]
    return states(model, as_examples(spec.task, rows).prompts), said(model, rows, spec)


def _row(measure: str, against: str, layer: int, value: float) -> dict[str, object]:
    return {"measure": measure, "against": against, "layer": layer, "value": value}


def meanings(
    methods: list[Method], about: Callable[[Method, RunSpec], dict[str, object]], store: Store | None = None
) -> pd.DataFrame:
    """``meaning`` of every finished run of methods, behind the columns that ``about`` tells."""
    store = store or Store()
    return pd.DataFrame([{**about(method, run), **row} for method in methods for run in method.runs()
                         for row in meaning(run, store.model(run))])  # fmt: skip
