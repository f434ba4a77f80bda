"""Verdicts on published claims: the rule that makes them, what each judge reads, how often noise would pass.

A judge reads what its claim speaks of, and nothing else: frames hold nonsense wherever it must not look.
"""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from curves import results, step_at
from unseen.files import project_folder
from unseen.studies import claims, readings
from unseen.studies.claims import (
    CLAIMS,
    CONTRADICTED,
    FAILS,
    HOLDS,
    IN_PART,
    NOT_RUN,
    NOT_TESTABLE,
    PAIRED,
    REPRODUCED,
    UNDECIDED,
    Part,
    Verdict,
    judged,
    verdicts,
    write_verdicts,
)
from unseen.studies.published import UNEVEN
from unseen.studies.results import COMMITTED
from unseen.worlds.tuning import KINDS

NAMED = {claim.name: claim for claim in CLAIMS}
NONSENSE = 7.0  # what is measured where a judge must not look
VALUES = ("accuracy", "loss", "cosine", "value", "nats")


# The rule


def part(state, effect=True):
    """A part in a state: three seeds around 0.5, and a border below, above or among them."""
    least = {HOLDS: 0.2, FAILS: 0.8, UNDECIDED: 0.5, NOT_TESTABLE: 0.2}[state]
    cannot = "no room" if state == NOT_TESTABLE else ""
    return Part("right", pd.Series([0.49, 0.5, 0.52]), least=least, effect=effect, cannot=cannot)


@pytest.mark.parametrize("state", [HOLDS, FAILS, UNDECIDED, NOT_TESTABLE])
def test_an_interval_against_a_border_has_a_state(state):
    assert part(state).state == state
    turned = Part("wrong", 1 - part(state).values, most=1 - part(state).least, cannot=part(state).cannot)
    assert turned.state == state


@pytest.mark.parametrize(("effects", "others", "word"), [
    ([HOLDS], [], REPRODUCED), ([HOLDS], [HOLDS], REPRODUCED), ([HOLDS, HOLDS], [], REPRODUCED),
    ([HOLDS], [FAILS], IN_PART), ([HOLDS], [UNDECIDED], IN_PART), ([HOLDS, FAILS], [HOLDS], IN_PART),
    ([HOLDS, NOT_TESTABLE], [], IN_PART),
    ([FAILS], [HOLDS], CONTRADICTED), ([FAILS, FAILS], [], CONTRADICTED),
    ([FAILS, NOT_TESTABLE], [], CONTRADICTED), ([UNDECIDED], [FAILS], UNDECIDED),
    ([UNDECIDED], [HOLDS], UNDECIDED), ([UNDECIDED, FAILS], [FAILS], UNDECIDED),
    ([NOT_TESTABLE], [HOLDS], NOT_TESTABLE),
])  # fmt: skip
def test_one_rule_makes_a_verdict_of_the_states(effects, others, word):
    verdict = Verdict.of([*map(part, effects), *(part(state, effect=False) for state in others)])
    assert (verdict.word, verdict.seeds) == (word, 3)
    assert all(f"{state}: " in verdict.measured for state in {*effects, *others})


def test_one_seed_decides_nothing_and_equal_seeds_are_a_point():
    assert Part("right", pd.Series([0.9]), least=0.5).state == UNDECIDED
    assert Part("right", pd.Series([0.9, 0.9]), least=0.9).state == HOLDS


def test_seeds_are_counted_and_factors_are_logarithms():
    few, many = (Part("reach", pd.Series([True] * size), "seeds", least=0.5) for size in (3, 6))
    assert (few.state, many.state) == (UNDECIDED, HOLDS)
    assert str(many) == "reach 6 of 6, 100 % of seeds (61 to 100)"
    factor = Part("times", pd.Series([0.5, 1.0, 2.0]), "factor", most=1)
    assert (factor.state, round(factor.middle[0], 6)) == (UNDECIDED, 1)
    assert factor.middle[1] * factor.middle[2] == pytest.approx(1)


def test_a_choice_among_many_is_no_advantage():
    """Forty options of pure noise: the best of each seed lies above zero, the best of the others does not."""
    rng = np.random.default_rng(0)
    options = [pd.DataFrame(rng.normal(0, 1, (3, 40))) for _ in range(300)]
    chosen = pd.concat([readings._best(each) for each in options])
    assert abs(chosen.mean()) < 0.15
    assert pd.concat([each.max(axis=1) for each in options]).mean() > 1.5
    clear = pd.DataFrame({"bad": [0.0, 0.1, 0.0], "good": [0.9, 0.8, 0.7]})
    assert readings._best(clear).tolist() == [0.9, 0.8, 0.7]


# What the judges read


def frame(columns, rows, **same):
    return pd.DataFrame(rows, columns=columns.split()).assign(**same)


def value_of(made):
    return next(name for name in VALUES if name in made)


def beside(made, **others):
    """The frame, and for each column all of it again with another value there, and nonsense measured."""
    decoys = [made.assign(**{column: other, value_of(made): NONSENSE}) for column, other in others.items()]
    return pd.concat([made, *decoys], ignore_index=True)


# Frames that hold what one judge reads


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


def forms(mixed=0.9, alone=0.2, few=0.0, large=(0.9, 0.1)):
    """Notebook 13 with one decoy: means over k = 1 and 2.  ``large`` has a run of two weights."""
    rows = [("mixed", 3, 9, 2_000, 0, mixed), ("repeated", 3, 9, 2_000, 0, 0.1),
            ("periodic", 3, 9, 2_000, 0, alone), ("mixed", 3, 4, 500, 0, few),
            ("mixed", 3, 4, 2_000, 0, mixed), ("mixed", 3, 9, 500, 0, NONSENSE / 10),
            ("periodic", 3, 9, 500, 0, NONSENSE / 10), ("mixed", 5, 9, 500, 0, NONSENSE / 10)]  # fmt: skip
    rows += [("mixed", 5, 9, 2_000, weights, value) for weights, value in enumerate(large)]
    made = frame("family k_low k_high instructions weights accuracy", rows, decoys=1, examples=500)
    made["setting"] = made["family"] + made["k_low"].astype(str) + made["k_high"].astype(str)
    parts = [made.assign(k=k, accuracy=made["accuracy"] + by) for k, by in ((1, -0.05), (2, 0.05))]
    return pd.concat([*parts, made.assign(k=3, accuracy=NONSENSE)], ignore_index=True).assign(form="random")


def occurrences(size, mix, *alone):
    """Notebook 14: a mix and single numbers.  With other numbers of instructions all is alike."""
    ways = [*((str(number), value) for number, value in enumerate(alone, 1)), ("1, 2", mix)]
    rows = [(way, asked, value + 0.05 * (asked - 2)) for way, value in ways for asked in (1, 3)]
    made = frame("trained asked accuracy", rows, instructions=size, decoys=2, among=2)
    others = [made.assign(instructions=other, accuracy=0.5) for other in {2_000, 500, 200} - {size}]
    return beside(pd.concat([made, *others]), decoys=0, among=0)


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


def mixture(inside, pure=0.2, least=0.1):
    """Notebook 18, experiment 7: an interior share, and both ends; with more own rules all own is best."""
    rows = [
        (rules, share, value)
        for rules in (100, 1_000)
        for share, value in ((0.2, least), (0.5, inside), (1.0, pure if rules == 100 else 0.99))
    ]
    made = frame("own_rules own_share accuracy", rows, experiment="7", kind="algebra", split="unseen")
    return beside(made, experiment="7 alone", kind="lists", split="seen")


def tenth(mixed, pure=0.2, same=0.1, wider=0.1):
    """Notebook 18, experiment 8; not every scale has the ``wider`` set."""
    rows = [("nine tenths own", mixed), ("N own", pure), ("3.75 N own", same)]
    rows += [("3.75 N own, 3.75 x rules", wider)] if wider else []
    made = frame("setting accuracy", rows, experiment="8", kind="algebra", split="unseen")
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
    made = frame("ratio prompts accuracy", rows, study="ratio")
    once = made.assign(study="once", accuracy=made["accuracy"] * 0.9 + 0.05)
    return beside(pd.concat([made, once]), study="rivals", prompts="not token")


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
        for r in (0, 5, 67, 260)
        for kind, value in (("other+token", token), ("other", without), ("not token", refused))
    ]
    made = frame("regime ratio prompts accuracy", rows, study="phases")
    return beside(
        pd.concat([made, made.assign(study="two words", accuracy=made["accuracy"] / 2)]), study="tasks"
    )


def meanings(own, other):
    """Notebook 22: distances of answers at ratio 67."""
    rows = [(67, "its name", own), (67, "other formats", other), (67, "no format", 2 * other),
            (5, "its name", NONSENSE), (5, "other formats", NONSENSE)]  # fmt: skip
    made = frame("ratio against value", rows, regime="equal", measure="distance")
    return beside(made, regime="fast", measure="rank")


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


def memories(*deltas):
    """Notebook 40: nearer to the rule by these, at 100, 200, ... instructions; half follow at the second."""
    sizes = [100 * 2**number for number in range(len(deltas))]
    rows = [(kind, name, size, nats, float(size > 100) / (2 if size == 200 else 1))
            for kind in ("luring", "swapped", "unseen") for size, delta in zip(sizes, deltas, strict=True)
            for name, nats in (("memory", 3 + delta), ("rule follower", 3.0))]  # fmt: skip
    made = frame("prompts predictor instructions nats exact", rows, trained=1.0)
    return beside(made, trained=0.5, prompts="seen", predictor="copies the input")


READS = [  # a claim, a frame, and what its judge reads: by part a number, or one of each column
    ("threshold", main(STEP | {200: 0.04, 3_000: 0.95}), {"rise": 0.95, "below": 0.04, "above": 0.95}),
    ("threshold", main({10: 0.0, 100: 0.0, 1_000: 1.0}), {"sharp": 10**0.8}),
    ("few are memorised", main(STEP | {10: 0.02}, 0.97), {"gap": 0.95, "seen": 0.97, "unseen": 0.02}),
    ("no-ops do not move the threshold", no_ops(300), {"rise": 1.0, "moves": 1.5}),
    ("no-ops do not move the threshold", no_ops(100), {"moves": 2}),
    ("beyond it the share hardly matters", beyond(0.85, 0.96),
     {"worst": 0.85, "between": 0.05, "no_op": 0.96}),
    ("many instructions withstand a long tail",
     pd.concat([tail(10_000, worst=0.4, strong=0.72), tail(1_000, worst=0.2, strong=0.4)]),
     {"gain": 0.325, "mild": 0.9, "every": 0.5}),
    ("few instructions do not", tail(1_000, worst=0.2, mild=0.72), {"worst": 0.25, "mild": 0.9}),
    ("one family alone fails", forms(0.8, 0.3),
     {"gap": 0.5, "mixed": 0.8, "alone": {"periodic": -0.2, "repeated": -0.4}}),
    ("500 rules never reach smaller k", forms(few=0.6), {"reach": 1.0, "many": 0.9}),
    ("500 rules never reach smaller k", forms(few=0.5), {"reach": 0.0}),
    ("large k alone suffices", forms(large=(0.9, 0.1)), {"reach": 0.5}),
    ("large k alone does not suffice", forms(large=(0.9, 0.8)), {"reach": 1.0}),
    ("NovelSum foretells the score", spread(0.9, 0.3), {"r": 0.9, "high": 0.9, "older": 0.6}),
    ("a mix of occurrences is best", occurrences(2_000, 0.9, 0.7, 0.5),
     {"gap": 0.3, "each": {"1": 0.2, "2": 0.4}, "mix": 0.9}),
    ("with 500 only the mix generalises", occurrences(500, 0.6, 0.1, 0.3),
     {"gap": 0.4, "alone": {"1": 0.1, "2": 0.3}}),
    ("with 200 none does", occurrences(200, 0.01, 0.04), {"best": 0.04}),
    ("few instructions solve only the no-ops", tuned((0.99, 0.1, 0.9), (0.95, 0.0, 0.4)),
     {"gap": {"plain": 0.89, "encrypted": 0.95}, "no_op": {"plain": 0.99, "encrypted": 0.95},
      "has_op": {"plain": 0.1, "encrypted": 0.0}, "many": {"plain": 0.9, "encrypted": 0.4}}),
    ("halving evenly is harmless, unevenly it hurts", halved(0.72, 0.36, 0.18),
     {"even": 0.9, "uneven": dict(zip(UNEVEN, (0.5, 0.25), strict=True))}),
    ("a real model tuned on few instructions solves only the no-ops",
     pd.concat([tuned((0.95, 0.6, 0.9), (0.95, 0.0, 0.4)).assign(form="words"),
                tuned((0.9, 0.2, 0.5)).query("work == 'plain'").assign(form="signs")]),
     {"gap": {"plain, words": 0.35, "encrypted, words": 0.95, "plain, signs": 0.7},
      "no_op": {"plain, words": 0.95, "encrypted, words": 0.95, "plain, signs": 0.9},
      "has_op": {"plain, words": 0.6, "encrypted, words": 0.0, "plain, signs": 0.2},
      "many": {"plain, words": 0.9, "encrypted, words": 0.4, "plain, signs": 0.5}}),
    ("a real model: halving evenly is harmless, unevenly it hurts",
     pd.concat([halved(0.72, 0.36, 0.18).assign(form="words"), halved(0.1).assign(form="signs"),
                halved().query("data == 'all'").assign(form="words", instructions=9_000, accuracy=NONSENSE)]),
     {"even": 0.9, "uneven": dict(zip(UNEVEN, (0.5, 0.25), strict=True))}),
    ("interior mixture", mixture(0.25), {"gain": 0.05}),
    ("interior mixture", mixture(0.25, pure=0.0, least=0.2), {"gain": 0.05}),
    ("a tenth of other data", tenth(0.3),
     {"gain": 0.1, "more": {"3.75 N own": 0.2, "3.75 N own, 3.75 x rules": 0.2}}),
    ("cross-domain data", generalist(two=0.4, strange_three=0.3), {"domains": 0.1, "strange": 0.2}),
    ("translation", scores(60.0), {"gain": 1.2, "published": 1.2}),
    ("formatted generation", ratios(0.75),
     {"once": 1.45, "once_published": 1.45, "ratio": 1.5, "ratio_published": 1.5}),
    ("format loss", losses(1.0, 0.5),
     {"lower": 0.5**0.5 / 2, "largest": 0.25, "falls": np.log(0.5) / np.log(67 / 5)}),
    ("new token", phases(0.9, 0.98, 0.97),
     {"both": 0.88, "with": 0.9, "out": 0.98, "refused": 0.97, "two": 0.45}),
    ("uniquely aligned", meanings(0.1, 0.4), {"nearer": 0.25}),
    ("buffering", angles(0.15), {"nearer": 0.15, "opposes": -0.1}),
    ("from memory to rule at the threshold", memories(-1.0, -0.5, 0.5, 2.0),
     {"rise": 3, "later": dict.fromkeys(("luring", "swapped", "unseen"), 2**0.5)}),
    ("from memory to rule at the threshold", memories(-1.0, 1.0, -0.5, 0.5),
     {"earlier": dict.fromkeys(("luring", "swapped", "unseen"), 8**0.5)}),
]  # fmt: skip


def read(claim, made):
    """The mean over seeds of each part that the judge of a claim reads off a frame, for three equal seeds."""
    if "seed" not in made:
        made = pd.concat([made.assign(seed=seed) for seed in range(3)], ignore_index=True)
    found = NAMED[claim].readings(made)
    values = {name: each[0] if isinstance(each, tuple) else each for name, each in found.items()}
    return {
        name: each.mean().to_dict() if isinstance(each, pd.DataFrame) else each.mean()
        for name, each in values.items()
    }


@pytest.mark.parametrize(
    ("claim", "made", "expected"), READS, ids=[f"{row[0]}, {', '.join(row[2])}" for row in READS]
)
def test_a_judge_reads_what_its_claim_speaks_of(claim, made, expected):
    found = read(claim, made)
    assert {name: found[name] for name in expected} == {
        name: pytest.approx(each) for name, each in expected.items()
    }


def arms(claim, gain, seeds=3):
    """A table in which, of every part of a claim of arms, the first arm is above the other by ``gain``."""
    rows = []
    for part in claim.parts.values():
        where = {
            name: each[0] if isinstance(each, list) else each for name, each in part.get("where", {}).items()
        }
        for arm, level in ((part["one"], gain), (part["other"], 0.0)):
            rows += [{**where, claim.without[0]: arm, "seed": seed, part["value"]: level + seed}
                     for seed in range(seeds)]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("part", ["random", "centre"])
def test_arms_are_compared_seed_by_seed_where_the_part_says(part):
    claim = NAMED["kMQ beats random, and random k-center"]
    compared = claim.parts[part]
    made = beside(arms(replace(claim, parts={part: compared}), 0.2), split="seen")
    assert readings.compared(made, "setting", compared).tolist() == pytest.approx([0.2] * 3)
    assert readings.compared(made[made["setting"] != compared["one"]], "setting", compared).empty
    assert claim.verdict(made).word == NOT_RUN  # the arms of the other part were not measured


def test_some_values_of_a_column_are_taken_together():
    part = {"value": "accuracy", "one": "new", "other": "old", "where": {"kind": ["a", "b"]}}
    made = frame("kind arm accuracy", [("a", "new", 1.0), ("b", "new", 0.5), ("c", "new", NONSENSE),
                                       ("a", "old", 0.5), ("b", "old", 0.5)], seed=0)  # fmt: skip
    assert readings.compared(made, "arm", part).tolist() == [0.25]


@pytest.mark.parametrize(
    "claim", [each for each in CLAIMS if each.judge == PAIRED], ids=lambda each: each.name
)
def test_a_claim_of_arms_names_what_its_committed_table_has(claim):
    folders = (project_folder() / "data" / "results" / scale for scale in COMMITTED)
    tables = [pd.read_csv(path) for path in map(claim.table_in, folders) if path]
    assert any({*claim.readings(table)} == {*claim.parts} for table in tables)
    assert len(claim.without) == 1
    assert 1 <= sum(part.get("effect", False) for part in claim.parts.values()) <= 2


def test_arms_without_an_effect_seldom_pass_and_large_ones_always():
    part = {"what": "by", "of": "points", "least": 0, "effect": True}
    part |= {"value": "right", "one": "new", "other": "old"}
    claim = replace(NAMED["UAL is right more often"], parts={"one": part})
    made = arms(claim, 0.3, seeds=5)
    made["right"] += np.random.default_rng(0).normal(0, 0.02, len(made)) - made["seed"]
    assert claim.verdict(made).word == REPRODUCED
    assert claims.false_passes(claim, made, 400) == pytest.approx(0.025, abs=0.02)
    loose = replace(claim, parts={"one": part | {"least": -1}})
    assert claims.false_passes(loose, made, 50) == 1


def test_every_part_of_every_claim_is_read_here():
    for claim in (each for each in CLAIMS if each.judge != PAIRED):
        parts = {part for row in READS if row[0] == claim.name for part in row[2]}
        assert parts == set(claim.parts), claim.name
        assert any(part.get("effect") for part in claim.parts.values()), claim.name


# The edges of the data


@pytest.mark.parametrize("never", [0.0, 0.3])
def test_where_no_share_or_only_some_share_of_no_ops_generalises_nothing_is_reproduced(never):
    made = no_ops(200).assign(seed=0)
    made.loc[made.eval("no_op_share == @never and kind == 'has-op' and split == 'unseen'"), "accuracy"] = 0.1
    made = pd.concat([made, made.assign(seed=1)])
    assert NAMED["no-ops do not move the threshold"].verdict(made).word == CONTRADICTED


def test_what_has_no_room_or_no_chance_is_not_testable():
    made = generalist(0.1, 0.1)
    made.loc[~made["kind"].isin(readings.DOMAINS) & (made["experiment"] == "9"), "accuracy"] = 0.0
    two = pd.concat([made.assign(seed=seed) for seed in (0, 1)])
    verdict = NAMED["cross-domain data"].verdict(two)
    assert (verdict.word, NOT_TESTABLE in verdict.measured) == (CONTRADICTED, True)
    full = scores(51.0)
    full.loc[full["task"] == "translation", "value"] += 45
    assert (
        "already"
        in NAMED["translation"].verdict(pd.concat([full.assign(seed=0), full.assign(seed=1)])).measured
    )


def test_numbers_of_instructions_that_were_not_measured_are_not_judged():
    made = occurrences(2_000, 0.9, 0.5).assign(seed=0)
    assert NAMED["with 200 none does"].verdict(made[made["instructions"] > 200]).word == NOT_RUN


# How often noise would pass

RATES = pd.read_csv(project_folder() / "data" / "false_passes.csv")


def test_the_committed_rates_are_those_of_the_committed_tables_and_low():
    data, expected = project_folder() / "data" / "results", {}
    for claim in CLAIMS:
        for scale in claims.COMMITTED:
            if claim.verdict_in(data / scale).word not in (NOT_RUN, NOT_TESTABLE):
                expected[claim.name, scale] = claim.simulated_on(claim.table_in(data / scale))
    assert RATES.set_index(["claim", "scale"])["of"].to_dict() == expected, "run: unseen rates"
    assert RATES["rate"].max() <= 0.05
    assert RATES["draws"].min() >= 200


def noisy(effect, seeds=5):
    """Notebook 23 with an effect on the gain, and noise between seeds."""
    rng = np.random.default_rng(1)
    parts = [angles(effect, 0.3).assign(seed=seed) for seed in range(seeds)]
    made = pd.concat(parts, ignore_index=True)
    return made.assign(
        cosine=made["cosine"] + 0.02 * rng.normal(size=len(made)), run=made["seed"].astype(str)
    )


def test_without_an_effect_only_noise_is_left():
    claim, made = NAMED["buffering"], noisy(0.4)
    drawn = claims.without_effect(made, claim)(np.random.default_rng(0))
    cell = {"part": "all weights", "ratio": 67, "along": "ideal"}
    before, after = (readings._rates(each, "gradient", "cosine", **cell).mean() for each in (made, drawn))
    assert before["composite"] - before["task"] == pytest.approx(0.4, abs=0.05)
    assert after["composite"] - after["task"] == pytest.approx(0, abs=0.05)
    assert after.mean() == pytest.approx(before.mean(), abs=0.05)
    assert drawn["cosine"].std() > 0


def test_a_border_that_noise_meets_has_a_high_rate_and_a_sound_one_a_low():
    claim = NAMED["buffering"]
    effect = {"nearer": {"what": "gain", "of": "number", "least": 0, "effect": True}}
    loose = replace(claim, parts=claim.parts | {"nearer": effect["nearer"] | {"least": -0.5}})
    assert claims.false_passes(loose, noisy(0.4), 50) > 0.9
    assert claims.false_passes(claim, noisy(0.4), 50) <= 0.1


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
    assert f"| committed, `full` | **{IN_PART}**<br>" in shown[0]
    assert "| would pass without an effect | " in shown[0]
    assert f"| this run (`smoke`) | **{NOT_RUN}**<br>" in judged("11_no_ops", pd.DataFrame(), "smoke")


def test_the_readme_of_the_data_shows_the_verdicts_on_the_committed_results(tmp_path):
    data = shutil.copytree(project_folder() / "data", tmp_path / "data", ignore=lambda *_: ["store"])
    before = (data / "README.md").read_text("utf-8")
    write_verdicts(data)
    assert (data / "README.md").read_text("utf-8") == before, "run: unseen keep"
