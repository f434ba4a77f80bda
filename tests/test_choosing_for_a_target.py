"""Notebook 31: a base with gaps, LESS's gradients and influences, BALD's disagreement, and who is chosen."""

import numpy as np
import pandas as pd
import pytest
import torch

from unseen.lm import tune
from unseen.lm.load import fingerprint, load
from unseen.model import Shape, build, differentiable
from unseen.objectives import loss_of
from unseen.optim import LowRankAdamW
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec
from unseen.studies.arena import bald, less, real
from unseen.training import Data, start, train
from unseen.worlds.gaps import OTHER, GapsSpec, RequestsSpec
from unseen.worlds.language import OPERATIONS, PHRASES, VERBS
from unseen.worlds.styles import NAMES, WORDS

TASK = RequestsSpec(pool=400, examples=20)
ADAPTER = TrainingSpec(steps=3, batch=4, trains="adapter", learning_rate=3e-3, matrix_learning_rate=0.0)
RUN = RunSpec(
    TASK, ModelSpec(layers=2, width=16, heads=2), TrainingSpec(steps=2, batch=4), EvaluationSpec(28)
)


# The world


def test_the_base_never_sees_four_letters_of_a_gap_and_sees_them_of_all_others():
    task, rng = GapsSpec(), np.random.default_rng(0)
    lengths = {name: set() for name in OPERATIONS}
    for _ in range(2_000):
        query = task.query(rng, task.split())
        lengths[query.operation].add(len(query.text))
    assert all(lengths[name] == ({3} if name in task.gaps else {3, 4}) for name in OPERATIONS)


def test_the_target_shares_neither_verbs_nor_phrases_with_the_pool():
    rng, pool = np.random.default_rng(1), TASK.candidates()
    asked = [TASK.asked(rng, OTHER) for _ in range(50)]
    assert {query.operation for query in asked} == {TASK.target}
    assert {len(query.text) for query in asked} == {4}
    assert not {query.verb for query in asked} & {query.verb for query in pool}
    assert not {query.phrase for query in asked} & {query.phrase for query in pool}
    assert {query.operation for query in pool} == set(OPERATIONS)
    assert len({TASK.but(rule_seed=seed).target for seed in range(3)}) == 3
    assert {VERBS[TASK.target].index(query.verb) for query in asked} == {2}
    assert all(PHRASES.index(query.phrase) >= 7 for query in asked)


# LESS


def test_the_gradient_of_each_row_is_what_the_adapter_would_step_by():
    """Of a model with an adapter that was tuned a little."""
    run = RUN.but(training=TrainingSpec(steps=3, batch=4, matrix_learning_rate=0.0))
    state, tokens = start(run), torch.from_numpy(TASK.rows(TASK.candidates()).tokens()).long()
    state.model.head.data.normal_(generator=torch.Generator().manual_seed(1))
    state.optimizers = [adapter] = [LowRankAdamW(state.model, ADAPTER)]
    train(run, state, Data(TASK.training(TASK.split())))
    model = differentiable(state.model)
    found = less.gradients(model, adapter, tokens[:5])
    for row, gradient in zip(tokens, found, strict=False):
        model.zero_grad()
        loss_of(model, row[None]).backward()
        factors = []
        for weight, (b, a) in zip(adapter.weights, adapter.pairs, strict=True):
            whole = weight.grad.flatten(0, -2)
            factors += [(whole @ a.mT).flatten(), (b.mT @ whole).flatten()]
        assert torch.allclose(gradient, torch.cat(factors), atol=1e-6)


def test_the_direction_is_adams_own_step_but_for_its_correction_of_the_first_steps():
    weight = torch.nn.Parameter(torch.zeros(3))
    adam = torch.optim.Adam([weight], lr=1.0)
    for step in range(1, 2_001):
        weight.grad = torch.sin(torch.arange(3.0) + step)
        adam.step()
    memory, before = adam.state[weight], weight.detach().clone()
    gradient = torch.tensor([0.3, -2.0, 0.1])
    expected = less.direction(gradient[None], memory["exp_avg"], memory["exp_avg_sq"])[0]
    weight.grad = gradient
    adam.step()
    step, correction = 2_001, (1 - 0.999**2_001) ** 0.5 / (1 - 0.9**2_001)
    assert torch.allclose((before - weight).detach(), expected * correction, rtol=1e-4), step


def test_a_row_is_closest_to_itself_whatever_its_length():
    rows = torch.tensor([[1.0, 0.0], [0.0, 2.0], [30.0, 30.0]])
    assert less.closeness(rows, rows[1:2] * 7).argmax() == 1
    assert less.closeness(rows, rows[:2]).tolist() == pytest.approx([0.5, 0.5, 2**0.5 / 2])


def test_every_arm_takes_what_it_says_and_the_shuffled_one_the_same_influences():
    table = pd.DataFrame(
        {"own": [False] * 400, "long": False, "letters": 4.0, "LESS": np.linspace(0, 1, 400)}
    )
    table.loc[:9, ["own", "long"]] = True
    table.loc[10:29, "own"] = True
    taken = {arm: less.chosen(RUN, arm, table) for arm in ("random", "oracle", "LESS", "shuffled", "all")}
    assert {len(each) for arm, each in taken.items() if arm != "all"} == {20}
    assert sorted(taken["all"]) == list(range(400))
    assert set(range(10)) < set(taken["oracle"]) < set(range(30))
    assert sorted(taken["LESS"]) == list(range(380, 400))
    assert len(set(taken["shuffled"]) & set(taken["LESS"])) < 8
    drawn = TASK.rows(TASK.candidates()).where(taken["random"])
    assert (drawn.prompts == TASK.training(TASK.split()).prompts).all()


# LESS on a language model


def work_of(folder, scale="smoke"):
    (work,) = real.works(less.REAL, less.TOGETHER, scale, fingerprint(folder))[:1]
    return work


def test_no_request_of_the_target_stands_in_the_pool(folder):
    for work in real.works(less.REAL, less.TOGETHER, "full", "base"):
        pool, wanted, asked = less.drawn(work)
        counts = np.bincount([line.style for line in pool])
        assert set(counts) == {len(pool) // 5}
        assert counts[0] >= less.amounts(less.REAL, "full").chosen
        form = less.styles_of(work)[less.target_of(work)].forms[0]
        assert {line.form for line in [*wanted, *asked["target"]]} == {form}
        assert not any(request in line.query for line in pool for request in WORDS.values())
        assert not any(name in line.query.split() for line in wanted for name in NAMES)
        assert not any(request in line.query for line in asked["unformatted"] for request in WORDS.values())
        plainly = {line.query.removesuffix(WORDS[form]).strip() for line in wanted}
        assert not plainly & {line.query for line in asked["unformatted"]}
        assert all(line.right() == line.answer for line in asked["unformatted"])


def test_an_adapters_gradient_is_what_it_would_step_by(folder):
    """In single precision: in bfloat16, rows that share a batch are rounded in other ways."""
    work = work_of(folder)
    loaded, pool = real.begun(work, folder), less.drawn(work)[0]
    loaded.model.float()
    rows = real.rows_of(loaded, pool[:4])
    found = less.adapter_gradients(loaded, rows)
    loaded.model.zero_grad()
    tune.backward(loaded, rows, 4, tune.ANSWERS)
    weights = tune.trained_weights(loaded).values()
    tokens = torch.tensor([len(answer) for _, answer in rows]).float()
    mean = (found * tokens[:, None]).sum(0) / tokens.sum()
    assert torch.allclose(mean, torch.cat([each.grad.flatten() for each in weights]), atol=1e-5)


def test_influences_are_the_sum_over_epochs_by_hand(folder, monkeypatch):
    work, given = work_of(folder), []
    pool, wanted, _ = less.drawn(work)
    at, real_direction = [], less.direction
    monkeypatch.setattr(less, "direction", lambda *each: given.append(each[1:]) or real_direction(*each))
    found = less.real_influences(work, folder, pool, wanted, lambda step: at.append(step))
    monkeypatch.undo()
    loaded = real.begun(work, folder)
    rows, targets = real.rows_of(loaded, pool[:3]), real.rows_of(loaded, wanted)
    order = less.generator(work.seed, "random rows").permutation(20)[:4]
    spec, total = work.training.but(steps=2), torch.zeros(3)

    def watch(step):  # an epoch is one step here
        closest = less.closeness(
            less.direction(less.adapter_gradients(loaded, rows), *moments[step - 1]),
            less.adapter_gradients(loaded, targets),
        )
        total.add_(spec.rate(step - 1, 2) * closest)

    moments = [given[0], given[len(given) // 2]]
    warm = real.rows_of(loaded, [pool[row] for row in order])
    tune.tune(loaded, spec, warm, watch=watch)
    assert set(at) == {1, 2}
    assert all((second >= 0).all() and second.max() > 0 for _, second in moments)
    assert found["LESS"][:3] == pytest.approx(total.numpy(), rel=1e-3)


def test_a_row_like_the_targets_is_chosen_first(folder):
    work = work_of(folder)
    pool, wanted, _ = less.drawn(work)
    table = less.real_scores(work, folder, [*pool[:16], *wanted[:4]], wanted, lambda step: None)
    for arm in ("words", "letters", "states", "LESS", "plain"):
        assert set(less.taken(0, 4, arm, table)) & set(range(16, 20)), arm
    base = load(folder, "cpu")
    prompts = real.prompts_of(base, wanted)
    together = real.last_states(base, prompts)
    assert torch.equal(real.last_states(base, prompts[2:3])[0], together[2])


def test_a_model_that_writes_one_format_is_told_from_one_that_follows(folder, monkeypatch):
    _, _, asked = less.drawn(work_of(folder))
    rights = {"following": lambda line: line.right(), "one format": lambda line: line.right(form)}
    form, found = asked["target"][0].form, {}
    for name, says in rights.items():
        monkeypatch.setattr(real, "written", lambda loaded, lines, says=says, **how: [*map(says, lines)])
        found[name] = less.judged(None, asked)
    assert set(found["following"].values()) == {1.0}
    assert found["one format"] == {"right": 1.0, "format": 1.0, "worded": 0.2, "unformatted": 0.0}
    monkeypatch.setattr(real, "written", lambda loaded, lines, unended=False: ["so" if unended else None] * 5)
    assert less.judged(None, asked) == {"right": 0.0, "format": 0.0, "worded": 0.0, "unformatted": 1.0}


def test_a_real_table_is_kept_and_arms_that_choose_alone_have_no_answers(folder, runs, monkeypatch):
    table = less.measure_real("smoke", folder)
    assert {*table["arm"]} == {*less.TUNED, *less.UNTRAINED}
    assert table["right"].isna().equals(table["arm"].isin(less.UNTRAINED))
    oracle = table.set_index("arm").loc["oracle"]
    assert (oracle["own"], oracle["chosen"]) == (1.0, 4)
    assert table.set_index("arm").loc[["all", "untuned"], "chosen"].eq(20).all()
    monkeypatch.setattr(less, "real_scores", None)
    assert less.measure_real("smoke", folder).equals(table)


# BALD


@pytest.mark.parametrize(("frozen", "still"), [(0, []), (1, [0]), (-1, [1])])
def test_frozen_layers_stay_and_all_others_learn(frozen, still):
    base = build(RUN.model, Shape.of(TASK.layout))
    rows = TASK.training(TASK.split())
    prompts, labels = torch.from_numpy(rows.prompts).long(), torch.from_numpy(rows.rule).long()
    model = bald.learned(base, prompts, labels, len(OPERATIONS), frozen, RUN.training)
    same = [torch.equal(one.q, other.q) for one, other in zip(base.blocks, model.body.blocks, strict=True)]
    assert [at for at, each in enumerate(same) if each] == still
    assert not torch.equal(base.embedding, model.body.embedding)


def test_the_balanced_arm_asks_for_the_classes_without_a_label_first():
    labels = torch.tensor([0] * 10 + [1] * 10 + [2] * 10)
    taken = torch.zeros(30, dtype=torch.bool)
    taken[:4] = True
    score = bald.wanted("balanced", None, torch.zeros(30, 5), labels, taken).masked_fill(taken, -torch.inf)
    counts = torch.bincount(labels[score.topk(6).indices], minlength=3)
    assert counts.tolist() == [0, 3, 3]


def test_a_long_tail_keeps_all_of_one_operation_and_little_of_another():
    even, tail = (np.bincount(bald.pool_of(RUN, pool).rule, minlength=14) for pool in bald.POOLS)
    assert even.sum() == TASK.pool
    assert (tail == even).sum() >= 1
    assert sorted(tail / even)[0] < 0.25 < tail.sum() / even.sum() + 0.1
    assert (tail <= even).all()


def test_questions_are_about_all_operations_equally_often():
    assert set(np.bincount(bald.questions(RUN).rule)) == {2}
