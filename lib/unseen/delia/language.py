"""A symbolic instruction language, in plain strings: operations, the many ways to ask for them, and formats of the answer.

This is the oracle of the world of DELIA.  A query asks for an operation on a string of capitals, in one of many phrasings,
and may name a format, or ask not to use one; the instruction stands before the input or behind it.

    >>> query = Query("reverse", "", "flip", "please {} this", "ABCD", "square", "in the square format")
    >>> query.content, query.answer
    ('please flip this in the square format : ABCD', '[DCBA]')
    >>> Query("rewrite", "AB CD", "replace", "now {} it", "DAB").content
    'now replace AB by CD in it : DAB'
"""

from collections.abc import Callable
from dataclasses import dataclass

LETTERS = "ABCDEFGHIJ"
TOKEN = "<sep>"  # the new token, in no query of the language itself
LONGEST = 4  # letters of an input, and of the plain answer to it


def _moved(text: str, by: int) -> str:
    return "".join(LETTERS[(LETTERS.index(letter) + by) % len(LETTERS)] for letter in text)


def _rewrite(text: str, argument: str) -> str:
    pattern, replacement = argument.split()
    return text.replace(pattern, replacement, 1)


OPERATIONS: dict[str, Callable[[str, str], str]] = {  # of an input and an argument, which most do without
    "copy": lambda z, _: z,
    "reverse": lambda z, _: z[::-1],
    "sort": lambda z, _: "".join(sorted(z)),
    "descend": lambda z, _: "".join(sorted(z, reverse=True)),
    "rotate": lambda z, _: z[1:] + z[:1],
    "unrotate": lambda z, _: z[-1:] + z[:-1],
    "swap": lambda z, _: z[-1:] + z[1:-1] + z[:1],
    "behead": lambda z, _: z[1:],
    "curtail": lambda z, _: z[:-1],
    "next": lambda z, _: _moved(z, 1),
    "previous": lambda z, _: _moved(z, -1),
    "pairs": lambda z, _: "".join(z[i : i + 2][::-1] for i in range(0, len(z), 2)),
    "delete": lambda z, letter: z.replace(letter, ""),
    "rewrite": _rewrite,  # one step of a Markov algorithm, the pattern at its leftmost place
}
VERBS = {
    "copy": ("copy", "echo", "repeat"),
    "reverse": ("reverse", "flip", "mirror"),
    "sort": ("sort", "order", "arrange"),
    "descend": ("descend", "downsort", "decline"),
    "rotate": ("rotate", "turn", "roll"),
    "unrotate": ("unrotate", "unturn", "unroll"),
    "swap": ("swap", "exchange", "trade"),
    "behead": ("behead", "skip", "decapitate"),
    "curtail": ("curtail", "trim", "shorten"),
    "next": ("advance", "increment", "raise"),
    "previous": ("retreat", "decrement", "reduce"),
    "pairs": ("pair", "cross", "weave"),
    "delete": ("delete", "remove", "erase"),
    "rewrite": ("replace", "substitute", "change"),
}
PHRASES = ("{} this", "please {} this", "{} the letters", "now {} it", "can you {} it", "kindly {} the text",
           "you should {} this", "{} the string", "we must {} it", "just {} the word")  # fmt: skip
_WRAPS = {"square": "[]", "round": "()", "curly": "{}", "angle": "<>", "quoted": '""', "starred": "**", "slashed": "//",
          "waved": "~~"}  # fmt: skip
_JOINS = {"dashed": "-", "listed": ",", "scored": "_", "summed": "+"}
_ENDS = {"loud": ("", "!"), "asking": ("", "?"), "hashed": ("#", ""), "keyed": ("Z:", "")}
FORMATS = (*_WRAPS, *_JOINS, *_ENDS)  # each is its own name of one word
PAIRS = dict(zip(FORMATS, (f"{one} {two}" for one in ("hard", "soft", "plain", "fancy") for two in ("edge", "line", "mark", "frame")),
                 strict=True))  # fmt: skip  # names of two words, none of which names a format alone
MENTIONS = ("in the {} format", "use the {} format", "in {} format", "with the {} format")
REFUSALS = ("do not use the {} format", "not in the {} format", "never use {} format")
WORDS = tuple(sorted({word for text in (*PHRASES, *MENTIONS, *REFUSALS, *PAIRS.values(), *FORMATS, "by in from", *(v for verbs in
              VERBS.values() for v in verbs)) for word in text.replace("{}", "").split()}))  # fmt: skip
MARKS = '[](){}<>"*/~-,_+!?#:Z'  # of formats, and the colon of a query


def formatted(plain: str, name: str) -> str:
    """An answer in the format of that name; without a name it stays plain.

    >>> [formatted("ABC", name) for name in ("", "curly", "dashed", "keyed")]
    ['ABC', '{ABC}', 'A-B-C', 'Z:ABC']
    """
    if not name:
        return plain
    if name in _JOINS:
        return _JOINS[name].join(plain)
    left, right = _WRAPS.get(name) or _ENDS[name]
    return f"{left}{plain}{right}"


@dataclass(frozen=True)
class Query:
    """One query of the language: an operation with its argument, how it is asked for, the input, and what is said of formats.

    ``format`` is the one that the answer has ("" for a plain one), ``mention`` what the query says of formats: it names
    the format, by any of its names, or refuses one.  ``after`` puts the instruction behind the input.
    """

    operation: str
    argument: str
    verb: str
    phrase: str
    text: str
    format: str = ""
    mention: str = ""
    after: bool = False

    @property
    def instruction(self) -> str:
        """What is asked, without the input."""
        told = {"rewrite": " {} by {} in", "delete": " {} from"}.get(self.operation, "").format(*self.argument.split())
        return f"{self.phrase.format(self.verb + told)} {self.mention}".strip()

    @property
    def content(self) -> str:
        """The query as a model reads it."""
        return f"{self.text} : {self.instruction}" if self.after else f"{self.instruction} : {self.text}"

    @property
    def plain(self) -> str:
        """The right answer, without a format."""
        return OPERATIONS[self.operation](self.text, self.argument)

    @property
    def answer(self) -> str:
        """The right answer."""
        return formatted(self.plain, self.format)
