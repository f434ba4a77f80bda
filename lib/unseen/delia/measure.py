"""From methods to one tidy frame: what is missing is trained, then every model is asked prompts of every kind."""

from collections.abc import Sequence
from functools import partial

import pandas as pd

from unseen.delia.bases import ready
from unseen.delia.methods import Method
from unseen.delia.prompts import KINDS
from unseen.delia.sampling import ensure_samples
from unseen.delia.world import questions
from unseen.evaluation import all_right, greedy_answers, share
from unseen.model import Transformer
from unseen.running.following import followed
from unseen.running.workers import Executor, Tell
from unseen.scales import Setting
from unseen.specs import RunSpec
from unseen.store import Store
from unseen.sweep import frame, manifests


def measure(methods: Sequence[Method], store: Store | None = None, executor: Executor | None = None) -> pd.DataFrame:
    """One row per method, seed and kind of prompts, by exact match; see ``prompts.KINDS``.

    Columns: method, diverse, ratio, operations (trained with the token), rate, token_rate (learning rates), seed, updates,
    task_examples (task rows seen, with repetitions), prompts, accuracy, low, high (95 % interval), examples (asked), seconds (of training), run.
    """
    store = store or Store()
    runs = list(dict.fromkeys(run for method in methods for run in method.runs()))
    ready([method.base for method in methods], store, executor)
    ensure_samples(runs, store)
    frame(sorted(runs, key=lambda run: -run.training.steps), store, executor)
    known = manifests(runs, store)
    found = followed(runs, partial(ask, store=store), "answers-1", executor, "ask prompts of every kind")
    asked = {run: table.to_dict("records") for run, table in zip(runs, found, strict=True)}
    return pd.DataFrame([{**about(method, run), **row, "seconds": known[run]["train_seconds"], "run": run.digest()}
                         for method in methods for run in method.runs() for row in asked[run]])  # fmt: skip


def untouched(method: Method, store: Store | None = None) -> pd.DataFrame:
    """The same rows of the base itself, under the name ``base``: what it does with the prompts of each seed's task before it is tuned."""
    store = store or Store()
    model, known = store.model(method.base), manifests([method.base], store)[method.base]
    which = {
        "method": "base",
        "updates": 0,
        "task_examples": 0,
        "seconds": known["train_seconds"],
        "run": method.base.digest(),
    }
    return pd.DataFrame(
        [{**about(method, run), **row, **which} for run in method.runs() for row in answers(run, model)]
    )


def about(method: Method, run: RunSpec) -> dict[str, object]:
    """The columns that tell which method and run a row is of."""
    task, training = run.task, run.training
    seen = training.steps * min(training.batch, task.examples) / (1 + task.ratio)
    return {"method": method.name, "diverse": task.diverse if task.ratio else "", "ratio": task.ratio,
            "operations": task.operations, "rate": training.learning_rate,
            "token_rate": training.token_rate or training.learning_rate, "seed": task.rule_seed,
            "updates": training.steps, "task_examples": round(seen)}  # fmt: skip


def ask(run: RunSpec, tell: Tell, store: Store) -> pd.DataFrame:
    """``answers`` of a finished run, for a worker."""
    return pd.DataFrame(answers(run, store.model(run)))


def answers(run: RunSpec, model: Transformer) -> list[dict[str, object]]:
    """Exact match of a tuned model on prompts of every kind."""
    asked = {kind: questions(run.task, kind, run.evaluation) for kind in KINDS}
    return [{"prompts": kind, **share(all_right(model, examples))} for kind, examples in asked.items()]


def said(run: RunSpec, model: Transformer, each: int = 2) -> pd.DataFrame:
    """What a model answers, greedily, to the first prompts of every kind: columns prompts, query, right answer, answer, right."""
    rows = []
    for kind in KINDS:
        asked = questions(run.task, kind, run.evaluation).first(each)
        for i, ids in enumerate(greedy_answers(model, asked.prompts)):
            (query, right), answer = asked.texts(i), asked.encoding.answer(ids)
            rows.append((kind, query.rstrip("="), right, answer, answer == right))
    return pd.DataFrame(rows, columns=["prompts", "query", "right answer", "answer", "right"])


def settings(methods: Sequence[Method]) -> tuple[Setting, ...]:
    """The methods as ``report.write_table`` notes them beside the results."""
    return tuple(Setting(method.name, method.run, (method.run.task.operations,), method.seeds) for method in methods)
