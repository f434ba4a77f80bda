"""The axes of the semantics and the occurrences experiments at each scale (paper, experiments 4 and 5).

>>> [setting.name for setting in semantics("quick")][-2:]
['mixed, k 3-9', 'mixed, k 5-9']
>>> [setting.name for setting in occurrences("quick")]
['1', '8', '1, 2, 4, 6, 8']
"""

import string

from unseen.diversity.experiments import SEEDS, with_task
from unseen.families import FORMS
from unseen.scales import Setting, scale
from unseen.specs import RunSpec

_MORE_SEEDS = {
    "smoke": (0, 1),
    "quick": tuple(range(5)),
    "full": tuple(range(8)),
    "paper": (0,),
}  # of large k alone: seeds differ much
_FAMILIES = (*FORMS, "mixed")
TEST_K = {"smoke": (1, 2, 4), "quick": (1, 2, 3, 5, 9), "full": (1, 2, 3, 4, 6, 12), "paper": (1, 2, 3, 6, 12, 30, 60)}


def semantics(name: str) -> tuple[Setting, ...]:
    """Training rules of each family and their mixture, over ranges of k, and a mixture of large k alone.

    Lengths: 9 letters in 14 at ``quick``, 12 in 20 at ``full``, the paper's 60 in 500 at ``paper``.
    """
    length, room, unseen = {
        "smoke": (4, 6, 5),
        "quick": (9, 14, 200),
        "full": (12, 20, 200),
        "paper": (60, 500, 2_000),
    }[name]
    base = with_task(scale(name).main.base, pattern_length=length, replacement_length=length, input_length=room,
                     unseen_instructions=unseen)  # fmt: skip
    sizes = {"smoke": (16,), "quick": (2_000,)}.get(name, (500, 1_000, 5_000, 10_000))
    ends = {"smoke": (4,), "quick": (4, 9), "full": (4, 6, 12)}.get(name, (4, 6, 12, 20, 30, 60))
    low = 2 if name == "smoke" else 3
    settings = []
    for family in _FAMILIES:
        for high in ends:
            if name == "quick" and high < ends[-1] and family != "mixed":
                continue
            more = (500,) if name == "quick" and family == "mixed" and high == ends[-1] else ()
            # No verdict hangs on the shorter ranges: one seed for quick's one of the mixture and for full's of a single family.
            aside = high < ends[-1] and name == ("quick" if family == "mixed" else "full")
            settings.append(_setting(base, family, low, high, more + sizes, SEEDS[name][: 1 if aside else None]))
    large = {"smoke": 3, "quick": 5, "full": 6, "paper": 20}[name]
    few = (500, 1_000, 3_000) if name == "full" else sizes  # there are not 5,000 rules of large k with unseen ones left
    return *settings, _setting(base, "mixed", large, ends[-1], few, _MORE_SEEDS[name])


def _setting(
    base: RunSpec, family: str, low: int, high: int, sizes: tuple[int, ...], seeds: tuple[int, ...]
) -> Setting:
    return Setting(f"{family}, k {low}-{high}", with_task(base, family=family, k_low=low, k_high=high), sizes, seeds)


def occurrences(name: str) -> tuple[Setting, ...]:
    """Inputs that hold their pattern so many times, or each of these numbers equally often.

    The paper trains with 1, 5, 10, 15 or 20 occurrences or all of them.  Patterns have two letters here (of an alphabet
    of 62, so that there are enough of them), and at ``quick`` inputs have 18 letters, which hold up to 8.
    """
    numbers = NUMBERS[name]
    room = {"smoke": 10, "quick": 18, "full": 42, "paper": 50}[name]
    letters = "abcdefgh" if name == "smoke" else string.ascii_letters + string.digits
    base = with_task(scale(name).main.base, alphabet=letters, pattern_length=2, replacement_length=2, input_length=room,
                     unseen_instructions=10 if name == "smoke" else 500)  # fmt: skip
    mix = with_task(base, also_occurrences=",".join(map(str, numbers[1:])))
    alone = (numbers[0], numbers[-1]) if name in ("smoke", "quick") else numbers
    sizes = {"smoke": (16,), "quick": (500, 2_000)}.get(name, (200, 500, 1_000, 2_000))
    fewest = (200,) if name == "quick" else ()
    return (
        *(Setting(str(number), with_task(base, occurrences=number), sizes, SEEDS[name]) for number in alone),
        Setting(", ".join(map(str, numbers)), mix, fewest + sizes, SEEDS[name]),
    )


NUMBERS = {"smoke": (1, 2, 3, 4, 5), "quick": (1, 2, 4, 6, 8), "full": (1, 5, 10, 15, 20), "paper": (1, 5, 10, 15, 20)}
