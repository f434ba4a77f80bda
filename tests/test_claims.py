"""Verdicts follow from the numbers by the criteria that were written down, and from nothing else."""

import pandas as pd
import pytest

from curves import results, step_at
from unseen.claims import CLAIMS, NOT, NOT_RUN, PARTLY, REPRODUCED, as_markdown, half_at, verdicts
from unseen.claims.pretrained import UNEVEN
from unseen.disk.files import project_folder

BY_NAME = {claim.name: claim for claim in CLAIMS}


def judged(name, frame):
    return BY_NAME[name].judge(frame).word


@pytest.mark.parametrize(
    ("curve", "word"),
    [
        (step_at(450, steepness=8), REPRODUCED),
        (step_at(180, steepness=8), PARTLY),  # a step, but below the published one
        (step_at(450, steepness=1), PARTLY),  # no step but a slope
        (step_at(450, steepness=8, top=0.8), PARTLY),
        (lambda size: 0.0, NOT),
        (lambda size: 1.0, NOT),
    ],
)
def test_the_threshold(curve, word):
    assert judged("threshold", results(curve)) == word


def test_memory():
    frame = results()
    assert judged("few are memorised", frame) == REPRODUCED
    assert (
        judged("few are memorised", frame.assign(accuracy=frame["accuracy"].where(frame["split"] == "unseen", 0.7)))
        == PARTLY
    )
    assert judged("few are memorised", results(lambda size: 0.9)) == NOT


def no_ops(middles, no_op=0.99):
    """The frame of notebook 11 with a step for each share of no-ops."""
    parts = []
    for share, middle in middles.items():
        for kind in ("has-op",) if share == 0 else ("has-op", "no-op"):
            curve = step_at(middle, 6) if kind == "has-op" else lambda size: no_op
            parts.append(results(curve).assign(kind=kind, no_op_share=share))
    return pd.concat(parts)


@pytest.mark.parametrize(
    ("middles", "word"),
    [
        ({0.0: 200, 0.1: 210, 0.5: 280}, REPRODUCED),
        ({0.0: 200, 0.1: 210, 0.5: 450}, PARTLY),
        ({0.0: 200, 0.1: 100, 0.5: 200}, PARTLY),  # sooner is a difference too
        ({0.0: 200, 0.1: 210, 0.5: 900}, NOT),
    ],
)
def test_no_ops_and_the_threshold(middles, word):
    assert judged("no-ops do not move the threshold", no_ops(middles)) == word


def test_where_only_no_ops_make_a_model_generalise_they_move_the_threshold():
    frame = no_ops({0.0: 200, 0.1: 210})
    flat = frame["accuracy"].where((frame["no_op_share"] > 0) | (frame["split"] == "seen"), 0.1)
    assert judged("no-ops do not move the threshold", frame.assign(accuracy=flat)) == NOT


def test_a_share_of_no_ops_that_never_generalises_moved_the_threshold():
    frame = no_ops({0.0: 200, 0.5: 200})
    flat = frame["accuracy"].where((frame["no_op_share"] == 0) | (frame["kind"] == "no-op"), 0.0)
    assert judged("no-ops do not move the threshold", frame.assign(accuracy=flat)) == NOT


@pytest.mark.parametrize(("no_op", "word"), [(0.99, REPRODUCED), (0.9, PARTLY)])
def test_the_share_of_no_ops(no_op, word):
    assert judged("beyond it the share hardly matters", no_ops({0.0: 200, 0.1: 210, 0.5: 280}, no_op)) == word


def tail(few, many):
    """The frame of notebook 12 with an accuracy for each shape at 1,000 and at 10,000 instructions."""
    rows = [{"split": "unseen", "instructions": size, "concentration": shape, "accuracy": accuracy}
            for size, found in ((1_000, few), (10_000, many)) for shape, accuracy in found.items()]  # fmt: skip
    return pd.DataFrame(rows)


EVEN = {1.0: 0.98, 0.2: 0.97, 0.1: 0.96, 0.03: 0.95}


@pytest.mark.parametrize(
    ("found", "word"),
    [(EVEN, REPRODUCED), (EVEN | {0.03: 0.5}, PARTLY), (EVEN | {0.1: 0.5}, NOT)],
)
def test_many_instructions_and_the_tail(found, word):
    assert judged("many instructions withstand a long tail", tail(EVEN, found)) == word


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (EVEN | {0.03: 0.3}, REPRODUCED),
        (EVEN | {0.03: 0.7}, PARTLY),
        (EVEN | {0.2: 0.5, 0.03: 0.3}, PARTLY),
        (EVEN, NOT),
    ],
)
def test_few_instructions_and_the_tail(found, word):
    assert judged("few instructions do not", tail(found, EVEN)) == word


def tuned(few=(0.0, 0.99), many=0.97, encrypted=None, **halves):
    """The frame of notebook 15: has-op and no-op at 10 instructions, has-op at 3,000, and on halves of the data."""
    rows = []
    for work, (low, high) in {"plain": (few, many), "encrypted": encrypted or (few, many)}.items():
        rows += [(work, "all", 10, kind, accuracy) for kind, accuracy in zip(("has-op", "no-op"), low, strict=True)]
        rows += [(work, "all", 3_000, "has-op", high), (work, "all", 3_000, "no-op", 0.99)]
    ways = {"even": "even half", "fewer": UNEVEN[0], "tail": UNEVEN[1]}
    for way, accuracy in {"even": 0.96, "fewer": 0.5, "tail": 0.4, **halves}.items():
        size = 1_500 if way == "fewer" else 3_000
        rows += [("plain", ways[way], size, "has-op", accuracy), ("plain", ways[way], size, "no-op", 0.99)]
    frame = pd.DataFrame(rows, columns=["work", "data", "instructions", "kind", "accuracy"])
    scratch = frame.assign(start="from scratch", accuracy=1.0)  # is not what is judged
    return pd.concat([frame.assign(start="pre-trained"), scratch]).assign(split="unseen")


@pytest.mark.parametrize(
    ("measured", "word"),
    [
        ({}, REPRODUCED),
        ({"encrypted": ((0.0, 0.99), 0.2)}, PARTLY),  # many instructions are not enough for the cipher
        ({"encrypted": ((0.0, 0.1), 0.97)}, PARTLY),
        ({"few": (0.3, 0.99)}, PARTLY),
        ({"few": (0.6, 0.99)}, NOT),
        ({"few": (0.0, 0.2)}, NOT),
    ],
)
def test_few_instructions_of_fine_tuning(measured, word):
    assert judged("few instructions solve only the no-ops", tuned(**measured)) == word


@pytest.mark.parametrize(
    ("measured", "word"),
    [
        ({}, REPRODUCED),
        ({"fewer": 0.95}, PARTLY),
        ({"even": 0.8, "fewer": 0.5}, PARTLY),
        ({"even": 0.8, "fewer": 0.8}, NOT),
        ({"fewer": 0.95, "tail": 0.95}, NOT),
    ],
)
def test_halving_the_data_of_fine_tuning(measured, word):
    assert judged("halving evenly is harmless, unevenly it hurts", tuned(**measured)) == word


def test_half_of_a_curve():
    assert half_at(pd.Series([0.1, 0.2], index=[10, 20])) == float("inf")
    assert half_at(pd.Series([0.9, 1.0], index=[10, 20])) == 10


def test_what_was_not_run_is_not_judged(tmp_path):
    folders = {"quick": tmp_path / "quick", "full": tmp_path / "full"}
    (tmp_path / "quick").mkdir()
    results(step_at(450, 8)).to_csv(tmp_path / "quick" / "10_diversity_threshold.csv", index=False)
    table = verdicts(folders).set_index("claim")
    assert len(table) == len(CLAIMS)
    assert table.loc["threshold", ["quick", "full"]].tolist() == [REPRODUCED, NOT_RUN]
    assert table.loc["few instructions do not", ["quick", "full"]].tolist() == [NOT_RUN, NOT_RUN]
    assert table.loc["new token", "quick"] == NOT_RUN


def test_every_claim_says_what_counts():
    assert len(BY_NAME) == len(CLAIMS)
    for claim in CLAIMS:
        assert "partly" in claim.criterion
        assert claim.published


def test_the_readme_shows_the_verdicts_on_the_committed_results():
    root = project_folder()
    table = verdicts({scale: root / "data" / "results" / scale for scale in ("quick", "full")})
    shown = as_markdown(table, ("quick", "full"))
    assert shown in (root / "README.md").read_text("utf-8"), f"put this into the README:\n{shown}"
