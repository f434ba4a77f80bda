"""Whose answers the diverse rows hold, notebook 26: DELIA's base with answers of its own.

The base of notebooks 20 to 23 answers a query in one way, as the reference does.  Here each base has
``HABITS``: where a query says nothing of formats it answers plainly or in one of two formats, at even odds,
and other bases have other habits.  So own answers, those of another base, and reference answers, which are
plain, differ.

    >>> [method.name for method in methods("quick")][:4]
    ['plain tuning', 'own answers', "another's answers", 'reference answers']
    >>> [base.task.habits for base in bases("full")][:2]
    ['square,round', 'curly,angle']
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from unseen.messages import pair
from unseen.model import Transformer
from unseen.runs.following import followed
from unseen.runs.store import Store, spec_of
from unseen.runs.workers import Executor, Tell
from unseen.scales import amounts
from unseen.specs import RunSpec
from unseen.studies import delia_inside
from unseen.studies.delia import Method, Own, apart, base_run, train
from unseen.worlds.base import generator
from unseen.worlds.language import FORMATS, Query, formatted
from unseen.worlds.tuning import KINDS, TuningSpec, ask

HABITS = 2  # formats of a base, beside plain answers
ROLES = ("requested", "plain", "habit", "the token's", "another", "wrong")


def bases(name: str) -> tuple[RunSpec, ...]:
    """A pre-training for each seed: other data, other weights, and habits that no other has and no task's
    token means.
    """
    seeds, base = amounts("delia", name).own, base_run(name)
    meant = {TuningSpec(rule_seed=seed).split().format for seed in seeds}
    free, found = [form for form in FORMATS if form not in meant], []
    for at, seed in enumerate(seeds):
        habits = ",".join(free[HABITS * at : HABITS * (at + 1)])
        found.append(base.with_task(example_seed=seed, habits=habits).with_weights(seed))
    return tuple(found)


def methods(name: str) -> list[Method]:
    """Plain tuning, DELIA by who answers its diverse rows, and a pull to the base, which needs none."""
    own = bases(name)
    known = ("plain tuning", "DELIA", "reference answers", "pull to the base")
    plain, mine, reference, pull = apart(name, known, own)
    mine = replace(mine, name="own answers")
    others = replace(mine, name="another's answers", answering=(*own[1:], own[0]))
    return [plain, mine, others, reference, pull]


def measure(methods: Sequence[Method], executor: Executor | None = None) -> pd.DataFrame:
    """In which forms models answer, by method, seed and kind of prompts; missing runs are trained first.

    Columns: method (``base`` is the model before tuning, ``base again`` another draw from it), seed, prompts,
    role (of the form, ``ROLES``), share, examples, run.  Answers are drawn at temperature 1.
    """
    runs = list(dict.fromkeys(run for method in methods for run in method.runs()))
    train(runs, methods, executor)
    tables = dict(zip(runs, followed(runs, forms, "forms-2", executor, "draw answers"), strict=True))
    found = []
    for run in methods[0].runs():
        base, about = Store().base(run), {"seed": run.task.rule_seed, "run": run.model.base}
        for draw, method in enumerate(("base", "base again")):
            found.append(roles(base, run, draw).assign(method=method, **about))
    for method in methods:
        for run in method.runs():
            about = {"method": method.name, "seed": run.task.rule_seed, "run": run.digest()}
            found.append(tables[run].assign(**about))
    columns = ["method", "seed", "prompts", "role", "share", "examples", "run"]
    return pd.concat(found, ignore_index=True)[columns]


def gradients(methods: Sequence[Method], executor: Executor | None = None) -> pd.DataFrame:
    """``delia_inside.gradients`` of each method, with a column ``method``."""
    tables = [delia_inside.gradients([each], executor).assign(method=each.name) for each in methods]
    return pd.concat(tables, ignore_index=True)


def forms(run: RunSpec, tell: Tell) -> pd.DataFrame:
    """``roles`` of a finished run, for a worker."""
    return roles(Store().model(run), run, 0)


def roles(model: Transformer, run: RunSpec, draw: int) -> pd.DataFrame:
    """The share of each of ``ROLES`` in a model's answers about the task of a run, by kind of prompts."""
    task, chosen, size = run.task, run.task.split(), run.evaluation.examples
    habits = spec_of(Store().root / run.model.base).task.habits.split(",")
    answer, rows = Own(model, task.but(temperature=1.0, top_p=1.0), draw), []
    for kind in KINDS:
        rng = generator(run.evaluation.seed, f"asked, {kind}")
        queries = [ask(kind, chosen, rng) for _ in range(size)]
        answers = answer([pair(query.content, "")[:1] for query in queries])
        found = Counter(
            role(form_of(query, given), query.format, habits, chosen.format)
            for query, given in zip(queries, answers, strict=True)
        )
        about = {"prompts": kind, "examples": size}
        rows += [about | {"role": each, "share": found[each] / size} for each in ROLES]
    return pd.DataFrame(rows)


def form_of(query: Query, answer: str | None) -> str:
    """The format that an answer is in, whatever the query requests; "wrong" if no format makes it right.

    An answer of one letter is in several, and then in the requested one, or plain.

    >>> query = Query("reverse", "", "flip", "now {} it", "ABCD")
    >>> [form_of(query, answer) for answer in ("DCBA", "[DCBA]", "DCB", None)]
    ['plain', 'square', 'wrong', 'wrong']
    """
    plain, names = replace(query, format="").answer, (query.format, "", *FORMATS)
    return next((name or "plain" for name in names if answer == formatted(plain, name)), "wrong")


def role(form: str, requested: str, habits: Sequence[str], token: str) -> str:
    """What a form is to a model: one of ``ROLES``.

    >>> [role(form, "", ["square"], "loud") for form in ("plain", "square", "loud", "curly", "wrong")]
    ['plain', 'habit', "the token's", 'another', 'wrong']
    """
    if form in ("plain", "wrong"):
        return form
    known = {requested: "requested", token: "the token's"} | dict.fromkeys(habits, "habit")
    return "requested" if form == requested else known.get(form, "another")
