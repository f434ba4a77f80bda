"""What the papers published, as data, each with where it stands.

The paper measured a larger model on longer strings (``scale="paper"``), so its numbers are drawn beside
ours as a reference, never fitted.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedThreshold:
    """How many instructions a model needs before it follows unseen ones, as published."""

    source: str
    never_below: int
    always_from: int
    sharp_near: tuple[int, ...]


INSTRUCTION_DIVERSITY = PublishedThreshold(
    source="Zhang, Wang and Charton, arXiv 2402.10891, on a budget of 10^6 examples",
    never_below=300,
    always_from=1_000,
    sharp_near=(400, 500),  # two passages of the paper differ
)
