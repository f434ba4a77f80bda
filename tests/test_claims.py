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
from unseen.studies.claims import CLAIMS, FAILS, HOLDS, NOT_RUN, NOT_TESTABLE, UNDECIDED, Part, Verdict
from unseen.studies.results import COMMITTED, committed_folder

NAMED = {claim.name: claim for claim in CLAIMS}
NONSENSE = 7.0  # what is measured where a judge must not look
VALUES = ("accuracy", "cosine", "value")


@pytest.fixture(scope="module")
def committed():
    """The verdict on each committed table, by claim and scale."""
    return {
        (each.name, scale): each.verdict_in(committed_folder(scale)) for each in CLAIMS for scale in COMMITTED
    }


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
    ([HOLDS], [], claims.REPRODUCED), ([HOLDS], [HOLDS], claims.REPRODUCED),
    ([HOLDS, HOLDS], [], claims.REPRODUCED), ([HOLDS, NOT_TESTABLE], [], claims.IN_PART),
    ([HOLDS], [FAILS], claims.IN_PART), ([HOLDS], [UNDECIDED], claims.IN_PART),
    ([HOLDS, FAILS], [HOLDS], claims.IN_PART),
    ([FAILS], [HOLDS], claims.CONTRADICTED), ([FAILS, FAILS], [], claims.CONTRADICTED),
    ([FAILS, NOT_TESTABLE], [], claims.CONTRADICTED), ([UNDECIDED], [FAILS], UNDECIDED),
    ([UNDECIDED], [HOLDS], UNDECIDED), ([UNDECIDED, FAILS], [FAILS], UNDECIDED),
    ([NOT_TESTABLE], [HOLDS], NOT_TESTABLE),
])  # fmt: skip
def test_one_rule_makes_a_verdict_of_the_states(effects, others, word):
    verdict = Verdict.of([*map(part, effects), *(part(state, effect=False) for state in others)])
    assert (verdict.word, verdict.seeds) == (word, 3)
    assert all(f"{state}: " in verdict.measured for state in {*effects, *others})


def test_one_seed_decides_nothing_and_equal_seeds_are_a_point():
    assert Part("right", pd.Series([0.9]), least=0.5).state == UNDECIDED
    assert Part("right", pd.Series([0.9, 0.9]), least=0.8).state == HOLDS
    assert Part("gain", pd.Series([0.0, 0.0]), least=0).state == UNDECIDED  # no gain is not one above zero


def test_seeds_are_counted_and_factors_are_logarithms():
    reached = pd.Series([True] * 6)
    some, many = (
        Part("reach", each, "seeds", least=0.5) for each in (reached.where(reached.index > 1, False), reached)
    )
    assert (some.state, many.state) == (UNDECIDED, HOLDS)
    assert str(many) == "reach 6 of 6, 100 % of seeds (61 to 100)"
    factor = Part("times", pd.Series([0.5, 1.0, 2.0]), "factor", most=1)
    assert (factor.state, round(factor.middle[0], 6)) == (UNDECIDED, 1)
    assert factor.middle[1] * factor.middle[2] == pytest.approx(1)


def test_so_few_seeds_that_none_could_hold_test_nothing_but_may_speak_against():
    never = [
        Part("reach", pd.Series([False] * 5 + [True] * reached), "seeds", most=0.05) for reached in (0, 3)
    ]
    assert [each.state for each in never] == [NOT_TESTABLE, FAILS]
    assert str(never[0]) == "reach 0 of 5, 0 % of seeds (0 to 43, too few to hold)"


def test_a_choice_among_many_is_no_advantage():
    """Forty options of pure noise: the best of each seed lies above zero, the best of the others does not."""
    rng = np.random.default_rng(0)
    options = [pd.DataFrame(rng.normal(0, 1, (3, 40))) for _ in range(300)]
    chosen = pd.concat([readings._best(each) for each in options])
    assert abs(chosen.mean()) < 0.15
    assert pd.concat([each.max(axis=1) for each in options]).mean() > 1.5
    clear = pd.DataFrame({"bad": [0.0, 0.1, 0.0], "good": [0.9, 0.8, 0.7]})
    assert readings._best(clear).tolist() == [0.9, 0.8, 0.7]


# What the judges read: every number that they read off the committed tables stands in the README of the data,
# which is compared below; here are what those tables leave open, and the frames that other tests need


def frame(columns, rows, **same):
    return pd.DataFrame(rows, columns=columns.split()).assign(**same)


def beside(made, **others):
    """The frame, and for each column all of it again with another value there, and nonsense measured."""
    value = next(name for name in VALUES if name in made)
    decoys = [made.assign(**{column: other, value: NONSENSE}) for column, other in others.items()]
    return pd.concat([made, *decoys], ignore_index=True)


# Frames that hold what one judge reads


def main(unseen, seen):
    """Notebook 10: accuracy by number of instructions."""
    made = results(unseen.get, sizes=tuple(unseen))
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


def occurrences(size, mix, *alone):
    """Notebook 14: a mix and single numbers.  With other numbers of instructions all is alike."""
    ways = [*((str(number), value) for number, value in enumerate(alone, 1)), ("1, 2", mix)]
    rows = [(way, asked, value + 0.05 * (asked - 2)) for way, value in ways for asked in (1, 3)]
    made = frame("trained asked accuracy", rows, instructions=size, decoys=2, among=2)
    others = [made.assign(instructions=other, accuracy=0.5) for other in {2_000, 500, 200} - {size}]
    return beside(pd.concat([made, *others]), decoys=0, among=0)


def tuned(plain, encrypted):
    """Notebook 15: no-op and has-op at 10 instructions, has-op at 3,000."""
    rows = []
    for work, (no_op, has_op, many) in (("plain", plain), ("encrypted", encrypted)):
        rows += [(work, 10, "no-op", no_op), (work, 10, "has-op", has_op)]
        rows += [(work, 3_000, "no-op", 1.0), (work, 3_000, "has-op", many)]
    made = frame("work instructions kind accuracy", rows, data="all", split="unseen", start="pre-trained")
    return beside(made, data="a quarter", split="seen", start="from scratch")


def mixture(inside, pure=0.2, least=0.1):
    """Notebook 18, experiment 7: an interior share, and both ends; with more own rules all own is best."""
    rows = [
        (rules, share, value)
        for rules in (100, 1_000)
        for share, value in ((0.2, least), (0.5, inside), (1.0, pure if rules == 100 else 0.99))
    ]
    made = frame("own_rules own_share accuracy", rows, experiment="7", kind="algebra", split="unseen")
    return beside(made, experiment="7 alone", kind="lists", split="seen")


def generalist(two=0.9, three=0.9, strange_two=0.9, strange_three=0.9):
    """Notebook 18, experiment 9: the best single domain has 0.3 on the domains and 0.1 on other kinds."""
    known = {"letters": (0.1, 0.0), "algebra": (0.3, 0.1), "lists": (0.1, 0.0)}
    known |= {"algebra and letters": (two, strange_two), "all three": (three, strange_three)}
    kinds = (("letters", 0, -0.2), ("digits", 1, -0.2), ("moves", 1, 0.2), ("lists", 0, 0.2))
    rows = [(name, kind, means[part] + by) for name, means in known.items() for kind, part, by in kinds]
    made = frame("setting kind accuracy", rows, experiment="9", split="unseen")
    exact = made[made["kind"].isin(["digits", "moves"])].assign(accuracy=NONSENSE)
    made.loc[exact.index, "split"] = "choice"
    return beside(pd.concat([made, exact]), experiment="7", split="seen")


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


READS = [  # a claim, a frame, and what its judge reads: by part a number, or one of each column
    ("few are memorised", main({10: 0.02, 3_000: 1.0}, 0.97), {"gap": 0.95, "seen": 0.97, "unseen": 0.02}),
    ("no-ops do not move the threshold", no_ops(300), {"rise": 1.0, "moves": 1.5}),
    ("no-ops do not move the threshold", no_ops(100), {"moves": 2}),
    ("a mix of occurrences is best", occurrences(2_000, 0.9, 0.7, 0.5),
     {"gap": 0.3, "each": {"1": 0.2, "2": 0.4}, "mix": 0.9}),
    ("with 200 none does", occurrences(200, 0.01, 0.04), {"best": 0.04}),
    ("few instructions solve only the no-ops", tuned((0.99, 0.1, 0.9), (0.95, 0.0, 0.4)),
     {"gap": {"plain": 0.89, "encrypted": 0.95}, "no_op": {"plain": 0.99, "encrypted": 0.95},
      "has_op": {"plain": 0.1, "encrypted": 0.0}, "many": {"plain": 0.9, "encrypted": 0.4}}),
    ("interior mixture", mixture(0.25), {"gain": 0.05}),
    ("interior mixture", mixture(0.25, pure=0.0, least=0.2), {"gain": 0.05}),
    ("cross-domain data", generalist(two=0.4, strange_three=0.3), {"domains": 0.1, "strange": 0.2}),
    ("translation", scores(60.0), {"gain": 1.2, "published": 1.2}),
    ("buffering", angles(0.15), {"nearer": 0.15, "opposes": -0.1}),
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


@pytest.mark.parametrize(
    "claim", [each for each in CLAIMS if each.judge == claims.PAIRED], ids=lambda each: each.name
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
    assert claim.verdict(made).word == claims.REPRODUCED
    assert claims.false_passes(claim, made, 400) == pytest.approx(0.025, abs=0.02)
    loose = replace(claim, parts={"one": part | {"least": -1}})
    assert claims.false_passes(loose, made, 50) == 1


def test_every_claim_is_judged_on_a_committed_table_or_here(committed):
    for claim in (each for each in CLAIMS if each.judge != claims.PAIRED):
        words = {committed[claim.name, scale].word for scale in COMMITTED}
        assert words != {NOT_RUN} or claim.name in {row[0] for row in READS}
        assert any(part.get("effect") for part in claim.parts.values()), claim.name


# The edges of the data


@pytest.mark.parametrize("never", [0.0, 0.3])
def test_where_no_share_or_only_some_share_of_no_ops_generalises_nothing_is_reproduced(never):
    made = no_ops(200).assign(seed=0)
    made.loc[made.eval("no_op_share == @never and kind == 'has-op' and split == 'unseen'"), "accuracy"] = 0.1
    made = pd.concat([made, made.assign(seed=1)])
    assert NAMED["no-ops do not move the threshold"].verdict(made).word == claims.CONTRADICTED


def test_breadth_that_carries_over_no_better_than_chance_fails():
    made = generalist(0.9, 0.9)
    made.loc[made["split"] == "choice", "accuracy"] = 0.25
    two = pd.concat([made.assign(seed=seed) for seed in (0, 1)])
    verdict = NAMED["cross-domain data"].verdict(two)
    assert verdict.word == claims.IN_PART
    assert "fails: on untrained kinds" in verdict.measured


def test_what_has_no_room_is_not_testable():
    full = scores(51.0)
    full.loc[full["task"] == "translation", "value"] += 45
    assert (
        "already"
        in NAMED["translation"].verdict(pd.concat([full.assign(seed=0), full.assign(seed=1)])).measured
    )


COMMITTED_TABLES = [
    pytest.param(claim, claim.table_in(folder), id=f"{claim.name}, {folder.name}")
    for folder in map(committed_folder, COMMITTED)
    for claim in CLAIMS
    if claim.table_in(folder) and "accuracy" in pd.read_csv(claim.table_in(folder), nrows=1)
]


@pytest.mark.parametrize(("claim", "table"), COMMITTED_TABLES)
def test_models_that_learned_nothing_at_all_reproduce_nothing(claim, table):
    """Claims that something fails were once reproduced where everything did."""
    nothing = pd.read_csv(table).assign(accuracy=0.0)
    assert claim.verdict(nothing).word not in (claims.REPRODUCED, claims.IN_PART)


def test_a_model_that_copies_every_input_does_not_show_that_few_instructions_solve_only_no_ops():
    claim, table = (
        NAMED["few instructions solve only the no-ops"],
        "data/results/full/15_pretrained_model.csv",
    )
    results = pd.read_csv(project_folder() / table)
    copied = results.assign(accuracy=(results["kind"] == "no-op").astype(float))
    assert (claim.verdict(results).word, claim.verdict(copied).word) == (claims.REPRODUCED, NOT_TESTABLE)


def test_numbers_of_instructions_that_were_not_measured_are_not_judged():
    made = occurrences(2_000, 0.9, 0.5).assign(seed=0)
    assert NAMED["with 200 none does"].verdict(made[made["instructions"] > 200]).word == NOT_RUN


# How often noise would pass

RATES = pd.read_csv(project_folder() / "data" / "false_passes.csv")


def test_the_committed_rates_are_those_of_the_committed_tables_and_low(committed):
    data, expected = project_folder() / "data" / "results", {}
    for claim in CLAIMS:
        for scale in claims.COMMITTED:
            if committed[claim.name, scale].word not in (NOT_RUN, NOT_TESTABLE):
                expected[claim.name, scale] = claim.simulated_on(claim.table_in(data / scale))
    assert RATES.set_index(["claim", "scale"])["of"].to_dict() == expected, "run: unseen rates"
    assert claims.too_many(RATES).empty, "above 5 % by more than the error of so many draws"
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


def test_a_rate_near_the_border_is_drawn_more_often_and_what_is_there_is_kept(tmp_path, monkeypatch):
    """The first claim has a low rate, the second one near 5 %, which more draws correct."""
    chosen, calls = CLAIMS[:2], []

    def rate(claim, table, draws):
        calls.append((claim.name, draws))
        return 0.01 if claim == chosen[0] else 0.045 if draws == 200 else 0.032

    monkeypatch.setattr(claims, "CLAIMS", chosen)
    monkeypatch.setattr(claims, "COMMITTED", ("full",))
    monkeypatch.setattr(claims, "false_passes", rate)
    (tmp_path / "results").symlink_to(project_folder() / "data" / "results")
    table = claims.write_false_passes(tmp_path)
    assert table[["rate", "draws"]].to_numpy().tolist() == [[0.01, 200], [0.032, 1_000]]
    assert calls == [(chosen[0].name, 200), (chosen[1].name, 200), (chosen[1].name, 1_000)]
    pd.testing.assert_frame_equal(claims.write_false_passes(tmp_path), table)
    assert len(calls) == 3
    table["draws"] = 200
    table.to_csv(tmp_path / "false_passes.csv", index=False)
    claims.write_false_passes(tmp_path)
    assert calls[3:] == [(chosen[1].name, 1_000)]


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
    table = claims.verdicts(folders).set_index("claim")
    assert len(table) == len(CLAIMS)
    assert table.loc["threshold", ["quick", "full"]].tolist() == [claims.REPRODUCED, NOT_RUN]
    assert table.loc["new token", ["quick", "full"]].tolist() == [NOT_RUN, NOT_RUN]


def test_a_notebook_shows_this_run_beside_the_committed_ones():
    shown = claims.judged({"10_diversity_threshold": results(step_at(450, 8))}, "quick").split("\n\n**")
    assert len(shown) == 2
    assert shown[0].startswith("**threshold: reproduced**")
    assert f"| committed, `full` | **{claims.IN_PART}**<br>" in shown[0]
    assert "| would pass without an effect | " in shown[0]
    assert f"| this run (`smoke`) | **{NOT_RUN}**<br>" in claims.judged(
        {"11_no_ops": pd.DataFrame()}, "smoke"
    )


def test_a_claim_is_judged_in_the_small_world_and_on_a_real_model():
    folder = committed_folder("full")
    for name in ("AEPO beats a random pair", "the instruction behind its input"):
        both = NAMED[name], NAMED[f"a real model: {name}"]
        found = claims.in_both([name], *(pd.read_csv(claim.table_in(folder)) for claim in both))
        assert found.loc[name].tolist() == [claim.verdict_in(folder).word for claim in both]


def test_the_readme_of_the_data_shows_the_verdicts_on_the_committed_results(committed, tmp_path, monkeypatch):
    monkeypatch.setattr(claims.Claim, "verdict_in", lambda claim, folder: committed[claim.name, folder.name])
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(project_folder() / "data" / "README.md", data)
    before = (data / "README.md").read_text("utf-8")
    claims.write_verdicts(data)
    assert (data / "README.md").read_text("utf-8") == before, "run: unseen keep"
