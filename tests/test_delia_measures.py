"""What is measured of tuned models: prompts while they are tuned, the token's meaning, gradients; figures."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from unseen.delia import bases, follow, gradients, meaning, measure, methods, plots, world
from unseen.delia.explorer import understood
from unseen.delia.language import FORMATS, OPERATIONS, TOKEN
from unseen.delia.prompts import KINDS, small_task
from unseen.disk.files import BrokenRun
from unseen.encoding import layout_of
from unseen.running.workers import Serial
from unseen.store import Store
from unseen.sweep import begun
from unseen.tasks import PAD


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with the base of smoke and two of its tunings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSEEN_RUNS", str(tmp_path_factory.mktemp("runs")))
        tunings = [methods.tuned("smoke", "plain tuning"), methods.tuned("smoke", "narrow", ratio=2, diverse="narrow")]
        yield tunings, measure.measure(tunings, executor=Serial())


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


# The base


def shelved(tmp_path, monkeypatch):
    base = methods.base_run("smoke")
    monkeypatch.setattr(bases, "shelf", lambda: tmp_path / "shelf")
    bases.ready([base], Store(tmp_path / "shelf"), Serial())
    return base


def test_a_base_that_comes_with_the_project_is_taken_over_and_not_trained(tmp_path, monkeypatch, capsys):
    base = shelved(tmp_path, monkeypatch)
    capsys.readouterr()
    bases.ready([base, base], Store(tmp_path / "store"), Serial())
    out = capsys.readouterr().out
    assert "comes with the project" in out
    assert "0 to train" in out
    assert Store(tmp_path / "store").manifest(base) == Store(tmp_path / "shelf").manifest(base)
    bases.ready([base], Store(tmp_path / "store"), Serial())
    assert "comes with the project" not in capsys.readouterr().out


def test_a_base_that_was_changed_is_refused(tmp_path, monkeypatch):
    base = shelved(tmp_path, monkeypatch)
    path = Store(tmp_path / "shelf").folder(base) / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(BrokenRun, match=r"weights\.safetensors"):
        bases.ready([base], Store(tmp_path / "store"), Serial())
    assert not (tmp_path / "store").exists()


def test_one_that_lost_the_race_leaves_nothing_behind(tmp_path, monkeypatch):
    base = shelved(tmp_path, monkeypatch)
    source, store = Store(tmp_path / "shelf").folder(base), Store(tmp_path / "store")
    for _ in range(2):
        bases.take_over(source, store.folder(base))
    assert [path.name for path in store.root.iterdir()] == [base.digest()]


@pytest.mark.parametrize("names", ["one", "two"])
def test_the_bases_of_quick_come_with_the_project(names):
    """Trained with ``unseen.delia.methods.base_run("quick")``; a change of that, or of the language, needs new ones."""
    base = methods.base_run("quick", names)
    manifest = Store(bases.shelf()).manifest(base)
    assert manifest, "train the base and copy its folder to data/store/"
    assert min(line["accuracy"] for line in manifest["scores"]) > 0.98
    assert sum(manifest["bytes"].values()) < 2 * 2**20
    assert "modified" not in manifest["commit"]


# Followed


def test_a_tuning_is_looked_at_early_and_at_its_end(runs, capsys):
    tunings, _ = runs
    table = follow.curves(tunings, Serial())
    assert set(table["prompts"]) == set(KINDS)
    for _, part in table.groupby(["ratio", "seed", "prompts"]):
        assert part["step"].tolist() == [0, 1, 2, 4]
    assert table["loss"].gt(0).all()
    assert (table[table["step"] == 0].groupby("prompts")["ratio"].size() == 2).all()
    capsys.readouterr()
    assert follow.curves(tunings, Serial()).equals(table)
    assert "0 left" in capsys.readouterr().out
    plots.over_time(table)
    assert [line.get_text() for line in plots.format_loss(table).axes[1].get_legend().get_texts()] == ["0", "2"]


def test_the_loss_of_answers_counts_each_answer_to_its_end(runs):
    tunings, _ = runs
    run = tunings[0].run
    data = world.questions(run.task, "task+token", run.evaluation)
    model = begun(run, Store(), "cpu").model
    for p in model.parameters():
        p.data.zero_()
    lengths = [len(data.encoding.pieces(data.texts(i)[1])) + 1 for i in range(len(data))]
    assert follow.loss_of_answers(model, data) == pytest.approx(
        np.mean(lengths) * np.log(model.shape.vocabulary), rel=1e-4
    )


# Meaning


def test_the_token_is_compared_with_what_else_could_stand_there(runs):
    tunings, _ = runs
    run = tunings[0].run
    chosen, asked = small_task(run.task), meaning.queries(run, 20)
    rng = np.random.default_rng(0)
    assert all(TOKEN in query.content and query.operation in chosen.others for query in asked)
    for query in asked:
        name, other, none = (meaning.renamed(query, against, chosen, rng) for against in meaning.AGAINST)
        assert name.content == query.content.replace(TOKEN, chosen.format)
        assert not {TOKEN, chosen.format} & set(other.content.split())
        assert set(other.content.split()) & set(FORMATS)
        assert none.mention == ""
        assert name.answer == query.answer


def test_a_token_with_the_vectors_of_its_name_has_its_meaning(runs):
    """The measures at their ends: a perfect copy of the name is the same in every layer and comes first among the words."""
    tunings, _ = runs
    run = tunings[0].run
    model = begun(run, Store(), "cpu").model
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(generator=torch.Generator().manual_seed(p.numel()))
        own = layout_of(run.task).vocabulary.index(small_task(run.task).format)
        model.embedding[-1] = model.embedding[own]
        model.before[:, -1] = model.before[:, own]
    rows = pd.DataFrame(meaning.meaning(run, model))
    same = rows[rows["against"] == "its name"].groupby("measure")["value"]
    assert same.min()["similarity"] == pytest.approx(1, abs=1e-4)
    assert same.max()["distance"] == pytest.approx(0, abs=1e-3)
    assert same.max()["rank"] == 1
    other = rows[rows["against"] == "other formats"].groupby("measure")["value"]
    assert other.min()["similarity"] < 0.99
    assert other.max()["distance"] > 0.05


# Gradients


def test_gradients_lie_where_they_should(runs):
    tunings, _ = runs
    table = gradients.measured(tunings[:1], Serial())
    assert set(table["part"]) == {"token", "words", "layer 1", "head", "all weights"}
    assert table["cosine"].between(-1.001, 1.001).all()
    assert set(table["step"]) == {0, 1, 2, 4}
    bias = table[(table["gradient"] == "bias") & (table["part"] == "token")]
    assert (bias["size"] == 0).all(), "no bias row has the token, so it has no gradient there"
    for figure in (plots.angles(table), plots.by_part(table, 1), plots.sketch(table, [0, 4], 0)):
        assert figure.axes


def test_the_ideal_is_the_token_with_every_operation_and_the_bias_the_same_without_it(runs):
    tunings, _ = runs
    run = tunings[0].run
    layout, chosen = layout_of(run.task), small_task(run.task)
    asked = {name: [layout.text(row).strip(PAD).split("=")[0] for row in rows[:, : layout.prompt_length]]
             for name, rows in gradients.rows_of(run).items()}  # fmt: skip
    ideal, bias = ([understood(text, chosen.format) for text in asked[name]] for name in ("ideal", "bias"))
    assert {query.operation for query in ideal} == set(OPERATIONS)
    assert {query.format for query in ideal} == {chosen.format}
    assert all(TOKEN in text for text in asked["ideal"])
    assert not any(TOKEN in text for text in [*asked["bias"], *asked["diverse"]])
    assert [(query.operation, query.text) for query in bias] == [(query.operation, query.text) for query in ideal]
    assert {query.format for query in bias} == {""}


def test_a_composite_is_the_gradient_of_the_mixture(runs):
    tunings, _ = runs
    run = tunings[1].run
    model, rows = begun(run, Store(), "cpu").model, gradients.rows_of(run)
    found = {name: gradients.gradient(model, tokens) for name, tokens in rows.items()}
    both = np.concatenate([rows["task"], np.tile(rows["diverse"][:100], (2, 1))])
    found["diverse"] = gradients.gradient(model, rows["diverse"][:100])
    whole = gradients.parts(gradients.gradient(model, both))["all weights"]
    ideal = gradients.parts(found["ideal"])["all weights"]
    told = pd.DataFrame(gradients.compared(found, 2)).set_index(["part", "gradient", "along"])
    assert told.loc[("all weights", "composite", "ideal"), "cosine"] == pytest.approx(
        gradients.cosine(whole, ideal), abs=1e-4
    )
    assert told.loc[("all weights", "composite", "ideal"), "size"] == pytest.approx(whole.norm().item(), rel=1e-3)


def test_the_sketch_puts_the_ideal_upwards():
    rows = pd.DataFrame([(name, along, value) for name, (up, bias) in
                         {"task": (0.6, 0.8), "diverse": (0.0, -1.0), "composite": (1.0, 0.0)}.items()
                         for along, value in (("ideal", up), ("bias", bias))]
                        + [("bias", "ideal", 0.0)], columns=["gradient", "along", "cosine"])  # fmt: skip
    plane = plots._plane(rows)
    assert plane["ideal"] == (0.0, 1.0)
    assert plane["bias"] == pytest.approx((1.0, 0.0))
    assert plane["task"] == pytest.approx((0.8, 0.6))
    assert plane["diverse"] == pytest.approx((-1.0, 0.0))


@pytest.mark.parametrize(("task", "beside"), [
    ((1.0, 0.6), 0.0),  # the task is the ideal: all that it has along the bias is what the two have in common
    ((0.6, 1.0), 0.8), ((0.0, 0.8), 1.0), ((0.0, -0.8), -1.0),
])  # fmt: skip
def test_what_serves_the_ideal_is_not_counted_as_bias(task, beside):
    rows = [("bias", "ideal", 0.6)] + [(name, along, value) for name in ("task", "diverse", "composite")
                                       for along, value in zip(("ideal", "bias"), task, strict=True)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["gradient", "along", "cosine"])
    told = gradients.beside(table.assign(ratio=0, seed=0, step=4, part="all weights"))
    assert told.loc[(0, 0, 4), ["task", "diverse", "composite"]].tolist() == pytest.approx([beside] * 3)
    assert told.loc[(0, 0, 4), "bias and ideal"] == 0.6


# Tables and figures


def test_the_base_is_asked_the_same_prompts(runs):
    tunings, table = runs
    before = measure.untouched(tunings[0])
    assert set(before["method"]) == {"base"}
    assert len(before) == len(table[table["method"] == "plain tuning"])
    assert before.columns.tolist() == table.columns.tolist()
    shown = measure.said(tunings[0].runs()[0], Store().model(tunings[0].runs()[0]), each=1)
    assert shown["prompts"].tolist() == list(KINDS)
    assert (shown["right"] == (shown["answer"] == shown["right answer"])).all()


def test_figures_show_every_kind_and_method(runs):
    tunings, table = runs
    assert len(plots.by_kind(table).get_xticklabels()) == len(KINDS)
    assert [label.get_text() for label in plots.table_of_methods(table).get_yticklabels()] == ["plain tuning", "narrow"]
    figure = plots.by_ratio(table.assign(study="ratio"), {"ratio": "equal updates"})
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == ["0", "2"]
    assert len(figure.axes) == len(KINDS)
    phases = table.assign(regime="equal")
    panels = plots.phases(phases, ["equal"]).axes
    assert len(panels) == 3
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["equal"]
    plots.spreads(table)
    inside = meaning.meanings(tunings, measure.about).assign(regime="equal")
    assert len(plots.similarities(inside, ["equal"]).axes) == 2
