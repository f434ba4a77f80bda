"""Whose answers the diverse rows hold, notebook 26: DELIA's base with answers of its own.

The base of notebooks 20 to 23 answers a query in one way, as the reference does.  Here each base has
``HABITS``: where a query says nothing of formats it answers plainly or in one of two formats, at even odds,
and other bases have other habits.  So own answers, those of another base, and reference answers, which are
plain, differ.

    >>> [method.name for method in methods("quick")][1:4]
    ['own answers', 'own, the likeliest', "another's answers"]
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
from unseen.studies.delia import Method, Own, apart, base_run, ensure_samples, ready, train
from unseen.worlds.language import FORMATS, Query, formatted
from unseen.worlds.tuning import KINDS, TuningSpec

HABITS = 2  # formats of a base, besides plain answers
ROLES = ("requested", "plain", "habit", "the token's", "another", "wrong")
_ROWS = 1_024  # of each gradient


class Mannered(Method):
    """Tuning with reference answers in the habits of the base that each seed starts from."""

    def runs(self) -> list[RunSpec]:
        """A run per seed."""
        pairs = zip(super().runs(), self.bases, strict=True)
        return [run.with_task(habits=base.task.habits) for run, base in pairs]


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
    """Plain tuning, DELIA by who answers its diverse rows and how, and a pull to the base, which needs none.

    The likeliest answers are own ones at a temperature near 0: of the same model, without its entropy.
    Reference answers in the base's habits are the oracle's, with that entropy.
    """
    own = bases(name)
    known = ("plain tuning", "DELIA", "reference answers", "pull to the base")
    plain, mine, reference, pull = apart(name, known, own)
    sure = replace(mine, name="own, the likeliest", base=mine.base.with_task(temperature=0.01))
    mine = replace(mine, name="own answers")
    others = replace(mine, name="another's answers", answering=(*own[1:], own[0]))
    about = vars(reference) | {"name": "reference, its habits"}
    return [plain, mine, sure, others, reference, Mannered(**about), pull]


def measure(methods: Sequence[Method], executor: Executor | None = None) -> pd.DataFrame:
    """In which forms models answer, by method, seed and kind of prompts; missing runs are trained first.

    Columns: method (``base`` is the model before tuning, ``base again`` another draw from it), seed, prompts,
    role (of the form, ``ROLES``), share, distance (from the base, of all forms on these prompts: half the sum
    of the differences between their shares), examples, run.  Answers are drawn at temperature 1.
    """
    runs = train([run for method in methods for run in method.runs()], methods, executor)
    drawn = dict(zip(runs, followed(runs, answered, "forms-3", executor, "draw answers"), strict=True))
    found = []
    for of_seed in zip(*(method.runs() for method in methods), strict=True):
        run = of_seed[0]
        base = Store().base(run)
        first, again = (forms(base, run, draw) for draw in (0, 1))
        arms = {"base": (first, run.model.base), "base again": (again, run.model.base)}
        arms |= {each.name: (drawn[own], own.digest()) for each, own in zip(methods, of_seed, strict=True)}
        for name, (table, digest) in arms.items():
            found.append(by_role(table, first).assign(method=name, seed=run.task.rule_seed, run=digest))
    columns = ["method", "seed", "prompts", "role", "share", "distance", "examples", "run"]
    order = ["base", "base again", *(each.name for each in methods)]
    table = pd.concat(found, ignore_index=True)[columns]
    return table.sort_values("method", key=lambda names: names.map(order.index), kind="stable")


def answered(run: RunSpec, tell: Tell) -> pd.DataFrame:
    """``forms`` of a finished run, for a worker, by draws that no other run has."""
    return forms(Store().model(run), run, int(run.digest()[:8], 16))


def forms(model: Transformer, run: RunSpec, draw: int) -> pd.DataFrame:
    """In which forms a model answers prompts of every kind about the task of a run.

    Columns: prompts, form, role (to the base of the run), share, examples; forms that do not occur are left
    out.
    """
    task, size, meant = run.task, run.evaluation.examples, run.task.split().format
    habits = spec_of(Store().root / run.model.base).task.habits.split(",")
    answer, rows = Own(model, task.but(temperature=1.0, top_p=1.0), draw), []
    for kind in KINDS:
        found, queries = Counter(), task.queries(kind, size, run.evaluation.seed)
        answers = answer([pair(query.content, "")[:1] for query in queries])
        for query, given in zip(queries, answers, strict=True):
            form = form_of(query, given)
            found[form, role(form, query.format, habits, meant)] += 1
        rows += [(kind, *names, count / size, size) for names, count in found.items()]
    return pd.DataFrame(rows, columns=["prompts", "form", "role", "share", "examples"])


def by_role(table: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """The shares of ``forms`` summed by role, and the distance of its forms from those of the base.

    >>> base = pd.DataFrame({"prompts": "task", "form": ["plain", "loud"], "role": ["plain", "habit"]})
    >>> base = base.assign(share=[0.4, 0.6], examples=10)
    >>> found = by_role(base.assign(form=["plain", "round"]), base)
    >>> found[found["share"] > 0][["role", "share", "distance"]].to_numpy().tolist()
    [['plain', 0.4, 0.6], ['habit', 0.6, 0.6]]
    """
    keys = ["prompts", "role", "form"]
    both = [each.set_index(keys)["share"] for each in (table, base)]
    apart = both[0].sub(both[1], fill_value=0.0).abs().groupby("prompts").sum() / 2
    shares = table.pivot_table("share", "prompts", "role", aggfunc="sum", sort=False)
    shares = shares.reindex(columns=ROLES, fill_value=0.0).fillna(0.0).rename_axis(columns="role")
    found = shares.stack().rename("share").reset_index()
    return found.assign(distance=found["prompts"].map(apart), examples=table["examples"].iloc[0])


def gradients(methods: Sequence[Method], executor: Executor | None = None) -> pd.DataFrame:
    """Angles between the gradients at the base, before the first update (``delia_inside.compared``).

    Columns: method (whose diverse rows), seed, part (of the model), gradient, along (ideal, bias), cosine,
    size.
    """
    ready([base for method in methods for base in method.starts], executor)
    ensure_samples([run for method in methods for run in method.runs()])
    found = []
    for of_seed in zip(*(method.runs() for method in methods), strict=True):
        base, at = Store().base(of_seed[0]), {}
        for method, run in zip(methods, of_seed, strict=True):
            rows = delia_inside.gradient_rows(run, _ROWS)
            new = {name: delia_inside.gradient(base, rows[name]) for name in rows if name not in at}
            table = pd.DataFrame(delia_inside.compared(at | new, run.task.ratio))
            found.append(table.assign(method=method.name, seed=run.task.rule_seed))
            at |= {name: each for name, each in new.items() if name != "diverse"}  # the same for all methods
    return pd.concat(found, ignore_index=True)


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
