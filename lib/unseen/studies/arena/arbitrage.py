"""Multilingual arbitrage: for each prompt, the student is tuned on the answer of another teacher.

*Claim.* No teacher is best in every language, so routing per prompt beats the best single teacher; a router
that is learned keeps most of the gain and asks one teacher a prompt instead of all.
*Source.* Odumakinde and others, arXiv 2408.14960; no code was published.
*Formula.* Fixed: the teacher that is known to be best in the prompt's language.  Reward-based: all teachers
answer, and the answer of highest reward is kept.  Learned: a router sees the prompt alone, and minimises the
Kullback-Leibler divergence of its distribution over teachers from the softmax of their rewards.
*Ours.* A language is a group of compounds (``worlds.dialect``), with many, some or few rows to learn from; a
teacher knows most compounds of its own group and some of the others.  The reward is how likely an answer is
to a judge: the base, tuned on the right answers to some prompts.  The router is a linear map of which tokens
a prompt has; its target and form were not published.  Arms that the paper lacks: the answer that most
teachers give; the right answers that the judge learned from, so the same annotation without teachers.

    >>> target(np.array([[0.0, 9.0]]), best=True).tolist(), target(np.zeros((1, 2)), best=False).tolist()
    ([[0.0, 1.0]], [[0.5, 0.5]])
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax
from torch import nn
from torch.nn import functional as F

from unseen.evaluation import all_right, greedy_answers, log_probabilities
from unseen.runs.following import by_arm, followed, kept
from unseen.runs.workers import Executor, Tell
from unseen.scales import amounts, each_seed
from unseen.specs import RunSpec
from unseen.studies.arena.answers import tuned
from unseen.studies.arena.bags import held
from unseen.studies.delia import base_run, ready, tuning
from unseen.worlds.base import generator
from unseen.worlds.dialect import DialectSpec, Row

GROUPS = {"many rows": 60, "some rows": 30, "few rows": 15}  # of a compound that a teacher knows
POOR, MIDDLING = 2, 10  # rows of one that it does not know; of each that the last teacher saw
AT_HOME, ABROAD = 0.8, 0.3  # how likely a teacher knows a compound of its own group, of another
_POOL = "arbitrage-pool-1"  # the table of ``follow_pool``
TEACHERS = (*(f"at home in {group}" for group in GROUPS), "everywhere a little")
ARMS = {
    "single": "best single teacher",
    "random": "random routing",
    "fixed": "fixed routing",
    "reward": "reward-based routing",
    "learned": "learned routing",
    "learned-best": "learned, best teacher only",
    "all": "all answers mixed",
    "vote": "the answer of most",
    "marked": "right answers to the judge's prompts",
    "oracle": "oracle routing",
    "gold": "right answers",
}


# The method


def target(rewards: np.ndarray, best: bool) -> np.ndarray:
    """The distribution over teachers that a router should give, from their rewards (N, T): the softmax, or
    all on the ``best``.
    """
    if best:
        return np.eye(rewards.shape[1])[rewards.argmax(1)]
    return softmax(rewards, axis=1)


def router(tokens: np.ndarray, wanted: np.ndarray, updates: int = 300) -> nn.Linear:
    """A linear map from which tokens prompts have (N, V) to logits over teachers, trained towards ``wanted``
    (N, T) by the Kullback-Leibler divergence.
    """
    x, y = (torch.tensor(each, dtype=torch.float32) for each in (tokens, wanted))
    model = nn.Linear(x.shape[1], y.shape[1])
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.03, weight_decay=0.1)
    for _ in range(updates):
        optimizer.zero_grad()
        F.kl_div(model(x).log_softmax(-1), y, reduction="batchmean").backward()
        optimizer.step()
    return model


def routed(arm: str, group: np.ndarray, reward: np.ndarray, tokens: np.ndarray, right: np.ndarray, known: int,
           rng: np.random.Generator) -> np.ndarray:  # fmt: skip
    """The teacher (n,) whose answer to each prompt from the ``known`` on is taken.

    Of all prompts: ``group`` (N,), ``reward`` and ``right`` (N, T), ``tokens`` (N, V).  What a way of routing
    has to learn it learns from the first ``known``.
    """
    new = slice(known, None)
    size, teachers = reward[new].shape
    if arm == "reward":
        return reward[new].argmax(1)
    if arm == "single":
        return np.full(size, reward[:known].mean(0).argmax())
    if arm == "fixed":
        best = [reward[:known][group[:known] == each].mean(0).argmax() for each in range(len(GROUPS))]
        return np.array(best)[group[new]]
    if arm.startswith("learned"):
        model = router(tokens[:known], target(reward[:known], arm == "learned-best"))
        return model(torch.tensor(tokens[new], dtype=torch.float32)).argmax(-1).numpy()
    if arm == "oracle":
        return (right[new] + 0.5 * rng.random((size, teachers))).argmax(1)
    return rng.integers(teachers, size=size)


# Teachers, prompts and the judge


def student(name: str) -> RunSpec:
    """The tuning of a student: of its ``examples`` the judge learns from a quarter, routers from another, and
    the student from the rest.
    """
    much = amounts("arbitrage", name)
    compounds = len(GROUPS) * much.compounds
    task = DialectSpec(certain=compounds, shared=0, corrupted=0, examples=4 * compounds * much.rows)
    return tuning(base_run(name), task, much.prompts, steps=much.updates, batch=much.batch)


def parts(run: RunSpec) -> tuple[int, int]:
    """The number of the first prompt from which routers learn, and of the first that is routed."""
    return run.task.examples // 4, run.task.examples // 2


def groups(run: RunSpec) -> np.ndarray:
    """The group (I,) of each compound."""
    return np.arange(run.task.instructions) % len(GROUPS)


def knowledge(run: RunSpec) -> np.ndarray:
    """How many rows of each compound each teacher is tuned on: (T, I)."""
    rng, group = generator(run.task.rule_seed, "teachers"), groups(run)
    much, home = np.array(list(GROUPS.values()))[group], group == np.arange(len(GROUPS))[:, None]
    knows = rng.random(home.shape) < np.where(home, AT_HOME, ABROAD)
    return np.vstack([np.where(knows, much, POOR), np.full_like(much, MIDDLING)])


def prompts(run: RunSpec) -> list[Row]:
    """All prompts, compounds in turn; a row's answer is the right one."""
    which = np.arange(run.task.examples) % run.task.instructions
    return run.task.rows(run.task.split().seen, which, generator(run.task.example_seed, "prompts to route"))


def follow_pool(run: RunSpec, tell: Tell) -> pd.DataFrame:
    """What every teacher answers to every prompt, and what the judge holds of it, for a worker.

    Columns: prompt, teacher (numbers), answer, right, reward (its log probability for the judge, in nats).
    The judge learned from the first part of the prompts.
    """
    task, rows = run.task, prompts(run)
    examples, tables = task.of_rows(rows), []
    judge = tuned(run, examples.first(parts(run)[0]))
    for teacher, counts in enumerate(knowledge(run)):
        rng = generator(task.rule_seed, f"rows of teacher {teacher}")
        own = task.rows(task.split().seen, np.repeat(np.arange(task.instructions), counts), rng)
        said = replace(examples, answers=greedy_answers(tuned(run, task.of_rows(own)), examples.prompts))
        answers = [task.layout.answer(each[:-1]) for each in said.answers]  # one without an end is cut
        tables.append(pd.DataFrame({
            "prompt": range(len(rows)),
            "teacher": teacher,
            "answer": answers,
            "right": [row.answer == answer for row, answer in zip(rows, answers, strict=True)],
            "reward": log_probabilities(judge, said),
        }))  # fmt: skip
        tell(0, f"teacher {teacher} has answered")
    return pd.concat(tables, ignore_index=True)


# What is measured


def teachers(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """A row per seed, teacher and group, of the prompts that the judge did not learn from.

    Columns: seed, teacher, group, right; and by seed alone, of prompts that some teachers answer rightly and
    others do not: picked (how often the judge's favourite is right), chance (a random teacher); run.
    """
    tables = []
    for run in asked_teachers(name, executor):
        pool = pool_of(run).query(f"prompt >= {parts(run)[0]}")
        right, reward = (wide(pool, column) for column in ("right", "reward"))
        mixed = right.any(1) & ~right.all(1)
        picked = right[mixed, reward[mixed].argmax(1)].mean() if mixed.any() else np.nan
        compound = pool["prompt"] % run.task.instructions
        named = pool.assign(group=np.array(list(GROUPS))[groups(run)[compound]],
                            teacher=np.array(TEACHERS)[pool["teacher"]])  # fmt: skip
        table = named.groupby(["teacher", "group"], sort=False, as_index=False)["right"].mean()
        tables.append(table.assign(seed=run.task.rule_seed, picked=picked,
                                   chance=right[mixed].mean() if mixed.any() else np.nan,
                                   run=run.digest()))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def wide(pool: pd.DataFrame, column: str) -> np.ndarray:
    """A column of a pool as prompts by teachers."""
    return pool.pivot(index="prompt", columns="teacher", values=column).to_numpy()


def measure(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """A row per arm, seed and group; what is missing is trained first.

    Columns: arm, seed, group (or ``all``), right (the student's greedy answers to fresh queries), correct
    (share of right answers among the rows it was tuned on), rows, calls (answers asked of teachers, those to
    learn from included), run.
    """
    return by_arm(asked_teachers(name, executor), follow_arm, "arbitrage-{}-1", ARMS, executor)


def asked_teachers(name: str, executor: Executor | None = None) -> list[RunSpec]:
    """The students of a scale, for each of which all teachers have answered (``pool_of``)."""
    ready([base_run(name)], executor)
    runs = each_seed("arbitrage", name, student(name)).runs()
    followed(runs, follow_pool, _POOL, executor, "ask all teachers")
    return runs


def pool_of(run: RunSpec) -> pd.DataFrame:
    """What ``follow_pool`` found for a student."""
    return kept(run, _POOL).fillna({"answer": ""})


def follow_arm(run: RunSpec, tell: Tell, arm: str) -> pd.DataFrame:
    """Tune a student on the answers that an arm takes, and ask it fresh queries, for a worker."""
    taken, calls = taught(arm, run, prompts(run), pool_of(run))
    model = tuned(run, run.task.of_rows(taken), lambda row: tell(int(row["step"])))
    fresh = run.task.evaluation(run.task.split(), run.evaluation.examples, run.evaluation.seed)["seen"]
    right = all_right(model, fresh)
    group = groups(run)[np.arange(len(right)) % run.task.instructions]
    correct = np.mean([row.answer == row.query.answer for row in taken])
    line = {"arm": arm, "seed": run.task.rule_seed, "correct": correct, "rows": len(taken), "calls": calls,
            "run": run.digest()}  # fmt: skip
    kinds = {"all": right} | {name: right[group == at] for at, name in enumerate(GROUPS)}
    return pd.DataFrame([{**line, "group": kind, "right": each.mean()} for kind, each in kinds.items()])


def taught(arm: str, run: RunSpec, rows: list[Row], pool: pd.DataFrame) -> tuple[list[Row], int]:
    """The rows that an arm tunes its student on, and how many answers of teachers they took."""
    first, new = parts(run)
    answer, right, reward = (wide(pool, name) for name in ("answer", "right", "reward"))
    mine, every = range(new, len(rows)), len(TEACHERS) * (len(rows) - new)
    if arm == "gold":
        return rows[new:], 0
    if arm == "marked":
        return rows[:first], 0
    if arm == "all":
        return [rows[at]._replace(answer=each) for at in mine for each in answer[at]], every
    if arm == "vote":
        return [rows[at]._replace(answer=pd.Series(answer[at]).mode()[0]) for at in mine], every
    group = groups(run)[[row.compound for row in rows[first:]]]
    tokens = held(run.task.of_rows(rows[first:]).prompts, len(run.task.layout.vocabulary))
    rng = generator(run.task.rule_seed, f"routing by {arm}")
    teacher = routed(arm, group, reward[first:], tokens, right[first:], new - first, rng)
    learning = 0 if arm in ("random", "reward", "oracle") else len(TEACHERS) * (new - first)
    calls = every if arm in ("reward", "oracle") else len(mine) + learning
    return [rows[at]._replace(answer=answer[at, one]) for at, one in zip(mine, teacher, strict=True)], calls
