"""Tools made of the language's operations: verbs side by side, done one after the other, perhaps in a format.

New tools evolve from old ones, as ToolACE's do: by one more operation, by another operation in place of one,
by another format.  A request without an operation fits no tool, and is to be refused.

    >>> Tool(("reverse", "behead"), "square").answer("ABCD"), NONE.answer("ABCD")
    ('[CBA]', '?')
    >>> task = CompositionSpec(instructions=40, unseen_instructions=10, examples=200)
    >>> chosen = task.split()
    >>> chosen.seen[0], chosen.seen[-1]
    (Tool(operations=('reverse',), format=''), Tool(operations=('swap', 'curtail'), format='waved'))
    >>> task.training(chosen).texts(199)
    ('kindly trade shorten the text in the waved format :JEE=', '~EE~')
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from unseen.fields import Count, among, spec, whole
from unseen.messages import pair
from unseen.worlds.base import Examples, Split, generator, pick, word
from unseen.worlds.language import (
    FORMATS,
    LETTERS,
    LONGEST,
    MENTIONS,
    OPERATIONS,
    PHRASES,
    VERBS,
    WITHOUT_ARGUMENT,
    Query,
    WordTask,
    formatted,
)

SINGLE = tuple(name for name in WITHOUT_ARGUMENT if name != "copy")
DEEPEST = 3  # operations of a tool
SHORTENING = {"behead", "curtail"}  # a tool has one of them at most
REFUSED = "?"


class Tool(NamedTuple):
    """Operations, one after the other, and the format of the result ("" for a plain one)."""

    operations: tuple[str, ...]
    format: str = ""

    def answer(self, text: str) -> str:
        """The right answer to an input; without operations there is nothing to do but to refuse."""
        for name in self.operations:
            text = OPERATIONS[name](text, "")
        return formatted(text, self.format) if self.operations else REFUSED


NONE = Tool(())  # what a request without an operation is about


class Made(NamedTuple):
    """A request, the tool that it is about, and an answer, right or wrong."""

    tool: Tool
    query: Query
    answer: str


def evolved(tool: Tool, rng: np.random.Generator) -> Tool:
    """A tool with one more operation, another one, or another format; an impossible change gives ``tool``.

    >>> evolved(Tool(("sort",)), np.random.default_rng(0))
    Tool(operations=('previous',), format='')
    """
    done, new, kind = list(tool.operations), pick(SINGLE, rng), int(rng.integers(3))
    if kind == 2:
        return tool._replace(format=pick(FORMATS, rng))
    at = int(rng.integers(len(done) + 1 - kind))
    done[at : at + kind] = [new]
    possible = len(set(done)) == len(done) <= DEEPEST and len(SHORTENING.intersection(done)) < 2
    return tool._replace(operations=tuple(done)) if possible else tool


def request(tool: Tool, rng: np.random.Generator) -> Made:
    """A request for a tool on a random input in a random phrasing, with its right answer."""
    text = word(LETTERS, int(rng.integers(3, LONGEST + 1)), rng)
    verbs = " ".join(pick(VERBS[name], rng) for name in tool.operations)
    mention = pick(MENTIONS, rng).format(tool.format) if tool.format else ""
    query = Query("", "", verbs, pick(PHRASES, rng), text, tool.format, mention)
    return Made(tool, query, tool.answer(text))


@spec
class CompositionSpec(WordTask):
    """Requests for tools that evolved from single operations; no order of operations of a held-out tool is
    trained in any format.

    ``rule_seed`` draws the tools, ``example_seed`` the requests.
    """

    streams: ClassVar[tuple[str, str]] = ("requests", "requests, {}")

    world: among(("compositions",)) = "compositions"
    instructions: whole(1, 5_000) = 200
    unseen_instructions: whole(1, 1_000) = 50
    examples: Count = 400

    def _check(self) -> None:
        pass  # not every tool needs a request

    def split(self) -> Split:
        """The tools of training, single operations first, and the held-out ones, all of them composed."""
        rng, seen, unseen = generator(self.rule_seed, "tools"), [Tool((name,)) for name in SINGLE], []
        held: dict[tuple[str, ...], bool] = dict.fromkeys([tool.operations for tool in seen], False)
        while len(seen) < self.instructions or len(unseen) < self.unseen_instructions:
            tool = evolved(pick(seen + unseen, rng), rng)
            share = self.unseen_instructions / (self.instructions + self.unseen_instructions)
            side = unseen if held.setdefault(tool.operations, bool(rng.random() < share)) else seen
            if tool not in side:
                side.append(tool)
        return Split(tuple(seen[: self.instructions]), tuple(unseen[: self.unseen_instructions]))

    def draw(self, tools: Sequence[Tool], which: np.ndarray, rng: np.random.Generator) -> Examples:
        """A request for each of the tools ``which`` (N,)."""
        return self.of_rows([request(tools[at], rng) for at in which])

    def of_rows(self, rows: Sequence[Made]) -> Examples:
        """Requests as token ids, with the answers that they have."""
        return self.examples_of([pair(made.query.content, made.answer) for made in rows])
