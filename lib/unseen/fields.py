"""What all specs share: frozen dataclasses whose fields pydantic checks as they are built, and the part a
digest is made of.

>>> @spec
... class Box(Checked):
...     width: Count = 3
...     share: Share = 0.5
>>> Box(2).but(share=1)
Box(width=2, share=1.0)
>>> Box(width=0, share=2, depth=1)
Traceback (most recent call last):
...
ValueError: Box.width=0: Input should be greater than or equal to 1
Box.share=2: Input should be less than or equal to 1
Box.depth: unknown field; the fields are width, share
"""

from dataclasses import asdict, field, fields, replace
from functools import partial, wraps
from typing import Annotated, Any, Self, dataclass_transform

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

MOST = 10**12  # of anything counted: a file may ask for anything, and gets an error
LONGEST = 100_000  # letters

Real = Annotated[float, AfterValidator(lambda value: value + 0.0)]  # -0.0 equals 0.0: one digest for both


def whole(low: int, high: int = MOST) -> Any:
    """The type of an integer field with bounds."""
    return Annotated[int, Field(ge=low, le=high)]


def real(low: float, high: float) -> Any:
    """The type of a field of finite numbers with bounds."""
    return Annotated[Real, Field(ge=low, le=high)]


Count, Seed, Length, Share = whole(1), whole(0), whole(1, LONGEST), real(0, 1)


def among(names: tuple[str, ...]) -> Any:
    """The type of a text field that must be one of some names."""

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"known are {', '.join(names)}")
        return value

    return Annotated[str, AfterValidator(check)]


def later(default: Any) -> Any:
    """A field added when runs were stored already: at its default it changes no digest, and a stored spec
    may lack it.
    """
    return field(default=default, metadata={"later": True})


@dataclass_transform(frozen_default=True)
def spec(cls: type) -> Any:
    """Make a class a frozen, checked dataclass; what cannot be built raises ``ValueError`` with a line for
    each problem.
    """
    made = dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))(cls)
    build = made.__init__

    @wraps(build)
    def init(self: Any, *values: Any, **named: Any) -> None:
        try:
            build(self, *values, **named)
        except ValidationError as error:
            raise ValueError("\n".join(map(partial(_sentence, made), error.errors()))) from None

    made.__init__ = init
    return made


def _sentence(cls: type, problem: dict[str, Any]) -> str:
    where, kind, why = problem["loc"], problem["type"], problem["msg"].removeprefix("Value error, ")
    if not where:  # of several fields: the check names them itself
        return why
    names = [each.name for each in fields(cls)]
    name = names[where[0]] if isinstance(where[0], int) and where[0] < len(names) else where[0]
    if kind == "missing":
        return f"{cls.__name__}.{name}: required"
    if kind.startswith("unexpected"):
        return f"{cls.__name__}.{name}: unknown field; the fields are {', '.join(names)}"
    return f"{cls.__name__}.{name}={short(problem['input'])}: {why}"


@spec
class Checked:
    """The base of all specs: checks of fields that depend on each other, and copies with changes."""

    @model_validator(mode="after")
    def _checked(self) -> Self:
        self._check()
        return self

    def _check(self) -> None:
        """Raise through ``_refuse`` or ``_within`` when the values cannot work together."""

    def _refuse(self, name: str, why: str) -> None:
        raise ValueError(f"{type(self).__name__}.{name}={short(getattr(self, name))}: {why}")

    def _within(self, name: str, low: float, high: float) -> None:
        if not low <= getattr(self, name) <= high:
            self._refuse(name, f"must be at least {low:g} and at most {high:g}")

    def _letters(self, name: str, least: int) -> None:
        """Refuse a string unless it is an alphabet: enough different letters or digits, each a byte in a
        model's input.
        """
        letters = getattr(self, name)
        if len(letters) < least or len(set(letters)) < len(letters):
            self._refuse(name, f"must hold at least {least} letter(s), each once")
        if unknown := [letter for letter in letters if not letter.isalnum()]:
            self._refuse(name, f"only letters and digits are allowed, not {short(''.join(unknown))}")
        if len(letters) > 200:
            self._refuse(name, "at most 200 letters (ids are single bytes)")

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked again."""
        return replace(self, **changes)


def lasting(part: Any) -> dict[str, Any]:
    """The fields of a part that its digest is made of."""
    added = late(type(part))
    return {name: value for name, value in asdict(part).items() if name not in added or value != added[name]}


def late(part: type) -> dict[str, Any]:
    """The fields of a part that were added later, with their defaults."""
    return {each.name: each.default for each in fields(part) if each.metadata.get("later")}


def short(value: Any) -> str:
    """A value as code, cut where a person stops reading."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes, lists in lists
        text = "a very large number or list"
    return text if len(text) <= 250 else f"{text[:250]}..."


def listed(problems: list[str], most: int = 20) -> list[str]:
    """The first of many problems, and how many more there are."""
    return problems[:most] + [f"and {len(problems) - most:,} more"] * (len(problems) > most)
