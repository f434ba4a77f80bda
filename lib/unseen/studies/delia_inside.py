"""What tuning does to a model of DELIA's world: on the way, in its gradients, where its weights go, in the
token's meaning.

*Gradients.*  The *ideal* gradient is that of the token crossed with all operations; the *bias* that of what
must not be learnt, the token's format where no token stands.  The paper says that diverse data has little
along the task's bias and opposes it, so that the composite of both comes nearer to the ideal ("buffering").

*Meaning.*  The same queries are read with the token, with the name of its format in its place, with the name
of another format, and without any.  Compared are hidden states where the answer begins, and the predicted
answers.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from unseen.evaluation import all_right, log_probabilities
from unseen.model import Transformer
from unseen.objectives import loss_of
from unseen.runs.following import Follow, followed, while_trained
from unseen.runs.store import Store
from unseen.runs.workers import Executor, Tell
from unseen.specs import RunSpec
from unseen.studies.delia import Method, ensure_samples, questions, ready, train, ways
from unseen.studies.inside import streams
from unseen.worlds.base import generator
from unseen.worlds.language import FORMATS, MENTIONS, OPERATIONS, TOKEN, Query, conversation, draw, name_of
from unseen.worlds.tuning import SmallTask, task_rows

AGAINST = ("its name", "other formats", "no format")
_ROWS = 64  # of a history
_PROMPTS = 200  # of each kind on the way, and of the queries for the token's meaning
_GRADIENT = 512  # rows of each gradient
_RATIO = 67  # of the composite where a run has no diverse data of its own
Gradients = dict[str, Tensor]  # by name of the weights


# While a model is tuned


def learning_curves(methods: Sequence[Method], executor: Executor | None = None) -> pd.DataFrame:
    """Accuracy and loss on prompts of every kind while all runs of methods are tuned, missing bases first.

    Columns: ratio, diverse, seed, step, prompts, accuracy, loss (nats per answer).
    """
    return _while_tuned(methods, follow_prompts, "kinds-1", executor)


def gradients(methods: Sequence[Method], executor: Executor | None = None) -> pd.DataFrame:
    """Angles between the gradients of all runs of methods while they are tuned, missing bases first.

    Columns: ratio, seed, step, part (of the model), gradient, along (ideal, bias), cosine, size.
    """
    return _while_tuned(methods, follow_gradients, "gradients-1", executor)


def _while_tuned(
    methods: Sequence[Method], follow: Follow, name: str, executor: Executor | None
) -> pd.DataFrame:
    runs = []
    for method in methods:
        training = method.base.training
        often = training.but(evaluate_every=max(1, training.steps // _ROWS))
        runs += [run.but(training=often) for run in method.runs()]
    ready([base for method in methods for base in method.starts], executor)
    ensure_samples(runs)
    return pd.concat(followed(runs, follow, name, executor), ignore_index=True)


def due(spec: RunSpec, step: int) -> bool:
    """Whether a model is measured after a step: at rows 1, 2, 4, 8 ... of the history, and at its last.

    >>> from unseen.specs import TrainingSpec
    >>> spec = RunSpec(training=TrainingSpec(steps=30, evaluate_every=3))
    >>> [step for step in range(3, 31, 3) if due(spec, step)]
    [3, 6, 12, 24, 30]
    """
    row = step // spec.training.evaluate_every
    return step == spec.training.steps or row & (row - 1) == 0


def follow_prompts(spec: RunSpec, tell: Tell) -> pd.DataFrame:
    """The rows of one run in ``learning_curves``, for a worker."""
    task, examples = spec.task, {kind: each.first(_PROMPTS) for kind, each in questions(spec).items()}

    def measure(model: Transformer) -> list[dict]:
        rows = []
        for kind, each in examples.items():
            loss = -float(log_probabilities(model, each).mean())
            rows.append({"prompts": kind, "accuracy": float(all_right(model, each).mean()), "loss": loss})
        return rows

    about = {"ratio": task.ratio, "diverse": task.diverse, "seed": task.rule_seed}
    return while_trained(spec, tell, measure, due, **about)


# Gradients


def follow_gradients(spec: RunSpec, tell: Tell) -> pd.DataFrame:
    """The rows of one run in ``gradients``, for a worker."""
    rows = gradient_rows(spec)

    def measure(model: Transformer) -> list[dict]:
        found = {name: gradient(model, tokens) for name, tokens in rows.items()}
        return compared(found, spec.task.ratio or _RATIO)

    return while_trained(spec, tell, measure, due, ratio=spec.task.ratio, seed=spec.task.rule_seed)


def gradient_rows(spec: RunSpec, most: int = _GRADIENT) -> dict[str, np.ndarray]:
    """The examples (N, P + O) of each gradient, at most so many: ``task``, ``diverse``, ``ideal``, ``bias``.

    The diverse rows are those that the run mixes, or reference answers to the same queries where it mixes
    none.
    """
    task, chosen, rng = spec.task, spec.task.split(), generator(spec.evaluation.seed, "rows of gradients")
    drawn = [draw(list(OPERATIONS)[i % len(OPERATIONS)], rng, chosen.format) for i in range(most)]
    mixed = task if task.ratio else task.but(ratio=1 + most // task.rows, diverse="reference", source="")
    diverse = mixed.other_rows(mixed.split(), task_rows(mixed, chosen))
    rows = {
        "task": [conversation(row) for row in task_rows(task, chosen)],
        "diverse": diverse[:most],
        "ideal": [conversation(query) for query in _with_token(drawn)],
        "bias": [conversation(query) for query in drawn],
    }
    return {name: task.examples_of(each).tokens() for name, each in rows.items()}


def _with_token(queries: list[Query]) -> list[Query]:
    mentions = islice(cycle(mention.format(TOKEN) for mention in MENTIONS), len(queries))
    return [replace(query, mention=mention) for query, mention in zip(queries, mentions, strict=True)]


def gradient(model: Transformer, tokens: np.ndarray) -> Gradients:
    """The gradient of the mean loss of examples (N, P + O)."""
    loss = loss_of(model, torch.from_numpy(tokens).long())
    names, weights = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, weights), strict=True))


def parts(gradients: Gradients) -> dict[str, Tensor]:
    """A gradient as one vector per part: token, other words, each layer, head, all weights.

    >>> found = parts({"embedding": torch.ones(3, 2), "head": torch.ones(4)})
    >>> {part: len(vector) for part, vector in found.items()}
    {'token': 2, 'words': 4, 'head': 4, 'all weights': 10}
    """
    found: dict[str, list[Tensor]] = {}
    for name, value in gradients.items():
        if name.startswith("blocks."):
            pieces = {f"layer {int(name.split('.')[1]) + 1}": value}
        elif name == "head":
            pieces = {"head": value}
        else:  # (tables, V, C) or (V, C)
            pieces = {"token": value[..., -1, :], "words": value[..., :-1, :]}
        for part, piece in pieces.items():
            found.setdefault(part, []).append(piece.flatten())
    vectors = {part: torch.cat(values) for part, values in found.items()}
    return vectors | {"all weights": torch.cat(list(vectors.values()))}


def compared(found: dict[str, Gradients], ratio: int) -> list[dict]:
    """Rows of part, gradient, along, cosine and size; the composite weighs diverse rows as ``ratio`` does."""
    split, rows = {name: parts(each) for name, each in found.items()}, []
    for part in split["task"]:
        vectors = {name: each[part] for name, each in split.items()}
        vectors["composite"] = (vectors["task"] + ratio * vectors["diverse"]) / (1 + ratio)
        pairs = [(name, along) for name in ("task", "diverse", "composite") for along in ("ideal", "bias")]
        for name, along in [*pairs, ("bias", "ideal")]:
            cosine = float(F.cosine_similarity(vectors[name], vectors[along], dim=0, eps=1e-20))
            size = float(vectors[name].norm())
            rows.append({"part": part, "gradient": name, "along": along, "cosine": cosine, "size": size})
    return rows


# Where training goes


def displacements(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """How near the weights of each of ``ways`` move to where ideal rows move them; missing runs first.

    Columns: method, seed, of, cosine, size (length of the way), run.  ``of`` is the way ``from the base``, or
    ``what task rows add``: from where the diverse rows alone lead, which DELIA and ideal rows have in common.
    The goal is another tuning on ideal rows, in another order, so those of ``method`` are not at 1.
    """
    plain, own, alone, ideal = methods = ways(name)
    runs = {each.name: each.runs() for each in methods}
    for each in (alone, ideal):
        other_order = [run.with_task(example_seed=run.task.example_seed + 100) for run in each.runs()]
        runs[f"{each.name} again"] = other_order
    train([run for each in runs.values() for run in each], methods, executor)
    store, rows = Store(), []
    for number, seed in enumerate(own.seeds):
        at = {way: weights(store.model(each[number])) for way, each in runs.items()}
        base = weights(store.base(runs[own.name][number]))
        goal = at.pop(f"{ideal.name} again")
        beyond = goal - at.pop(f"{alone.name} again")
        found = [(way, "from the base", end - base, goal - base) for way, end in at.items()]
        for each, start in ((plain, base), (own, at[alone.name]), (ideal, at[alone.name])):
            found.append((each.name, "what task rows add", at[each.name] - start, beyond))
        for way, of, gone, ahead in found:
            cosine, size = float(F.cosine_similarity(gone, ahead, dim=0)), float(gone.norm())
            about = {"method": way, "seed": seed, "of": of, "cosine": cosine, "size": size}
            rows.append(about | {"run": runs[way][number].digest()})
    return pd.DataFrame(rows)


def weights(model: Transformer) -> Tensor:
    """All weights of a model, as one vector."""
    return parameters_to_vector(model.parameters()).detach()


# The token's meaning


def meaning(spec: RunSpec, model: Transformer) -> list[dict]:
    """Rows of measure (similarity, distance, rank), against, layer and value of one tuned model."""
    chosen, queries, rows = spec.task.split(), token_queries(spec), []
    rng = generator(spec.evaluation.seed, "names in the token's place")
    states, answers = _read(spec, model, queries)
    for against in AGAINST:
        other, predicted = _read(spec, model, [renamed(query, against, chosen, rng) for query in queries])
        similar = F.cosine_similarity(states, other, dim=2).mean(1).tolist()  # (L + 1,)
        rows += [("similarity", against, layer, value) for layer, value in enumerate(similar)]
        rows.append(("distance", against, -1, distance(answers, predicted)))
    words = nearest(model, spec)
    rank = float(words.index[words["means"] == "its format"].min() + 1)
    rows.append(("rank", "its name", -1, rank))
    return [dict(zip(("measure", "against", "layer", "value"), row, strict=True)) for row in rows]


def token_queries(spec: RunSpec, size: int = _PROMPTS) -> list[Query]:
    """Queries with the token, on operations that it was not trained with."""
    chosen, rng = spec.task.split(), generator(spec.evaluation.seed, "queries of meaning")
    operations = [chosen.others[i % len(chosen.others)] for i in range(size)]
    return _with_token([draw(operation, rng, chosen.format, after=chosen.after) for operation in operations])


def renamed(query: Query, against: str, chosen: SmallTask, rng: np.random.Generator) -> Query:
    """The same query with something else in the token's place, and the same answer."""
    if against == "no format":
        return replace(query, mention="")
    other_formats = [each for each in FORMATS if each != chosen.format]
    name = chosen.format if against == "its name" else other_formats[int(rng.integers(len(other_formats)))]
    return replace(query, mention=query.mention.replace(TOKEN, name_of(name, chosen.names, rng)))


@torch.no_grad()
def _read(spec: RunSpec, model: Transformer, queries: list[Query]) -> tuple[Tensor, Tensor]:
    """Hidden states (L + 1, N, C) where answers begin; probabilities (N, O, V) along the right answers."""
    examples = spec.task.examples_of([conversation(query) for query in queries])
    states = [stream[:, -1] for stream in streams(model, examples.prompts)]
    tokens = torch.from_numpy(examples.tokens()).long()
    return torch.stack(states), model(tokens[:, :-1]).softmax(-1)


def distance(one: Tensor, other: Tensor) -> float:
    """The mean Jensen-Shannon distance of distributions (N, O, V): 0 for equal ones, 1 for disjoint ones.

    >>> distance(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]]))
    1.0
    """
    middle, first, second = (torch.special.entr(each).sum(-1) for each in ((one + other) / 2, one, other))
    divergence = (middle - (first + second) / 2).clamp_min(0) / np.log(2)
    return float(divergence.sqrt().mean())


def vectors(model: Transformer) -> Tensor:
    """What each token adds to the residual stream, at its place and the next two, side by side: (V, 3 C)."""
    tables = [model.embedding, *model.before]
    return torch.cat([table.detach() for table in tables], dim=1)


def nearest(model: Transformer, spec: RunSpec) -> pd.DataFrame:
    """All words by the cosine of their vectors to the token's, nearest first.

    Columns: word, similarity, means (``its format``, ``another format`` or nothing).
    """
    layout, chosen = spec.task.layout, spec.task.split()
    table = vectors(model)
    near = F.cosine_similarity(table, table[-1:], dim=1)[-len(layout.words) : -1].tolist()
    names = chosen.names if chosen.names != "both" else "one"
    own = name_of(chosen.format, names, np.random.default_rng(0)).split()
    kinds = dict.fromkeys(FORMATS, "another format") | dict.fromkeys(own, "its format")
    words = pd.DataFrame({"word": layout.vocabulary[-len(layout.words) : -1], "similarity": near})
    words["means"] = words["word"].map(kinds).fillna("")
    return words.sort_values("similarity", ascending=False, ignore_index=True)
