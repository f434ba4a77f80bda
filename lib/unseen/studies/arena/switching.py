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
*A real model.* SmolLM2, where a task is a made-up name for a format of the answer (``worlds.styles``).

    >>> states = torch.tensor([[3.0, 0.0], [0.0, 3.0], [2.9, 0.1]])
    >>> switch(states, torch.tensor([0, 1, 0]), tasks=2, seed=0)(states).argmax(1).tolist()
    [0, 1, 0]
    >>> [each.words for each in compounds(0, 5, related=True)][:3]
    ['turn descend', 'descend turn', 'turn retreat']
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unseen.evaluation import all_right
from unseen.lm.load import Loaded, load
from unseen.lm.tune import tune
from unseen.messages import Conversation, pair
from unseen.model import Transformer, seeded
from unseen.runs.following import followed
from unseen.runs.store import Store, begun
from unseen.runs.workers import Executor, Tell
from unseen.scales import amounts, each_seed
from unseen.specs import RunSpec
from unseen.studies.arena import real
from unseen.studies.arena.bags import held
from unseen.studies.delia import ADAPTER, RATE, base_run, ready, tuning
from unseen.studies.inside import streams
from unseen.training import Data, State, train
from unseen.worlds import everyday
from unseen.worlds.base import Examples, generator, pick
from unseen.worlds.dialect import Compound, DialectSpec
from unseen.worlds.language import PHRASES, VERBS, WITHOUT_ARGUMENT
from unseen.worlds.styles import WAYS, Asked, Style, lines, styles

ROUTES = {
    "random": "routed at random",
    "words": "a switch on words",
    "coded": "SwitchCIT, as coded",
    "switch": "SwitchCIT",
    "oracle": "routed by the oracle",
}
UNITS, EPOCHS, BATCH = 200, 200, 32
STATES, WORDS = "states", "words"  # what a switch can read in prompts
Router = Callable[[Tensor, np.ndarray], np.ndarray]  # the expert (N,) of what is read, and its tasks


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


def words_of(prompts: Sequence[Sequence[int]], vocabulary: int) -> Tensor:
    """Which tokens of a vocabulary occur in each of the prompts, of mean 0 and size 1: (N, V)."""
    found = np.concatenate([held(np.array([each]), vocabulary) for each in prompts])
    return F.layer_norm(torch.from_numpy(found).float(), (vocabulary,))


def router(route: str, retained: Sequence[Tensor], seed: int) -> Router:
    """How one of ``ROUTES`` sends prompts to experts, by what is read in the prompts retained of each task.

    For ``words`` it is which words occur, in place of what the frozen model makes of them; the ``oracle``
    knows the task of each prompt.
    """
    tasks, labels = len(retained), np.repeat(np.arange(len(retained)), [len(each) for each in retained])
    if route == "oracle" or tasks == 1:
        return lambda asked, task: task % tasks
    if route == "random":
        return lambda asked, task: generator(seed, f"routes among {tasks}").integers(0, tasks, len(task))
    known = torch.from_numpy(labels > 0 if route == "coded" and tasks > 1 else labels >= 0)
    network = switch(torch.cat([*retained])[known], torch.from_numpy(labels)[known], tasks, seed)
    return lambda asked, task: network(asked).argmax(1).numpy()


def read_by(route: str) -> str:
    """What is read in prompts for one of ``ROUTES``; the oracle and chance heed neither."""
    return WORDS if route == "words" else STATES


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
    runs = each_seed("switching", name, tuned(name)).runs()
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
    for after, stage, tasks in stages(arm, rows, round(share * run.task.examples)):
        if tasks:
            learn(way, state, stage, tasks, tell)
        right = {kind: all_right(state.model, each) for kind, each in asked.items()}
        tables.append(scored(tasks_of(asked), after, right=right))
    about = {"tasks": world, "arm": with_share(arm, share), "seed": run.task.rule_seed, "run": run.digest()}
    return pd.concat(tables).assign(**about)


def stages(arm: str, rows: Sequence[list[Any]], retained: int) -> Iterator[tuple[int, list[Any], int]]:
    """What an arm trains on, and with the updates of how many tasks, until it has learned so many.

    >>> list(stages("rehearsal", [["one", "two"], ["three"]], retained=1))
    [(1, ['one', 'two'], 1), (2, ['three', 'one'], 1)]
    >>> list(stages("joint", [["one", "two"], ["three"]], retained=0))
    [(2, ['one', 'two', 'three'], 2)]
    """
    for after, new in enumerate(rows, start=1):
        if arm not in ("base", "joint"):
            yield after, [*new, *(row for each in rows[: after - 1] for row in each[:retained])], 1
        elif after == len(rows):
            yield after, [*chain(*rows)], after * (arm == "joint")


def learn(run: RunSpec, state: State, rows: Sequence[Conversation], tasks: int, tell: Tell) -> None:
    """Train a state on rows with the updates of so many tasks; schedule and memory of Adam begin anew."""
    state.step, training = 0, run.training.but(steps=tasks * run.training.steps)
    for optimizer in state.optimizers:
        optimizer.state.clear()
    stage = run.but(task=run.task.but(examples=len(rows)), training=training)
    train(stage, state, Data(run.task.examples_of(rows)), lambda row: tell(int(row["step"])))


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
    reads = {STATES: partial(states_of, base), WORDS: partial(words_of, vocabulary=base.shape.vocabulary)}
    seen = {by: {kind: read(each.prompts) for kind, each in asked.items()} for by, read in reads.items()}
    tables = []
    for way in ROUTES:
        by = read_by(way)
        for share in (0.0,) if way in ("random", "oracle") else shares:
            few = [run.task.examples_of(each[: max(1, round(share * len(each)))]) for each in rows]
            kept = [reads[by](each.prompts) for each in few]
            table = through(way, kept, seen[by], tasks_of(asked), seed, right=experts)
            tables.append(table.assign(arm=with_share(way, share)))
    return pd.concat(tables).assign(tasks=world, seed=seed, run=run.digest())


def through(
    way: str, retained: Sequence[Tensor], seen: Mapping[str, Tensor], tasks: Mapping[str, np.ndarray],
    seed: int, **experts: Mapping[str, Sequence[np.ndarray]],
) -> pd.DataFrame:  # fmt: skip
    """How experts do through one of ``ROUTES`` after each task, of prompts ``seen`` by kind, and their tasks.

    ``experts`` are scores (N,) of each expert, by kind.
    """
    tables = []
    for after in range(1, len(retained) + 1):
        routed = router(way, retained[:after], seed)
        routes = {kind: routed(each, tasks[kind]) for kind, each in seen.items()}
        scores = {
            score: {kind: np.stack(each[kind])[to, np.arange(len(to))] for kind, to in routes.items()}
            for score, each in experts.items()
        }
        tables.append(scored(tasks, after, routes, **scores))
    return pd.concat(tables)


def tasks_of(asked: Mapping[str, Examples]) -> dict[str, np.ndarray]:
    """The task (N,) of each question, by kind."""
    return {kind: each.rule for kind, each in asked.items()}


def scored(
    tasks: Mapping[str, np.ndarray],
    after: int,
    routes: Mapping[str, np.ndarray] | None = None,
    **scores: Mapping[str, np.ndarray],
) -> pd.DataFrame:
    """The means of ``scores`` (N,) of each kind of prompts, as how often they are answered right, and how
    often these are routed to their own expert, task by task of those so far.
    """
    rows = []
    for kind, each in tasks.items():
        for task in range(1, after + 1) if kind in PROMPTS else [0]:
            mine = each == task - 1 if task else np.full(len(each), True)
            routed = (routes[kind][mine] == task - 1).mean() if routes and task else np.nan
            means = {score: found[kind][mine].mean() for score, found in scores.items()}
            rows.append({"after": after, "task": task, "prompts": kind, **means, "routed": routed})
    return pd.DataFrame(rows)


# A real language model

REAL = "real_switching"  # its table of scales
EXPERTS = "experts"
REAL_ARMS = ("adapter", "rehearsal", EXPERTS, "joint", "base")  # pieces of work, what the claim needs first
PLAIN = everyday.PLAIN  # questions that ask for no style


def styled(name: str, seed: int) -> tuple[list[list[Asked]], dict[str, list[Asked]]]:
    """The rows of each task, a style, and the questions of each kind of ``PROMPTS``, and plain ones.

    >>> rows, asked = styled("smoke", 0)
    >>> rows[0][0].prompt, asked["plain"][0].prompt
    ("Give the plural of 'potato'. Answer in rif. =>", 'What is the capital of Austria? =>')
    >>> asked["after another"][0].prompt.splitlines()[1]
    "Write the past tense of 'feel'. Use rif. =>"
    """
    much = amounts(REAL, name)
    chosen, known = styles(seed, certain=much.tasks), WAYS[: much.ways]
    rows = [
        lines(seed, chosen, [at] * much.rows, role=f"rows of task {at}", ways=known)
        for at in range(much.tasks)
    ]
    which, more = (np.arange(many) % much.tasks for many in (much.prompts, much.more))
    ask = partial(lines, seed, test=True)
    turns = np.arange(much.more) // much.tasks
    before = ask(chosen, (more + 1 + turns % (much.tasks - 1)) % much.tasks, role="before", ways=known)
    after = [
        line._replace(query=f"{one.prompt}{one.written()}\n{line.query}")
        for one, line in zip(before, ask(chosen, more, role="after", ways=known), strict=True)
    ]
    kinds = (ask(chosen, which, ways=known), ask(chosen, more, role="other", ways=WAYS[much.ways :]), after)
    plain = ask([Style("", (PLAIN,))] * much.tasks, more, role="plain", ways=("",))
    return rows, dict(zip(PROMPTS, kinds, strict=True)) | {PLAIN: plain}


def measure_real(name: str, folder: Path) -> pd.DataFrame:
    """A row per arm, seed, kind of prompts, and task after each task, of a real model.

    Columns: as in ``measure``, where a switch has the number of prompts of each task that it retains
    (rehearsal retains the most); format (share of answers in the right format), seconds, base.  A plain
    question (task 0) is to be answered in none of the formats.
    """
    return real.measure(REAL, REAL_ARMS, name, folder, follow_real)


def follow_real(work: real.Work, folder: Path, tell: Tell) -> list[dict[str, Any]]:
    """Train one model on task after task, or all at once, or an expert for each, for a worker."""
    much, (rows, asked), tables = amounts(REAL, work.scale), styled(work.scale, work.seed), []
    if work.arm == EXPERTS:
        return real.records(real_experts(work, folder, tell))
    loaded = load(folder, quick=True) if work.arm == "base" else real.begun(work, folder)
    for after, stage, tasks in stages(work.arm, rows, max(much.retained) * (work.arm == "rehearsal")):
        if tasks:
            learn_real(work, loaded, stage, tasks, tell)
        known = {PROMPTS[0]: [line for line in asked[PROMPTS[0]] if line.style < after]}
        now = asked if after == len(rows) else known
        tables.append(scored(styles_of(now), after, **graded(loaded, now)))
    return real.records(pd.concat(tables))


def learn_real(work: real.Work, loaded: Loaded, stage: Sequence[Asked], tasks: int, tell: Tell) -> None:
    """Tune an adapter on lines with the updates of so many tasks."""
    spec = work.training.but(steps=tasks * work.training.steps)
    tune(loaded, spec, real.rows_of(loaded, stage), say=lambda note: None, watch=tell)


def real_experts(work: real.Work, folder: Path, tell: Tell) -> pd.DataFrame:
    """Train an expert for each task, let each answer every question, and route in every way."""
    much, (rows, asked) = amounts(REAL, work.scale), styled(work.scale, work.seed)
    base = load(folder, quick=True)
    few = [real.prompts_of(base, each[: max(much.retained)]) for each in rows]
    prompts = {kind: real.prompts_of(base, each) for kind, each in asked.items()}
    place = {token: at for at, token in enumerate({*chain(*chain(*few, *prompts.values()))})}

    def words(ids: Sequence[list[int]]) -> Tensor:
        return words_of([[place[token] for token in each] for each in ids], len(place))

    reads = {STATES: partial(real_states, base), WORDS: words}
    seen = {by: {kind: read(each) for kind, each in prompts.items()} for by, read in reads.items()}
    retained = {by: [read(each) for each in few] for by, read in reads.items()}
    experts: dict[str, dict[str, list[np.ndarray]]] = {}
    for new in rows:
        expert = real.begun(work, folder)
        learn_real(work, expert, new, 1, tell)
        for score, found in graded(expert, asked).items():
            for kind, each in found.items():
                experts.setdefault(score, {}).setdefault(kind, []).append(each)
    tables = []
    for way in ROUTES:
        by = read_by(way)
        for many in (0,) if way in ("random", "oracle") else much.retained:
            kept = [each[: many or 1] for each in retained[by]]
            table = through(way, kept, seen[by], styles_of(asked), work.seed, **experts)
            tables.append(table.assign(arm=f"{way} {many}" if many else way))
    return pd.concat(tables)


def styles_of(asked: Mapping[str, Sequence[Asked]]) -> dict[str, np.ndarray]:
    """The task (N,) of each question, by kind."""
    return {kind: np.array([line.style for line in each]) for kind, each in asked.items()}


def real_states(loaded: Loaded, prompts: Sequence[list[int]]) -> Tensor:
    """As ``states_of``, of a real model."""
    last = real.last_states(loaded, prompts)
    return F.layer_norm(last, last.shape[-1:])


def graded(loaded: Loaded, asked: Mapping[str, Sequence[Asked]]) -> dict[str, dict[str, np.ndarray]]:
    """Whether each answer of a model is right, and in the right format, by kind of questions (N,)."""
    found: dict[str, dict[str, np.ndarray]] = {"right": {}, "format": {}}
    for kind, each in asked.items():
        answers = real.written(loaded, each, unended=kind == PLAIN)
        right = [line.right() for line in each]
        fits = np.array(list(map(everyday.formatted, answers, right)))
        if kind == PLAIN:  # which any text is without a brace
            fits &= [everyday.form_of(answer) == PLAIN for answer in answers]
        found["format"][kind] = fits
        found["right"][kind] = fits & np.array(list(map(everyday.right, answers, right)))
    return found
