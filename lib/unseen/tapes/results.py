"""Run every program on every trained model, and lay out how far each computation got.

A *decision* is what a machine has to get right to be still right: each step of the oracle's run and, where the machine
itself must see it, that no rule applies any more.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from unseen.evaluation import wilson
from unseen.rewriting import MarkovAlgorithm
from unseen.running.workers import Executor
from unseen.scales import Setting
from unseen.specs import RunSpec
from unseen.store import Store
from unseen.sweep import frame
from unseen.tapes.machine import MISFIT, SOLVED, Reader, Trace, misfit, path, run_all
from unseen.tapes.programs import collection, disguise
from unseen.tapes.spec import TapeSpec

_LENGTHS = {"to 3": 3, "4-6": 6, "7-12": 12, "13-25": 25}  # decisions of the right run, each class and its last
MACHINES = {False: "the oracle picks the rule", True: "the model does both"}


class Job(NamedTuple):
    """One program on one input in one disguise; ``about`` are the columns that name it."""

    about: dict[str, Any]
    program: MarkovAlgorithm
    text: str


def train(settings: Iterable[Setting], store: Store | None = None, executor: Executor | None = None) -> pd.DataFrame:
    """Train what is missing: the columns of ``sweep.frame`` behind ``setting``."""
    settings = list(settings)
    table = frame([run for setting in settings for run in setting.runs()], store, executor)
    names = {run.digest(): setting.name for setting in settings for run in setting.runs()}
    return table.assign(setting=table["run"].map(names))[["setting", *table.columns]]


def jobs(task: TapeSpec) -> list[Job]:
    """Every program and input in each disguise, as one model is to run them."""
    found = []
    for program in collection().values():
        for number in range(task.disguises):
            room = len(program.symbols) <= len(task.alphabet)  # without it, the program stays as it is: it does not fit
            worn = program.disguised(disguise(program.symbols, task.alphabet, number)) if room else program
            for case, (given, _) in zip(worn.cases, program.cases, strict=True):
                about = {"program": program.name, "input": given, "disguise": number}
                found.append(Job(about, worn.algorithm, case[0]))
    return found


def run_programs(settings: Iterable[Setting], store: Store | None = None) -> pd.DataFrame:
    """Run the collection on every trained model: a row for each model, machine, program, input and disguise.

    Columns: setting, model (both in words), instructions, seed, machine, program, input, disguise, decisions (of the right run), right (decisions
    before the first wrong one), outcome, note, run.
    """
    store, parts = store or Store(), []
    for setting in settings:
        for run in setting.runs():
            model = f"{run.task.instructions:,} rules" + (f", {setting.name}" if setting.name != "main" else "")
            about = {
                "setting": setting.name,
                "model": model,
                "instructions": run.task.instructions,
                "seed": run.task.rule_seed,
            }
            parts += [{**about, **row, "run": run.digest()} for row in _rows(run, store)]
    return pd.DataFrame(parts)


def _rows(run: RunSpec, store: Store) -> list[dict[str, Any]]:
    assert isinstance(run.task, TapeSpec)
    reader, todo = Reader(store.model(run), run.task), jobs(run.task)
    fitting = [job for job in todo if not misfit(job.program, job.text, run.task)]
    reader.foresee([each for job in fitting for decides in MACHINES for each in path(job.program, job.text, decides)])
    found = []
    for decides, machine in MACHINES.items():
        traces = run_all(reader, [(job.program, job.text) for job in todo], run.task, decides)
        found += [{"machine": machine, **job.about, **_score(job, trace, decides)}
                  for job, trace in zip(todo, traces, strict=True)]  # fmt: skip
    return found


def _score(job: Job, trace: Trace, decides: bool) -> dict[str, Any]:
    if trace.outcome == MISFIT:
        return {"decisions": 0, "right": 0, "outcome": MISFIT, "note": trace.note}
    return {"decisions": decisions(job.program, job.text, decides), "right": trace.right_moves, "outcome": trace.outcome,
            "note": trace.note}  # fmt: skip


def decisions(program: MarkovAlgorithm, text: str, decides: bool) -> int:
    """How many decisions the right run takes.

    >>> sort = MarkovAlgorithm.parse("ba -> ab")
    >>> decisions(sort, "ba", decides=False), decisions(sort, "ba", decides=True), decisions(sort, "", decides=True)
    (1, 2, 0)
    """
    steps = list(program.steps(text))
    ended = steps[-1].rule.terminating or not steps[-1].text if steps else not text
    return len(steps) + int(decides and not ended)


def overview(task: TapeSpec) -> pd.DataFrame:
    """The collection as a table: rules, symbols, inputs, steps of the right runs and whether a model can read them."""
    rows = []
    for program in collection().values():
        todo = [job for job in jobs(task) if job.about["program"] == program.name and job.about["disguise"] == 0]
        notes = [misfit(job.program, job.text, task) for job in todo]
        steps = [decisions(job.program, job.text, decides=False) for job in todo]
        rows.append({"program": program.name, "what": program.about, "rules": len(program.algorithm.rules),
                     "symbols": len(program.symbols), "inputs": len(todo), "steps": f"{min(steps)} to {max(steps)}",
                     "fits": next(filter(None, notes), "yes")})  # fmt: skip
    return pd.DataFrame(rows).set_index("program")


def fitting(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that were started."""
    return runs[runs["outcome"] != MISFIT]


def by_program(runs: pd.DataFrame) -> pd.DataFrame:
    """The share of runs solved, by program (rows) and machine and model (columns); empty: does not fit."""
    solved = fitting(runs).assign(solved=lambda table: table["outcome"] == SOLVED)
    table = solved.pivot_table("solved", "program", ["machine", "model"])
    order = [(machine, model) for machine in MACHINES.values() for model in dict.fromkeys(runs["model"])]
    return table.reindex(index=list(dict.fromkeys(runs["program"])), columns=pd.MultiIndex.from_tuples(order))


def survival(runs: pd.DataFrame) -> pd.DataFrame:
    """How many computations are still right after n decisions: columns n, at_risk, wrong, alive, expected.

    ``alive`` is the estimate of Kaplan and Meier (1958), for computations that end after different numbers of decisions;
    ``expected`` is p^n, with p the share of all decisions, made while still right, that were right.

    >>> survival(pd.DataFrame({"decisions": [1, 2, 2, 4], "right": [1, 2, 1, 4], "outcome": "solved"}))["alive"].round(3).tolist()
    [1.0, 1.0, 0.667, 0.667, 0.667]
    """
    runs = fitting(runs)
    most = int(runs["decisions"].max())
    n = np.arange(1, most + 1)
    tried = np.minimum(runs["right"] + 1, runs["decisions"]).to_numpy()
    failed = (runs["right"] < runs["decisions"]).to_numpy()
    at_risk = (tried[None] >= n[:, None]).sum(1)
    wrong = (failed[None] & (tried[None] == n[:, None])).sum(1)
    alive = np.cumprod(1 - wrong / np.maximum(1, at_risk))
    expected = (1 - wrong.sum() / at_risk.sum()) ** n
    table = {"n": n, "at_risk": at_risk, "wrong": wrong, "alive": alive, "expected": expected}
    start = {"n": 0, "at_risk": len(runs), "wrong": 0, "alive": 1.0, "expected": 1.0}
    return pd.concat([pd.DataFrame([start]), pd.DataFrame(table)], ignore_index=True)


def per_decision(runs: pd.DataFrame, by: Sequence[str] = ("model", "machine")) -> pd.DataFrame:
    """A row for each combination of ``by``: the share of decisions that were right, of runs solved, and the latter's Wilson interval.

    Decisions count up to the first wrong one of their run.

    >>> runs = pd.DataFrame({"decisions": [4, 4], "right": [4, 1], "outcome": ["solved", "wrong answer"], "program": "sorting"})
    >>> per_decision(runs, by=["program"])[["decisions made", "right decisions", "runs", "solved"]].values.tolist()
    [[6.0, 0.8333333333333334, 2.0, 0.5]]
    """
    rows = []
    for names, part in fitting(runs).groupby(list(by), sort=False, observed=True):
        made, wrong = _made(part)
        solved, total = int((part["outcome"] == SOLVED).sum()), len(part)
        low, high = wilson(solved, total)
        rows.append({**dict(zip(by, names, strict=True)), "decisions made": made, "right decisions": 1 - wrong / made if made else np.nan,
                     "runs": total, "solved": solved / total, "low": low, "high": high})  # fmt: skip
    return pd.DataFrame(rows)


def with_length(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that were started, with a column ``length``: the decisions of the right run, in classes.

    >>> with_length(pd.DataFrame({"decisions": [1, 7, 90], "outcome": "solved"}))["length"].tolist()
    ['to 3', '7-12', 'over 25']
    """
    runs, edges = fitting(runs), [-1, *_LENGTHS.values(), np.inf]
    return runs.assign(length=pd.cut(runs["decisions"], edges, labels=[*_LENGTHS, "over 25"]))


def _made(runs: pd.DataFrame) -> tuple[int, int]:
    """Decisions made while still right, and how many of them were wrong."""
    return int(np.minimum(runs["right"] + 1, runs["decisions"]).sum()), int((runs["right"] < runs["decisions"]).sum())


def told(runs: pd.DataFrame) -> list[str]:
    """What came out, in sentences made from the runs."""
    table = per_decision(runs)
    lines = [f"{line['model']}, {line['machine']}: {line['right decisions']:.2%} of decisions right, {line['solved']:.1%} "
             f"of {line['runs']:,} runs solved (95 % interval {line['low']:.1%} to {line['high']:.1%})"
             for _, line in table.iterrows()]  # fmt: skip
    last = runs["model"].iloc[-1]
    for machine, part in fitting(runs[runs["model"] == last]).groupby("machine", sort=False):
        solved = part["outcome"] == SOLVED
        shares = solved.groupby(part["program"], sort=False).mean()
        always, never = list(shares.index[shares == 1]), list(shares.index[shares == 0])
        back = int((solved & (part["right"] < part["decisions"])).sum())
        lines.append(f"{last}, {machine}: {len(always)} of {len(shares)} programs solved in every run ({', '.join(always) or 'none'}), "
                     f"{len(never)} in none; {back} of {solved.sum()} solved runs had erred and found back")  # fmt: skip
    return lines


def summary(runs: pd.DataFrame, apart: pd.DataFrame) -> pd.DataFrame:
    """What is kept in ``data/``: ``runs`` over disguises, beside the accuracies of the model that ran them.

    ``apart`` are these on single steps (see ``sweep.kinds``); they become the columns ``seen_has_op``, ``seen_no_op``,
    ``unseen_has_op`` and ``unseen_no_op``.
    """
    keys = ["setting", "model", "instructions", "seed", "machine", "program", "input"]
    runs = runs.assign(solved=runs["outcome"] == SOLVED, fits=runs["outcome"] != MISFIT,
                       made=np.minimum(runs["right"] + 1, runs["decisions"]))  # fmt: skip
    table = runs.groupby([*keys, "run"], sort=False, as_index=False).agg(
        disguises=("disguise", "nunique"), fits=("fits", "all"), solved=("solved", "sum"), decisions=("decisions", "sum"),
        made=("made", "sum"), right=("right", "sum"), outcomes=("outcome", outcomes))  # fmt: skip
    scores = apart.pivot_table("accuracy", "run", ["split", "kind"])
    return table.join(
        scores.set_axis([f"{split}_{kind.replace('-', '_')}" for split, kind in scores], axis=1), on="run"
    )


def outcomes(values: Sequence[str]) -> str:
    """How often each outcome came, as text.

    >>> outcomes(["solved", "step limit", "solved"])
    'solved 2, step limit 1'
    """
    return ", ".join(f"{name} {count}" for name, count in pd.Series(list(values)).value_counts().items())
