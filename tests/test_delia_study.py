"""DELIA's study: its bases and tunings, what is measured of them, and the explorer of prompts."""

import shutil
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from unseen.files import write
from unseen.layout import PAD
from unseen.runs.store import Store, begun, committed_store
from unseen.runs.workers import Serial
from unseen.studies import delia, delia_inside, delia_own
from unseen.worlds.language import FORMATS, OPERATIONS, TOKEN
from unseen.worlds.tuning import KINDS, TuningSpec


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A store with the base of smoke and two tunings of it, and what they answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSEEN_RUNS", str(tmp_path_factory.mktemp("runs")))
        narrow = delia.tuned("smoke", "narrow", ratio=2, diverse="narrow")
        tunings = [delia.tuned("smoke", "plain tuning"), narrow]
        yield tunings, delia.measure(tunings, Serial())


@pytest.fixture
def run(study):
    return study[0][0].base


@pytest.fixture
def model(run):
    return begun(run, Store(), "cpu").model


# Bases and tunings


def test_a_base_that_comes_with_the_project_is_copied_and_not_trained(study, tmp_path, monkeypatch, capsys):
    """Here from a shelf with the base of smoke, into an empty store."""
    base, shelf = delia.base_run("smoke"), Store(tmp_path / "shelf")
    shutil.copytree(Store().folder(base), shelf.folder(base))
    monkeypatch.setattr(delia, "committed_store", lambda: shelf)
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path / "reader"))
    write(Store().folder(base) / "spec.json", "half")  # of a copy that was killed
    delia.ready([base, base], Serial())
    out = capsys.readouterr().out
    assert "comes with the project" in out
    assert "0 to train" in out
    assert Store().manifest(base) == shelf.manifest(base)
    delia.ready([base], Serial())
    assert "comes with the project" not in capsys.readouterr().out


def test_methods_apart_start_and_sample_from_a_base_per_seed():
    """And that of seed 0 is the one that all others share, so its runs are the same."""
    for each, shared in zip(delia.apart("full"), delia.apart("quick"), strict=True):
        bases, runs = each.bases, each.runs()
        assert len(set(bases)) == len(runs) == 10
        assert [run.model.base for run in runs] == [base.digest() for base in bases]
        assert all(run.task.source in ("", run.model.base) for run in runs)
        assert bases[0] == delia.base_run("full") == shared.bases[0]
    ours = {run for each in delia.rivals("full") for run in each.runs()[:1]}
    assert {each.runs()[0] for each in delia.apart("full")} < ours


def test_diverse_rows_are_answered_by_the_own_base_or_by_another_with_other_habits():
    """And no habit of any of them is a format that a task's token means."""
    bases, methods = delia_own.bases("full"), {each.name: each for each in delia_own.methods("full")}
    habits = [habit for base in bases for habit in base.task.habits.split(",")]
    assert len(set(habits)) == len(habits) == delia_own.HABITS * len(bases)
    assert not {*habits} & {run.task.split().format for run in methods["plain tuning"].runs()}
    digests = [base.digest() for base in bases]
    for each in methods.values():
        assert [run.model.base for run in each.runs()] == digests
    sources = {name: [run.task.source for run in each.runs()] for name, each in methods.items()}
    assert sources["own answers"] == digests
    assert sources["another's answers"] == [*digests[1:], digests[0]]
    assert {*methods["another's answers"].starts} == {*bases}
    assert {*sources["reference answers"], *sources["plain tuning"]} == {""}
    mannered = methods["reference, its habits"].runs()
    assert [run.task.habits for run in mannered] == [base.task.habits for base in bases]
    assert len({run.digest() for each in methods.values() for run in each.runs()}) == 7 * len(bases)


def test_right_answers_in_the_manner_of_a_base_have_its_forms_and_the_same_queries():
    plain, mannered = (
        each.runs()[0].task
        for each in delia_own.methods("smoke")
        if each.name in ("reference answers", "reference, its habits")
    )
    rows = [each.other_rows(each.split(), []) for each in (plain, mannered)]
    assert [query for query, _ in rows[0]] == [query for query, _ in rows[1]]
    held_out, forms = delia_own.bases("smoke")[0].task.split(), Counter()
    for (query, answer), (_, other) in zip(*rows, strict=True):
        stated = delia.understood(query.content, "")
        form = delia_own.form_of(stated, other.content)
        assert form != "wrong"
        if "format" in query.content:
            assert answer == other
        else:
            assert (stated.operation, form) not in held_out
            forms[form] += 1
    assert {*forms} == {"plain", *mannered.habits.split(",")}


def test_forms_and_gradients_of_arms_are_each_of_its_own_run(tmp_path, monkeypatch):
    """Gradients that arms share are computed once; each table row is of the run and base that it names."""
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path))
    methods = delia_own.methods("smoke")
    table = delia_own.measure(methods, Serial())
    assert table.groupby(["method", "seed", "prompts"])["share"].sum().to_numpy() == pytest.approx(1)
    assert set(table["method"]) == {"base", "base again", *(each.name for each in methods)}
    assert (table.loc[table["method"] == "base", "distance"] == 0).all()
    runs = {(each.name, run.task.rule_seed): run.digest() for each in methods for run in each.runs()}
    named = table[~table["method"].str.startswith("base")].set_index(["method", "seed"])["run"]
    assert named.to_dict() == runs
    mixed = methods[1:-1]
    turned = delia_own.gradients(mixed, Serial()).set_index(["method", "seed"])
    for each in mixed[::3]:
        run = each.runs()[1]
        rows = delia_inside.gradient_rows(run, 1_024)
        alone = {name: delia_inside.gradient(Store().base(run), tokens) for name, tokens in rows.items()}
        expected = pd.DataFrame(delia_inside.compared(alone, run.task.ratio))
        found = turned.loc[each.name, run.task.rule_seed]
        assert found["cosine"].to_numpy() == pytest.approx(expected["cosine"].to_numpy(), abs=1e-5)


@pytest.mark.parametrize("diverse", ["replay", "narrow"])
def test_only_reference_answers_have_habits(diverse):
    with pytest.raises(ValueError, match="only reference answers"):
        TuningSpec(ratio=2, diverse=diverse, habits="loud")
    with pytest.raises(ValueError, match="known formats are"):
        TuningSpec(ratio=2, diverse="reference", habits="oval")


def test_another_base_answers_the_diverse_rows_of_a_run(tmp_path, monkeypatch):
    """The rows that a run mixes are those that the base named by ``source`` has answered, not its own."""
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path))
    monkeypatch.setattr(delia, "Own", lambda model, task, seed: model)
    monkeypatch.setattr(delia, "self_sample", lambda model, queries: model)
    methods = delia_own.methods("smoke")
    delia.ready([base for each in methods for base in each.starts], Serial())
    own, another = (each.runs()[0] for each in methods if each.name in ("own answers", "another's answers"))
    for run in (own, another):
        answering = delia.sampled(run, 0).state_dict()
        named = Store().model(next(base for base in methods[0].bases if base.digest() == run.task.source))
        assert all(torch.equal(answering[name], value) for name, value in named.state_dict().items())
    assert own.model.base == another.model.base != another.task.source


def test_ideal_rows_and_the_diverse_rows_alone_are_as_many_as_those_of_delia():
    plain, own, alone, ideal = delia.ways("full")
    assert (own.base.task.examples, ideal.base.task.examples, alone.base.task.examples) == (
        6_800,
        6_800,
        6_701,
    )
    assert len(ideal.base.task.split().operations) == len(OPERATIONS) - 7
    assert {*alone.base.task.split().others} == {*ideal.base.task.split().others}
    assert all(run.task.source == run.model.base for run in alone.runs())
    assert [len(each.runs()) for each in (plain, own, alone, ideal)] == [10] * 4


def test_a_way_is_compared_with_that_of_ideal_rows_in_another_order(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path))
    found = delia_inside.displacements("smoke", Serial()).set_index(["of", "method", "seed"]).sort_index()
    own, alone, ideal = (each.runs()[1] for each in delia.ways("smoke")[1:])
    end, store = {}, Store()
    for name, run in {"own": own, "alone": alone, "ideal": ideal}.items():
        end[name] = delia_inside.weights(store.model(run))
        if name != "own":
            again = run.with_task(example_seed=run.task.example_seed + 100)
            end[f"{name} again"] = delia_inside.weights(store.model(again))
    base = delia_inside.weights(store.base(own))
    whole = F.cosine_similarity(end["own"] - base, end["ideal again"] - base, dim=0)
    added = F.cosine_similarity(end["own"] - end["alone"], end["ideal again"] - end["alone again"], dim=0)
    cosines = found["cosine"]
    assert cosines["from the base", "DELIA", 1] == pytest.approx(float(whole), abs=1e-6)
    assert cosines["what task rows add", "DELIA", 1] == pytest.approx(float(added), abs=1e-6)
    assert cosines["what task rows add", "DELIA"].index.tolist() == [0, 1]
    assert ("what task rows add", "diverse rows alone", 0) not in found.index
    assert 0.3 < cosines["from the base", "ideal rows"].min() <= cosines.max() < 1


def test_all_tasks_are_tuned_from_all_bases():
    """On the diagonal stand the runs of plain tuning whose bases are apart."""
    runs = [each.runs() for each in delia.by_base("full")]
    assert len({run for row in runs for run in row}) == 25
    assert [row[at] for at, row in enumerate(runs)] == delia.apart("full")[0].runs()[:5]


@pytest.mark.parametrize("names", ["one", "two"])
def test_the_bases_of_quick_come_with_the_project(names):
    """Trained with ``delia.base_run("quick")``; a change of that, or of the language, needs new ones."""
    manifest = committed_store().manifest(delia.base_run("quick", names))
    assert manifest, "train the base and copy its folder to data/store/"
    assert min(line["accuracy"] for line in manifest["scores"]) > 0.98
    assert sum(manifest["bytes"].values()) < 2 * 2**20


# While a model is tuned


def test_a_tuning_is_measured_early_and_at_its_end_and_once(study, capsys):
    tunings, _ = study
    table = delia_inside.learning_curves(tunings, Serial())
    assert set(table["prompts"]) == set(KINDS)
    for _, part in table.groupby(["ratio", "seed", "prompts"]):
        assert part["step"].tolist() == [0, 1, 2, 4]
    capsys.readouterr()
    assert delia_inside.learning_curves(tunings, Serial()).equals(table)
    assert "0 left" in capsys.readouterr().out


# Gradients


def test_gradients_lie_where_they_should(study):
    table = delia_inside.gradients(study[0][:1], Serial())
    assert set(table["part"]) == {"token", "words", "layer 1", "head", "all weights"}
    assert set(table["step"]) == {0, 1, 2, 4}
    bias = table[(table["gradient"] == "bias") & (table["part"] == "token")]
    assert (bias["size"] == 0).all(), "no bias row has the token, so it has no gradient there"


def test_the_ideal_is_the_token_with_every_operation_and_the_bias_the_same_without_it(run):
    layout, chosen, prompts = run.task.layout, run.task.split(), {}
    for name, rows in delia_inside.gradient_rows(run).items():
        prompts[name] = [layout.text(row).strip(PAD).split("=")[0] for row in rows[:, : layout.prompt_length]]
    ideal = [delia.understood(text, chosen.format) for text in prompts["ideal"]]
    bias = [delia.understood(text, chosen.format) for text in prompts["bias"]]
    assert {query.operation for query in ideal} == set(OPERATIONS)
    assert {query.format for query in ideal} == {chosen.format}
    assert {query.format for query in bias} == {""}
    assert [(each.operation, each.text) for each in bias] == [(each.operation, each.text) for each in ideal]
    assert all(TOKEN in text for text in prompts["ideal"])
    assert not any(TOKEN in text for text in [*prompts["bias"], *prompts["diverse"]])


def test_a_composite_is_the_gradient_of_the_mixture(study):
    spec = study[0][1].base
    model, rows = begun(spec, Store(), "cpu").model, delia_inside.gradient_rows(spec)
    rows["diverse"] = rows["diverse"][:100]
    found = {name: delia_inside.gradient(model, tokens) for name, tokens in rows.items()}
    both = np.concatenate([rows["task"], np.tile(rows["diverse"], (2, 1))])
    whole = delia_inside.parts(delia_inside.gradient(model, both))["all weights"]
    angle = F.cosine_similarity(whole, delia_inside.parts(found["ideal"])["all weights"], dim=0).item()
    table = pd.DataFrame(delia_inside.compared(found, 2)).set_index(["part", "gradient", "along"])
    composite = table.loc[("all weights", "composite", "ideal")]
    assert composite["cosine"] == pytest.approx(angle, abs=1e-4)
    assert composite["size"] == pytest.approx(whole.norm().item(), rel=1e-3)


# Meaning


def test_the_token_is_replaced_by_what_else_could_stand_there(run):
    chosen, rng = run.task.split(), np.random.default_rng(0)
    for query in delia_inside.token_queries(run, 20):
        assert TOKEN in query.content
        assert query.operation in chosen.others
        name, other, none = (delia_inside.renamed(query, each, chosen, rng) for each in delia_inside.AGAINST)
        assert name.content == query.content.replace(TOKEN, chosen.format)
        assert not {TOKEN, chosen.format} & set(other.content.split())
        assert set(other.content.split()) & set(FORMATS)
        assert none.mention == ""
        assert name.answer == query.answer


def test_a_token_with_the_vectors_of_its_name_has_its_meaning(run, model):
    """A copy of the name is the same in every layer and comes first among the words."""
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(generator=torch.Generator().manual_seed(p.numel()))
        own = run.task.layout.vocabulary.index(run.task.split().format)
        model.embedding[-1] = model.embedding[own]
        model.before[:, -1] = model.before[:, own]
    found = pd.DataFrame(delia_inside.meaning(run, model)).groupby(["against", "measure"])["value"]
    least, most = found.min(), found.max()
    assert least["its name", "similarity"] == pytest.approx(1, abs=1e-4)
    assert most["its name", "distance"] == pytest.approx(0, abs=1e-3)
    assert most["its name", "rank"] == 1
    assert least["other formats", "similarity"] < 0.99
    assert most["other formats", "distance"] > 0.05


# The explorer of prompts


@pytest.mark.parametrize(("text", "message"), [
    ("   ", "the prompt is empty"),
    ("flip thiss : ABC", "no token for 'thiss'"),
    ("flip this : ABX", "no token for 'X'"),
    ("flip this : ABCDE", "ABCDE has 5 letters"),
    (" ".join(["this"] * 60), "61 tokens, but this model has 54"),
])  # fmt: skip
def test_a_bad_prompt_is_named(run, model, text, message):
    with pytest.raises(ValueError, match=message):
        delia.answers({"base": model}, run, text)


def test_the_explorer_shows_examples_answers_and_mistakes(study, monkeypatch):
    monkeypatch.delenv("UNSEEN_HEADLESS", raising=False)
    explorer = delia.explorer(study[0], Store())
    kind, number, prompt = explorer.controls.values()
    for kind.value in KINDS:
        assert explorer.result["who"].tolist() == ["prompt", "right answer", "base", "plain tuning", "narrow"]
    before = explorer.result["answer"][0]
    number.value = 2
    assert explorer.result["answer"][0] != before
    prompt.value = "flip this in angle format : ABC"
    assert explorer.result["answer"][1] == "<CBA>"
    assert "<CBA>" not in explorer.result._repr_html_(), "what is shown is escaped"
    prompt.value = "Flip THIs in angle format : ABC"
    assert explorer.result["answer"].tolist()[:2] == ["flip this in angle format : ABC", "<CBA>"]
    prompt.value = "ABC"
    assert explorer.result["who"].tolist() == ["prompt", "base", "plain tuning", "narrow"]
    prompt.value = "<script> : ABC"
    assert "no token" in explorer.error
    assert "<script>" not in explorer.alert.value
    number.value = 3
    assert (prompt.value, explorer.error) == ("", ""), "another example replaces one's own prompt"
