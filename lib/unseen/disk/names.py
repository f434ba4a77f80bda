"""Names of folders that a person chooses: fit for every machine, and never a way out of their place.

Pure text, no file is looked at: a link that leads elsewhere is for the caller to notice.
"""

from itertools import product
from typing import Any

LONGEST, LONGEST_BYTES, DEEPEST = 100, 255, 8  # characters and bytes of a part, parts of a name
SIGNS = " _-.{}"
_WINDOWS = {"CON", "PRN", "AUX", "NUL", *map("".join, product(("COM", "LPT"), "0123456789"))}
_ALLOWED = (
    f"each part is 1 to {LONGEST} letters, digits or signs out of {SIGNS!r}, "
    "starts with neither - nor . and ends with neither a space nor a dot"
)


class BadName(ValueError):
    """A name is not fit for a folder; the message tells the name, the part of it that is wrong, and what is allowed."""


def check_name(name: str, what: str) -> str:
    """The name itself, one to eight parts with ``/`` between them; ``what`` it names is for the error.

    Raises ``BadName`` for a name that would climb out of its folder, and for one that some file system, shell
    or person would trip over: no text, empty or long parts, other signs than those allowed, names reserved on
    Windows.  The first part is not ``store``, where the project keeps its runs.

    >>> check_name("smoke/première série", "output folder")
    'smoke/première série'
    >>> check_name("../x", "output folder")
    Traceback (most recent call last):
    ...
    unseen.disk.names.BadName: output folder '../x' would lie outside its place
    >>> check_name("mine/con.txt", "output folder")
    Traceback (most recent call last):
    ...
    unseen.disk.names.BadName: output folder 'mine/con.txt': 'con.txt' is a name that Windows keeps for itself; each part ...
    """
    if not isinstance(name, str):
        raise BadName(f"{what} {shown(name)} must be text")
    parts = name.split("/")
    if ".." in parts or name.startswith("/"):
        raise BadName(f"{what} {shown(name)} would lie outside its place")
    if len(parts) > DEEPEST:
        raise BadName(f"{what} {shown(name)} has {len(parts)} parts; at most {DEEPEST} are allowed")
    if parts[0].casefold() == "store":
        raise BadName(f"{what} {shown(name)}: {parts[0]!r} is where the project keeps its runs; choose another name")
    for part in parts:
        if fault := _fault(part):
            raise BadName(f"{what} {shown(name)}: {shown(part)} {fault}; {_ALLOWED}")
    return name


def _fault(part: str) -> str | None:
    """What is wrong with one part of a name, if anything."""
    if not part:
        return "is empty"
    if odd := [sign for sign in part if not (sign.isalpha() or sign.isdecimal() or sign in SIGNS)]:
        return f"holds {odd[0]!r}"
    if len(part) > LONGEST:
        return f"has {len(part)} characters"
    if len(part.encode()) > LONGEST_BYTES:
        return f"takes {len(part.encode())} bytes, and a file system has room for {LONGEST_BYTES}"
    if part[0] in "-.":
        return f"starts with {part[0]!r}"
    if part[-1] in " .":
        return f"ends with {part[-1]!r}"
    return "is a name that Windows keeps for itself" if part.split(".")[0].strip().upper() in _WINDOWS else None


def shown(value: Any, longest: int = 60) -> str:
    """A value as an error shows it: short, on one line, whatever it is.

    >>> shown("two\\nlines"), shown("a" * 100, longest=10)
    ("'two\\\\nlines'", "'aaaaaa...")
    """
    try:
        text = repr(value)
    except Exception:  # a number too long to print, or an object whose own repr fails
        text = f"a value of type {type(value).__name__}"
    text = text if len(text) <= longest else f"{text[: longest - 3]}..."
    return "".join(sign if sign.isprintable() else " " for sign in text)
