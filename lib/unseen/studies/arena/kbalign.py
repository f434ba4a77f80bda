"""KBAlign: a model makes questions about a knowledge base, is tuned on them, and checks its own answers.

*Claim.* Tuning on self-made questions and answers and then on self-verification makes a model answer better
than retrieval alone does, and better than self-made questions and answers alone do.
*Source.* Zeng and others, arXiv 2411.14790, and the released code (thunlp/KBAlign, which states no licence).
*Method.* The model reads pieces of the knowledge base, asks about them and answers: short dependency, one
piece; long dependency, several.  Rules on form filter the questions.  Half of the rows carry references.  The
rows are split into parts, in turn.  The model is tuned on the first.  Then, part by part, it answers the
questions with references, compares its answers with those of the rows, and says right or wrong and the kind
of the error, never the right answer.  These rows take the place of the part's own (``verified``).
*Ours.* A knowledge base is twenty code words with three letters each (``worlds.facts``); a long dependency is
an operation on two of them.  To answer by a document, to ask, and to check are skills of the base: it learned
them on other facts, and errs in them at a measured rate.
*What was replaced.* Invention of questions, by phrases and operations that pre-training showed; the language
of a verdict, by three; the retriever, by a program that finds each line with a chance of ``FOUND``; the
reference beside a verification, by none; small steps in one epoch at a temperature of 0.2, by many that learn
facts by heart, at 1.  So the paper's parts stand in their order, but not the open text in which a language
model may find its own questions and reasons, nor its slowness to forget.

    >>> facts = {"ba lo": "ABC", "du ra": "DEF", "ku lo": "GHI", "fe ve": "JAB", "gi zi": "BCD"}
    >>> retrieved(Question(("du ra",), "flip this"), facts, 1.0, np.random.default_rng(0))
    ['du ra', 'fe ve', 'gi zi']
    >>> [part[:2] for part in parts(list(range(7)))]
    [[0, 3], [1, 4], [2, 5]]
"""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from unseen.evaluation import greedy_answers
from unseen.messages import Conversation, pair
from unseen.model import Transformer
from unseen.runs.following import by_arm, followed, kept
from unseen.runs.store import Store, begun
from unseen.runs.workers import Executor, Tell
from unseen.scales import amounts, each_seed
from unseen.specs import RunSpec
from unseen.studies import delia
from unseen.studies.arena.answers import sampled
from unseen.studies.arena.switching import learn
from unseen.studies.delia import base_run, ready
from unseen.worlds.base import generator
from unseen.worlds.facts import (
    ASKED,
    LINES,
    OTHERS,
    Facts,
    FactsSpec,
    Question,
    answering,
    asking,
    checking,
    question,
    verdict,
)
from unseen.worlds.gaps import OTHER, POOL

PARTS = 3  # of the rows, and rounds of tuning
_MADE = "kbalign-made-1"  # the table of ``follow_made``
FOUND = 0.6  # how often the retriever finds a line that a question needs
ARMS = {
    "base": "the base, untuned",
    "raw": "raw text",
    "first": "Q&A of the first part alone",
    "verified": "Q&A, then verification",
    "more": "Q&A in place of verification",
    "beside": "verification beside Q&A",
    "oracle": "Q&A by a program",
}
PROGRAMS = {"any fact": "any fact in reach", "reader": "what the reference says"}
ASKING = {  # kinds of questions: code words, operations, words
    "like its own": (1, ASKED, POOL),
    "other words": (1, ASKED, OTHER),
    "other operations": (1, OTHERS, POOL),
    "two facts": (2, ASKED, POOL),
}
REFERENCES = {"none": None, "retrieved": FOUND, "right": 1.0}  # how often a line that is needed is found


class Told(NamedTuple):
    """A question with an answer, right or not, and the code words of the lines that the row refers to."""

    asked: Question
    answer: str
    names: tuple[str, ...]


# The method


def retrieved(asked: Question, facts: Facts, found: float, rng: np.random.Generator) -> list[str]:
    """The code words of the ``LINES`` lines that a retriever finds: each that the question needs with a
    chance ``found``, and others.
    """
    needed = [name for name in asked.names if rng.random() < found]
    others = rng.permutation([name for name in facts if name not in asked.names])
    return list(map(str, rng.permutation([*needed, *others[: LINES - len(needed)]])))


def parts(rows: Sequence[Any]) -> list[list[Any]]:
    """Rows in ``PARTS`` parts, in turn."""
    return [list(rows[part::PARTS]) for part in range(PARTS)]


def answers_of(run: RunSpec, model: Transformer, rows: Sequence[Conversation]) -> list[str]:
    """What a model says in place of the last turn of each row."""
    return _texts(run, greedy_answers(model, run.task.examples_of(rows).prompts))


def _texts(run: RunSpec, answers: np.ndarray) -> list[str]:
    return [run.task.layout.answer(ids[:-1]).strip() for ids in answers]


def verification(run: RunSpec, model: Transformer, rows: Sequence[Told]) -> list[Conversation]:
    """Rows in which a model checks its own answers beside those of ``rows``."""
    facts, rng = knowledge(run), generator(run.task.example_seed, "references of verification")
    asked = [answering(facts, row.asked, "", retrieved(row.asked, facts, FOUND, rng)) for row in rows]
    own = answers_of(run, model, asked)
    checks = [checking(row.asked, row.answer, given, "") for row, given in zip(rows, own, strict=True)]
    return [check[:-1] + pair("", said)[1:]
            for check, said in zip(checks, answers_of(run, model, checks), strict=True)]  # fmt: skip


def stage(arm: str, part: int, run: RunSpec, model: Transformer, rows: Sequence[Told]) -> list[Conversation]:
    """What an arm is tuned on in a round; rows of Q&A are those of the arm."""
    facts, own = knowledge(run), parts(rows)[0 if arm == "first" else part]
    if arm == "raw":
        return [pair(*fact) for fact in islice(cycle(facts.items()), len(own))]
    told = [answering(facts, *row) for row in own]
    if part == 0 or arm not in ("verified", "beside"):
        return told
    return told * (arm == "beside") + verification(run, model, own)


# What is trained


def base_of(name: str) -> RunSpec:
    """The base of a scale, pre-trained to answer, to ask and to check."""
    base, steps = base_run(name), amounts("kbalign", name).steps
    training = base.training.but(steps=steps)
    return base.but(task=FactsSpec(examples=steps * training.batch), training=training)


def tuning(name: str) -> RunSpec:
    """A round of tuning of a scale; ``examples`` are the rows of all parts."""
    much = amounts("kbalign", name)
    task = FactsSpec(facts=much.facts, examples=much.rows)
    how = {"batch": much.batch, "learning_rate": much.rate, "checkpoint_every": 1_000_000}
    return delia.tuning(base_of(name), task, much.prompts, steps=much.updates, **how)


def knowledge(run: RunSpec) -> Facts:
    """The knowledge base of a run."""
    return run.task.split().unseen


def documents(run: RunSpec, size: int) -> list[tuple[str, ...]]:
    """The code words of documents to ask about, in any order: two of three have one line, the others two."""
    rng, names = generator(run.task.example_seed, "documents"), list(knowledge(run))
    single = islice(cycle((name,) for name in names), size - size // 3)
    pairs = [tuple(map(str, rng.permutation(names)[:2])) for _ in range(size // 3)]
    found = [*single, *pairs]
    return [found[at] for at in rng.permutation(size)]


def follow_made(run: RunSpec, tell: Tell) -> pd.DataFrame:
    """What the base asks about twice as many documents as there are rows, and answers, for a worker.

    Columns: names (of the document), said, formed (a question about it: the rules on form), answer (of the
    base that reads the document), right.
    """
    facts, base, sources = knowledge(run), Store().base(run), documents(run, 2 * run.task.examples)
    prompts = run.task.examples_of([asking(facts, names) for names in sources]).prompts
    ids = sampled(base, prompts, run.task.layout, run.task.example_seed)
    said = _texts(run, ids)
    tell(0, "questions are asked")
    asked = [Question.read(text) for text in said]
    formed = [each is not None and {*each.names} == {*names}
              for each, names in zip(asked, sources, strict=True)]  # fmt: skip
    rows = [answering(facts, each if ok else Question(names, ""), "", names)
            for each, ok, names in zip(asked, formed, sources, strict=True)]  # fmt: skip
    answers = answers_of(run, base, rows)
    right = [ok and each.answer(facts) == answer
             for each, ok, answer in zip(asked, formed, answers, strict=True)]  # fmt: skip
    names = [", ".join(each) for each in sources]
    return pd.DataFrame({"names": names, "said": said, "formed": formed, "answer": answers, "right": right})


def rows_of(arm: str, run: RunSpec, made: pd.DataFrame) -> list[Told]:
    """The rows of Q&A of an arm, every other one with references: those that the base made and that are
    well-formed, or a program's.  Where too few are well-formed, some come twice; where none is, as in a base
    that learned nothing, the program's stand in.
    """
    facts, rng = knowledge(run), generator(run.task.example_seed, f"rows, {arm == 'oracle'}")
    good, size = made[made["formed"]], run.task.examples
    if arm == "oracle" or good.empty:
        asked = [question(names, ASKED, POOL, rng) for names in documents(run, size)]
        told = [(each, each.answer(facts)) for each in asked]
    else:
        told = [(Question.read(said), answer) for said, answer in good[["said", "answer"]].to_numpy()]
    rows = islice(cycle(told), size)
    refers = generator(run.task.example_seed, "rows that refer").permutation(size) < size // 2
    return [Told(*each, tuple(retrieved(each[0], facts, FOUND, rng)) if some else ())
            for each, some in zip(rows, refers, strict=True)]  # fmt: skip


# What is measured


def skills(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """A row per seed and skill of the base, on the knowledge base.

    Columns: seed, skill, of (what it is tried on), right (share), told (share of checks that tell right from
    wrong), run.
    """
    runs = prepared(name, executor)
    tables = followed(runs, follow_checks, "kbalign-checks-1", executor, "check")
    for run in runs:
        pool = made_for(run)
        line, two = {"seed": run.task.rule_seed, "run": run.digest()}, pool["names"].str.contains(",")
        for size, each in (("one fact", pool[~two]), ("two facts", pool[two])):
            asks, tells = each["formed"].mean(), each["right"][each["formed"]].mean()
            shares = {"ask": asks, "answer by the document": tells}
            tables += [pd.DataFrame([{**line, "skill": skill, "of": size, "right": share}])
                       for skill, share in shares.items()]  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def prepared(name: str, executor: Executor | None = None) -> list[RunSpec]:
    """The tunings of a scale, for each of which its base has made rows (``made_for``)."""
    ready([base_of(name)], executor)
    runs = each_seed("kbalign", name, tuning(name)).runs()
    followed(runs, follow_made, _MADE, executor, "ask about")
    return runs


def made_for(run: RunSpec) -> pd.DataFrame:
    """What ``follow_made`` found for a tuning."""
    return kept(run, _MADE).fillna({"said": "", "answer": ""})


def follow_checks(run: RunSpec, tell: Tell) -> pd.DataFrame:
    """How the base checks answers that a program gives, by what is wrong with them, for a worker."""
    return checked(run, Store().base(run)).assign(seed=run.task.rule_seed, run=run.digest())


def checked(run: RunSpec, model: Transformer) -> pd.DataFrame:
    """How a model checks answers that a program gives.

    Columns: skill, of (one of ``VERDICTS``), right (share of verdicts), told (share that tells right answers
    from wrong ones, whatever the kind of the error).
    """
    facts, rng, checks = knowledge(run), generator(run.evaluation.seed, "checks"), []
    for at in range(run.evaluation.examples):
        asked = question(rng.permutation(list(facts))[: 1 + at % 2].tolist(), ASKED + OTHERS, POOL, rng)
        right, given = asked.answer(facts), run.task.given(asked, facts, rng)
        checks.append(checking(asked, right, given, verdict(right, given)))
    said, known = answers_of(run, model, checks), [check[-1].content for check in checks]
    said, known = np.array(said), np.array(known)
    told = (said == "right") == (known == "right")
    table = pd.DataFrame({"of": known, "right": said == known, "told": told})
    return table.groupby("of", as_index=False).mean().assign(skill="check")


def measure(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """A row per arm (and program), seed, kind of questions and reference; what is missing is trained first.

    Columns: arm, seed, asked (of ``ASKING``), reference (of ``REFERENCES``), right (greedy answers), quoted
    (share whose facts are right), correct (share of right rows that the arm was tuned on), checks (share of
    right verdicts, at last), run.
    """
    runs = prepared(name, executor)
    table = by_arm(runs, follow_arm, "kbalign-{}-1", ARMS, executor)
    return pd.concat([table, *map(programs, runs)], ignore_index=True)


def follow_arm(run: RunSpec, tell: Tell, arm: str) -> pd.DataFrame:
    """Tune the base as an arm has it, and ask it questions, for a worker."""
    rows, state = rows_of(arm, run, made_for(run)), begun(run, Store(), "cpu")
    for part in range(PARTS if arm != "base" else 0):
        learn(run, state, stage(arm, part, run, state.model, rows), 1, tell)
    facts, right = knowledge(run), [row.answer == row.asked.answer(knowledge(run)) for row in rows]
    about = {"arm": arm, "correct": np.nan if arm in ("base", "raw") else np.mean(right),
             "checks": checked(run, state.model)["right"].mean()}  # fmt: skip
    lines = []
    for kind, reference, asked, names in asked_of(run):
        told = [answering(facts, *each) for each in zip(asked, [""] * len(asked), names, strict=True)]
        lines.append(scored(run, kind, reference, asked, answers_of(run, state.model, told)))
    return pd.DataFrame(lines).assign(**about)


def asked_of(run: RunSpec) -> list[tuple[str, str, list[Question], list[list[str]]]]:
    """Of each kind of questions and reference: the questions, and the code words of the lines to refer to."""
    facts, found = knowledge(run), []
    for kind, (size, operations, words) in ASKING.items():
        for reference, chance in REFERENCES.items():
            rng = generator(run.evaluation.seed + run.task.rule_seed, f"{kind}, {reference}")
            drawn = [rng.permutation(list(facts))[:size].tolist() for _ in range(run.evaluation.examples)]
            asked = [question(names, operations, words, rng) for names in drawn]
            names = [[] if chance is None else retrieved(each, facts, chance, rng) for each in asked]
            found.append((kind, reference, asked, names))
    return found


def scored(
    run: RunSpec, kind: str, reference: str, asked: Sequence[Question], answers: Sequence[str]
) -> dict[str, object]:
    """How answers to questions of one kind score."""
    right = [each.answer(knowledge(run)) for each in asked]
    pairs = list(zip(right, answers, strict=True))
    quoted = [one.partition(":")[0] == other.partition(":")[0] for one, other in pairs]
    return {"seed": run.task.rule_seed, "asked": kind, "reference": reference,
            "right": np.mean([one == other for one, other in pairs]), "quoted": np.mean(quoted),
            "run": run.digest()}  # fmt: skip


def programs(run: RunSpec) -> pd.DataFrame:
    """Answers that need no model: the right operation on any fact of the reference, or of the knowledge base
    where there is none; and on the right facts where the reference has them all.
    """
    facts, lines = knowledge(run), []
    rng = generator(run.evaluation.seed, "any fact")
    for kind, reference, asked, names in asked_of(run):
        for arm in PROGRAMS:
            reach = [each or list(facts) for each in names]
            others = [each._replace(names=tuple(rng.permutation(near)[: len(each.names)].tolist()))
                      for each, near in zip(asked, reach, strict=True)]  # fmt: skip
            read = [each.answer(facts) if {*each.names} <= {*near} else ""
                    for each, near in zip(asked, names, strict=True)]  # fmt: skip
            answers = read if arm == "reader" else [each.answer(facts) for each in others]
            lines.append({"arm": arm, **scored(run, kind, reference, asked, answers)})
    return pd.DataFrame(lines)
