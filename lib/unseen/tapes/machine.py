"""A trained model as the machine that runs a Markov algorithm: its answer to one step is the input of the next.

Either the oracle picks the rule and the model rewrites (``decides=False``), or the model does both: it tries the rules in
order and takes an unchanged string for "does not apply" (a rule with x = y aside, which the oracle picks).  A run ends as

    solved         it halted on the right string
    wrong answer   it halted on another one
    step limit     it had not halted 20 moves after the right run does, or came back to a string that it had before,
                   so that it never will
    unreadable     its string grew too long for it, or holds a sign that is no letter
    does not fit   the right computation is more than it can read; it was not started

Several runs go side by side, so that a model answers many questions at once.

    >>> program = MarkovAlgorithm.parse("ba -> ab")
    >>> task = TapeSpec(longest_input=4)
    >>> trace = run_with(lambda questions: [rule.apply(text) for rule, text in questions], program, "bba", task)
    >>> [move.after for move in trace.moves], trace.outcome, trace.right_moves
    (['bab', 'abb', 'abb'], 'solved', 3)
    >>> misfit(program, "ababa", task)
    'a tape of 5 letters (at most 4)'
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from unseen.encoding import layout_of
from unseen.evaluation import all_right, greedy_answers
from unseen.model import Transformer
from unseen.rewriting import MarkovAlgorithm, Rule, StepLimitExceeded
from unseen.tapes.spec import TapeSpec
from unseen.tapes.world import asked, prompt

SOLVED, WRONG, LIMIT, UNREADABLE, MISFIT = "solved", "wrong answer", "step limit", "unreadable", "does not fit"
OUTCOMES = (SOLVED, WRONG, LIMIT, UNREADABLE, MISFIT)
STEPS = 200  # that a right run may take
MORE = 20  # moves that a machine may make beyond them

Question = tuple[Rule, str]  # a rule and the string to be rewritten by it
Answers = Callable[[Sequence[Question]], Sequence[str]]


@dataclass(frozen=True)
class Move:
    """What the machine did to a string and what the oracle does to it; ``rule`` is None where it took none to apply."""

    rule: Rule | None
    before: str
    after: str
    wanted_rule: Rule | None
    wanted: str

    @property
    def right(self) -> bool:
        """Whether the string is the right one, and the run goes on or ends as it should."""
        ends = [rule is None or rule.terminating for rule in (self.rule, self.wanted_rule)]
        return self.after == self.wanted and ends[0] == ends[1]


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


@dataclass
class Reader:
    """A model and what it has answered so far: it always gives the same answer to the same question."""

    model: Transformer
    task: TapeSpec
    memory: dict[Question, str] = field(default_factory=dict)

    def __call__(self, questions: Sequence[Question]) -> list[str]:
        """The model's answers; raises ``ValueError`` on what it cannot read."""
        new = [each for each in dict.fromkeys(questions) if each not in self.memory]
        if new:
            encoding = layout_of(self.task)
            answers = greedy_answers(self.model, encoding.prompts([prompt(self.task, *each) for each in new]))
            self.memory |= {each: encoding.answer(ids) for each, ids in zip(new, answers, strict=True)}
        return [self.memory[each] for each in questions]

    def foresee(self, questions: Iterable[Question]) -> None:
        """Remember the answers to those questions that the model answers rightly, at a tenth of the time of asking them.

        While a machine is right, it asks what the oracle's own run asks, which is known beforehand.
        """
        new = [each for each in dict.fromkeys(questions) if each not in self.memory]
        if new:
            right = all_right(self.model, asked(self.task, new))
            self.memory |= {(rule, text): rule.apply(text) for (rule, text), yes in zip(new, right, strict=True) if yes}


def misfit(program: MarkovAlgorithm, text: str, task: TapeSpec, limit: int = STEPS) -> str:
    """Why a model cannot read the right computation on ``text``, as a sentence; nothing when it can."""
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
        longest = max(map(len, [text, *(step.text for step in program.steps(text, limit))]))
    except StepLimitExceeded:
        return f"the right computation takes more than {limit} steps"
    return f"a tape of {longest} letters (at most {task.longest_input})" if longest > task.longest_input else ""


def path(program: MarkovAlgorithm, text: str, decides: bool, limit: int = STEPS) -> Iterator[Question]:
    """Every question that a machine asks on this input as long as it is right."""
    steps = list(program.steps(text, limit))
    for before, step in zip([text, *(step.text for step in steps)], [*steps, None], strict=True):
        fires = step.rule if step else None
        if decides and before:
            for rule in program.rules:
                if rule == fires:
                    break
                yield _plain(rule), before
        if fires:
            yield _plain(fires), before
            if fires.terminating:
                return


def run_with(answers: Answers, program: MarkovAlgorithm, text: str, task: TapeSpec, decides: bool = True,
             limit: int = STEPS) -> Trace:  # fmt: skip
    """One run, its questions answered by ``answers``."""
    return run_all(answers, [(program, text)], task, decides, limit)[0]


def run_all(answers: Answers, jobs: Sequence[tuple[MarkovAlgorithm, str]], task: TapeSpec, decides: bool = True,
            limit: int = STEPS) -> list[Trace]:  # fmt: skip
    """Runs of several programs and inputs side by side: at each turn all of them ask one question."""
    runs = [_run(program, text, task, decides, limit) for program, text in jobs]
    said: dict[int, str | None] = dict.fromkeys(range(len(runs)))
    found: dict[int, Trace] = {}
    while said:
        questions: dict[int, Question] = {}
        for number, answer in said.items():
            try:
                questions[number] = runs[number].send(answer)
            except StopIteration as end:
                found[number] = end.value
        said = dict(zip(questions, answers(list(questions.values())), strict=True)) if questions else {}
    return [found[number] for number in range(len(runs))]


def _run(program: MarkovAlgorithm, text: str, task: TapeSpec, decides: bool,
         limit: int) -> Generator[Question, str, Trace]:  # fmt: skip
    if note := misfit(program, text, task, limit):
        return Trace(text, (), MISFIT, note)
    moves, tape, seen = [], text, set()
    most = MORE + sum(1 for _ in program.steps(text))
    while tape not in seen and len(moves) < most:
        seen.add(tape)
        wanted_rule, wanted = _step(program, tape)
        halts = not tape or (wanted_rule is None and not decides)  # no pattern stands in an empty string
        if halts:
            return _ended(program, text, moves, tape)
        if len(tape) > task.longest_input or set(tape) - set(task.alphabet):
            return Trace(text, tuple(moves), UNREADABLE, _unreadable(tape, task))
        if decides:
            rule, after = yield from _decided(program, tape)
        else:
            rule, after = wanted_rule, (yield _plain(wanted_rule), tape)
        moves.append(Move(rule, tape, after, wanted_rule, wanted))
        tape = after
        if rule is None or rule.terminating:
            return _ended(program, text, moves, tape)
    note = "a string came back" if tape in seen else f"not halted after {most} moves"
    return Trace(text, tuple(moves), LIMIT, note)


def _unreadable(tape: str, task: TapeSpec) -> str:
    """Why a string cannot be read on."""
    if len(tape) > task.longest_input:
        return f"a string of {len(tape)} letters (at most {task.longest_input})"
    return "a string with a sign that is no letter"


def _ended(program: MarkovAlgorithm, text: str, moves: list[Move], tape: str) -> Trace:
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


def _step(program: MarkovAlgorithm, tape: str) -> tuple[Rule | None, str]:
    """What the oracle does to a string; no rule, and the same string, where it halts."""
    rule = next((rule for rule in program.rules if rule.applies_to(tape)), None)
    return rule, rule.apply(tape) if rule else tape


def _plain(rule: Rule) -> Rule:
    """The rule as a model reads it: whether it ends the run is not in the prompt."""
    return Rule(rule.pattern, rule.replacement)
