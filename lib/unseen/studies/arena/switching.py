"""SwitchCIT: an adapter per task, and a small network that reads the instruction and chooses among them.

*Claim.* Tasks arrive one after the other.  After the last one the switch keeps all of them, where tuning in
sequence forgets, also if it rehearses 1 % of the earlier rows.
*Source.* Wu and others, arXiv 2407.11780, and the released code (xinbowu2/SwitchCIT, Apache-2.0).
*Method.* Per task a low-rank adapter on the frozen base.  The switch: the state of a frozen model at the last
token of the prompt -> 200 ReLU units -> the number of tasks; cross-entropy on the few prompts retained of
each task; AdamW at 1e-3, batches of 32.  Its largest output chooses the adapter.
*Ours.* The frozen model is the base itself, and its states have mean 0 and size 1.  200 epochs in place of
20, since a handful of prompts makes few steps.  The released code trains the switch on ``tasks[1:]``, so
never on the first task: that is the arm ``coded``.
*The study.* A task is a name of two verbs that means an operation neither of them does.  All arms take equal
updates on equal rows of each task, by an adapter of one rank: one adapter for all, or an expert for each.

    >>> states = torch.tensor([[3.0, 0.0], [0.0, 3.0], [2.9, 0.1]])
    >>> switch(states, torch.tensor([0, 1, 0]), tasks=2, seed=0)(states).argmax(1).tolist()
    [0, 1, 0]
    >>> [each.words for each in compounds(0, 5, related=True)][:3]
    ['turn descend', 'descend turn', 'turn retreat']
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, permutations

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unseen.evaluation import all_right
from unseen.messages import Conversation, pair
from unseen.model import Transformer, seeded
from unseen.runs.following import followed
from unseen.runs.store import Store, begun
from unseen.runs.workers import Executor, Tell
from unseen.scales import amounts
from unseen.specs import RunSpec
from unseen.studies.arena.bags import held
from unseen.studies.delia import ADAPTER, RATE, base_run, ready, tuning
from unseen.studies.inside import streams
from unseen.training import Data, State, train
from unseen.worlds.base import Examples, generator, pick
from unseen.worlds.dialect import Compound, DialectSpec
from unseen.worlds.language import PHRASES, VERBS, WITHOUT_ARGUMENT

ROUTES = {
    "random": "routed at random",
    "words": "a switch on words",
    "coded": "SwitchCIT, as coded",
    "switch": "SwitchCIT",
    "oracle": "routed by the oracle",
}
UNITS, EPOCHS, BATCH = 200, 200, 32
Router = Callable[[Examples], np.ndarray]  # the expert (N,) that answers each prompt


def switch(states: Tensor, tasks_of: Tensor, tasks: int, seed: int, epochs: int = EPOCHS) -> nn.Module:
    """A network from states (N, C) to the scores of so many tasks, trained on states of known tasks (N,)."""
    with seeded(seed):
        network = nn.Sequential(nn.Linear(states.size(1), UNITS), nn.ReLU(), nn.Linear(UNITS, tasks))
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(states)).split(BATCH):
                optimizer.zero_grad()
                F.cross_entropy(network(states[rows]), tasks_of[rows]).backward()
                optimizer.step()
    return network


def states_of(model: Transformer, prompts: np.ndarray) -> Tensor:
    """The last hidden state (N, C) of a model at the last token of prompts (N, P), of mean 0 and size 1."""
    last = streams(model, prompts)[-1][:, -1]
    return F.layer_norm(last, last.shape[-1:])


def words_of(prompts: np.ndarray, vocabulary: int) -> Tensor:
    """Which tokens of a vocabulary occur in each of the prompts (N, P), of mean 0 and size 1: (N, V)."""
    return F.layer_norm(torch.from_numpy(held(prompts, vocabulary)).float(), (vocabulary,))


def router(route: str, model: Transformer, retained: Sequence[Examples], seed: int) -> Router:
    """How one of ``ROUTES`` sends prompts to experts, by the prompts ``retained`` of each task so far.

    ``words`` is the same switch on which words occur, in place of what the frozen model makes of them; the
    ``oracle`` knows the task of each prompt (``rule``).
    """
    tasks, labels = len(retained), np.repeat(np.arange(len(retained)), [len(each) for each in retained])
    if route == "oracle":
        return lambda asked: asked.rule % tasks
    if route == "random":
        return lambda asked: generator(seed, f"routes among {tasks}").integers(0, tasks, len(asked))
    read = partial(states_of, model)
    if route == "words":
        read = partial(words_of, vocabulary=model.shape.vocabulary)
    known = labels > 0 if route == "coded" and tasks > 1 else labels >= 0
    prompts = np.concatenate([each.prompts for each in retained])[known]
    network = switch(read(prompts), torch.from_numpy(labels[known]), tasks, seed)
    return lambda asked: network(read(asked.prompts)).argmax(1).numpy()


# The study

ARMS = {  # of one model; rehearsal retains a share of the rows, as a switch does
    "base": "the base, untuned",
    "all weights": "in sequence, all weights",
    "adapter": "in sequence",
    "rehearsal": "rehearsal",
    "joint": "all tasks at once",
}
WORLDS = ("apart", "related")
PROMPTS = ("known words", "other words", "after another")
LANGUAGE = "language"
MEANT = tuple(name for name in WITHOUT_ARGUMENT if name not in ("next", "previous"))  # learned in few updates
_KNOWN, _OTHER = PHRASES[: len(PHRASES) // 2], PHRASES[len(PHRASES) // 2 :]  # in training, and not


# The tasks


def compounds(seed: int, tasks: int, related: bool) -> list[Compound]:
    """So many tasks.  ``related`` ones share three verbs: which two, and in which order, tells them apart."""
    rng = generator(seed, f"tasks in turn, {related}")
    verbs = [(str(name), pick(VERBS[name], rng)) for name in rng.permutation(WITHOUT_ARGUMENT)]
    few = next(n for n in range(2, 9) if n * (n - 1) >= tasks)
    pairs = list(permutations(verbs[:few], 2)) if related else list(zip(verbs[::2], verbs[1::2], strict=True))
    if related:
        pairs = [pairs[at] for at in rng.permutation(len(pairs))]
    while True:
        meant = [str(name) for name in rng.permutation(MEANT)[:tasks]]
        found = list(zip(pairs[:tasks], meant, strict=True))
        if all(name not in (one, two) for ((one, _), (two, _)), name in found):
            return [Compound(f"{one} {two}", (name,), 0.0) for ((_, one), (_, two)), name in found]


def conversations(
    run: RunSpec, named: Sequence[Compound], which: np.ndarray, role: str, phrases: Sequence[str] = _KNOWN
) -> list[Conversation]:
    """Queries about the tasks ``which`` (N,) in some phrasings, with their answers."""
    rng = generator(run.task.example_seed, role)
    rows = run.task.rows(tuple(named), which, rng)
    queries = [replace(row.query, phrase=pick(phrases, rng)) for row in rows]
    return [pair(query.content, row.answer) for query, row in zip(queries, rows, strict=True)]


def training_rows(run: RunSpec, named: Sequence[Compound]) -> list[list[Conversation]]:
    """The rows of each task."""
    which = [np.full(run.task.examples, at) for at in range(len(named))]
    return [conversations(run, named, each, f"rows of task {at}") for at, each in enumerate(which)]


def questions(run: RunSpec, named: Sequence[Compound]) -> dict[str, Examples]:
    """Fresh queries of each kind of ``PROMPTS``, whose ``rule`` is the task, and on the language at large.

    Those ``after another`` have an earlier turn: a query of another task with its right answer.
    """
    tasks, size = len(named), run.evaluation.examples
    which, turns = np.arange(size) % tasks, np.arange(size) // tasks
    ask = partial(conversations, run, named)
    before = ask((which + 1 + turns % (tasks - 1)) % tasks, "asked before")
    after = [(*one, *two) for one, two in zip(before, ask(which, "asked after"), strict=True)]
    kinds = (ask(which, "asked"), ask(which, "asked otherwise", _OTHER), after)
    found = {
        kind: replace(run.task.examples_of(rows), rule=which)
        for kind, rows in zip(PROMPTS, kinds, strict=True)
    }
    return found | {LANGUAGE: run.task.evaluation(run.task.split(), size, run.evaluation.seed)["unseen"]}


# What is trained


def tuned(name: str) -> RunSpec:
    """The tuning of a scale on each task: an adapter."""
    much = amounts("switching", name)
    task = DialectSpec(certain=much.tasks, shared=0, corrupted=0, examples=much.rows)
    how = {"checkpoint_every": 1_000_000, **ADAPTER}
    return tuning(base_run(name), task, much.prompts, steps=much.updates, **how)


def measure(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """A row per arm, seed, kind of prompts, and task after each task; what is missing is trained first.

    Columns: tasks (of ``WORLDS``), arm (with the share of rows that it retains), seed, after (tasks learned),
    task (1 is the first; 0 the language at large), prompts (kind), right (share of answers), routed (share
    sent to their own expert), run.
    """
    much, tables = amounts("switching", name), []
    ready([base_run(name)], executor)
    runs = [tuned(name).with_seed(seed) for seed in much.seeds]
    for world in WORLDS:
        for arm, share in getattr(much, world):
            follow = partial(follow_model, arm=arm, share=share, world=world)
            named = f"in-turn-{arm.replace(' ', '-')}-{share:g}-{world}-1"
            tables += followed(runs, follow, named, executor, f"{world}: {with_share(arm, share)}")
        follow = partial(follow_experts, shares=much.retained, world=world)
        tables += followed(runs, follow, f"in-turn-experts-{world}-1", executor, f"{world}: experts")
    return pd.concat(tables, ignore_index=True)


def with_share(arm: str, share: float) -> str:
    """An arm and the share of rows that it retains.

    >>> with_share("switch", 0.01), with_share("oracle", 0)
    ('switch 1%', 'oracle')
    """
    return f"{arm} {100 * share:g}%" if share else arm


def follow_model(run: RunSpec, tell: Tell, arm: str, share: float, world: str) -> pd.DataFrame:
    """Train one model on task after task, or on all at once, and ask it about all so far, for a worker."""
    named = compounds(run.task.rule_seed, run.task.certain, world == "related")
    asked, rows, tables = questions(run, named), training_rows(run, named), []
    way = (
        run.but(training=run.training.but(trains="all", learning_rate=RATE)) if arm == "all weights" else run
    )
    state = begun(way, Store(), "cpu")
    for after, new in enumerate(rows, start=1):
        if arm in ("base", "joint") and after < len(rows):
            continue
        kept = [row for each in rows[: after - 1] for row in each[: round(share * len(each))]]
        if arm != "base":
            stage, tasks = ([*chain(*rows)], after) if arm == "joint" else ([*new, *kept], 1)
            learn(way, state, stage, tasks, tell)
        right = {kind: all_right(state.model, each) for kind, each in asked.items()}
        tables.append(scored(asked, right, after))
    about = {"tasks": world, "arm": with_share(arm, share), "seed": run.task.rule_seed, "run": run.digest()}
    return pd.concat(tables).assign(**about)


def learn(run: RunSpec, state: State, rows: Sequence[Conversation], tasks: int, tell: Tell) -> None:
    """Train a state on rows with the updates of so many tasks; schedule and memory of Adam begin anew."""
    state.step, training = 0, run.training.but(steps=tasks * run.training.steps)
    for optimizer in state.optimizers:
        optimizer.state.clear()
    stage = run.but(task=run.task.but(examples=len(rows)), training=training)
    train(stage, state, Data(None, run.task.examples_of(rows), {}), lambda row: tell(int(row["step"])))


def follow_experts(run: RunSpec, tell: Tell, shares: Sequence[float], world: str) -> pd.DataFrame:
    """Train an expert for each task, and route prompts among those so far in every way, for a worker."""
    named, seed = compounds(run.task.rule_seed, run.task.certain, world == "related"), run.task.rule_seed
    asked, rows, base = questions(run, named), training_rows(run, named), Store().base(run)
    experts: dict[str, list[np.ndarray]] = {kind: [] for kind in asked}  # whether each is right (N,)
    for new in rows:
        state = begun(run, Store(), "cpu")
        learn(run, state, new, 1, tell)
        for kind, each in asked.items():
            experts[kind].append(all_right(state.model, each))
    tables = []
    for way in ROUTES:
        for share in (0.0,) if way in ("random", "oracle") else shares:
            few = [run.task.examples_of(each[: max(1, round(share * len(each)))]) for each in rows]
            for after in range(1, len(rows) + 1):
                routed = router(way, base, few[:after], seed)
                routes = {kind: routed(each) for kind, each in asked.items()}
                right = {kind: np.stack(experts[kind])[to, np.arange(len(to))] for kind, to in routes.items()}
                tables.append(scored(asked, right, after, routes).assign(arm=with_share(way, share)))
    return pd.concat(tables).assign(tasks=world, seed=seed, run=run.digest())


def scored(
    asked: Mapping[str, Examples],
    right: Mapping[str, np.ndarray],
    after: int,
    routes: Mapping[str, np.ndarray] | None = None,
) -> pd.DataFrame:
    """How often each kind of prompts is answered right (N,), and routed to its own expert, task by task of
    those so far.
    """
    lines = []
    for kind, each in asked.items():
        for task in range(1, after + 1) if kind != LANGUAGE else [0]:
            mine = each.rule == task - 1 if task else np.full(len(each), True)
            routed = (routes[kind][mine] == task - 1).mean() if routes and task else np.nan
            line = {"after": after, "task": task, "prompts": kind, "right": right[kind][mine].mean()}
            lines.append({**line, "routed": routed})
    return pd.DataFrame(lines)
