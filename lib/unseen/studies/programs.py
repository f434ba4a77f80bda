"""Notebook 16: a trained model as the machine that runs a Markov algorithm, each answer its next input.

Either the oracle picks the rule and the model rewrites (``decides=False``), or the model does both: it tries
the rules in order and takes an unchanged string for "does not apply" (a rule with x = y aside, which the
oracle picks).  How a run ends:

* ``solved`` or ``wrong answer``: it halted, on the right string or on another.
* ``step limit``: it made 20 moves more than the right run, or came back to a string that it had before.
* ``unreadable``: its string grew too long for the model, or holds a character that is no letter.
* ``does not fit``: the right computation is more than the model can read; it was not started.

    >>> program = MarkovAlgorithm.parse("ba -> ab")
    >>> task = TapeSpec(longest_input=4)
    >>> (trace,) = run_all(oracle, [(program, "bba")], task)
    >>> [move.after for move in trace.moves], trace.outcome, trace.right_moves
    (['bab', 'abb', 'abb'], 'solved', 3)
    >>> misfit(program, "ababa", task)
    'a tape of 5 letters (at most 4)'
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from unseen.evaluation import all_right, greedy_answers
from unseen.model import Transformer
from unseen.rewriting import LengthLimitExceeded, MarkovAlgorithm, Rule, StepLimitExceeded
from unseen.runs.store import Store
from unseen.scales import Setting, amounts, run_of
from unseen.stats import wilson
from unseen.worlds.programs import Program, collection, renaming
from unseen.worlds.tapes import TapeSpec

OUTCOMES = ("solved", "wrong answer", "step limit", "unreadable", "does not fit")
SOLVED, WRONG, LIMIT, UNREADABLE, MISFIT = OUTCOMES
MACHINES = {False: "the oracle picks the rule", True: "the model does both"}
STEPS = 200  # that a right run may take
MORE = 20  # moves that a machine may make beyond them
FOREIGN = "▯"  # a letter that stands for none of a program's symbols

Question = tuple[Rule, str]  # a rule and the string to be rewritten by it
Answers = Callable[[Sequence[Question]], Sequence[str]]


# What is trained


def settings(name: str) -> tuple[Setting, ...]:
    """Few different rules or many, on equal budgets; at ``full`` also one larger model, trained longer.

    Raises ``ValueError`` for an unknown scale.
    """
    row = amounts("programs", name)
    main = Setting("main", run_of(TapeSpec, row.base), row.sizes, row.seeds, scale=name)
    if not row.larger:
        return (main,)
    return main, Setting("larger", run_of(TapeSpec, row.larger_base), row.larger, (0,), scale=name)


# The machine


@dataclass(frozen=True)
class Move:
    """What the machine did to a string and what the oracle does to it; ``rule`` is None where none was
    applied."""

    rule: Rule | None
    before: str
    after: str
    right_rule: Rule | None
    right_after: str

    @property
    def right(self) -> bool:
        """Whether the string is the right one, and the run continues or ends as it should."""
        ends = [rule is None or rule.terminating for rule in (self.rule, self.right_rule)]
        return self.after == self.right_after and ends[0] == ends[1]

    def __str__(self) -> str:
        """Which rule the machine took, and what it should have done."""
        rules = self.rule, self.right_rule
        taken, best = (str(rule).replace("->", "→") if rule else "no rule applies" for rule in rules)
        should = best if self.rule != self.right_rule else self.right_after or "(empty)"
        return taken if self.right else f"{taken}   ✗ should be {should}"


@dataclass(frozen=True)
class Trace:
    """A whole run; ``note`` says more about an outcome that needs it."""

    text: str
    moves: tuple[Move, ...]
    outcome: str
    note: str = ""

    @property
    def right_moves(self) -> int:
        """How many moves were right before the first wrong one."""
        return next((i for i, move in enumerate(self.moves) if not move.right), len(self.moves))

    def __str__(self) -> str:
        """How the run ended."""
        size, note = len(self.moves), f": {self.note}" if self.note else ""
        where = f", {self.right_moves} right before the first wrong" if self.right_moves < size else ""
        return f"{self.outcome}{note} ({size} move{'s' * (size != 1)}{where})"


def oracle(questions: Sequence[Question]) -> list[str]:
    """The right answers."""
    return [rule.apply(text) for rule, text in questions]


@dataclass
class Reader:
    """A model and its answers so far: it always gives the same answer to the same question."""

    model: Transformer
    task: TapeSpec
    memory: dict[Question, str] = field(default_factory=dict)

    @cached_property
    def trained(self) -> frozenset[Rule]:
        """The rules that the model was trained on."""
        return frozenset(self.task.split().seen)

    def __call__(self, questions: Sequence[Question]) -> list[str]:
        """The model's answers; raises ``ValueError`` on what it cannot read."""
        if new := [each for each in dict.fromkeys(questions) if each not in self.memory]:
            examples = self.task.examples_of(new)
            answers, wrong = examples.answers.copy(), ~all_right(self.model, examples)
            if wrong.any():  # only these are generated, which takes ten times as long
                answers[wrong] = greedy_answers(self.model, examples.prompts[wrong])
            self.memory |= {each: examples.layout.answer(ids) for each, ids in zip(new, answers, strict=True)}
        return [self.memory[each] for each in questions]


def misfit(program: MarkovAlgorithm, text: str, task: TapeSpec) -> str:
    """Why a model cannot read the right computation on ``text``, as a sentence; empty when it can."""
    used = set(text).union(*(rule.pattern + rule.replacement for rule in program.rules))
    if len(used) > len(task.alphabet):
        return f"{len(used)} different symbols (at most {len(task.alphabet)})"
    for number, rule in enumerate(program.rules, start=1):
        x, y = len(rule.pattern), len(rule.replacement)
        if not 1 <= x <= task.longest_pattern:
            return f"rule {number}: a pattern of {x} letters (1 to {task.longest_pattern})"
        if y > task.longest_replacement:
            return f"rule {number}: a replacement of {y} letters (at most {task.longest_replacement})"
    if unknown := sorted(used - set(task.alphabet)):
        return f"unknown letter {unknown[0]!r}"
    try:
        longest = max(map(len, [text, *(step.text for step in program.steps(text, STEPS))]))
    except StepLimitExceeded:
        return f"the right computation takes more than {STEPS} steps"
    except LengthLimitExceeded as error:
        return f"{error}"
    most = task.longest_input
    return f"a tape of {longest} letters (at most {most})" if longest > most else ""


def run_all(
    answers: Answers, jobs: Sequence[tuple[MarkovAlgorithm, str]], task: TapeSpec, decides: bool = True
) -> list[Trace]:
    """Runs of several programs and inputs side by side: at each turn all of them ask one question."""
    runs = [_run(program, text, task, decides) for program, text in jobs]
    given: dict[int, str | None] = dict.fromkeys(range(len(runs)))
    found: dict[int, Trace] = {}
    while given:
        questions: dict[int, Question] = {}
        for number, answer in given.items():
            try:
                questions[number] = runs[number].send(answer)
            except StopIteration as end:
                found[number] = end.value
        given = dict(zip(questions, answers(list(questions.values())), strict=True)) if questions else {}
    return [found[number] for number in range(len(runs))]


def _run(
    program: MarkovAlgorithm, text: str, task: TapeSpec, decides: bool
) -> Generator[Question, str, Trace]:
    if note := misfit(program, text, task):
        return Trace(text, (), MISFIT, note)
    moves, tape, seen, halted = [], text, set(), False
    most = MORE + sum(1 for _ in program.steps(text))
    while not halted:
        if tape in seen or len(moves) == most:
            note = "a string came back" if tape in seen else f"not halted after {most} moves"
            return Trace(text, tuple(moves), LIMIT, note)
        seen.add(tape)
        right_rule = next((rule for rule in program.rules if rule.applies_to(tape)), None)
        if not tape or (right_rule is None and not decides):  # no pattern occurs in an empty string
            break
        if len(tape) > task.longest_input:
            note = f"a string of {len(tape)} letters (at most {task.longest_input})"
            return Trace(text, tuple(moves), UNREADABLE, note)
        if set(tape) - set(task.alphabet):
            return Trace(text, tuple(moves), UNREADABLE, "a string with a character that is no letter")
        if decides:
            rule, after = yield from _decided(program, tape)
        else:
            rule, after = right_rule, (yield _plain(right_rule), tape)
        moves.append(Move(rule, tape, after, right_rule, right_rule.apply(tape) if right_rule else tape))
        tape, halted = after, rule is None or rule.terminating
    return Trace(text, tuple(moves), SOLVED if tape == program.run(text) else WRONG)


def _decided(program: MarkovAlgorithm, tape: str) -> Generator[Question, str, tuple[Rule | None, str]]:
    """The first rule under which the model changes the string, and what it makes of it."""
    for rule in program.rules:
        if rule.pattern == rule.replacement:
            if rule.applies_to(tape):
                return rule, tape
        elif (answer := (yield _plain(rule), tape)) != tape:
            return rule, answer
    return None, tape


def _plain(rule: Rule) -> Rule:
    """The rule as a model reads it: whether it ends the run is not in the prompt."""
    return Rule(rule.pattern, rule.replacement)


# Every program on every model


class Job(NamedTuple):
    """One program on one input in one disguise; ``about`` are the columns that name it."""

    about: dict[str, Any]
    program: MarkovAlgorithm
    text: str


def jobs(task: TapeSpec) -> list[Job]:
    """Every program and input in each disguise, as one model runs them."""
    found = []
    for program in collection().values():
        for number in range(task.disguises):
            room = len(program.symbols) <= len(task.alphabet)  # else it stays as it is: it does not fit
            hidden = program.renamed(renaming(program.symbols, task.alphabet, number)) if room else program
            for (text, _), (given, _) in zip(hidden.cases, program.cases, strict=True):
                about = {"program": program.name, "input": given, "disguise": number}
                found.append(Job(about, hidden.algorithm, text))
    return found


def run_programs(settings: Iterable[Setting]) -> pd.DataFrame:
    """Run the collection on every trained model: a row for each model, machine, program, input and disguise.

    Columns: setting, model (both in words), instructions, seed, run, machine, program, input, disguise,
    decisions (of the right run), right (decisions before the first wrong one), outcome, note.
    """
    store, rows = Store(), []
    for setting, run in [(each, run) for each in settings for run in each.runs()]:
        model = f"{run.task.instructions:,} rules" + (f", {setting.name}" if setting.name != "main" else "")
        about = {"setting": setting.name, "model": model, "instructions": run.task.instructions}
        about |= {"seed": run.task.rule_seed, "run": run.digest()}
        reader, todo = Reader(store.model(run), run.task), jobs(run.task)
        pairs = [(job.program, job.text) for job in todo]
        for decides, machine in MACHINES.items():
            best, made = (run_all(answers, pairs, run.task, decides) for answers in (oracle, reader))
            for job, right, trace in zip(todo, best, made, strict=True):
                score = {"decisions": len(right.moves), "right": trace.right_moves}
                score |= {"outcome": trace.outcome, "note": trace.note}
                rows.append(about | {"machine": machine} | job.about | score)
    return pd.DataFrame(rows)


def summary(runs: pd.DataFrame, apart: pd.DataFrame) -> pd.DataFrame:
    """What is kept in ``data/``: ``runs`` summed over disguises, and the model's accuracies on single steps.

    ``apart`` holds these (see ``sweep.kinds``); they become columns such as ``seen_has_op``.
    """
    keys = ["setting", "model", "instructions", "seed", "machine", "program", "input", "run"]
    made = np.minimum(runs["right"] + 1, runs["decisions"])
    runs = runs.assign(solved=runs["outcome"] == SOLVED, fits=runs["outcome"] != MISFIT, made=made)

    def counted(outcomes: pd.Series) -> str:
        return ", ".join(f"{name} {count}" for name, count in outcomes.value_counts().items())

    sums = {name: (name, "sum") for name in ("solved", "decisions", "made", "right")}
    about = {"disguises": ("disguise", "nunique"), "fits": ("fits", "all")}
    grouped = runs.groupby(keys, sort=False, as_index=False)
    table = grouped.agg(**about, **sums, outcomes=("outcome", counted))
    scores = apart.pivot_table("accuracy", "run", ["split", "kind"])
    scores.columns = [f"{split}_{kind.replace('-', '_')}" for split, kind in scores]
    return table.join(scores, on="run")


def rates(table: pd.DataFrame, by: Sequence[str] = ("model", "machine")) -> pd.DataFrame:
    """Of a ``summary``, a row for each combination of ``by``, misfits left out: decisions made (to the first
    wrong one of their run), the share that was right, runs, the share solved and its Wilson interval."""
    grouped = table[table["fits"]].groupby(list(by), sort=False, observed=True)
    sums = grouped[["made", "right", "disguises", "solved"]].sum().reset_index()
    shares = {"decisions made": sums["made"], "right decisions": sums["right"] / sums["made"]}
    shares |= {"runs": sums["disguises"], "solved": sums["solved"] / sums["disguises"]}
    ends = [wilson(*each) for each in zip(sums["solved"], sums["disguises"], strict=True)]
    return sums[list(by)].assign(**shares).join(pd.DataFrame(ends, columns=["low", "high"]))


# One tape


def written(text: str, name: str = "") -> Program:
    """A program as a person writes it down; the one with this name in the collection if its rules are these.

    Raises ``ValueError`` naming the malformed line, or saying that there is no rule.
    """
    algorithm, picked = MarkovAlgorithm.parse(text), collection().get(name)
    if not algorithm.rules:
        raise ValueError("no rule: write one a line, as in  ba -> ab")
    return picked if picked and picked.algorithm == algorithm else Program("typed", "", algorithm, ())


def attempt(reader: Reader, program: Program, given: str, decides: bool = True) -> tuple[Trace, int]:
    """Run a program in disguise: the run in the program's own symbols, and how many of its rules, in the
    letters that the model reads, the model was trained on.

    Raises ``ValueError`` when there are more symbols than letters.
    """
    program = replace(program, cases=(*program.cases, (given, "")))
    secret = renaming(program.symbols, reader.task.alphabet, 0)
    hidden = program.renamed(secret)
    (trace,) = run_all(reader, [(hidden.algorithm, hidden.cases[-1][0])], reader.task, decides)
    return shown(trace, secret), sum(_plain(rule) in reader.trained for rule in hidden.algorithm.rules)


def shown(trace: Trace, secret: Mapping[str, str]) -> Trace:
    """A run without its disguise.

    >>> shown(Trace("qz", (), "unreadable"), {"+": "q"}).text
    '+▯'
    """
    symbols = {letter: symbol for symbol, letter in secret.items()}

    def bare(part: Any) -> Any:
        if isinstance(part, Rule):
            return Rule(bare(part.pattern), bare(part.replacement), part.terminating)
        return part and "".join(symbols.get(letter, FOREIGN) for letter in part)

    moves = tuple(Move(*map(bare, vars(move).values())) for move in trace.moves)
    return replace(trace, text=bare(trace.text), moves=moves)
