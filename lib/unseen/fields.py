"""What the fields of a spec share: types and bounds checked as it is built, errors that name field and value, later fields."""

from dataclasses import asdict, field, fields, replace
from typing import Any, Self

MOST, LONGEST = 10**12, 100_000  # of anything counted; letters: a file may ask for anything, and gets an error


def later(default: Any) -> Any:
    """A field that came when runs were stored already: at its default it changes no digest, and a stored spec may lack it."""
    return field(default=default, metadata={"later": True})


class Checked:
    """Shared by the specs: typed fields, errors that name the field, copies with changes."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.type is float and type(value) in (int, float):
                object.__setattr__(self, each.name, self._float(each.name, value))
            elif type(value) is not each.type and not (issubclass(each.type, Checked) and isinstance(value, each.type)):
                self._refuse(each.name, f"expected {each.type.__name__}, got {type(value).__name__}")
        self._check()

    def _float(self, name: str, value: float) -> float:
        try:
            return float(value) + 0.0  # -0.0 is equal to 0.0: one digest for both
        except OverflowError:
            self._refuse(name, "no such number")

    def _check(self) -> None:
        """Raise through ``_refuse`` or ``_within`` when the values cannot work together."""

    def _refuse(self, name: str, why: str) -> None:
        raise ValueError(f"{type(self).__name__}.{name}={short(getattr(self, name))}: {why}")

    def _within(self, name: str, low: float, high: float) -> None:
        if not low <= getattr(self, name) <= high:
            self._refuse(name, f"must be at least {low:g} and at most {high:g}")

    def _letters(self, name: str, least: int) -> None:
        """Refuse a string unless it is an alphabet: so many different letters or digits, each a byte in a model's input."""
        letters = getattr(self, name)
        if len(letters) < least or len(set(letters)) < len(letters):
            number = "one letter" if least == 1 else f"{least} letters"
            self._refuse(name, f"must hold at least {number}, each once")
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
    """The fields of a part that came later, with their defaults."""
    return {each.name: each.default for each in fields(part) if each.metadata.get("later")}


def short(value: Any) -> str:
    """A value as code, cut where a person stops reading."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes, lists in lists
        text = "a very large number or list"
    return text if len(text) <= 250 else f"{text[:250]}..."


def same_names(where: str, given: Any, known: Any) -> None:
    """Raise ``ValueError`` unless ``given`` is a dictionary with exactly the ``known`` names."""
    if not isinstance(given, dict):
        raise ValueError(f"{where}: expected fields {sorted(known)}, got {short(given)}")
    if odd := set(given) ^ set(known):
        raise ValueError(f"{where}: unknown or missing {short(sorted(odd))}; the fields are {sorted(known)}")
