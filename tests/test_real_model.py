"""Notebook 25's study: prompts in words and signs, what is scored, and a table that resumes; tiny models."""

import numpy as np
import pytest
import torch

from unseen.lm import load, rules, tiny, tune
from unseen.lm.load import BadBase
from unseen.lm.rules import AdapterRun
from unseen.runs.workers import Serial
from unseen.scales import amounts
from unseen.specs import EvaluationSpec
from unseen.studies import real_model as study
from unseen.studies.arena import position


@pytest.fixture(scope="module")
def loaded(folder):
    return load.load(folder, "cpu")


def run_of(form="words", work="plain", start="pre-trained", tested=200):
    task = study.task_of("smoke", work, 4, 0)
    return AdapterRun(task, EvaluationSpec(examples=tested), study.adapter("smoke"), "base", form, start)


@pytest.mark.parametrize("form", ["words", "signs"])
def test_each_letter_is_a_token_and_only_the_words_differ(loaded, form):
    task = study.task_of("smoke", "plain", 4, 0)
    examples = task.training(task.split())
    line = examples.line(0)
    text = rules.prompt(line.rule.pattern, line.rule.replacement, line.text, form)
    letters = [letter for letter in text if letter in task.alphabet]
    assert "".join(letters).lstrip("R") == line.rule.pattern + line.rule.replacement + line.text
    answer = loaded.tokenizer.convert_ids_to_tokens(rules.rows_of(loaded, examples, form)[0][1])
    assert [token.strip("▁") for token in answer if token.strip("▁")] == [*line.answer, "</s>"]


@pytest.mark.parametrize("work", ["plain", "encrypted"])
def test_scores_tell_following_from_copying(loaded, monkeypatch, work):
    run = run_of(work=work)
    split = run.task.evaluation(run.task.split(), 200, run.evaluation.seed)

    def oracle(loaded, prompts, *_, unended, **__):
        examples = split[order.pop(0)]
        answers = [" ".join(examples.line(i).answer) for i in range(len(prompts))]
        return [answer + " and more" for answer in answers]  # what comes after is not asked

    order = list(split)
    monkeypatch.setattr(rules, "answers", oracle)
    found = {(row["split"], row["kind"]): row for row in rules.scores(run, loaded)}
    assert all(row["accuracy"] == 1 for row in found.values())
    assert [found["unseen", kind]["copied"] for kind in ("has-op", "no-op")] == [0, 1]
    monkeypatch.setattr(rules, "answers", lambda loaded, prompts, *_, **__: [None] * len(prompts))
    assert {row["accuracy"] + row["copied"] for row in rules.scores(run, loaded)} == {0.0}


def test_what_is_not_usual_names_the_run(folder, runs):
    usual = AdapterRun(*run_of()[:4])
    assert usual.about().keys() == {"task", "evaluation", "base"}
    digests = {run.digest() for run in (usual, run_of(), run_of("signs"), run_of(start="random weights"))}
    assert len(digests) == 4
    assert rules.ensure(usual._replace(base=load.fingerprint(folder)), folder)["digest"] not in digests


def test_a_start_is_what_it_says(folder, loaded, runs):
    base = load.fingerprint(folder)
    untouched = rules.ensure(run_of(start="untouched", tested=20)._replace(base=base), folder)
    assert untouched["loss"] is None
    fresh = load.untaught(loaded, 0)
    known = loaded.model.state_dict()
    for name, weight in fresh.model.state_dict().items():
        assert weight.dtype == known[name].dtype
        assert weight.ndim == 1 or not torch.equal(weight, known[name]), name
    again = load.untaught(loaded, 0).model.state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in fresh.model.state_dict().items())


def test_a_loss_leaves_out_what_no_answer_needs(loaded):
    rows = [([5, 6, 7], [8, 9, 1]), ([5, 6], [9, 1])]
    total = 0.0
    for prompt, answer in rows:
        logits = loaded.model(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        at = range(len(prompt) - 1, len(prompt + answer) - 1)
        total -= sum(logits[place, token].item() for place, token in zip(at, answer, strict=True))
    assert np.isclose(tune.loss_of(loaded, rows).item(), total, rtol=1e-5)


def test_halves_are_read_twice_and_differ_in_who_loses():
    every = {
        (about["data"], about["instructions"]): run
        for run, about in study.runs("full", "base").items()
        if (about["start"], about["form"], about["work"]) == ("pre-trained", "words", "plain")
    }
    whole = every["all", 128].task
    lost = {}
    for (data, _), run in every.items():
        if data != "all":
            assert run.task.examples == whole.examples // 2
            assert run.training.steps == every["all", 128].training.steps
            examples = run.task.training(run.task.split())
            rules = [examples.line(i).rule for i in range(run.task.examples)]
            counts = np.unique([str(rule) for rule in rules], return_counts=True)[1]
            lost[data] = len(counts), counts.max()
    assert set(lost) == set(study.HALVES)
    assert lost["even half"] == (128, 2)
    assert lost["half the instructions lose all"] == (64, 4)
    assert lost["most lose nearly all"][1] > 20


def test_a_table_keeps_what_is_done(folder, runs, monkeypatch):
    every = list(study.runs("smoke", load.fingerprint(folder)))
    done = []

    def stop_after_two(self, specs, trainer, report, run=Serial.run):
        run(self, specs[:2], trainer, report)
        done.extend(specs[:2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Serial, "run", stop_after_two)
        with pytest.raises(KeyboardInterrupt):
            study.measure("smoke", folder)
    assert done == every[:2]

    def the_rest(self, specs, trainer, report, run=Serial.run):
        assert specs == every[2:]
        run(self, specs, trainer, report)

    monkeypatch.setattr(Serial, "run", the_rest)
    table = study.measure("smoke", folder)
    monkeypatch.setattr(Serial, "run", None)
    assert study.measure("smoke", folder).equals(table)
    assert len(table) == 4 * len(every)
    assert set(table["setting"]) == {each.name for each in study.settings("smoke")}
    assert table.loc[table["instructions"] == 0, "updates"].eq(0).all()
    assert table["accuracy"].between(0, 1).all()


@pytest.mark.parametrize(("scale", "error", "message"), [
    ("quick", BadBase, "'make model' fetches it"),
    ("show", ValueError, "scale='show' trains nothing"),
])  # fmt: skip
def test_a_base_that_cannot_be_tuned_is_a_sentence(runs, scale, error, message):
    with pytest.raises(error, match=message):
        study.base_of(scale)


def test_the_tiny_model_stands_in_at_smoke_alone(folder):
    spec = tiny.TinySpec(**amounts("language_model", "smoke").tiny)
    assert folder.parent.name == spec.digest()


def test_the_rule_before_its_input_is_notebook_25s_and_behind_it_has_the_same_words():
    texts = [rules.prompt("ab", "cd", "eabf", form) for form in ("words", "words behind")]
    assert texts == ["Replace a b by c d in e a b f =>", "In e a b f replace a b by c d =>"]
    every = study.runs("full", "base", "orders")
    before = {run for run, about in every.items() if about["form"] == "words"}
    assert len(before) == 7
    assert before <= {*study.runs("full", "base")}


def test_a_tuned_model_is_asked_in_the_other_order_once(folder, runs, monkeypatch):
    table = position.measure_real("smoke", folder)
    crossed = table[table["asked"] != position.OWN]
    assert {*crossed["run"]} == {*table["run"]}
    monkeypatch.setattr(rules, "scores", None)
    assert position.measure_real("smoke", folder).equals(table)
