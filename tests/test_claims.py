"""Verdicts on curves as a whole and at the edges of the data, and where they are shown; the bounds are in ``test_criteria``."""

import pandas as pd
import pytest

from curves import results, step_at
from unseen.claims import CLAIMS, NOT, NOT_RUN, PARTLY, REPRODUCED, as_markdown, half_at, verdicts
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


def no_ops(middles):
    """The frame of notebook 11 with a step for each share of no-ops."""
    parts = []
    for share, middle in middles.items():
        for kind in ("has-op",) if share == 0 else ("has-op", "no-op"):
            curve = step_at(middle, 6) if kind == "has-op" else lambda size: 0.99
            parts.append(results(curve).assign(kind=kind, no_op_share=share))
    return pd.concat(parts)


def test_where_only_no_ops_make_a_model_generalise_they_move_the_threshold():
    frame = no_ops({0.0: 200, 0.1: 210})
    flat = frame["accuracy"].where((frame["no_op_share"] > 0) | (frame["split"] == "seen"), 0.1)
    assert judged("no-ops do not move the threshold", frame.assign(accuracy=flat)) == NOT


def test_a_share_of_no_ops_that_never_generalises_moved_the_threshold():
    frame = no_ops({0.0: 200, 0.5: 200})
    flat = frame["accuracy"].where((frame["no_op_share"] == 0) | (frame["kind"] == "no-op"), 0.0)
    assert judged("no-ops do not move the threshold", frame.assign(accuracy=flat)) == NOT


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
