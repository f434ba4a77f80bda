"""Plain queries about some operations of the language; a few are held out, with their verbs.

A model that is tuned on one of these has to learn what it does and what it is called.

    >>> task = OperationsSpec(examples=80)
    >>> split = task.split()
    >>> split.unseen
    ('rotate', 'curtail', 'descend', 'pairs')
    >>> task.training(split).texts(0)
    ('just reverse the word :HEFB=', 'BFEH')
"""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from unseen.fields import Count, among, spec
from unseen.layout import Layout
from unseen.worlds import language
from unseen.worlds.base import Examples, Split, Task, generator
from unseen.worlds.language import LETTERS, LONGEST, WITHOUT_ARGUMENT, WORDS, conversation

_QUERY = 10  # tokens of the longest query without a format, with ``=`` behind it


@spec
class OperationsSpec(Task):
    """Queries about ``instructions`` operations in any phrasing; ``unseen_instructions`` others are held out.

    ``rule_seed`` draws which, ``example_seed`` the queries.  No operation has an argument.
    """

    world: among(("operations",)) = "operations"
    layout: ClassVar[Layout] = Layout(LETTERS + ":", _QUERY, LONGEST + 1, WORDS)
    instructions: Annotated[int, Field(ge=1, le=len(WITHOUT_ARGUMENT))] = 8
    unseen_instructions: Annotated[int, Field(ge=1, le=len(WITHOUT_ARGUMENT) - 1)] = 4
    examples: Count = 64_000

    def split(self) -> Split:
        """The names of the operations that are trained, and of those held out, which are the same whatever
        the number of ``instructions``; if it is all, they are trained too.
        """
        order = [str(name) for name in generator(self.rule_seed, "operations").permutation(WITHOUT_ARGUMENT)]
        return Split(tuple(order[: self.instructions]), tuple(order[-self.unseen_instructions :]))

    def draw(self, instructions: tuple[str, ...], which: np.ndarray, rng: np.random.Generator) -> Examples:
        """A query for each entry of ``which`` (N,), on a random input in a random phrasing."""
        rows = [conversation(language.draw(instructions[at], rng)) for at in which.tolist()]
        return Examples.of(self.layout, [(f"{asked.content}=", said.content) for asked, said in rows], which)
