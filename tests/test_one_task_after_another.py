"""Notebook 33: tasks in turn, how a switch routes among experts, and gradients through steps of descent."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from unseen.evaluation import all_right
from unseen.lm import load
from unseen.model import Shape, build, differentiable
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec
from unseen.studies import real_model
from unseen.studies.arena import meta, real, switching
from unseen.training import Data, State, data_of, start, train
from unseen.worlds.dialect import DialectSpec
from unseen.worlds.language import PHRASES, VERBS, WITHOUT_ARGUMENT, OperationsSpec
from unseen.worlds.styles import NAMES, WAYS

SMALL = ModelSpec(layers=2, width=16, heads=2)
TASK = DialectSpec(certain=5, shared=0, corrupted=0, examples=20)
RUN = RunSpec(TASK, SMALL, TrainingSpec(steps=2, batch=8), EvaluationSpec(60))
META = RunSpec(OperationsSpec(examples=400), SMALL, TrainingSpec(steps=3, batch=24), EvaluationSpec(40))


def model_of(run, seed=1):
    """Says something that depends on what it reads."""
    made, dice = build(run.model, Shape.of(run.task.layout)), torch.Generator().manual_seed(seed)
    for name, weight in made.named_parameters():
        if name == "head" or name.endswith((".out", ".down")):
            weight.data.normal_(std=0.3, generator=dice)
    return made


@pytest.fixture(scope="module")
def model():
    return model_of(RUN)


# Tasks in turn


@pytest.mark.parametrize("related", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_each_task_has_a_name_and_a_meaning_of_its_own(seed, related):
    named = switching.compounds(seed, 5, related)
    assert len({each.words for each in named}) == len({each.operations for each in named}) == 5
    verbs = {verb: name for name in WITHOUT_ARGUMENT for verb in VERBS[name]}
    said = [[verbs[word] for word in each.words.split()] for each in named]
    assert not any(each.operations[0] in words for each, words in zip(named, said, strict=True))
    assert len({word for words in said for word in words}) == (3 if related else 10)


def test_questions_come_in_other_words_and_after_another_task():
    named = switching.compounds(0, 5, False)
    asked, rows = switching.questions(RUN, named), switching.training_rows(RUN, named)
    assert list(asked) == [*switching.PROMPTS, switching.LANGUAGE]

    def phrases(texts):
        return {phrase for phrase in PHRASES for each in named for text in texts
                if text.startswith(f"{phrase.format(each.words)} :")}  # fmt: skip

    known = phrases([row[0].content for each in rows for row in each])
    assert known == phrases([asked["known words"].texts(at)[0] for at in range(60)])
    assert not known & phrases([asked["other words"].texts(at)[0] for at in range(60)])
    for at in range(60):
        before, after = asked["after another"].texts(at)[0].split(".")
        own = named[asked["after another"].rule[at]].words
        assert own in after
        assert own not in before
    assert all(np.bincount(asked[kind].rule).tolist() == [12] * 5 for kind in switching.PROMPTS)


def test_tasks_are_learned_in_turn_and_what_is_retained_is_rehearsed(monkeypatch):
    seen = []
    monkeypatch.setattr(switching, "begun", lambda run, *_: start(run))
    monkeypatch.setattr(
        switching, "learn", lambda run, state, rows, tasks, tell: seen.append((len(rows), tasks))
    )
    for arm, share in (("adapter", 0.0), ("rehearsal", 0.1), ("joint", 0.0), ("base", 0.0)):
        table = switching.follow_model(RUN, print, arm, share, "apart")
        assert set(table[table["after"] == 5]["task"]) == {0, 1, 2, 3, 4, 5}
    alone, rehearsed = ([(20 + kept * at, 1) for at in range(5)] for kept in (0, 2))
    assert seen == [*alone, *rehearsed, (100, 5)]


# The switch


def test_a_switch_learns_what_can_be_told_apart_and_as_coded_never_names_the_first(model):
    named = switching.compounds(1, 3, False)
    rows = [switching.conversations(RUN, named, np.full(8, at), f"some {at}") for at in range(3)]
    read = [switching.states_of(model, TASK.examples_of(each).prompts) for each in rows]
    whole, coded = (switching.router(arm, read, 0) for arm in ("switch", "coded"))
    found = np.array([whole(each, np.full(8, at)) for at, each in enumerate(read)])
    assert (found == np.arange(3)[:, None]).mean() > 0.6
    assert 0 not in np.concatenate([coded(each, np.zeros(8)) for each in read])
    assert (switching.router("switch", read, 0)(read[1], np.ones(8)) == found[1]).all()


def test_other_routes_are_the_words_the_truth_and_chance():
    named = switching.compounds(0, 5, False)
    asked = switching.questions(RUN, named)["known words"]

    def routed(route, rows):
        retained = [TASK.examples_of(each[:rows]).prompts for each in switching.training_rows(RUN, named)]
        read = [switching.words_of(each, len(TASK.layout.vocabulary)) for each in (*retained, asked.prompts)]
        return switching.router(route, read[:-1], 0)(read[-1], asked.rule)

    assert (routed("oracle", 2) == asked.rule).all()
    assert (routed("words", 2) == asked.rule).mean() > 0.6
    assert (routed("words", 20) == asked.rule).all()  # verbs of their own
    assert set(routed("random", 2)) == set(range(5))


def test_a_state_is_that_of_the_last_token_of_the_prompt(model):
    asked = switching.questions(RUN, switching.compounds(0, 5, False))["known words"].first(4)
    states = switching.states_of(model, asked.prompts)
    assert states.mean(1).abs().max() < 1e-5
    logits = states @ model.head.mT
    first = model(torch.from_numpy(asked.tokens()[:, :-1]).long())[:, 0]
    assert torch.allclose(logits, first, atol=1e-4)


def test_an_expert_answers_what_is_routed_to_it(monkeypatch):
    monkeypatch.setattr(switching, "begun", lambda run, *_: State(model_of(run, len(made)), []))
    monkeypatch.setattr(
        switching, "Store", lambda: type("Store", (), {"base": lambda self, run: model_of(run)})()
    )
    made = []
    monkeypatch.setattr(switching, "learn", lambda run, state, *_: made.append(state.model))
    table = switching.follow_experts(RUN, print, [0.1], "related")
    assert set(table["arm"]) == {"random", "oracle", "words 10%", "coded 10%", "switch 10%"}
    oracle = table[(table["arm"] == "oracle") & (table["task"] > 0)]
    assert (oracle["routed"] == 1).all()
    asked = switching.questions(RUN, switching.compounds(0, 5, True))
    for row in oracle[oracle["after"] == 5].itertuples():
        mine = asked[row.prompts].where(asked[row.prompts].rule == row.task - 1)
        assert row.right == all_right(made[row.task - 1], mine).mean()


# A real language model


def work_of(arm, seed=0):
    spec = real_model.adapter("smoke").but(steps=2, seed=seed)
    return real.Work(switching.REAL, arm, "smoke", spec, "a fingerprint")


@pytest.mark.parametrize("seed", range(3))
def test_questions_to_a_real_model_are_what_their_kind_says(seed):
    rows, asked = switching.styled("full", seed)

    def named(line):
        """The names in a question."""
        return {*NAMES} & {word.strip(".,!") for word in line.query.split()}

    names = [set.union(*map(named, each)) for each in rows]
    assert [len(each) for each in names] == [1] * 4 == [len({line.form for line in each}) for each in rows]
    assert len(set.union(*names)) == len({rows[at][0].form for at in range(4)}) == 4

    def ways(lines):
        return {way for way in WAYS for line in lines if line.query.endswith(way.format(*names[line.style]))}

    assert ways([line for each in rows for line in each]) == ways(asked["known words"]) == {*WAYS[:4]}
    assert ways(asked["other words"]) == {*WAYS[4:]}
    seen = {line.query.split("?")[0] for each in rows for line in each}
    for kind, lines in asked.items():
        assert np.bincount([line.style for line in lines]).tolist() == [len(lines) // 4] * 4
        assert not seen & {line.query.split("?")[0].split("\n")[-1] for line in lines if "?" in line.query}
        said = list(map(named, lines))
        own = [names[line.style] for line in lines]
        if kind == "after another":
            assert all(mine < both and len(both) == 2 for mine, both in zip(own, said, strict=True))
            assert all(line.query.splitlines()[1].endswith((".", "!")) for line in lines)
        else:
            assert said == ([set()] * len(lines) if kind == switching.PLAIN else own)


def test_a_real_model_is_graded_by_format_and_content(monkeypatch):
    _, asked = switching.styled("full", 0)

    def graded(write):
        """The scores of answers to lines, each of which is written by a function."""
        monkeypatch.setattr(
            real, "written", lambda loaded, each, **how: [write(line, **how) for line in each]
        )
        return switching.graded(None, asked)

    oracle = graded(lambda line, **_: line.written())
    assert all(each.all() for found in oracle.values() for each in found.values())
    quoted = graded(lambda line, **_: line.written("quoted"))
    assert not quoted["format"][switching.PLAIN].any()
    assert quoted["right"]["known words"].tolist() == [line.form == "quoted" for line in asked["known words"]]
    endless = graded(lambda line, unended: "in a word, or two" if unended else None)
    assert not any(each.any() for each in endless["right"].values())


def test_a_state_of_a_real_model_does_not_depend_on_the_batch(folder):
    loaded = load.load(folder, "cpu")
    prompts = real.prompts_of(loaded, switching.styled("smoke", 0)[1]["known words"])
    states = switching.real_states(loaded, prompts)
    assert states.mean(1).abs().max() < 1e-5
    for each, state in zip(prompts, states, strict=True):
        assert torch.allclose(switching.real_states(loaded, [each])[0], state, atol=1e-4)


def test_real_tasks_are_learned_in_turn_with_equal_updates(folder, runs, monkeypatch):
    seen = []
    monkeypatch.setattr(
        switching, "learn_real", lambda work, loaded, rows, tasks, tell: seen.append((len(rows), tasks))
    )
    for arm in ("adapter", "rehearsal", "joint", "base"):
        rows = pd.DataFrame(switching.follow_real(work_of(arm), folder, print))
        asked = rows[rows["after"] == 3].groupby("prompts", sort=False)["task"].apply(list)
        assert asked.to_dict() == {kind: [1, 2, 3] for kind in switching.PROMPTS} | {switching.PLAIN: [0]}
        if arm in ("adapter", "rehearsal"):
            assert {*rows[rows["after"] < 3]["prompts"]} == {"known words"}
    alone, rehearsed = ([(6 + kept * at, 1) for at in range(3)] for kept in (0, 2))
    assert seen == [*alone, *rehearsed, (18, 3)]


def test_an_expert_of_a_real_model_answers_what_is_routed_to_it(folder, runs, monkeypatch):
    made = []

    def graded(loaded, asked):
        own = {kind: [line.style == len(made) for line in each] for kind, each in asked.items()}
        made.append(loaded)
        return {"right": {kind: np.array(each) for kind, each in own.items()}}

    monkeypatch.setattr(switching, "graded", graded)
    table = switching.real_experts(work_of("experts"), folder, print)
    ways = {f"{way} {many}" for way in ("words", "coded", "switch") for many in (1, 2)}
    assert {*table["arm"]} == {"random", "oracle"} | ways
    known = table[table["task"] > 0]
    assert known["right"].tolist() == known["routed"].tolist()  # each expert knows its own task alone
    assert known.loc[known["arm"] == "oracle", "right"].eq(1).all()
    first = known[known["arm"].str.startswith("coded") & (known["task"] == 1) & (known["after"] > 1)]
    assert first["right"].eq(0).all()


def test_a_table_of_a_real_model_is_kept(folder, runs, monkeypatch):
    monkeypatch.setattr(switching, "switch", partial(switching.switch, epochs=2))
    table = switching.measure_real("smoke", folder)
    assert {"adapter", "rehearsal", "joint", "base", "oracle", "switch 2"} <= {*table["arm"]}
    assert set(table["seed"]) == {0, 1}
    monkeypatch.setattr(switching, "learn_real", None)
    assert switching.measure_real("smoke", folder).equals(table)


# Meta-learning


def test_held_out_operations_are_in_no_training_row():
    split = META.task.split()
    assert (len(split.seen), len(split.unseen), set(split.seen) & set(split.unseen)) == (8, 4, set())
    rows = META.task.training(split)
    texts = " ".join(rows.texts(at)[0] for at in range(400))
    assert all(verb in texts for name in split.seen for verb in VERBS[name])
    assert not any(f" {verb} " in f" {texts} " for name in split.unseen for verb in VERBS[name])
    everything = META.task.but(instructions=12).split()
    assert everything.unseen == split.unseen
    assert set(split.unseen) <= set(everything.seen)


def tokens_of(run, size=48):
    return torch.from_numpy(run.task.training(run.task.split()).first(size).tokens()).long()


def test_the_second_order_gradient_is_that_of_finite_differences():
    model, tokens = differentiable(model_of(META)).double(), tokens_of(META)
    parts = list(tokens.chunk(3))
    names = ("blocks.0.up", "blocks.1.q", "head")
    meta.meta_loss(model, parts, 0.2, "second").backward()
    for name in names:
        weight, by = dict(model.named_parameters())[name], 1e-5
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[1, 2] += sign * by
            ends.append(meta.meta_loss(model, parts, 0.2, "second").item())
            with torch.no_grad():
                weight[1, 2] -= sign * by
        assert weight.grad[1, 2].item() == pytest.approx((ends[0] - ends[1]) / (2 * by), rel=1e-3, abs=1e-9)


def test_plain_mlps_say_the_same(model):
    fresh = model_of(META)
    tokens = tokens_of(META)[:, :-1]
    before = fresh(tokens)
    assert torch.allclose(differentiable(fresh)(tokens), before, atol=1e-5)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_operations_are_dealt_out_and_rows_when_mixed(parts):
    split, size = META.task.split(), 160
    examples = META.task.training(split).first(size)
    tokens = torch.from_numpy(examples.tokens()).long()
    table = meta.operations_of(META)
    rows = {bytes(row): rule for row, rule in zip(examples.tokens(), examples.rule, strict=True)}
    rng = np.random.default_rng(0)
    for mixed in (False, True):
        hands = meta.dealt(tokens, parts, table, rng, mixed)
        assert sum(map(len, hands)) == size
        kinds = [{rows[bytes(row)] for row in hand.to(torch.uint8).numpy()} for hand in hands]
        shared = set.intersection(*kinds) if parts > 1 else set()
        assert bool(shared) == (mixed and parts > 1)


def test_an_arm_without_inner_steps_is_usual_training_and_others_are_not():
    data, ends = data_of(META), {}
    for arm in ("k = 0", "k = 1, second order"):
        state = start(META)
        differentiable(state.model)
        train(META, state, Data(data.training), objective=meta.objective(META, meta.ARMS[arm], 0.1))
        ends[arm] = state.model
    plain = train(META, start(META), Data(data.training)).model
    assert torch.allclose(ends["k = 0"].head, plain.head, atol=1e-6)
    assert not torch.allclose(ends["k = 1, second order"].head, plain.head, atol=1e-3)


def test_tuning_learns_from_few_rows_and_leaves_the_model_as_it_was():
    model, split = model_of(META), META.task.split()
    rows = META.task.draw(split.unseen, np.full(8, 1), np.random.default_rng(0))
    before = [p.clone() for p in model.parameters()]
    found = dict(meta.tuned(META, model, rows, rows, [0, 400]))
    assert found[400] > found[0] + 0.3
    assert all(map(torch.equal, before, model.parameters()))


def test_the_oracle_alone_is_trained_on_held_out_operations(monkeypatch):
    seen = []

    def trained(run, state, *_, **__):
        seen.append(run)
        state.history = [{"seconds": 1.0}]

    monkeypatch.setattr(meta, "train", trained)
    monkeypatch.setattr(meta, "tuned", lambda *_: [])
    for arm in meta.ARMS:
        table = meta.follow_arm(META, print, arm, 0.1, [8], [0])
        assert isinstance(table, pd.DataFrame)
    of_arms = dict(zip(meta.ARMS, seen, strict=True))
    assert [arm for arm, run in of_arms.items() if run.task.instructions == 12] == ["oracle"]
    batches = {arm: run.training.batch for arm, run in of_arms.items()}
    assert batches["k = 2, first order"] == 3 * batches["k = 0"] == 72
