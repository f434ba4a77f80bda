"""How exercises work: an answer is judged, kept and counted; a guess is drawn on a figure.

The exercises themselves are in ``check``.  Answers are kept in ``<runs folder>/answers.json``.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import Any

from unseen.errors import Explained
from unseen.files import brief, project_folder, read_json, runs_folder, write

_KINDS = {  # how an answer is written
    str: 'a text in quotation marks, as in `"abc"`',
    int: "a whole number, as in `12`",
    float: "a number, as in `0.5`",
    bool: "`True` or `False`",
    tuple: 'values in parentheses with commas between, as in `("abc", "def")`',
}
_NONE: Mapping[Any, str] = MappingProxyType({})
_EXERCISES: dict[str, "Exercise"] = {}


class BadAnswer(Explained, ValueError):
    """An answer that cannot be judged; the message says how an answer is written."""


class BrokenAnswers(Explained):
    """The file of answers cannot be read; the message names it and what to do."""


# Judging


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and what is said about it, in Markdown."""

    right: bool
    text: str


@dataclass(frozen=True)
class Exercise:
    """One exercise: calling it with an answer shows ✓ or a hint, and keeps the answer."""

    name: str
    notebook: str  # its number
    asks: str
    why: str  # stands after the ✓
    kind: type
    hint: Callable[[Any], str]  # nothing for a right answer

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

    def verdict(self, answer: Any) -> Verdict:
        """Judge an answer; keeps and shows nothing, raises nothing."""
        try:
            hint = self.hint(_of_kind(answer, self.kind))
        except BadAnswer as error:
            return Verdict(False, str(error))
        except ValueError as error:  # of the library, about what the answer holds
            hint = brief(error)
        except Exception as error:  # of a reader's own function, say
            hint = f"Your answer cannot be checked ({type(error).__name__}: {brief(error)})."
        return Verdict(False, f"**Not yet.** {hint}") if hint else Verdict(True, f"✓ **Right.** {self.why}")

    def solution(self, answer: Any) -> None:
        """Assert that an answer is right, for cells tagged ``solution``; keeps and shows nothing."""
        verdict = self.verdict(answer)
        assert verdict.right, f"{self.name}: {verdict.text}"


def exercise(notebook: str, why: str) -> Callable[[Callable[[Any], str]], Exercise]:
    """Make a function the exercise of the notebook with this number; ``why`` stands after the ✓.

    The function's docstring says what is asked, the type of its ``answer`` what an answer is.  It returns a
    hint, or nothing where the answer is right; a ``ValueError`` of it is shown as a hint.
    """

    def register(hint: Callable[[Any], str]) -> Exercise:
        kind = hint.__annotations__["answer"]
        found = Exercise(hint.__name__, notebook, hint.__doc__ or "", why, kind, hint)
        return _EXERCISES.setdefault(found.name, found)

    return register


def exercises(notebook: str = "") -> list[Exercise]:
    """The exercises of the notebook with this number, or all; ``check`` has to be imported before."""
    return [each for each in _EXERCISES.values() if each.notebook.startswith(notebook)]


def same(answer: Any, right: Any, usual: Mapping[Any, str] = _NONE, otherwise: str = "Look again.") -> str:
    """No hint if the answer is the right one; else that of a ``usual`` wrong answer, or ``otherwise``.

    >>> same("ab", "ba", {"ab": "The other way round."}), same("ba", "ba")
    ('The other way round.', '')
    """
    return "" if answer == right else usual.get(answer, otherwise)


def close(
    answer: float, right: float, usual: Mapping[float, str] = _NONE, otherwise: str = "", within: float = 0.05
) -> str:
    """As ``same`` for numbers: right within a share of the right one, usual within a hundredth of theirs.

    Without ``otherwise`` the hint says whether the answer is too large or too small.

    >>> close(102, 100), close(300, 100, {299: "That is all three."}), close(90, 100)
    ('', 'That is all three.', 'Your number is too small.')
    """
    if math.isclose(answer, right, rel_tol=within):
        return ""
    known = (hint for wrong, hint in usual.items() if math.isclose(answer, wrong, rel_tol=0.01))
    return next(known, otherwise or f"Your number is too {'large' if answer > right else 'small'}.")


def _missing(answer: Any) -> bool:
    return answer is ... or answer is None


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _of_kind(answer: Any, kind: type) -> Any:
    """The answer as its kind; raises ``BadAnswer`` with a sentence on how it is written."""
    how = _KINDS.get(kind, f"a `{kind.__name__}`")
    if _missing(answer):
        raise BadAnswer(f"**Not answered yet.** Write {how}, in place of `...`, and run the cell again.")
    if kind in (int, float) and _number(answer) and answer == kind(answer):
        return kind(answer)
    if kind in (int, float) or not isinstance(answer, kind):
        yours = brief(repr(answer), 60).replace("`", "'")
        raise BadAnswer(f"Please answer with {how}; yours is `{yours}`.")
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
    here, every = (_done(some, kept) for some in (exercises(notebook), exercises()))
    following = min((each for each in _titles() if each > notebook), default="")
    onwards = f"; next: {_link(following)}" if following else ""
    return f"{here} done here, {every} in all{onwards}"


def _done(some: list[Exercise], kept: Mapping[str, dict[str, Any]]) -> str:
    return f"{sum(kept.get(each.name, {}).get('right', False) for each in some)} of {len(some)}"


def progress() -> None:
    """Show all exercises as a table, with a ✓ at those that are done; raises as ``answers`` does."""
    kept = answers()
    lines = [f"{_done(exercises(), kept)} exercises done"]
    lines += ["", "| notebook | exercise | |", "|---|---|---|"]
    for each in exercises():
        mark = "✓" if kept.get(each.name, {}).get("right") else "tried" if each.name in kept else ""
        lines.append(f"| {_link(each.notebook)} | {each.asks} | {mark} |")
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
        _show(f"A guess is {_KINDS[float]}, on the axis from {min(ends):,.4g} to {max(ends):,.4g}.")
        return ax
    place, upright = min(max(value, min(ends)), max(ends)), axis == "x"
    line = (ax.axvline if upright else ax.axhline)(place, color="black", ls="--", lw=1.4)
    getattr(ax, f"set_{axis}lim")(ends)
    _write_beside(ax, line, place, upright, f"your guess: {value:,.6g}{_off(value, right)}")
    return ax


def _write_beside(ax: Any, line: Any, place: float, upright: bool, text: str) -> None:
    """A label along a line, on the side of it that has more room."""
    at = ax.transAxes.inverted().transform(line.get_transform().transform((place, place)))
    far = at[0 if upright else 1] > 0.5
    look: dict[str, Any] = {"xycoords": line.get_transform(), "textcoords": "offset points", "size": "small"}
    look["zorder"] = 1  # below the curves: it hides none
    if upright:
        look |= {"ha": "right" if far else "left", "va": "center", "rotation": 90}
        ax.annotate(text, (place, 0.5), (-4 if far else 4, 0), **look)
    else:
        ax.annotate(text, (0.02, place), (0, -4 if far else 4), **look, va="top" if far else "bottom")


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
