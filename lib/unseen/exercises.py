"""How exercises work: an answer is judged, kept and counted; a guess is drawn on a figure.

To add an exercise, say ``plateau`` in notebook 10:

1. write what is said as a table ``[10.plateau]`` of ``exercises.toml``, whose top says what it can hold;
2. give the right answer there, or a function ``plateau`` in ``right_answers.py`` that reads it off results;
3. in the notebook put ``check.plateau(...)`` into a cell tagged ``exercise``, and right after it
   ``check.plateau.solution(300)`` into one tagged ``solution``.

``tests/test_check.py`` then tries the solution and each usual wrong answer.  No hint holds the right answer.
Answers are kept in ``<runs folder>/answers.json``.
"""

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

from unseen import right_answers
from unseen.errors import Explained
from unseen.fields import Share, among, spec
from unseen.files import brief, packaged, project_folder, read_json, runs_folder, write

_KINDS: dict[str, tuple[Callable[..., Any], str]] = {  # of answers: their type, and how one is written
    "text": (str, 'a text in quotation marks, as in `"abc"`'),
    "letters": (str, 'letters in quotation marks, as in `"AB"`'),
    "number": (float, "a number, as in `0.5`"),
    "whole number": (int, "a whole number, as in `12`"),
    "true or false": (bool, "`True` or `False`"),
    "values": (tuple, 'values in parentheses with commas between, as in `("abc", "def")`'),
}


class BadAnswer(Explained, ValueError):
    """An answer that cannot be judged; the message says how an answer is written."""


class BrokenAnswers(Explained):
    """The file of answers cannot be read; the message names it and what to do."""


# Judging


class Judgement(NamedTuple):
    """Whether an answer is right, and what is said about it, in Markdown."""

    right: bool
    text: str


@spec
class Exercise:
    """One exercise: calling it with an answer shows ✓ or a hint, and keeps the answer."""

    name: str
    notebook: str  # its number
    question: str
    why: str  # stands after the ✓
    answer: among(tuple(_KINDS)) = "number"
    hints: dict[str, str] = field(default_factory=dict)
    otherwise: str = ""
    within: Share = 0.05
    right: Any = None

    def __call__(self, *answers: Any) -> None:
        """Show the verdict on an answer and how many exercises are done; keep the answer if there is one.

        Several answers are one tuple.
        """
        answer = answers[0] if len(answers) == 1 else answers or ...
        verdict = self.verdict(answer)
        try:
            if not _missing(answer):
                _keep(self.name, answer, verdict.right)
            standing = _standing(self.notebook)
        except Explained as error:
            standing = f"Your answer is not kept: {error}"
        _show(f"{verdict.text}\n\n{standing}")

    def verdict(self, answer: Any) -> Judgement:
        """Judge an answer; keeps and shows nothing, raises nothing."""
        try:
            hint = self._hint(_read(answer, self.answer))
        except BadAnswer as error:
            return Judgement(False, str(error))
        except ValueError as error:  # of the library, about what the answer holds
            hint = brief(error)
        except Exception as error:  # of a reader's own function, say
            hint = f"Your answer cannot be checked ({type(error).__name__}: {brief(error)})."
        return (
            Judgement(False, f"**Not yet.** {hint}") if hint else Judgement(True, f"✓ **Right.** {self.why}")
        )

    def solution(self, answer: Any) -> None:
        """Assert that an answer is right, for cells tagged ``solution``; keeps and shows nothing."""
        verdict = self.verdict(answer)
        assert verdict.right, f"{self.name}: {verdict.text}"

    def known(self) -> dict[str, Any]:
        """The usual wrong answers by the names of their hints; under ``right`` the right one or its judge."""
        found = getattr(right_answers, self.name)() if self.right is None else self.right
        computed = found if isinstance(found, dict) else {"right": found}
        kind, _ = _KINDS[self.answer]
        return {each: kind(each) for each in self.hints if each not in computed} | computed

    def _hint(self, answer: Any) -> str:
        """What is said to a wrong answer; nothing to a right one."""
        known = self.known()
        right = known.pop("right")
        if callable(right):
            return right(answer)
        if self._equal(answer, right, self.within):
            return ""
        hints = (self.hints[name] for name, wrong in known.items() if self._equal(answer, wrong, 0.01))
        return next(hints, self.otherwise) or f"Your number is too {'large' if answer > right else 'small'}."

    def _equal(self, answer: Any, known: Any, within: float) -> bool:
        return math.isclose(answer, known, rel_tol=within) if self.answer == "number" else answer == known


@cache
def exercises() -> dict[str, Exercise]:
    """All exercises by their names; raises ``ValueError`` that names a wrong table and its field."""
    found = {}
    for notebook, tables in packaged("exercises.toml").items():
        for name, table in tables.items():
            try:
                found[name] = Exercise(name, notebook, **table)
            except (TypeError, ValueError) as error:
                raise ValueError(f"exercises.toml, [{notebook}.{name}]: {error}") from None
    return found


def _missing(answer: Any) -> bool:
    return answer is ... or answer is None


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _read(answer: Any, name: str) -> Any:
    """The answer as its kind; raises ``BadAnswer`` with a sentence on how it is written."""
    kind, how = _KINDS[name]
    if _missing(answer):
        raise BadAnswer(f"**Not answered yet.** Write {how}, in place of `...`, and run the cell again.")
    if kind in (int, float) and _number(answer) and answer == kind(answer):
        return kind(answer)
    if kind in (int, float) or not isinstance(answer, kind):
        yours = brief(repr(answer), 60).replace("`", "'")
        raise BadAnswer(f"Please answer with {how}; yours is `{yours}`.")
    if name == "letters":
        return "".join(sorted(answer.strip().upper()))
    return answer.strip() if kind is str else answer


# Keeping and counting


def _answers_file() -> Path:
    return runs_folder() / "answers.json"


def answers() -> dict[str, dict[str, Any]]:
    """The answers kept so far by the names of their exercises, each with ``answer`` and ``right``.

    Raises ``BrokenAnswers`` where the file is not what was written.
    """
    path = _answers_file()
    try:
        found = read_json(path)
        if not all(isinstance(each["right"], bool) for each in found.values()):
            raise ValueError("it does not hold answers")
        return found
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise BrokenAnswers(
            f"{path} cannot be read ({brief(error, 100)}). It is left as it is; move or delete it."
        ) from error


def _keep(name: str, answer: Any, right: bool) -> None:
    """Keep an answer, unless a right one is kept already; raises as ``answers`` and ``write`` do."""
    found = answers()
    if right or not found.get(name, {}).get("right"):
        text = answer if isinstance(answer, str) else repr(answer)
        found[name] = {"answer": text[:2_000], "right": right}
        write(_answers_file(), json.dumps(found, indent=1) + "\n")


def _standing(notebook: str) -> str:
    """How many exercises are done, and a link to the next notebook; raises as ``answers`` does."""
    kept = answers()
    every = exercises().values()
    here = [each for each in every if each.notebook == notebook]
    following = min((each for each in _titles() if each > notebook), default="")
    onwards = f"; next: {_link(following)}" if following else ""
    return f"{_done(here, kept)} done here, {_done(every, kept)} in all{onwards}"


def _done(some: Collection[Exercise], kept: Mapping[str, dict[str, Any]]) -> str:
    return f"{sum(kept.get(each.name, {}).get('right', False) for each in some)} of {len(some)}"


def progress() -> None:
    """Show all exercises as a table, with a ✓ at those that are done; raises as ``answers`` does."""
    kept, every = answers(), exercises().values()
    lines = [f"{_done(every, kept)} exercises done", "", "| notebook | exercise | |", "|---|---|---|"]
    for each in every:
        mark = "✓" if kept.get(each.name, {}).get("right") else "tried" if each.name in kept else ""
        lines.append(f"| {_link(each.notebook)} | {each.question} | {mark} |")
    _show("\n".join(lines))


@cache
def _titles() -> dict[str, tuple[str, str]]:
    """File name and heading of each notebook by its number; of a reader's copies the shortest name counts."""
    found = {}
    paths = (project_folder() / "notebooks").glob("[0-9][0-9]_*.ipynb")
    for path in sorted(paths, key=lambda each: (each.name[:2], -len(each.name))):
        found[path.name[:2]] = path.name, _heading(path)
    return found


def _heading(path: Path) -> str:
    try:
        return "".join(read_json(path)["cells"][0]["source"]).splitlines()[0].removeprefix("# ")
    except (OSError, ValueError, LookupError, TypeError):  # a reader's own file
        return path.stem


def _link(notebook: str) -> str:
    name, title = _titles()[notebook]
    return f"[{title}]({name})"


def _show(markdown: str) -> None:
    """Show Markdown in a notebook; print it elsewhere."""
    from IPython import get_ipython
    from IPython.display import Markdown, display

    if get_ipython() is None:
        print(markdown)
    else:
        display(Markdown(markdown))


# A guess before the curve


def guess(ax: Any, value: float | None, right: float | None = None, axis: str = "x") -> Any:
    """Draw a reader's guess on an Axes as a dashed line with a label; without one (None) change nothing.

    ``right`` is the result, where it is known: the label then says by what factor the guess is off.  A guess
    beyond the axis stands at its edge; what cannot stand on it is refused by a sentence.  Returns the Axes.
    """
    if _missing(value):
        return ax
    ends = getattr(ax, f"get_{axis}lim")()
    if not _number(value) or (getattr(ax, f"get_{axis}scale")() == "log" and value <= 0):
        _show(f"A guess is {_KINDS['number'][1]}, on the axis from {min(ends):,.4g} to {max(ends):,.4g}.")
        return ax
    place, upright = min(max(value, min(ends)), max(ends)), axis == "x"
    line = (ax.axvline if upright else ax.axhline)(place, color="black", ls="--", lw=1.4)
    getattr(ax, f"set_{axis}lim")(ends)
    text = f"your guess: {value:,.6g}{_off(value, right)}"
    at = ax.transAxes.inverted().transform(line.get_transform().transform((place, place)))
    far = at[0 if upright else 1] > 0.5  # the label stands on the side that has more room
    look: dict[str, Any] = {"xycoords": line.get_transform(), "textcoords": "offset points", "size": "small"}
    look["zorder"] = 1  # below the curves: it hides none
    if upright:
        look |= {"ha": "right" if far else "left", "va": "center", "rotation": 90}
        ax.annotate(text, (place, 0.5), (-4 if far else 4, 0), **look)
    else:
        ax.annotate(text, (0.02, place), (0, -4 if far else 4), **look, va="top" if far else "bottom")
    return ax


def _off(value: float, right: float | None) -> str:
    """By what factor a guess is off, as the second line of a label.

    >>> _off(750, 300), _off(310, 300), _off(5, None)
    ('\\ntoo high by a factor of 2.5', '\\nright within a tenth', '')
    """
    if right is None or not value > 0 or not right > 0:
        return ""
    factor = max(value / right, right / value)
    if factor <= 1.1:
        return "\nright within a tenth"
    return f"\ntoo {'high' if value > right else 'low'} by a factor of {factor:,.{0 if factor >= 10 else 1}f}"
