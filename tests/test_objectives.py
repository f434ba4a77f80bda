"""What fine-tuning minimises, and the new token's own learning rate."""

import copy

import pytest
import torch

from unseen.model import Shape, build
from unseen.objectives import distance, divergence, loss_of, objective_of
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec
from unseen.training import data_of, optimizers_of, start, train
from unseen.worlds import TuningSpec

SHAPE = Shape(vocabulary=12, prompt=5, context=8)
MODEL = ModelSpec(layers=1, width=16, heads=2)


@pytest.fixture
def models():
    """A base that says something, and a model that differs from it."""
    base, other = build(MODEL, SHAPE), build(MODEL.but(seed=1), SHAPE)
    for model in (base, other):
        model.head.data.normal_(generator=torch.Generator().manual_seed(int(model is base)))
    return base, other


def tokens(count=6):
    return torch.randint(0, 12, (count, 9), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("term", ["kl", "pull"])
def test_keeping_to_the_base_needs_one_and_leads_back_to_it(models, term):
    base, other = models
    assert divergence(base(tokens()[:, :-1]), base, tokens()).item() == pytest.approx(0, abs=1e-6)
    assert divergence(other(tokens()[:, :-1]), base, tokens()).item() > 0.01
    assert distance(base, base).item() == 0
    assert distance(other, base).item() > 1
    with pytest.raises(ValueError, match="kl and pull need the base"):
        objective_of(TrainingSpec(**{term: 1.0}))
    objective = objective_of(TrainingSpec(**{term: 5.0}), base)
    assert objective(base, tokens()).item() == pytest.approx(loss_of(base, tokens()).item(), abs=1e-5)
    assert objective(other, tokens()) > loss_of(other, tokens())
    objective(other, tokens()).backward()
    assert all(p.grad is None for p in base.parameters())


def tuned_state(**changes):
    training = TrainingSpec(matrix_learning_rate=0.0, learning_rate=1e-3, **changes)
    model = build(MODEL, SHAPE)
    model.head.data.normal_(generator=torch.Generator().manual_seed(0))
    (optimizer,) = optimizers_of(model, training)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    batch = tokens()
    batch[:, 2] = 11  # the new token
    loss_of(model, batch).backward()
    optimizer.step()
    return {name: (p.detach() - before[name]).abs() for name, p in model.named_parameters()}


def test_the_token_has_a_rate_of_its_own_and_can_be_trained_alone():
    moved = tuned_state(token_rate=0.05)
    assert moved["embedding"][11].max() == pytest.approx(0.05, rel=0.01)
    assert moved["before"][:, 11].max() == pytest.approx(0.05, rel=0.01)
    assert moved["embedding"][:11].max() == pytest.approx(1e-3, rel=0.01)
    assert moved["head"].max() == pytest.approx(1e-3, rel=0.01)
    moved = tuned_state(trains="token")
    assert moved["embedding"][11].max() == pytest.approx(1e-3, rel=0.01)
    assert moved["embedding"][:11].max() == 0
    assert {name for name, change in moved.items() if change.max()} == {"embedding", "before"}


def test_an_adapter_alone_learns_what_automatic_differentiation_through_its_product_would():
    plainly = build(MODEL, SHAPE)
    plainly.head.data.normal_(generator=torch.Generator().manual_seed(0))
    model = copy.deepcopy(plainly)
    training = TrainingSpec(matrix_learning_rate=0.0, learning_rate=1e-2, trains="adapter", rank=2)
    (optimizer,) = optimizers_of(model, training)
    names = [name for name, p in model.named_parameters() if any(p is weight for weight in optimizer.weights)]
    pairs = [tuple(f.detach().clone().requires_grad_() for f in pair) for pair in optimizer.pairs]
    plain = torch.optim.AdamW([f for pair in pairs for f in pair], lr=1e-2, weight_decay=0.0)
    fixed = dict(plainly.named_parameters())

    def merged():
        return {n: fixed[n] + (b @ a).view_as(fixed[n]) for n, (b, a) in zip(names, pairs, strict=True)}

    for _ in range(4):
        loss = loss_of(lambda read: torch.func.functional_call(plainly, merged(), (read,)), tokens())
        for each in (plain, optimizer):
            each.zero_grad()
        loss.backward()
        own = loss_of(model, tokens())
        own.backward()
        assert own.item() == pytest.approx(loss.item(), abs=1e-5)
        plain.step()
        optimizer.step()
    assert {name.rpartition(".")[2] for name in names} == {"embedding", "before", "q", "k", "v", "out"}
    assert {factor.shape for b, a in pairs for factor in (b[0], a[:, 0])} == {(2,)}
    for name, weight in model.named_parameters():
        assert torch.allclose(weight, (fixed | merged())[name], atol=1e-5)


@pytest.mark.parametrize("how", [{"token_rate": 0.01}, {"trains": "token"}, {"trains": "adapter", "rank": 3}])
def test_a_tuning_resumes_from_its_tensors_as_if_nothing_had_happened(how):
    steps = {"steps": 4, "batch": 8, "evaluate_every": 2, "checkpoint_every": 2}
    training = TrainingSpec(matrix_learning_rate=0.0, **steps, **how)
    spec = RunSpec(TuningSpec(), MODEL.but(base=16 * "a"), training, EvaluationSpec(4))
    data, saved = data_of(spec), {}
    whole = train(spec, start(spec), data, save=lambda state: saved.update({state.step: copied(state)}))
    resumed = start(spec)
    resumed.load_tensors(saved[2])
    resumed.step = 2
    train(spec, resumed, data)
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def copied(state):
    return {name: value.clone() for name, value in state.to_tensors().items()}
