"""Notebook 32: whose answers teach a student, which rows are chosen, what checks see, and
what a model asks itself.
"""

import numpy as np
import pandas as pd
import pytest
import torch

from unseen.model import Shape, build
from unseen.runs.store import committed_store
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec
from unseen.studies.arena import answers, arbitrage, kbalign, toolace
from unseen.training import State, start
from unseen.worlds import compositions
from unseen.worlds.compositions import NONE, CompositionSpec, Tool, request
from unseen.worlds.dialect import DialectSpec
from unseen.worlds.facts import ASKED, LINES, OTHERS, FactsSpec, Question, question
from unseen.worlds.gaps import OTHER, POOL
from unseen.worlds.language import LETTERS, VERBS

MODEL = ModelSpec(layers=1, width=16, heads=2)
STUDENT = RunSpec(DialectSpec(certain=6, shared=0, corrupted=0, examples=48), MODEL,
                  TrainingSpec(steps=4, batch=8), EvaluationSpec(24))  # fmt: skip
TASK = CompositionSpec()
READER = RunSpec(FactsSpec(examples=60), MODEL, TrainingSpec(steps=4, batch=8), EvaluationSpec(40))
LEARNER = RunSpec(TASK, MODEL, TrainingSpec(steps=4, batch=8), EvaluationSpec(24))


# Tools


def test_no_order_of_operations_of_a_held_out_tool_is_trained():
    split = TASK.split()
    assert (len(split.seen), len(split.unseen)) == (200, 50)
    assert len(set(split.seen)) == 200
    single = [(name,) for name in compositions.SINGLE]
    assert [tool.operations for tool in split.seen[: len(single)]] == single
    assert not {tool.operations for tool in split.seen} & {tool.operations for tool in split.unseen}
    assert min(len(tool.operations) for tool in split.unseen) == 2
    assert TASK.but(rule_seed=1).split() != split


# ToolACE


def test_complexity_is_the_mean_loss_of_a_token_of_the_answer():
    model = build(MODEL, Shape.of(TASK.layout))
    model.head.data.normal_(generator=torch.Generator().manual_seed(1))
    rows = toolace.written(TASK.split().seen, 20, 0.2, 0.0, np.random.default_rng(0))
    examples = TASK.of_rows(rows)
    found, end = toolace.complexity(model, examples), TASK.layout.special("end")
    for at in range(20):
        tokens = torch.from_numpy(examples.tokens()[at : at + 1]).long()
        length = list(examples.answers[at]).index(end) + 1
        with torch.no_grad():
            logits = model(tokens[:, :-1])[0, :length].log_softmax(-1)
        said = torch.from_numpy(examples.answers[at, :length]).long()
        assert found[at] == pytest.approx(-logits[range(length), said].mean().item(), abs=1e-4)


def test_the_window_and_the_border_where_nothing_is_known_or_all_is_right():
    hard, never = np.array([0.0, 1.0, 9.0]), np.zeros(3, bool)
    assert toolace.window(hard, never, never) == (0.0, 9.0)
    assert (hard >= toolace.border(hard, ~never)).all()


def test_the_rules_pass_every_right_answer_and_no_other_format_and_what_is_spoiled_is_wrong():
    rng = np.random.default_rng(0)
    for tool in (*TASK.split().seen, NONE):
        made = request(tool, rng)
        of_form, of_content = (toolace.spoiled(made, form, rng) for form in (True, False))
        assert toolace.right(made)
        assert toolace.well_formed(tool, made.query.text, made.answer)
        assert not toolace.well_formed(tool, made.query.text, of_form.answer)
        assert not toolace.right(of_form)
        assert not toolace.right(of_content)
    assert toolace.well_formed(Tool(("sort",)), "CAB", "CCC")  # the form is right, the content is not
    assert not toolace.well_formed(Tool(("behead",)), "CAB", "CAB")
    assert not toolace.well_formed(Tool(("sort",)), "CAB", compositions.REFUSED)


def test_agents_write_as_many_wrong_rows_as_they_should():
    rows = toolace.written(TASK.split().seen, 2_000, 0.1, 0.3, np.random.default_rng(0))
    assert np.mean([not toolace.right(made) for made in rows]) == pytest.approx(0.3, abs=0.04)
    assert np.mean([made.tool == NONE for made in rows]) == pytest.approx(0.1, abs=0.03)


def pool(size=900):
    """Rows that a table describes: a tenth fits no tool, a third is wrong, some of these badly formed."""
    rng = np.random.default_rng(0)
    right, fits = rng.random(size) < 0.7, rng.random(size) < 0.9
    formed = right | (rng.random(size) < 0.6)
    return pd.DataFrame({"row": range(size), "right": right, "fits": fits, "formed": formed,
                         "judged": right | (rng.random(size) < 0.5), "hard": rng.random(size),
                         "known": False, "late": True}).assign(known=lambda t: t["hard"] < 0.4)  # fmt: skip


@pytest.mark.parametrize("arm", toolace.ARMS)
def test_every_pipeline_takes_equal_rows_that_passed_its_checks(arm):
    table = pool()
    rows = table.loc[toolace.taken(arm, table, 200, np.random.default_rng(0))]
    assert len(rows) == 200
    assert (~rows["fits"]).sum() == (0 if arm == "no refusals" else 20)
    if arm == "oracle":
        assert rows["right"].all()
    elif arm != "unchecked":
        assert rows["formed"].all()
        assert arm == "rules" or rows["judged"].all()
    assert rows["right"].mean() < 1 or arm == "oracle"
    hard = rows[rows["fits"]]["hard"]
    if arm == "easy":
        assert hard.max() < 0.4
    if arm == "hard":
        assert hard.min() > 0.6
    if arm == "whole":
        assert hard.between(table["hard"][table["known"]].mean() - 0.05, 0.6).all()


# Arbitrage


def test_each_way_routes_by_what_it_may_see():
    group = np.array([0, 1, 2, 0] * 20)
    reward = np.where(np.arange(4) == group[:, None], 0.0, -9.0)
    reward[40:] = -reward[40:] - 9.0  # what is rewarded turns over behind what is known
    right = reward == 0
    tokens = np.eye(3)[group]

    def route(arm):
        return arbitrage.routed(arm, group, reward, tokens, right, 40, np.random.default_rng(0))

    assert (route("reward") == reward[40:].argmax(1)).all()
    assert right[40:][range(40), route("oracle")].all()
    assert (route("fixed") == group[40:]).all()  # learned from the first 40 alone
    assert (route("learned") == group[40:]).all()
    assert (route("learned-best") == group[40:]).all()
    assert set(route("single")) == {0}  # the commonest group's
    assert set(route("random")) == {0, 1, 2, 3}


def known_pool(run, right):
    """What four teachers answer: the right answer where ``right`` (N, 4) says so, else nonsense."""
    rows = arbitrage.prompts(run)
    lines = [{"prompt": at, "teacher": teacher, "answer": row.answer if right[at, teacher] else "AAAA",
              "right": right[at, teacher], "reward": float(right[at, teacher])}
             for at, row in enumerate(rows) for teacher in range(4)]  # fmt: skip
    return rows, pd.DataFrame(lines)


def test_arms_teach_what_they_say_and_count_what_they_ask():
    right = np.zeros((48, 4), bool)
    right[:, 3] = True
    right[::2, 0] = True
    rows, table = known_pool(STUDENT, right)
    first, new = arbitrage.parts(STUDENT)
    assert (first, new) == (12, 24)
    taught = {arm: arbitrage.taught(arm, STUDENT, rows, table) for arm in arbitrage.ARMS}
    assert {arm: calls for arm, (_, calls) in taught.items()} == {
        "single": 24 + 48, "random": 24, "fixed": 24 + 48, "reward": 96, "learned": 24 + 48,
        "learned-best": 24 + 48, "all": 96, "vote": 96, "marked": 0, "oracle": 96, "gold": 0,
    }  # fmt: skip
    for arm, (taken, _) in taught.items():
        assert len(taken) == {"all": 96, "marked": 12}.get(arm, 24)
    good = {
        arm: np.mean([row.answer == row.query.answer for row in taken]) for arm, (taken, _) in taught.items()
    }
    assert {good[arm] for arm in ("single", "reward", "oracle", "gold", "marked")} == {1.0}
    assert 0.2 < good["random"] < 0.7
    assert good["all"] == pytest.approx(0.375)
    judged, asked = set(map(id, rows[:first])), set(map(id, taught["gold"][0]))
    assert not judged & asked


def test_teachers_know_most_of_their_own_group_and_the_last_a_little_of_all():
    counts = np.array([arbitrage.knowledge(STUDENT.with_seed(seed)) for seed in range(200)])
    group = arbitrage.groups(STUDENT)
    much = np.array(list(arbitrage.GROUPS.values()))[group]
    home = group == np.arange(3)[:, None]
    rich = (counts[:, :3] == much) & (much != arbitrage.POOR)
    assert rich[:, home].mean() == pytest.approx(arbitrage.AT_HOME, abs=0.05)
    assert rich[:, ~home].mean() == pytest.approx(arbitrage.ABROAD, abs=0.05)
    assert (counts[:, 3] == arbitrage.MIDDLING).all()


def test_a_base_is_tuned_on_the_rows_that_it_is_given(monkeypatch):
    monkeypatch.setattr(answers, "begun", lambda run, *_: start(run))
    rows = toolace.written(TASK.split().seen, 40, 0.0, 0.0, np.random.default_rng(0))
    run = LEARNER.but(
        training=TrainingSpec(steps=60, batch=40, learning_rate=0.01, matrix_learning_rate=0.01)
    )
    before = toolace.complexity(build(MODEL, Shape.of(TASK.layout)), TASK.of_rows(rows)).mean()
    model = answers.tuned(run, TASK.of_rows(rows))
    assert toolace.complexity(model, TASK.of_rows(rows)).mean() < 0.7 * before


# KBAlign


def test_a_retriever_finds_what_is_needed_as_often_as_it_should():
    facts, rng = READER.task.split().unseen, np.random.default_rng(0)
    names = list(facts)
    found = [kbalign.retrieved(Question(tuple(names[:2]), "flip this"), facts, 0.6, rng) for _ in range(500)]
    assert {len(each) for each in found} == {LINES} == {len({*each}) for each in found}
    assert np.mean([names[0] in each for each in found]) == pytest.approx(0.6, abs=0.07)
    always = kbalign.retrieved(Question((names[0],), "flip this"), facts, 1.0, rng)
    assert names[0] in always
    assert {*always} <= {*facts}


def test_documents_have_one_line_or_two_and_every_part_has_both():
    documents = kbalign.documents(READER, 90)
    assert [sum(len(each) == size for each in documents) for size in (1, 2)] == [60, 30]
    assert all(len({*each}) == len(each) for each in documents)
    for part in kbalign.parts(documents):
        assert {len(each) for each in part} == {1, 2}
    single = [name for (name,) in (each for each in documents if len(each) == 1)]
    assert {*single} == {*READER.task.split().unseen}  # all facts are asked about


@pytest.fixture
def speaker(monkeypatch):
    """A model that gives right answers, asks what it should, and always says that an answer is right."""

    def says(run, model, rows):
        facts, asked = kbalign.knowledge(run), [row[-2].content for row in rows]
        return ["right" if each.startswith("check") else Question.read(each).answer(facts) for each in asked]

    monkeypatch.setattr(kbalign, "answers_of", says)


def made_by_the_base(run, formed=None):
    """A table as ``follow_made`` leaves it, of which half of the answers are wrong."""
    facts, rng, lines = kbalign.knowledge(run), np.random.default_rng(0), []
    for at, names in enumerate(kbalign.documents(run, 2 * run.task.examples)):
        asked = question(names, ASKED, POOL, rng)
        answer = asked.answer(facts) if at % 2 else "AAA:AAA"
        ok = at % 3 > 0 if formed is None else formed
        lines.append({"names": ", ".join(names), "said": asked.content, "formed": ok, "answer": answer,
                      "right": at % 2 == 1})  # fmt: skip
    return pd.DataFrame(lines)


def test_well_formed_rows_are_kept_with_their_errors_and_half_of_them_refer():
    made = made_by_the_base(READER)
    rows = kbalign.rows_of("more", READER, made)
    assert len(rows) == READER.task.examples
    said = made.loc[made["formed"], "said"].tolist()
    assert [row.asked.content for row in rows] == said[: len(rows)]
    assert sum(len(row.names) == LINES for row in rows) == len(rows) // 2
    assert sum(not row.names for row in rows) == len(rows) - len(rows) // 2
    facts = kbalign.knowledge(READER)
    assert 0.3 < np.mean([row.answer == row.asked.answer(facts) for row in rows]) < 0.7
    by_program = kbalign.rows_of("oracle", READER, made)
    assert all(row.answer == row.asked.answer(facts) for row in by_program)
    assert {row.asked.operation for row in by_program} <= {*ASKED}
    for arm in ("first", "verified", "beside"):
        assert kbalign.rows_of(arm, READER, made) == rows


def test_few_well_formed_rows_come_twice_and_where_there_is_none_a_program_asks():
    made = made_by_the_base(READER, formed=False)
    made.loc[:3, "formed"] = True
    assert len({row.asked for row in kbalign.rows_of("more", READER, made)}) <= 4
    made["formed"] = False
    assert len(kbalign.rows_of("more", READER, made)) == READER.task.examples


def test_verification_replaces_all_parts_but_the_first_and_never_tells_the_right_answer(speaker):
    rows = kbalign.rows_of("verified", READER, made_by_the_base(READER))

    def kinds(arm, part):
        stage = kbalign.stage(arm, part, READER, None, rows)
        return [("check" if row[-2].content.startswith("check") else "ask", row) for row in stage]

    size = len(rows) // kbalign.PARTS
    for arm in kbalign.ARMS:
        for part in range(kbalign.PARTS):
            found = [kind for kind, _ in kinds(arm, part)]
            checks = size if part and arm in ("verified", "beside") else 0
            told = 0 if checks and arm == "verified" else size
            assert (found.count("check"), found.count("ask")) == (checks, told), (arm, part)
    for _, row in kinds("verified", 1):
        assert row[-1].content == "right"
        assert row[1].content in {each.answer for each in rows}  # the answer of the row, right or not
        assert not {*row[-1].content} & {*LETTERS}
    first, second = (kbalign.stage("first", part, READER, None, rows) for part in (0, 1))
    assert first == second != kbalign.stage("more", 1, READER, None, rows)
    raw = kbalign.stage("raw", 0, READER, None, rows)
    assert {row[0].content: row[1].content for row in raw} == kbalign.knowledge(READER)


def test_programs_are_right_where_they_can_be(speaker):
    table = kbalign.programs(READER.but(evaluation=EvaluationSpec(400)))
    right = table.set_index(["arm", "reference", "asked"])["right"].sort_index()
    assert right["reader", "right"].eq(1).all()
    assert right["reader", "none"].eq(0).all()
    assert right["reader", "retrieved", "like its own"] == pytest.approx(0.6, abs=0.08)
    assert right["reader", "retrieved", "two facts"] == pytest.approx(0.36, abs=0.08)
    assert right["any fact", "none", "like its own"] == pytest.approx(1 / 20, abs=0.04)
    assert right["any fact", "right", "other words"] == pytest.approx(1 / LINES, abs=0.08)
    assert (table["quoted"] >= table["right"]).all()


def test_questions_of_all_kinds_are_what_they_are_called():
    held = {"like its own": (ASKED, POOL), "other words": (ASKED, OTHER), "other operations": (OTHERS, POOL)}
    for kind, _, asked, _ in kbalign.asked_of(READER):
        operations, (verbs, _) = held.get(kind, (ASKED, POOL))
        for each in asked:
            assert each.operation in operations
            assert len(each.names) == 1 + (kind == "two facts")
            assert {*each.request.split()} & {*VERBS[each.operation][verbs]}


def test_a_run_of_every_arm_has_a_row_for_each_kind_and_reference(speaker, monkeypatch):
    monkeypatch.setattr(kbalign, "begun", lambda *_: State(None, []))
    monkeypatch.setattr(kbalign, "learn", lambda *_: None)
    monkeypatch.setattr(kbalign, "made_for", made_by_the_base)
    for arm in kbalign.ARMS:
        table = kbalign.follow_arm(READER, print, arm)
        assert len(table) == len(kbalign.ASKING) * len(kbalign.REFERENCES)
        assert table["right"].eq(1).all()
        assert table["run"].eq(READER.digest()).all()
        assert table["checks"].between(0.1, 0.6).all()  # it calls everything right


def test_the_base_that_asks_comes_with_the_project():
    for scale in ("quick", "full"):
        manifest = committed_store().manifest(kbalign.base_of(scale))
        assert manifest, "train the base and copy its folder to data/store/"
