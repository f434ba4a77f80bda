"""ToolACE: tools that evolve, rows of medium complexity for the learner, and two checks.

*Claim.* At equal rows, medium complexity beats easy and hard rows, more kinds of tools beat fewer, and two
checks of the rows beat one, and one beats none.
*Source.* Liu and others, arXiv 2409.00920; weights and some data were published, no code.
*Formula.* Complexity of a row is the learner's own mean loss of a token, H = -(1/n) sum log p(t_i | x, t_<i).
The window: from the mean H of rows that the learner gets right already, to the mean H of rows that it still
gets wrong after a tuning on a small prior set.  Checks: rules on form first, then a model that reads.
*Ours.* A grammar (``worlds.compositions``) evolves the tools, where a language model reads documents, and
programs write the rows, where agents talk.  A share of the rows is spoiled, in form or in content.  The rules
know the form that a request states, not the right answer.  The model that checks is the base, tuned on a
small prior set of right rows, as for the window; it keeps a row that is likely enough to it.  Each arm leaves
out or changes one part of the whole pipeline.

    >>> [well_formed(Tool(("sort",), "square"), "CAB", answer) for answer in ("[BAC]", "ABC", "?")]
    [True, False, False]
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from unseen.evaluation import all_right, behind, log_probabilities
from unseen.model import Transformer
from unseen.runs.following import by_arm, followed, kept
from unseen.runs.store import Store
from unseen.runs.workers import Executor, Tell
from unseen.scales import amounts, each_seed
from unseen.specs import RunSpec
from unseen.studies.arena.answers import tuned
from unseen.studies.delia import base_run, ready, tuning
from unseen.worlds.base import Examples, generator, pick
from unseen.worlds.compositions import NONE, REFUSED, SHORTENING, SINGLE, CompositionSpec, Made, Tool, request
from unseen.worlds.language import FORMATS, LETTERS, formatted

SPOILED = 0.3  # of the rows that the agents write
IN_FORM = 0.3  # of the spoiled rows have a wrong form, the others a wrong content
UNFIT = 0.1  # of the requests fit no tool
FEW = 12  # tools where there are few: as many as single operations, and one
_POOL = "toolace-pool-1"  # the table of ``follow_pool``
KINDS = ("whole", "single", "few")  # of tools that the agents write about
ARMS = {
    "whole": "the whole pipeline",
    "single": "without evolution: single operations",
    "few": "few tools",
    "any": "any complexity",
    "easy": "easy rows",
    "hard": "hard rows",
    "rules": "rules check alone",
    "unchecked": "no check",
    "no refusals": "without refusals",
    "oracle": "the oracle checks",
}


# The method


def complexity(model: Transformer, examples: Examples) -> np.ndarray:
    """H of each row (N,): the model's mean loss of a token of the answer and its end, in nats."""
    tokens = (~behind(examples.answers, examples.layout.special("end"))).sum(1)
    return -log_probabilities(model, examples).numpy() / tokens


def window(hard: np.ndarray, known: np.ndarray, late: np.ndarray) -> tuple[float, float]:
    """The bounds of medium complexity, from H (N,) of some rows: the mean of those that the learner gets
    right already (``known``), and of those that it still gets wrong after a tuning on a few rows (``late``).
    Where there are none it is the least or the largest H.

    >>> h = np.array([0.1, 0.3, 2.0, 4.0])
    >>> [float(bound) for bound in window(h, h < 1, h > 3)]
    [0.2, 4.0]
    """
    return hard[known].mean() if known.any() else hard.min(), hard[late].mean() if late.any() else hard.max()


def well_formed(tool: Tool, text: str, answer: str) -> bool:
    """Whether an answer has the form that a request states: its format, its number of letters, a refusal
    exactly where no tool fits.  The rules do not know what the operations do.
    """
    if not tool.operations or answer == REFUSED:
        return not tool.operations and answer == REFUSED
    plain = [letter for letter in answer if letter in LETTERS]
    length = len(text) - len(SHORTENING.intersection(tool.operations))
    return len(plain) == length and answer == formatted("".join(plain), tool.format)


def border(likely: np.ndarray, right: np.ndarray) -> float:
    """From where on rows are held right: the value of ``likely`` (N,) that errs least on rows that are marked
    ``right`` (N,) or not.

    >>> float(border(np.array([-9.0, -3.0, -2.0, -1.0]), np.array([False, True, False, True])))
    -3.0
    """
    order = np.argsort(likely)
    errors = np.cumsum(np.r_[0, right[order]]) + np.cumsum(np.r_[0, ~right[order][::-1]])[::-1]
    return likely[order][min(errors.argmin(), len(likely) - 1)]


# Rows


def spoiled(made: Made, form: bool, rng: np.random.Generator) -> Made:
    """A row with a wrong answer: wrong in form (another format), or in content (another
    operation in the place of one).
    """
    tool, text = made.tool, made.query.text
    while True:
        if form or not tool.operations:
            other = Tool(
                tool.operations or (pick(SINGLE, rng),),
                pick([each for each in ("", *FORMATS) if each != tool.format], rng),
            )
        else:
            done = list(tool.operations)
            done[int(rng.integers(len(done)))] = pick(SINGLE, rng)
            other = tool._replace(operations=tuple(done))
        if (answer := other.answer(text)) != made.answer:
            return made._replace(answer=answer)


def written(
    tools: Sequence[Tool], size: int, unfit: float, wrong: float, rng: np.random.Generator
) -> list[Made]:
    """What the agents write: requests for tools at random, a share ``unfit`` for none, a share ``wrong`` with
    a wrong answer.
    """
    rows = []
    for _ in range(size):
        made = request(NONE if rng.random() < unfit else pick(tools, rng), rng)
        rows.append(spoiled(made, rng.random() < IN_FORM, rng) if rng.random() < wrong else made)
    return rows


def right(made: Made) -> bool:
    """Whether the answer of a row is right."""
    return made.answer == made.tool.answer(made.query.text)


# What is trained


def learner(name: str) -> RunSpec:
    """The tuning of a scale on some tools; its ``examples`` are the rows of every arm."""
    much = amounts("toolace", name)
    task = CompositionSpec(instructions=much.tools, unseen_instructions=much.held_out, examples=much.rows)
    return tuning(base_run(name), task, much.prompts, steps=much.updates, batch=much.batch)


def agents(run: RunSpec, kind: str) -> list[Made]:
    """What the agents write: five times the rows of an arm about all tools (``whole``), about single
    operations, or about few tools; or twice as many ``prior`` rows, whose answers are marked.
    """
    tools, size = run.task.split().seen, run.task.examples
    rng = generator(run.task.example_seed, f"rows of the agents, {kind}")
    few = {"single": tools[: len(SINGLE)], "few": [tools[at] for at in rng.permutation(len(tools))[:FEW]]}
    return written(few.get(kind, tools), (2 if kind == "prior" else 5) * size, UNFIT, SPOILED, rng)


def follow_pool(run: RunSpec, tell: Tell) -> pd.DataFrame:
    """What is known of every row that the agents write, for a worker.

    Columns: tools (the pool), row (its number there), right, fits (a tool fits the request), formed (passes
    the rules), judged (passes the model that checks), hard (H), known (the base gives this answer), late (the
    base tuned on the prior rows does not).
    """
    prior, base, tables = agents(run, "prior"), Store().base(run), []
    half, good = len(prior) // 2, np.array(list(map(right, prior)))
    judge = tuned(run, run.task.of_rows(list(filter(right, prior[:half]))))
    least = border(-complexity(judge, run.task.of_rows(prior[half:])), good[half:])
    for kind in KINDS:
        rows = agents(run, kind)
        examples = run.task.of_rows(rows)
        tables.append(pd.DataFrame({
            "tools": kind,
            "row": range(len(rows)),
            "right": list(map(right, rows)),
            "fits": [bool(made.tool.operations) for made in rows],
            "formed": [well_formed(made.tool, made.query.text, made.answer) for made in rows],
            "judged": -complexity(judge, examples) >= least,
            "hard": complexity(base, examples),
            "known": all_right(base, examples),
            "late": ~all_right(judge, examples),
        }))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def taken(arm: str, pool: pd.DataFrame, size: int, rng: np.random.Generator) -> np.ndarray:
    """The numbers (``size``,) of the rows that an arm takes from its pool.

    Refusals are a share of their own, which complexity does not choose: the base never refuses, so that their
    H is beyond any window.  Where too few rows pass, some are taken more often.
    """
    checks = {"unchecked": pool["row"] >= 0, "rules": pool["formed"], "oracle": pool["right"]}
    passed = pool[checks.get(arm, pool["formed"] & pool["judged"])]
    rows, unfit = passed[passed["fits"]], passed[~passed["fits"]]
    h, (low, high) = rows["hard"], window(*(rows[name].to_numpy() for name in ("hard", "known", "late")))
    thirds = {"easy": h <= h.quantile(1 / 3), "hard": h >= h.quantile(2 / 3), "any": h >= 0}
    rows = rows[thirds.get(arm, h.between(low, high))]
    refusals = 0 if arm == "no refusals" or unfit.empty else round(UNFIT * size)
    some, none = (part["row"].to_numpy() for part in (rows, unfit))
    return np.concatenate([rng.choice(some, size - refusals, replace=len(some) < size),
                           rng.choice(none, refusals, replace=len(none) < refusals)])  # fmt: skip


# What is measured


def measure(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """A row per arm, seed and kind of requests; what is missing is trained first.

    Columns: arm, seed, asked (``held-out tools``, ``single operations``, ``unfit``), right (greedy answers),
    refused, correct (share of right rows that the arm was tuned on), different (rows), hard (their mean H),
    run.
    """
    return by_arm(prepared(name, executor), follow_arm, "toolace-{}-1", ARMS, executor)


def prepared(name: str, executor: Executor | None = None) -> list[RunSpec]:
    """The learners of a scale, for each of which ``follow_pool`` is stored."""
    ready([base_run(name)], executor)
    runs = each_seed("toolace", name, learner(name)).runs()
    followed(runs, follow_pool, _POOL, executor, "write rows")
    return runs


def checks(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """A row per seed and check, of the rows of the whole pipeline.

    Columns: seed, check, ``passed wrong`` (the share of wrong rows that it lets through), ``lost right`` (of
    right rows that it does not), ``wrong among kept``, run.
    """
    rows = []
    for run in prepared(name, executor):
        pool = kept(run, _POOL).query("tools == 'whole'")
        good, passed = pool["right"], {"the rules": pool["formed"], "the model": pool["judged"]}
        passed["both checks"] = pool["formed"] & pool["judged"]
        rows += [{"seed": run.task.rule_seed, "check": check, "passed wrong": each[~good].mean(),
                  "lost right": 1 - each[good].mean(), "wrong among kept": 1 - good[each].mean(),
                  "run": run.digest()} for check, each in passed.items()]  # fmt: skip
    return pd.DataFrame(rows)


def follow_arm(run: RunSpec, tell: Tell, arm: str) -> pd.DataFrame:
    """Tune the base on the rows that an arm takes, and ask it fresh requests, for a worker."""
    kind = arm if arm in KINDS else "whole"
    pool, rng = kept(run, _POOL).query("tools == @kind"), generator(run.task.rule_seed, f"rows of {arm}")
    numbers = taken(arm, pool, run.task.examples, rng)
    every = agents(run, kind)
    rows = [every[at] for at in numbers]
    model = tuned(run, run.task.of_rows(rows), lambda row: tell(int(row["step"])))
    line = {"correct": np.mean(list(map(right, rows))), "different": len(set(numbers)),
            "hard": pool.set_index("row")["hard"].loc[numbers].mean(), "run": run.digest()}  # fmt: skip
    return pd.DataFrame(
        [{"arm": arm, "seed": run.task.rule_seed, **score, **line} for score in scored(run, model)]
    )


def scored(run: RunSpec, model: Transformer) -> list[dict[str, object]]:
    """How a model answers fresh requests for held-out tools, for single operations, and for none."""
    split, size, seed = run.task.split(), run.evaluation.examples, run.evaluation.seed
    kinds = {"held-out tools": split.unseen, "single operations": split.seen[: len(SINGLE)], "unfit": [NONE]}
    lines = []
    for kind, tools in kinds.items():
        asked = run.task.draw(tools, np.arange(size) % len(tools), generator(seed, f"requests, {kind}"))
        refusals = replace(asked, answers=run.task.layout.answers([REFUSED] * size))
        lines.append({"asked": kind, "right": all_right(model, asked).mean(),
                      "refused": all_right(model, refusals).mean()})  # fmt: skip
    return lines
