"""Memory or rule: what predictors answer to cases worked out by hand, and how far models are from them."""

import numpy as np
import pytest

from unseen import scales
from unseen.rewriting import Rule
from unseen.studies import memory
from unseen.studies.memory import ANYWHERE, COPY, MEMORY, PREDICTORS, RANDOM, RULE, WRITES
from unseen.studies.tour import one_example
from unseen.training import start
from unseen.worlds.rules import Instructions
from unseen.worlds.strings import TaskSpec

SMALL = scales.scale("smoke").run(8)
LAYOUT = TaskSpec().layout


def known(*rules):
    """Training rules from texts, as in ``abc→xyz``."""
    sides = zip(*(rule.split("→") for rule in rules), strict=True)
    return Instructions(LAYOUT.alphabet, *(np.stack([LAYOUT.ids(text) for text in side]) for side in sides))


def asked(rule, text):
    return one_example(LAYOUT, Rule(*rule.split("→")), text)


def answers(rule, text, *rules, corruption=0.1):
    """The likeliest answer of each predictor that has a single one."""
    found = memory.predictors(asked(rule, text), known(*rules), corruption)
    return {name: LAYOUT.answer(found[name][0].argmax(-1)) for name in (RULE, MEMORY, WRITES, COPY)}


@pytest.mark.parametrize(("rule", "text", "said"), [
    ("cat→dog", "onecatnaps", "onedognaps onedognaps onedognaps onecatnaps"),  # seen
    ("cat→lip", "onecatnaps", "onelipnaps onedognaps onedognaps onecatnaps"),  # swapped
    ("car→mug", "cartheacat", "mugtheacat cartheadog cartheadog cartheacat"),  # luring
    ("cut→mug", "onecutnaps", "onemugnaps onecutnaps onedognaps onecutnaps"),  # cat is not there
])  # fmt: skip
def test_each_predictor_answers_a_prompt_as_worked_out_by_hand(rule, text, said):
    assert list(answers(rule, text, "cat→dog", "ben→lip").values()) == said.split()


def test_seen_prompts_cannot_tell_the_memory_from_the_rule():
    task = TaskSpec(instructions=50)
    found = memory.predictors(memory.prompts(task, 40)["seen"], task.split().seen)
    np.testing.assert_allclose(found[MEMORY], found[RULE], atol=1e-3)


def test_two_rules_that_are_equally_near_share_the_answer():
    found = memory.predictors(asked("cot→eye", "onecotnaps"), known("cat→dog", "cut→pin"))[WRITES][0]
    letters = [LAYOUT.ids(text)[0] for text in "dp"]
    assert found[3, letters].tolist() == pytest.approx([0.99 / 2 + 0.01 / 30] * 2, abs=0.005)


def test_where_no_training_rule_is_near_all_are_equally_likely_and_the_input_is_left():
    rules = known("aaa→bbb", "ccc→ddd")
    likely = memory.posterior(asked("xyz→uvw", "mnoxyzpqrs"), rules)
    assert likely.shape == (1, 2, 8)
    assert likely == pytest.approx(np.full((1, 2, 8), 1 / 16))
    found = memory.predictors(asked("xyz→uvw", "mnoxyzpqrs"), rules)
    np.testing.assert_allclose(found[MEMORY], found[COPY])


def test_a_letter_that_agrees_counts_alike_wherever_it_stands():
    """x, y and z: each makes a rule (1 - c) 25 / c times as likely."""
    likely = memory.posterior(asked("cat→dog", "xxxcatxxxx"), known("cat→dog", "cat→dot"), 0.2).sum(2)[0]
    assert likely[0] / likely[1] == pytest.approx(0.8 * 25 / 0.2)


def test_chances_add_to_one_and_none_is_zero():
    task = SMALL.task
    for examples in memory.prompts(task, 30).values():
        for name, chances in memory.predictors(examples, task.split().seen).items():
            assert chances.sum(-1) == pytest.approx(1), name
            assert chances.min() > 0, name


@pytest.mark.parametrize("instructions", [2, 64])
def test_luring_prompts_hold_both_patterns_once_and_answer_by_the_stated_rule(instructions):
    task = SMALL.task.but(instructions=instructions)
    examples, split = memory.luring(task, 40), task.split()
    assert len(examples) == 40
    for i in range(len(examples)):
        line, bait = examples.line(i), split.seen[int(examples.rule[i])].pattern
        assert line.text.count(line.rule.pattern) == line.text.count(bait) == 1
        assert sum(one != other for one, other in zip(line.rule.pattern, bait, strict=True)) == 1
        assert line.answer == line.rule.apply(line.text)
        assert line.rule.pattern not in {rule.pattern for rule in split.seen}


@pytest.fixture(scope="module")
def table():
    return memory.follow(SMALL)


def test_a_run_is_measured_from_before_the_first_step_to_the_last(table):
    assert table["step"].unique().tolist() == [0, 4, 8, 12]
    assert table.groupby("step").size().eq(len(memory.KINDS) * len(PREDICTORS)).all()
    assert table["trained"].iloc[-1] == 1
    assert table["nats"].ge(0).all()
    assert table["exact"].isna().eq(table["predictor"].isin([ANYWHERE, RANDOM])).all()


def test_an_untrained_model_is_nearest_to_letters_at_random(table):
    first = table[table["step"] == 0].groupby("predictor")["nats"].mean()
    assert first.idxmin() == RANDOM
    assert first[RANDOM] < 0.2


def test_a_model_that_copies_is_as_near_to_the_memory_as_to_the_rule_on_luring_prompts():
    task = TaskSpec(instructions=20)
    examples = memory.luring(task, 50)
    found = memory.predictors(examples, task.split().seen)
    sure = examples.where(found[MEMORY].max(-1).min(-1) > 0.98)  # in which one rule was meant
    found = memory.predictors(sure, task.split().seen)
    copies = np.eye(len(LAYOUT.vocabulary))[found[COPY].argmax(-1)]
    near, far = (memory.rel_entr(copies, found[name]).sum(-1).mean() for name in (MEMORY, RULE))
    assert near == pytest.approx(far, rel=0.05)
    assert memory.rel_entr(copies, found[COPY]).sum(-1).mean() < 0.02


def test_where_a_model_crosses_does_not_depend_on_the_smoothing(monkeypatch):
    """Where both predictors are sure, delta is the difference of two chances times a constant."""
    examples, rules = asked("cat→lip", "onecatnaps"), known("cat→dog", "ben→lip")
    chances = np.random.default_rng(0).dirichlet(np.ones(30), (1, 11))
    deltas = []
    for smoothing in (0.1, 0.001):
        monkeypatch.setattr(memory, "SMOOTHING", smoothing)
        found = memory.predictors(examples, rules, corruption=1e-6)
        near = {name: memory.rel_entr(chances, found[name]).sum(-1).mean() for name in (MEMORY, RULE)}
        deltas.append((near[MEMORY] - near[RULE]) / np.log1p((1 - smoothing) * 30 / smoothing))
    assert deltas[0] == pytest.approx(deltas[1], rel=1e-6)


def test_a_models_own_chances_are_those_of_its_own_answers():
    model, prompts = start(SMALL).model, memory.luring(SMALL.task, 5).prompts
    answers, chances = memory.own_chances(model, prompts)
    assert chances.shape == (5, 11, 12)
    assert (chances.argmax(-1) == answers).all()


@pytest.mark.parametrize("name", scales.SCALES)
def test_the_runs_of_a_scale_are_those_of_the_main_study(name):
    main = {run.digest() for run in scales.scale(name).runs()}
    assert {run.digest() for run in memory.setting(name).runs()} <= main
