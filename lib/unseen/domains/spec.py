"""What is trained in how large a part on which domain; see ``unseen.domains.kinds`` for the domains.

>>> task = DomainSpec(algebra_examples=18_000, letter_examples=2_000)
>>> task.examples, task.share("algebra")
(20000, 0.9)
"""

import string
from dataclasses import dataclass
from typing import ClassVar

from unseen.fields import MOST
from unseen.tasks import TextTask

DOMAINS = ("letters", "algebra", "lists")
_PARTS = {"letters": "letter", "algebra": "algebra", "lists": "list"}  # how a domain's fields begin
ROOM = {
    "letters": 1_000,
    "algebra": 5_000,
    "lists": 450,
}  # training instructions that there are beside the held-out ones


@dataclass(frozen=True)
class DomainSpec(TextTask):
    """A budget of examples, divided over three domains; in each they are shared evenly by its instructions.

    ``counts`` is the domain whose seen and unseen instructions score the run (a specialist's own); what the model does
    on the others is asked afterwards.  ``unseen_instructions`` are held out in *each* domain, trained or not.
    ``rule_seed`` draws the instructions, ``example_seed`` the examples.  Paper, specialist and generalist experiments.
    """

    world: str = "domains"
    counts: str = "algebra"
    letter_examples: int = 0
    algebra_examples: int = 20_000
    list_examples: int = 0
    letter_instructions: int = 300
    algebra_instructions: int = 40
    list_instructions: int = 300
    unseen_instructions: int = 100
    rule_seed: int = 0
    example_seed: int = 0

    letters: ClassVar[str] = string.ascii_lowercase + string.digits + "ABC" + "+-*/^&%#"
    prompt_length: ClassVar[int] = 22  # of algebra: 5 → 5 | 9 =
    answer_length: ClassVar[int] = 12

    def budget(self, domain: str) -> int:
        """Training examples of a domain."""
        return getattr(self, f"{_PARTS[domain]}_examples")

    def number(self, domain: str) -> int:
        """Different training instructions of a domain; none where it has no examples."""
        return getattr(self, f"{_PARTS[domain]}_instructions") if self.budget(domain) else 0

    def share(self, domain: str) -> float:
        """The part of the whole budget that a domain has."""
        return self.budget(domain) / self.examples

    @property
    def examples(self) -> int:
        """N, all training examples."""
        return sum(self.budget(domain) for domain in DOMAINS)

    @property
    def instructions(self) -> int:
        """I, all training instructions."""
        return sum(self.number(domain) for domain in DOMAINS)

    def _check(self) -> None:
        if self.world != "domains":
            self._refuse("world", "this spec is of the world 'domains'")
        if self.counts not in DOMAINS:
            self._refuse("counts", f"known domains are {', '.join(DOMAINS)}")
        for name in ("rule_seed", "example_seed"):
            self._within(name, 0, MOST)
        self._within("unseen_instructions", 1, 100)
        for domain, part in _PARTS.items():
            self._within(f"{part}_examples", 0, MOST)
            self._within(f"{part}_instructions", 1, ROOM[domain])
            if 0 < self.budget(domain) < self.number(domain):
                self._refuse(
                    f"{part}_examples", f"fewer than {part}_instructions={self.number(domain)}: each needs at least one"
                )
        if not self.budget(self.counts):
            self._refuse("counts", "a domain that counts needs examples of its own, or it has no seen instructions")
