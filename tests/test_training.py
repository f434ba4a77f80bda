"""One loop for both recipes: what it reads, when it stops, and that an interruption leaves no trace."""

import numpy as np
import pytest
import torch

from unseen import evaluation
from unseen.model import Shape, build
from unseen.objectives import loss_of
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec
from unseen.training import Diverged, batch_rows, data_of, optimizers_of, schedule, start, train
from unseen.worlds.strings import TaskSpec

RECIPES = ("modern", "gpt2")

TASK = TaskSpec(alphabet="abcdef", instructions=8, unseen_instructions=4, examples=64)
STEPS = TrainingSpec(steps=12, batch=16, learning_rate=0.01, matrix_learning_rate=0.04, decay_share=0.5,
                     evaluate_every=2, checkpoint_every=6)  # fmt: skip
# 4 steps per epoch: 6 is amid the second


def run_of(recipe, **values):
    steps = STEPS.but(**({"matrix_learning_rate": 0.0} if recipe == "gpt2" else {}) | values)
    model = ModelSpec(recipe, layers=2, width=16, heads=2)
    return RunSpec(TASK, model, steps, EvaluationSpec(examples=16))


def copied(state):
    return {name: value.clone() for name, value in state.to_tensors().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Recorded:
    """A finished run with what it passed to ``save`` and ``watch``."""

    def __init__(self, recipe, **values):
        self.spec = run_of(recipe, **values)
        self.data = data_of(self.spec)
        self.saved, self.rows = {}, []
        self.state = train(self.spec, start(self.spec), self.data, self.rows.append, self.save)
        self.final = copied(self.state)

    def save(self, state):
        self.saved[state.step] = copied(state), list(state.history)


@pytest.fixture(scope="module", params=RECIPES)
def recorded(request):
    return Recorded(request.param)


def losses(state):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in state.history]


def test_a_resumed_run_ends_with_the_same_bits_and_has_copied_its_tensors(recorded):
    (tensors, history), state = recorded.saved[6], start(recorded.spec)
    before = {name: value.clone() for name, value in tensors.items()}
    state.load_tensors(tensors)
    state.step, state.history = 6, list(history)
    train(recorded.spec, state, recorded.data)
    assert equal(state.to_tensors(), recorded.final)
    assert losses(state) == losses(recorded.state)
    assert equal(tensors, before)


def test_training_is_reproducible_and_leaves_the_global_random_state_alone(recorded):
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    state = train(recorded.spec, start(recorded.spec), data_of(recorded.spec))
    assert equal(state.to_tensors(), recorded.final)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_rows_and_checkpoints_come_at_their_steps(recorded):
    assert [row["step"] for row in recorded.rows] == [2, 4, 6, 8, 10, 12]
    assert recorded.rows == recorded.state.history
    assert list(recorded.saved) == [6, 12]
    assert {tuple(row) for row in recorded.rows} == {("step", "loss", "seen", "unseen", "seconds")}
    assert all(a["seconds"] <= b["seconds"] for a, b in zip(recorded.rows, recorded.rows[1:], strict=False))

    for name, examples in recorded.data.evaluation.items():
        assert recorded.rows[-1][name] == evaluation.all_right(recorded.state.model, examples).mean()
    shorter = Recorded("modern", steps=5, evaluate_every=3, checkpoint_every=4)
    assert [row["step"] for row in shorter.rows] == [3, 5]  # the last step is always a row and a checkpoint
    assert list(shorter.saved) == [4, 5]


# What a step reads


def test_every_epoch_reads_each_example_once_in_another_order_and_no_incomplete_batch():
    steps = [batch_rows(TASK, STEPS, step) for step in range(12)]
    epochs = [np.concatenate(steps[at : at + 4]) for at in (0, 4, 8)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(64))
    assert len({tuple(epoch) for epoch in [*epochs, range(64)]}) == 4
    task, steps = TASK.but(examples=70), STEPS.but(batch=32)
    first, second, third = (batch_rows(task, steps, step) for step in range(3))
    assert len(first) == len(second) == len(third) == 32
    assert not set(first) & set(second)
    assert set(third) & (set(first) | set(second))  # the next epoch
    for step in range(2):  # and none is larger than the budget
        assert sorted(batch_rows(TASK, STEPS.but(batch=1_000), step)) == list(range(64))


def test_rates_stay_and_then_fall_to_zero_for_both_optimizers(recorded):
    for share, factors in ((0.0, [1] * 10), (0.2, [1] * 9 + [0.5]), (1.0, np.arange(10, 0, -1) / 10)):
        steps = TrainingSpec(steps=10, decay_share=share)
        assert [schedule(steps, step) for step in range(10)] == pytest.approx(factors)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in recorded.state.optimizers]
    last = schedule(recorded.spec.training, 11)
    assert 0 < last < 1
    full = [recorded.spec.training.learning_rate, recorded.spec.training.matrix_learning_rate]
    assert rates == [rate * last for rate in full[: len(rates)]]


def test_without_a_fall_of_the_rate_a_short_run_is_the_beginning_of_a_long_one():
    """Notebook 41 reads lengths of training off runs at a constant rate."""
    short, long = (run_of("modern", decay_share=0.0, steps=steps) for steps in (6, 12))
    saved = {}
    train(long, start(long), data_of(long), save=lambda state: saved.update({state.step: copied(state)}))
    end = train(short, start(short), data_of(short))
    assert equal(saved[6], copied(end))


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("rate", [0.0, 0.04])
def test_every_weight_is_trained_by_one_optimizer(recipe, rate):
    model = build(ModelSpec(recipe), Shape(10, 9, 15))
    optimizers = optimizers_of(model, TrainingSpec(matrix_learning_rate=rate, weight_decay=0.3))
    trained = [id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    assert sorted(trained) == sorted(id(p) for p in model.parameters())
    assert len(optimizers) == (2 if rate else 1)
    assert all(p.ndim == 2 for optimizer in optimizers[1:] for p in optimizer.param_groups[0]["params"])
    decays = [optimizer.param_groups[0]["weight_decay"] for optimizer in optimizers]
    assert decays == ([0.0, 0.3] if rate else [0.0])


# The loss


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_loss_counts_each_answer_token_and_nothing_else(recipe):
    spec = run_of(recipe)
    model, tokens = start(spec).model, torch.from_numpy(data_of(spec).training.tokens()).long()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1
            p[..., 0] -= 0.5
        everything = model(tokens[:, :-1], record=[]).log_softmax(-1)  # every position, the prompt's too
        loss = loss_of(model, tokens).item()
    counted = everything.gather(-1, tokens[:, 1:, None]).squeeze(-1)[:, model.shape.prompt - 1 :]
    assert counted.shape == (64, data_of(spec).training.layout.answer_length)
    assert loss == pytest.approx(-counted.mean().item(), rel=1e-5)


# Divergence


def test_what_broke_at_the_very_last_step_is_not_saved(monkeypatch):
    spec, saved = run_of("modern"), []
    state = start(spec)
    broken = state.optimizers[0].step

    def step():
        broken()
        if state.step == 11:
            state.model.head.data.fill_(float("nan"))  # the losses so far were finite

    monkeypatch.setattr(state.optimizers[0], "step", step)
    with pytest.raises(Diverged, match="after step 12 of 12"):
        train(spec, state, data_of(spec), save=lambda state: saved.append(state.step))
    assert saved == [6]
