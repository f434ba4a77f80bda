"""Try a program on trained machines: a function, its still picture, and a widget for JupyterLab.

Whatever a person types is checked, then shown escaped: a mistake is a sentence beside the field, never a traceback.
"""

import html
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice

import ipywidgets as ipw

from unseen.rewriting import MarkovAlgorithm, Rule
from unseen.running.progress import headless
from unseen.scales import Setting
from unseen.store import Store
from unseen.tapes.machine import Move, Reader, Trace, misfit, path, run_with
from unseen.tapes.pictures import FILLS, ended, marks
from unseen.tapes.programs import Program, collection, disguise
from unseen.tapes.results import MACHINES
from unseen.tapes.spec import TapeSpec
from unseen.tapes.world import draw_split

FOREIGN = "▯"  # what a model wrote that is none of a program's symbols
_LONGEST = 2_000  # characters of a field that are looked at


@dataclass(frozen=True)
class Machine:
    """A trained model to be tried, and the rules that it was trained on."""

    reader: Reader
    trained: frozenset[Rule]

    @property
    def task(self) -> TapeSpec:
        """The world that it was trained in."""
        return self.reader.task


def machines(setting: Setting, sizes: tuple[int, ...], store: Store | None = None) -> dict[str, Machine]:
    """The trained models of a setting, first seed, by how many different rules they were trained on."""
    store, found = store or Store(), {}
    for run in setting.runs():
        if run.task.instructions in sizes and run.task.rule_seed == setting.seeds[0]:
            name = f"trained on {run.task.instructions:,} rules"
            found[name] = Machine(Reader(store.model(run), run.task), frozenset(draw_split(run.task).seen))
    return found


def written(text: str, given: str) -> Program:
    """A program as a person writes it down, to be run on ``given``.

    Raises ``ValueError`` naming the malformed line, or saying that there is no rule.
    """
    algorithm = MarkovAlgorithm.parse(text)
    if not algorithm.rules:
        raise ValueError("no rule: write one a line, as in  ba -> ab")
    return Program("typed", "", algorithm, ((given, given),))


def as_text(program: Program) -> str:
    """The rules of a program in the customary notation, one a line."""
    return "\n".join(map(str, program.algorithm.rules))


def attempt(machine: Machine, program: Program, given: str, decides: bool = True, number: int = 0) -> Trace:
    """Run a program on a machine in disguise, and show the run in the program's own symbols.

    Raises ``ValueError`` when there are more symbols than letters.
    """
    program = replace(program, cases=(*program.cases, (given, "")))
    secret = disguise(program.symbols, machine.task.alphabet, number)
    hidden = program.disguised(secret).algorithm, given.translate(str.maketrans(secret))
    if not misfit(*hidden, machine.task):
        machine.reader.foresee(path(*hidden, decides))
    return shown(run_with(machine.reader, *hidden, machine.task, decides), secret)


def known(machine: Machine, program: Program, given: str, number: int = 0) -> int:
    """How many of a program's rules the model was trained on, in the disguise in which it reads them."""
    program = replace(program, cases=(*program.cases, (given, "")))
    rules = program.disguised(disguise(program.symbols, machine.task.alphabet, number)).algorithm.rules
    return sum(Rule(rule.pattern, rule.replacement) in machine.trained for rule in rules)


def shown(trace: Trace, secret: Mapping[str, str]) -> Trace:
    """A run without its disguise.

    >>> shown(Trace("qz", (), "unreadable"), {"+": "q"}).text
    '+▯'
    """
    symbols = {letter: symbol for symbol, letter in secret.items()}

    def bare(text: str) -> str:
        return "".join(symbols.get(letter, FOREIGN) for letter in text)

    def plain(rule: Rule | None) -> Rule | None:
        return rule and Rule(bare(rule.pattern), bare(rule.replacement), rule.terminating)

    moves = tuple(
        Move(plain(m.rule), bare(m.before), bare(m.after), plain(m.wanted_rule), bare(m.wanted)) for m in trace.moves
    )
    return replace(trace, text=bare(trace.text), moves=moves)


def tape_html(trace: Trace, most: int = 80) -> str:
    """A run as a table, a row a step: what the next rule replaces is orange, the first wrong letter red."""
    rows = marks(trace)
    lines = [_row(number, *row, wrong=number > 0 and not trace.moves[number - 1].right)
             for number, row in enumerate(islice(rows, most + 1))]  # fmt: skip
    rest = f"<p>and {len(rows) - most - 1} more steps</p>" if len(rows) > most + 1 else ""
    table = f"<table style='border-spacing:2px;border-collapse:separate;line-height:1.2'>{''.join(lines)}</table>"
    return f"{table}{rest}<p><b>{html.escape(ended(trace))}</b></p>"


def _row(number: int, text: str, signs: list[str], said: str, wrong: bool) -> str:
    cells = "".join(
        f"<span style='display:inline-block;width:1.35em;text-align:center;font:15px monospace;margin-right:2px;"
        f"background:{_shade(sign)}'>{html.escape(letter) if letter.strip() else '&nbsp;'}</span>"
        for letter, sign in zip(text, signs, strict=True)
    )
    colour = "color:#b00020;" if wrong else ""
    return (f"<tr><td style='text-align:right;opacity:.6'>{number or ''}</td>"
            f"<td style='white-space:nowrap'>{cells or '<i>(empty)</i>'}</td>"
            f"<td style='{colour}font:13px monospace;padding-left:1em;white-space:pre'>{html.escape(said)}</td></tr>")  # fmt: skip


def _shade(sign: str) -> str:
    if not sign:
        return "rgba(128,128,128,.14)"
    red, green, blue = (round(255 * part) for part in FILLS[sign])
    return f"rgb({red},{green},{blue});color:{'white' if sign == 'wrong' else '#222'}"


class TapeExplorer(ipw.VBox):
    """Pick or type a program and an input, pick the model and who picks the rule, press Run, see the tape."""

    def __init__(self, machines: Mapping[str, Machine]):
        self.machines, self.programs = dict(machines), collection()
        style = {"style": {"description_width": "6em"}}
        self.choice = ipw.Dropdown(options=list(self.programs), description="program", **style)
        self.rules = ipw.Textarea(description="rules", layout=ipw.Layout(width="26em", height="11em"), **style)
        self.given = ipw.Combobox(description="input", ensure_option=False, layout=ipw.Layout(width="26em"), **style)
        self.model = ipw.Dropdown(options=list(self.machines)[::-1], description="model", **style)
        self.decides = ipw.Dropdown(options=[(name, decides) for decides, name in MACHINES.items()], value=True,
                                    description="machine", **style)  # fmt: skip
        self.run = ipw.Button(description="Run", icon="play", button_style="primary")
        self.message, self.tape = ipw.HTML(), ipw.HTML()
        self.choice.observe(lambda _: self.pick(), "value")
        self.run.on_click(lambda _: self.refresh())
        fields = ipw.VBox(
            [self.choice, self.rules, self.given, self.model, self.decides, ipw.HBox([self.run, self.message])]
        )
        super().__init__([fields, self.tape])
        self.pick()

    def pick(self) -> None:
        """Put the chosen program and its first input into the fields, and run it."""
        program = self.programs[self.choice.value]
        self.rules.value = as_text(program)
        self.given.options = [given for given, _ in program.cases]
        self.given.value = program.cases[0][0]
        self.refresh()

    def program(self, given: str) -> Program:
        """The program in the field: one of the collection as long as nobody changed it."""
        picked = self.programs[self.choice.value]
        return picked if self.rules.value == as_text(picked) else written(self.rules.value[:_LONGEST], given)

    def refresh(self) -> None:
        """Run what the fields hold, or say what is wrong with it."""
        self.run.disabled, self.tape.value = True, ""
        try:
            machine, given = self.machines[self.model.value], self.given.value[:_LONGEST]
            program = self.program(given)
            seen = known(machine, program, given)
            self.tape.value = tape_html(attempt(machine, program, given, self.decides.value))
            count = len(program.algorithm.rules)
            self.message.value = f"of its rules, in the letters that the model reads, {seen} of {count} were trained on"
        except ValueError as error:
            self.message.value = f"<span role='alert' style='color:#b00020'>{html.escape(str(error))}</span>"
        finally:
            self.run.disabled = False


def tape_explorer(machines: Mapping[str, Machine]) -> TapeExplorer | None:
    """The widget for a person; nothing when nobody looks."""
    return None if headless() else TapeExplorer(machines)
