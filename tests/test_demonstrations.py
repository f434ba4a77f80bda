"""Notebook 36: prompts whose labels are new in each, a learner of them, and influence in closed form."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unseen.evaluation import all_right
from unseen.model import Shape, build
from unseen.objectives import loss_at, loss_of, objective_of
from unseen.runs.store import Store, ensure
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec
from unseen.studies.arena import detail
from unseen.training import data_of, start, train
from unseen.worlds.contexts import LABELS, ContextSpec

TASK = ContextSpec(demonstrations=6, examples=64, spread=1_000)
RUN = RunSpec(TASK, ModelSpec(layers=2, width=16, heads=2), TrainingSpec(steps=6, batch=16, evaluate_every=3),
              EvaluationSpec(20))  # fmt: skip


@pytest.fixture(scope="module")
def model():
    """Says something that depends on what it reads."""
    made = build(RUN.model, Shape.of(TASK.layout))
    for name, weight in made.named_parameters():
        if name == "head" or name.endswith((".out", ".down")):
            weight.data.normal_(generator=torch.Generator().manual_seed(len(name)))
    return made


def prompts(size=200, task=TASK, side="unseen"):
    return task.prompts(getattr(task.split(), side), size, np.random.default_rng(0))


# The world


def test_each_string_holds_exactly_the_pattern_it_says():
    for task in (TASK, TASK.but(input_length=4, pattern_length=1, instructions=4, unseen_instructions=4)):
        drawn = prompts(task=task)
        for strings, kinds, patterns in zip(drawn.strings, drawn.kinds, drawn.patterns, strict=True):
            assert len({bytes(each) for each in patterns}) == len(LABELS)
            for string, kind in zip(strings, kinds, strict=True):
                assert [bytes(each) in bytes(string) for each in patterns] == [at == kind for at in range(4)]


def test_patterns_of_the_test_are_in_no_training_prompt():
    split = TASK.split()
    seen, unseen = ({bytes(each) for each in side} for side in split)
    assert (len(seen), len(unseen), seen & unseen) == (48, 16, set())
    used = {bytes(each) for each in prompts(side="seen").patterns.reshape(-1, 2)}
    assert used == seen


def test_the_loss_counts_labels_and_the_end_alone(model):
    examples = TASK.training(TASK.split())
    tokens = torch.from_numpy(examples.tokens()).long()
    letters = [examples.layout.text(ids) for ids in examples.tokens()[:, list(TASK.layout.labels)]]
    assert all(set(text[:-1]) <= set(LABELS) and text.endswith(".") for text in letters)
    objective = objective_of(TrainingSpec(), labels=TASK.layout.labels)
    logits = model(tokens[:, :-1]).log_softmax(-1)
    by_hand = [
        -logits[:, place - TASK.period + 1, :].gather(1, tokens[:, [place]]) for place in TASK.layout.labels
    ]
    assert objective(model, tokens).item() == pytest.approx(torch.cat(by_hand).mean().item(), rel=1e-5)
    assert loss_at(range(TASK.period - 1, tokens.size(1)))(model, tokens) == loss_of(model, tokens)
    with pytest.raises(ValueError, match="at labels alone"):
        objective_of(TrainingSpec(smoothing=0.1), labels=(3,))


def test_a_state_before_a_label_knows_neither_it_nor_what_follows(model):
    drawn = prompts(50)
    changed = drawn._replace(labels=drawn.labels.copy(), strings=drawn.strings.copy())
    changed.labels[:, 3] = (changed.labels[:, 3] + 1) % 4
    changed.strings[:, 4:] = drawn.strings[::-1, 4:]
    one, other = (detail.states_of(model, TASK, each) for each in (drawn, changed))
    assert torch.equal(one[:, :, :4], other[:, :, :4])
    assert not torch.allclose(one[1:, :, 4:], other[1:, :, 4:])


def test_a_learner_is_stored_and_scored_by_its_answer(tmp_path):
    store = Store(tmp_path)
    manifest = ensure(RUN, store, device="cpu")
    assert [each["split"] for each in manifest["scores"]] == ["seen", "unseen"]
    state = train(
        RUN, start(RUN), data_of(RUN), objective=objective_of(RUN.training, None, TASK.layout.labels)
    )
    assert all(map(torch.equal, state.model.parameters(), store.model(RUN).parameters()))
    for each in manifest["scores"]:
        right = all_right(state.model, data_of(RUN).evaluation[each["split"]])
        assert right.mean() == each["accuracy"]


# DETAIL


def drawn(size=3, count=5, width=4, kinds=3, seed=0):
    dice = torch.Generator().manual_seed(seed)
    states = torch.randn(size, count + 1, width, generator=dice, dtype=torch.double)
    labels = F.one_hot(torch.randint(0, kinds, (size, count + 1), generator=dice), kinds).double()
    return states[:, :-1], labels[:, :-1], states[:, -1], labels[:, -1]


@pytest.mark.parametrize("penalty", [0.1, 1.0, 10.0])
def test_the_closed_form_is_the_printed_one_term_by_term(penalty):
    states, labels, query, answer = drawn()
    found = detail.detail(states, labels, query, answer, penalty)
    for n in range(3):
        m, y, count, width = states[n], labels[n], 5, 4
        w = m.T @ torch.linalg.inv(m @ m.T + penalty * torch.eye(count).double()) @ y
        inverse = torch.linalg.inv(m.T @ m + penalty * torch.eye(width).double())
        g = [torch.outer(m[i], m[i] @ w - y[i]) + penalty * w for i in range(count)]
        g_query = torch.outer(query[n], query[n] @ w - answer[n]) + penalty * w
        for i in range(count):
            assert found.test[n, i].item() == pytest.approx((g_query * (inverse @ g[i])).sum().item())
            assert found.own[n, i].item() == pytest.approx((g[i] * (inverse @ g[i])).sum().item())


def test_leaving_out_is_asking_without(model):
    asked = prompts(10)
    effects = detail.left_out(model, TASK, asked)
    with torch.no_grad():
        for n in range(3):
            text = TASK.examples_of(asked).texts(n)[0]
            said = []
            for shorter in (text, text[: 2 * TASK.period] + text[3 * TASK.period :]):
                ids = torch.from_numpy(TASK.layout.ids(shorter)).long()[None]
                right = len(TASK.letters) + int(asked.labels[n, -1])
                said.append(model(ids)[0, -1].log_softmax(-1)[right].item())
            assert effects[n, 2] == pytest.approx(said[0] - said[1], abs=1e-4)
    itself = detail.left_out(model, TASK, asked, itself=True)
    surprise = detail.surprise(model, TASK, asked)
    assert itself[:, -1] == pytest.approx(surprise[:, -1], abs=1e-4)  # the last one is asked after all others
    assert detail.removal(model, TASK, asked, effects, 0) == pytest.approx(
        (detail.answers(model, TASK, asked).argmax(1).numpy() == asked.labels[:, -1]).mean()
    )


def test_what_is_removed_is_what_scores_highest(model):
    asked, kept = prompts(30), []
    scores = np.random.default_rng(1).random((30, 6))
    for row in scores:
        kept.append(sorted(np.argsort(row)[:2]))
    fewer = detail.part_of(asked, np.column_stack([kept, np.full(30, 6)]))
    right = detail.answers(model, TASK, fewer).argmax(1).numpy() == asked.labels[:, -1]
    assert detail.removal(model, TASK, asked, scores, 4) == pytest.approx(right.mean())


def test_scores_are_judged_by_rank_alone():
    effects = np.array([[0.1, 0.5, -1.0, 2.0]])
    assert detail.agreement(np.exp(effects), effects) == pytest.approx(1)
    assert detail.agreement(-effects, effects) == pytest.approx(-1)
    assert detail.agreement(np.zeros((1, 4)), effects) == 0
    assert detail.agreement(effects, effects, np.array([[True, True, True, False]])) == pytest.approx(1)
    flipped = np.array([[False, True, False, True], [False] * 4])
    assert detail.detection(np.array([[0, 3, 1, 2], [0, 0, 0, 0]]), flipped) == 1
    assert detail.detection(np.zeros((2, 4)), flipped) == 0.5
