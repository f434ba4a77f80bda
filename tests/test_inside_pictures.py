"""Figures say what is in their frames."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from unseen.inside import axis, pictures
from unseen.inside.heads import JOBS, LETTERS
from unseen.inside.instead import KINDS
from unseen.inside.progress import EXACT, by_letters, rises, scaled
from unseen.inside.surgery import WHOLE


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def texts(figure):
    return {
        text.get_text()
        for ax in figure.axes
        for text in (*ax.texts, ax.title, ax.xaxis.label, ax.yaxis.label, ax.title)
    }


def test_jobs_name_models_and_jobs_once():
    rows = [(la, h, job, 0.25 * la) for la in (1, 2) for h in (1, 2, 3) for job in JOBS]
    frame = pd.DataFrame(rows, columns=["layer", "head", "job", "score"])
    figure = pictures.jobs({"few": frame, "many": frame})
    assert [ax.get_title() or ax.get_title("left") for ax in figure.axes] == [*JOBS, "", "", ""]
    assert figure.axes[3].get_ylabel() == "many\nlayer"


def dose():
    rows = [(job, size, chosen, 0, what, 1 - size / 10) for job in JOBS for size in (0, 3) for chosen in ("best", "others")
            for what in (*LETTERS, WHOLE, "first letter: right")]  # fmt: skip
    return pd.DataFrame(rows, columns=["job", "size", "chosen", "draw", "what", "share"])


def test_dose_has_a_panel_a_job_and_a_line_for_each_letter():
    figure = pictures.dose(dose())
    assert [len(ax.lines) for ax in figure.axes] == [8, 8, 8]


def test_what_is_left_is_of_one_size():
    table = pictures.what_is_left(dose(), 3)
    assert len(table) == 9
    assert table[WHOLE].unique().tolist() == [1, 0.7]


@pytest.mark.parametrize("layer", [None, 0, 1])
def test_the_lens_shows_the_first_letter_of_each_cell(layer):
    rows = [
        (la, place, rank, "ab"[rank - 1], 0.9 / rank, rank == 1)
        for la in (0, 1)
        for place in (0, 1, 2)
        for rank in (1, 2)
    ]
    table = pd.DataFrame(rows, columns=["layer", "place", "rank", "letter", "probability", "right"])
    ax = pictures.lens(table, "aaa", layer=layer)
    assert [text.get_text() for text in ax.texts] == ["a"] * 6
    assert len(ax.patches) == (layer is not None)
    below = pictures.candidates(table, 1, plt.subplots()[1])
    assert {text.get_text() for text in below.texts} == {"a .90", "b .45"}


def test_a_head_map_has_a_label_a_token():
    ax = pictures.head_map(np.eye(4), "ab|c", 3, plt.subplots()[1], "layer 1, head 1")
    assert [label.get_text() for label in ax.get_yticklabels()] == list("ab|c")


def test_lens_lines_has_a_panel_a_model():
    frame = pd.DataFrame(
        [(la, name, 0.5) for la in (0, 1) for name in LETTERS], columns=["layer", "letters", "probability"]
    )
    assert len(pictures.lens_lines({"a": frame, "b": frame}).axes) == 2


@pytest.mark.parametrize("step", [True, False])
def test_axis_marks_the_crossings_that_there_are(step):
    asks = [(axis.ASKS[1], axis.FOLLOWS, 1), (axis.ASKS[1], axis.RECITES, -1)]
    rows = [(size, seed, ask, does, 0.5 + sign * (0.4 if size > 50 else -0.4) * step)
            for size in (10, 100, 1_000) for seed in (0, 1) for ask, does, sign in asks]  # fmt: skip
    table = pd.DataFrame(rows, columns=["instructions", "seed", "ask", "does", "share"])
    unseen = table[table["does"] == axis.FOLLOWS].rename(columns={"share": "accuracy"}).assign(split="unseen")
    found = axis.summary(axis.crossings(table, unseen))
    labels = [text.get_text() for text in pictures.axis(table, unseen, found).get_legend().get_texts()]
    assert any(label.startswith("unseen exact match half: ") for label in labels) == step
    if step:
        assert len(pictures.stages(found).texts) == len(found)


def test_instead_is_a_full_bar_for_each_size():
    shares = pd.DataFrame(np.full((2, len(KINDS)), 1 / len(KINDS)), columns=list(KINDS), index=[10, 1_000])
    ax = pictures.instead(shares)
    assert len(ax.patches) == 2 * len(KINDS)
    assert max(patch.get_y() + patch.get_height() for patch in ax.patches) == pytest.approx(1)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["10", "1,000"]


def test_signals_and_leads():
    values = {
        EXACT: [0, 0, 0, 1, 1, 1],
        "reads y": [0, 0.5, 1, 1, 1, 1],
        "replaced letters right": [0, 0.9, 1, 1, 1, 1],
    }
    table = pd.concat([pd.DataFrame({"instructions": size, "seed": 0, "step": range(6), "signal": name, "value": value})
                       for size in (8, 64) for name, value in values.items()])  # fmt: skip
    assert len(pictures.signals(scaled(table), list(values)).axes) == 2
    assert [label.get_text() for label in pictures.leads(rises(table)).get_yticklabels()] == [
        "replaced letters right",
        "reads y",
    ]
    assert [len(ax.lines) for ax in pictures.by_letters(by_letters(table, 3)).axes] == [3, 3]
