"""Verdicts on published claims: every bound of every criterion from both sides, and the edges of the data.

Very little decides a verdict, and nothing else does: frames hold nonsense wherever a judge must not look.
"""

import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from curves import results, step_at
from unseen.files import project_folder
from unseen.studies.claims import (
    CLAIMS,
    NOT,
    NOT_RUN,
    PARTLY,
    REPRODUCED,
    false_pass,
    judged,
    verdicts,
    write_verdicts,
)
from unseen.studies.published import UNEVEN
from unseen.studies.transfer import no_effect
from unseen.worlds.tuning import KINDS

JUDGES = {claim.judge: claim.verdict for claim in CLAIMS}
BY_SEED = (
    "large_k_suffices",
    "large_k_fails",
    "mixture",
    "mixed_occurrences",
    "mix_at_500",
    "none_at_200",
    "novelsum",
    "novelselect",
    "coverage",
    "kmq",
)  # judges that read the single seeds
LITTLE = 0.0003
NONSENSE = 7.0  # what is measured where a judge must not look
VALUES = ("accuracy", "loss", "cosine", "value")


def frame(columns, rows, **same):
    return pd.DataFrame(rows, columns=columns.split()).assign(**same)


def value_of(made):
    return next(name for name in VALUES if name in made)


def beside(made, **others):
    """The frame, and for each column all of it again with another value there, and nonsense measured."""
    decoys = [made.assign(**{column: other, value_of(made): NONSENSE}) for column, other in others.items()]
    return pd.concat([made, *decoys], ignore_index=True)


def two_seeds(made):
    """The same means from two seeds, of which neither alone has the verdict."""
    value = value_of(made)
    signs = np.array([1 - 2 * (row.bit_count() % 2) for row in range(len(made))])
    by = 0.05 * signs * made[value].abs().clip(lower=1)
    seeds = [made.assign(seed=seed, **{value: made[value] + sign * by}) for seed, sign in ((0, 1), (1, -1))]
    return pd.concat(seeds)


# Frames that hold what one judge reads, each by the number that decides


def main(unseen, seen=None):
    """Notebook 10: accuracy by number of instructions."""
    made = results(unseen.get, sizes=tuple(unseen))
    if seen is not None:
        made.loc[made["split"] == "seen", "accuracy"] = seen
    return beside(made, setting="gpt2")


def no_ops(half, without=200.0):
    """Notebook 11: half accuracy at these numbers."""
    rows = [(share, middle * factor, accuracy)
            for share, middle in ((0.0, without), (0.1, without), (0.3, half))
            for factor, accuracy in ((0.1, 0.0), (10.0, 1.0))]  # fmt: skip
    made = frame("no_op_share instructions accuracy", rows, kind="has-op", split="unseen")
    no_op = made[made["no_op_share"] == 0.3].assign(kind="no-op", accuracy=NONSENSE)
    return pd.concat([beside(made, split="seen"), no_op])


def beyond(least, no_op=0.99):
    """Notebook 11 at the most instructions: has-op from ``least`` to 0.9 over the shares."""
    rows = [(0.0, "has-op", 0.9), (0.3, "has-op", least), (0.3, "no-op", no_op), (0.5, "no-op", 1.0)]
    most = frame("no_op_share kind accuracy", rows, split="unseen", instructions=3_000)
    return beside(pd.concat([most, most.assign(instructions=10, accuracy=0.0)]), split="seen")


def tail(size, **found):
    """Notebook 12: even shares give 0.8; ``mild`` a = 0.2, ``strong`` 0.1, ``worst`` 0.03, others as even."""
    shapes = {"even": 1.0, "mild": 0.2, "strong": 0.1, "worst": 0.03}
    rows = [(shape, found.get(name, 0.8)) for name, shape in shapes.items()]
    made = frame("concentration accuracy", rows, split="unseen", instructions=size)
    return beside(made, split="seen", instructions=300)


def forms(mixed=0.9, alone=0.0, few=0.0, large=0.0):
    """Notebook 13: means over k = 1 and 2.  ``large`` is the mean of three seeds that lie 0.01 apart."""
    rows = [("mixed", 3, 2_000, 0, mixed), ("repeated", 3, 2_000, 0, 0.0), ("periodic", 3, 2_000, 0, alone),
            ("mixed", 3, 500, 0, few), ("periodic", 3, 500, 0, 0.95), ("mixed", 5, 500, 0, 0.3)]  # fmt: skip
    rows += [("mixed", 5, 2_000, seed, large + 0.01 * (seed - 1)) for seed in range(3)]
    made = frame("family k_low instructions seed accuracy", rows, setting="one", k_high=9)
    parts = [made.assign(k=k, accuracy=made["accuracy"] + by) for k, by in ((1, -0.05), (2, 0.05))]
    return pd.concat([*parts, made.assign(k=3, accuracy=NONSENSE)], ignore_index=True)


REACH = student.ppf(0.975, 2) * 0.01 / np.sqrt(3)  # of the interval over the three seeds of ``forms``


def occurrences(size, mix, *alone):
    """Notebook 14: a mix in three seeds, 0.01 apart, and single numbers, as far below it in each seed.

    With other numbers of instructions all is alike.
    """
    ways = [*((str(number), value) for number, value in enumerate(alone, 1)), ("1, 2", mix)]
    rows = [(way, seed, asked, value + 0.01 * (seed - 1) + 0.05 * (asked - 2))
            for way, value in ways for seed in range(3) for asked in (1, 3)]  # fmt: skip
    made = frame("trained seed asked accuracy", rows, instructions=size, decoys=2, among=2)
    others = [made.assign(instructions=other, accuracy=0.5) for other in {2_000, 500, 200} - {size}]
    return beside(pd.concat([made, *others]), decoys=0, among=0)


def apart(size, mix, alone):
    """Notebook 14: the single number lies below the mix by 0.01 more or less in the three seeds."""
    made = occurrences(size, mix, alone)
    return made.assign(accuracy=made["accuracy"].where(made["trained"] != "1", alone))


def choices(**accuracy):
    """Notebook 30: ways to choose in three seeds, whose differences within a seed vary by 0.01."""
    names = {"plain": "random", "centre": "k-center scout", "novel": "novelselect scout",
             "sae": "sae answers", "directions": "random-directions answers", "kmq": "kmq scout, 20 % wrong",
             "spoiled": "random, 20 % wrong", "far": "k-center scout, 20 % wrong"}  # fmt: skip
    known = dict.fromkeys(names, 0.5) | {"plain": 0.4, "far": 0.2, "directions": 0.3} | accuracy
    rows = [(names[way], seed, value + 0.01 * (seed - 1) * (way in ("novel", "sae", "kmq", "spoiled")))
            for way, value in known.items() for seed in range(3)]  # fmt: skip
    return beside(frame("setting seed accuracy", rows, split="unseen"), split="seen")


def spread(r, older=0.0, noise=0.0):
    """Notebook 30: sets whose NovelSum correlates by ``r`` with the score, a little more in the last seed."""
    rows = []
    for seed in range(3):
        a, b = np.array([1.0, -1, 1, -1]), np.array([1.0, 1, -1, -1])
        for each in (r + noise * (seed - 1), older):
            rows.append(each * a + np.sqrt(1 - min(1, abs(each)) ** 2) * b)
        rows[-2:] = [(f"way {i}", seed, a[i], rows[-2][i], rows[-1][i]) for i in range(4)]
    columns = ["setting", "seed", "accuracy", "NovelSum, scout", "mean distance, scout"]
    made = pd.DataFrame(rows, columns=columns).assign(split="unseen")
    return pd.concat([made, made.assign(setting="way 0, paid", accuracy=NONSENSE)], ignore_index=True)


def tuned(plain=(0.99, 0.0, 0.9), encrypted=None):
    """Notebook 15: no-op and has-op at 10 instructions, has-op at 3,000."""
    rows = []
    for work, (no_op, has_op, many) in (("plain", plain), ("encrypted", encrypted or plain)):
        rows += [(work, 10, "no-op", no_op), (work, 10, "has-op", has_op)]
        rows += [(work, 3_000, "no-op", 1.0), (work, 3_000, "has-op", many)]
    made = frame("work instructions kind accuracy", rows, data="all", split="unseen", start="pre-trained")
    return beside(made, data="a quarter", split="seen", start="from scratch")


def halved(even=0.8, first=0.0, second=0.0):
    """Notebook 15: has-op on all data is 0.8."""
    rows = [("all", 0.8), ("even half", even), *zip(UNEVEN, (first, second), strict=True)]
    where = {"instructions": 3_000, "split": "unseen", "start": "pre-trained"}
    made = frame("data accuracy", rows, work="plain", kind="has-op", **where)
    return beside(made, work="encrypted", kind="no-op", split="seen", start="from scratch")


def mixture(inside, worst=None, pure=0.2, least=0.1):
    """Notebook 18, experiment 7: an interior share in the mean and in the worse of two seeds.

    With more own rules all own is best.
    """
    worst = inside if worst is None else worst
    rows = [
        (rules, share, seed, value)
        for rules in (100, 1_000)
        for seed, within in enumerate((worst, 2 * inside - worst))
        for share, value in ((0.2, least), (0.5, within), (1.0, pure if rules == 100 else 0.99))
    ]
    made = frame("own_rules own_share seed accuracy", rows, experiment="7", kind="algebra", split="unseen")
    return beside(made, experiment="7 alone", kind="lists", split="seen")


def tenth(mixed, pure=0.2, same=0.1, wider=0.1):
    """Notebook 18, experiment 8; not every scale has the ``wider`` set."""
    rows = [("nine tenths own", mixed), ("N own", pure), ("3.75 N own", same)]
    rows += [("3.75 N own, 3.75 x rules", wider)] if wider else []
    made = frame("setting accuracy", rows, experiment="8", kind="algebra", split="unseen", seed=0)
    return beside(made, experiment="9", kind="lists", split="seen")


def generalist(two=0.9, three=0.9, strange_two=0.9, strange_three=0.9):
    """Notebook 18, experiment 9: the best single domain has 0.3 on the domains and 0.1 on other kinds."""
    known = {"letters": (0.1, 0.0), "algebra": (0.3, 0.1), "lists": (0.1, 0.0)}
    known |= {"algebra and letters": (two, strange_two), "all three": (three, strange_three)}
    kinds = (("letters", 0, -0.2), ("digits", 1, -0.2), ("moves", 1, 0.2), ("lists", 0, 0.2))
    rows = [(name, kind, means[part] + by) for name, means in known.items() for kind, part, by in kinds]
    made = frame("setting kind accuracy", rows, experiment="9", split="unseen")
    return beside(made, experiment="7", split="seen")


def ratios(best):
    """Notebook 21: plain tuning has 0.5 in the mean over the kinds of prompts."""
    rows = [
        (ratio, kind, value + 0.1 * (place - 2))
        for ratio, value in ((0, 0.5), (5, 0.4), (67, best))
        for place, kind in enumerate(KINDS[:5])
    ]
    return beside(frame("ratio prompts accuracy", rows, study="ratio"), study="rivals", prompts="not token")


def losses(*ends):
    """Notebook 21, format loss at the end by ratio; without diverse data it is 2."""
    rows = [
        (ratio, step, value)
        for ratio, end in zip((0, 5, 67), (2.0, *ends), strict=True)
        for step, value in ((0, 20.0), (9, end))
    ]
    return beside(frame("ratio step loss", rows, prompts="other+token"), prompts="task", step=4)


def phases(token=0.9, without=1.0, refused=1.0, regime="equal", ratio=67):
    """Notebook 22: one regime and ratio have these values; nothing else works."""
    rows = [
        (each, r, kind, value if (each, r) == (regime, ratio) else 0.0)
        for each in ("equal", "fast")
        for r in (0, 5, 67)
        for kind, value in (("other+token", token), ("other", without), ("not token", refused))
    ]
    return beside(frame("regime ratio prompts accuracy", rows, study="phases"), study="tasks")


def angles(gain, opposed=-0.1):
    """Notebook 23: the composite's gain in cosine to the ideal, the diverse gradient's cosine to the bias."""
    rows = [("task", "ideal", 0.2), ("composite", "ideal", 0.2 + gain)]
    rows += [("task", "bias", 0.5), ("diverse", "bias", opposed)]
    made = beside(
        frame("gradient along cosine", rows, part="all weights", ratio=67, step=0), part="head", ratio=0
    )
    return made.replace({"cosine": {NONSENSE: -NONSENSE}})  # positive ones would serve the claim


def scores(best):
    """Notebook 24: without diverse data chrF is 50."""
    rows = [("plain tuning", 0, 50.0), ("DELIA", 5, 40.0), ("DELIA", 67, best)]
    made = frame("method ratio value", rows, task="translation", prompts="task", score="chrF")
    return beside(made, task="formats", prompts="other", score="BLEU", method="base")


STEP = {10: 0.0, 200: 0.0, 500: 1.0, 3_000: 1.0}
BOUNDS = [  # a judge, its frame by one number, where that number decides, the verdicts below and above
    ("threshold", lambda x: main(STEP | {200: x}), 0.05, REPRODUCED, PARTLY),
    ("threshold", lambda x: main(STEP | {500: x, 3_000: x}), 0.9, PARTLY, REPRODUCED),
    ("threshold", lambda x: main({10: 0.0, 100: 0.0, 100 * x: 1.0}), 10, REPRODUCED, PARTLY),
    ("threshold", lambda x: main({10: 0.0, 100: 0.0, 400: x, 1_500: 1.0}), 0.9, PARTLY, REPRODUCED),
    ("threshold", lambda x: main({10: 0.0, 50: 0.0, 400: x, 600: 1.0}), 0.1, REPRODUCED, PARTLY),
    ("threshold", lambda x: main({10: 0.2, 3_000: 0.2 + x}), 0.5, NOT, PARTLY),
    ("memory", lambda x: main(STEP, x), 0.9, PARTLY, REPRODUCED),
    ("memory", lambda x: main(STEP | {10: x}, 0.95), 0.05, REPRODUCED, PARTLY),
    ("memory", lambda x: main(STEP | {10: 0.2}, 0.2 + x), 0.5, NOT, PARTLY),
    ("no_op_threshold", lambda x: no_ops(200 * x), 1.5, REPRODUCED, PARTLY),
    ("no_op_threshold", lambda x: no_ops(200 * x), 2.5, PARTLY, NOT),
    ("no_op_threshold", lambda x: no_ops(200 * x), 1 / 1.5, PARTLY, REPRODUCED),
    ("no_op_threshold", lambda x: no_ops(200 * x), 1 / 2.5, NOT, PARTLY),
    ("no_op_share", beyond, 0.85, PARTLY, REPRODUCED),
    ("no_op_share", beyond, 0.75, NOT, PARTLY),
    ("no_op_share", lambda x: beyond(0.9, x), 0.95, PARTLY, REPRODUCED),
    ("tail_robust", lambda x: tail(10_000, worst=x), 0.72, PARTLY, REPRODUCED),
    ("tail_robust", lambda x: tail(10_000, strong=x), 0.72, NOT, REPRODUCED),
    ("tail_robust", lambda x: tail(10_000, strong=x, worst=0.0), 0.72, NOT, PARTLY),
    ("tail_drop", lambda x: tail(1_000, mild=x, worst=0.0), 0.72, PARTLY, REPRODUCED),
    ("tail_drop", lambda x: tail(1_000, worst=x), 0.4, REPRODUCED, PARTLY),
    ("tail_drop", lambda x: tail(1_000, worst=x), 0.72, PARTLY, NOT),
    ("mixture_of_families", forms, 0.5, PARTLY, REPRODUCED),
    ("mixture_of_families", lambda x: forms(alone=x), 0.45, REPRODUCED, PARTLY),
    ("mixture_of_families", lambda x: forms(alone=x), 0.9, PARTLY, NOT),
    ("few_rules", lambda x: forms(few=x), 0.05, REPRODUCED, PARTLY),
    ("few_rules", lambda x: forms(few=x), 0.25, PARTLY, NOT),
    ("large_k_suffices", lambda x: forms(large=x), 0.5 + REACH, PARTLY, REPRODUCED),
    ("large_k_suffices", lambda x: forms(large=x), 0.1, NOT, PARTLY),
    ("large_k_fails", lambda x: forms(large=x), 0.1 - REACH, REPRODUCED, PARTLY),
    ("large_k_fails", lambda x: forms(large=x), 0.25, PARTLY, NOT),
    ("mixed_occurrences", lambda x: occurrences(2_000, x, 0.7, 0.1), 0.9 + REACH, PARTLY, REPRODUCED),
    ("mixed_occurrences", lambda x: occurrences(2_000, 0.95, x, 0.1), 0.95, REPRODUCED, NOT),
    ("mixed_occurrences", lambda x: apart(2_000, x, 0.5), 0.5 + REACH, NOT, PARTLY),
    ("mix_at_500", lambda x: occurrences(500, 0.05 + x, 0.05, 0.0), 0.3, PARTLY, REPRODUCED),
    ("mix_at_500", lambda x: apart(500, 0.05 + x, 0.05), 0.3 + REACH, PARTLY, REPRODUCED),
    ("mix_at_500", lambda x: occurrences(500, 0.62, x, 0.0), 0.1 - REACH, REPRODUCED, PARTLY),
    ("mix_at_500", lambda x: apart(500, 0.05 + x, 0.05), 0.1 + REACH, NOT, PARTLY),
    ("none_at_200", lambda x: occurrences(200, 0.01, x), 0.05 - REACH, REPRODUCED, PARTLY),
    ("none_at_200", lambda x: occurrences(200, x, 0.01), 1 / 3 - REACH, PARTLY, NOT),
    ("novelsum", spread, 0.8, PARTLY, REPRODUCED),
    ("novelsum", lambda x: spread(x, 0.9), 0.9, PARTLY, REPRODUCED),
    ("novelsum", lambda x: spread(x, noise=0.01), REACH, NOT, PARTLY),
    ("novelselect", lambda x: choices(novel=x), 0.4 + REACH, NOT, PARTLY),
    ("novelselect", lambda x: choices(novel=x), 0.5 + REACH, PARTLY, REPRODUCED),
    ("coverage", lambda x: choices(sae=x), 0.4 + REACH, NOT, REPRODUCED),
    ("coverage", lambda x: choices(sae=x, directions=0.45), 0.45 + REACH, PARTLY, REPRODUCED),
    ("kmq", lambda x: choices(far=x, kmq=0.6), 0.5 - REACH, REPRODUCED, PARTLY),
    ("kmq", lambda x: choices(spoiled=0.45, kmq=x), 0.45, NOT, REPRODUCED),
    ("low_diversity", lambda x: tuned((x, 0.0, 0.9)), 0.9, PARTLY, REPRODUCED),
    ("low_diversity", lambda x: tuned((0.99, x, 0.9)), 0.1, REPRODUCED, PARTLY),
    ("low_diversity", lambda x: tuned((0.99, 0.0, x)), 0.5, PARTLY, REPRODUCED),
    ("low_diversity", lambda x: tuned((0.7, 0.7 - x, 0.9)), 0.5, NOT, PARTLY),
    ("low_diversity", lambda x: tuned(encrypted=(0.99, 0.0, x)), 0.5, PARTLY, REPRODUCED),
    ("low_diversity", lambda x: tuned((0.5, 0.3, 0.0), (x, 0.0, 0.9)), 0.9, NOT, PARTLY),
    ("halving", halved, 0.76, PARTLY, REPRODUCED),
    ("halving", lambda x: halved(first=x), 0.72, REPRODUCED, PARTLY),
    ("halving", lambda x: halved(second=x), 0.72, REPRODUCED, PARTLY),
    ("halving", lambda x: halved(first=0.8, second=x), 0.72, PARTLY, NOT),
    ("halving", lambda x: halved(even=0.7, first=x), 0.63, PARTLY, NOT),
    ("mixture", mixture, 0.22, PARTLY, REPRODUCED),
    ("mixture", mixture, 0.205, NOT, PARTLY),
    ("mixture", partial(mixture, pure=0.0, least=0.2), 0.22, PARTLY, REPRODUCED),
    ("mixture", partial(mixture, worst=0.1), 0.205, NOT, PARTLY),
    ("mixture", partial(mixture, 0.5), 0.2, PARTLY, REPRODUCED),  # in each seed
    ("tenth", tenth, 0.21, PARTLY, REPRODUCED),
    ("tenth", partial(tenth, wider=None), 0.21, PARTLY, REPRODUCED),
    ("tenth", partial(tenth, same=0.3), 0.3, PARTLY, REPRODUCED),
    ("tenth", partial(tenth, wider=0.3), 0.3, PARTLY, REPRODUCED),
    ("tenth", partial(tenth, same=0.3), 0.2, NOT, PARTLY),
    ("tenth", partial(tenth, pure=0.9), 0.1, NOT, PARTLY),
    ("generalist", lambda x: generalist(two=x), 0.32, PARTLY, REPRODUCED),
    ("generalist", lambda x: generalist(three=x), 0.32, PARTLY, REPRODUCED),
    ("generalist", lambda x: generalist(strange_two=x), 0.12, PARTLY, REPRODUCED),
    ("generalist", lambda x: generalist(strange_three=x), 0.12, PARTLY, REPRODUCED),
    ("generalist", lambda x: generalist(two=0.1, strange_three=x), 0.12, NOT, PARTLY),
    ("formats", ratios, 0.6805, PARTLY, REPRODUCED),
    ("formats", ratios, 0.55, NOT, PARTLY),
    ("format_loss", lambda x: losses(1.9, x), 1.8, REPRODUCED, PARTLY),
    ("format_loss", lambda x: losses(x, 1.5), 1.5, PARTLY, REPRODUCED),
    ("format_loss", lambda x: losses(2.1, x), 2.0, PARTLY, NOT),
    ("new_token", phases, 0.8, NOT, REPRODUCED),
    ("new_token", lambda x: phases(without=x), 0.95, NOT, REPRODUCED),
    ("new_token", lambda x: phases(refused=x), 0.95, NOT, REPRODUCED),
    ("new_token", partial(phases, ratio=5), 0.8, NOT, PARTLY),
    ("new_token", partial(phases, regime="fast"), 0.8, NOT, PARTLY),
    ("buffering", angles, 0.1, PARTLY, REPRODUCED),
    ("buffering", partial(angles, opposed=0.1), 0.1, NOT, PARTLY),
    ("buffering", partial(angles, 0.2), 0.0, REPRODUCED, PARTLY),
    ("buffering", partial(angles, 0.0), 0.0, PARTLY, NOT),
    ("translation", scores, 58.5, PARTLY, REPRODUCED),
    ("translation", scores, 51.0, NOT, PARTLY),
]  # fmt: skip


@pytest.mark.parametrize(("claim", "build", "bound", "below", "above"), BOUNDS,
                         ids=[f"{row[0]}, {row[2]:g}" for row in BOUNDS])  # fmt: skip
def test_very_little_decides(claim, build, bound, below, above):
    judge, step = JUDGES[claim], LITTLE * max(1, bound)
    for number, word in ((bound - step, below), (bound + step, above)):
        assert judge(build(number)).word == word
        if claim not in BY_SEED:
            assert judge(two_seeds(build(number))).word == word


def test_every_claim_has_its_bounds_here():
    assert {row[0] for row in BOUNDS} == set(JUDGES)
    for claim in CLAIMS:
        words = {word for row in BOUNDS if row[0] == claim.judge for word in row[3:]}
        assert words == {REPRODUCED, PARTLY, NOT}, claim
        assert "partly" in claim.criterion


# The edges of the data


def test_a_token_that_works_without_diverse_data_does_not_count():
    assert JUDGES["new_token"](phases(ratio=0)).word == NOT


def test_an_interval_that_decides_for_neither_version_says_so():
    for mean, neither in ((0.1 + REACH / 2, True), (0.9, False), (0.05, False)):
        measured = JUDGES["large_k_suffices"](forms(large=mean)).measured
        assert measured.endswith("which decides for neither version") == neither


@pytest.mark.parametrize("never", [0.0, 0.3])
def test_where_no_share_or_only_some_share_of_no_ops_generalises_the_threshold_has_moved(never):
    made = no_ops(200)
    made.loc[made.eval("no_op_share == @never and kind == 'has-op' and split == 'unseen'"), "accuracy"] = 0.1
    assert JUDGES["no_op_threshold"](made).word == NOT


def test_numbers_of_instructions_that_were_not_measured_are_not_judged():
    made = occurrences(2_000, 0.9, 0.5)
    assert JUDGES["none_at_200"](made[made["instructions"] > 200]).word == NOT_RUN


def test_an_interval_that_holds_zero_is_undecided():
    for mix, undecided in ((0.5 + REACH / 2, True), (0.9, False), (0.1, False)):
        measured = JUDGES["mixed_occurrences"](apart(2_000, mix, 0.5)).measured
        assert measured.endswith("undecided") == undecided
    one = occurrences(2_000, 0.9, 0.5).query("seed == 0")  # a single seed decides nothing
    assert JUDGES["mixed_occurrences"](one).word == NOT


OF_OCCURRENCES = [claim for claim in CLAIMS if claim.experiment == "5"]


@pytest.mark.parametrize("claim", OF_OCCURRENCES, ids=[claim.judge for claim in OF_OCCURRENCES])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("spread", [0.03, 0.2])
def test_experiment_5_is_rarely_reproduced_by_data_without_an_effect(claim, seeds, spread):
    """All ways of training alike, at what answers get that do not read the pattern."""
    ways = [(way, size, seed) for way in ("1", "3", "1, 2, 3") for size in (200, 500, 2_000)
            for seed in range(seeds)]  # fmt: skip
    made = frame("trained instructions seed", ways, decoys=2, among=2, asked=1, accuracy=0.0)
    made["run"] = made.index.astype(str)
    rng = np.random.default_rng(seeds)
    assert false_pass(claim, lambda: no_effect(made, 1 / 3, spread, rng)) <= 0.05


# Where verdicts are shown


def test_what_was_not_run_is_not_judged(tmp_path):
    folders = {"quick": tmp_path / "quick", "full": tmp_path / "full"}
    (tmp_path / "quick").mkdir()
    results(step_at(450, 8)).to_csv(tmp_path / "quick" / "10_diversity_threshold.csv", index=False)
    table = verdicts(folders).set_index("claim")
    assert len(table) == len(CLAIMS)
    assert table.loc["threshold", ["quick", "full"]].tolist() == [REPRODUCED, NOT_RUN]
    assert table.loc["new token", ["quick", "full"]].tolist() == [NOT_RUN, NOT_RUN]


def test_a_notebook_shows_this_run_beside_the_committed_ones():
    shown = judged("10_diversity_threshold", results(step_at(450, 8)), "quick").split("\n\n**")
    assert len(shown) == 2
    assert shown[0].startswith("**threshold: reproduced**")
    assert f"| committed, `full` | {PARTLY}: " in shown[0]
    assert f"| this run (`smoke`) | {NOT_RUN}: " in judged("11_no_ops", pd.DataFrame(), "smoke")


def test_the_readme_of_the_data_shows_the_verdicts_on_the_committed_results(tmp_path):
    data = shutil.copytree(project_folder() / "data", tmp_path / "data", ignore=lambda *_: ["store"])
    before = (data / "README.md").read_text("utf-8")
    write_verdicts(data)
    assert (data / "README.md").read_text("utf-8") == before, "run: unseen keep"
