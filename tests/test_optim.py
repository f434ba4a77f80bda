"""The batched Muon against torch's."""

import pytest
import torch
from torch import nn

from unseen.optim import Muon, orthogonalise

SHAPES = [(8, 8), (8, 8), (32, 8), (8, 32), (32, 8)]  # square, tall and wide, some of them twice


def matrices(seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=rng)) for shape in SHAPES]


def walk(optimizer, parameters, steps, seed=1):
    """Some steps on random gradients of different sizes."""
    rng = torch.Generator().manual_seed(seed)
    for step in range(steps):
        for p in parameters:
            p.grad = 2.0**step * torch.randn(p.shape, generator=rng)
        optimizer.step()


def apart(mine, theirs):
    """The largest distance of two walks from one start, as a share of the way gone."""
    return max(
        ((a - b).norm() / (b - start).norm()).item()
        for a, b, start in zip(mine, theirs, matrices(), strict=True)
    )


@pytest.mark.parametrize(("ns_steps", "weight_decay"), [(5, 0.0), (5, 1.0), (4, 0.1)])
def test_muon_goes_where_torchs_goes(ns_steps, weight_decay):
    mine, theirs, plain = matrices(), matrices(), matrices()
    settings = {"lr": 0.1, "momentum": 0.95, "ns_steps": ns_steps, "weight_decay": weight_decay}
    walk(Muon(mine, **settings), mine, 6)
    walk(torch.optim.Muon(theirs, **settings, nesterov=True), theirs, 6)
    walk(torch.optim.Muon(plain, **settings, nesterov=False), plain, 6)
    assert apart(mine, theirs) < 0.05  # theirs rounds to bfloat16
    assert apart(mine, plain) > 10 * apart(mine, theirs)  # so it would be noticed


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 8, 32), (2, 1, 5), (1, 64, 256)])
def test_orthogonalised_matrices_keep_directions_and_lose_sizes(shape):
    m = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    left, sizes, right = torch.linalg.svd(m, full_matrices=False)
    m = 1e-3 * left * torch.linspace(0.1, 1, sizes.size(-1)) @ right
    core = left.mT @ orthogonalise(m) @ right.mT  # diagonal when the directions are kept
    sizes = core.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(core, torch.diag_embed(sizes), atol=1e-4, rtol=0)
    assert sizes.min() > 0.6
    assert sizes.max() < 1.3


def test_nothing_moves_without_a_gradient():
    assert not orthogonalise(torch.zeros(2, 3, 3)).any()
    parameters = matrices()
    for p in parameters[1:]:
        p.grad = torch.zeros_like(p)
    optimizer = Muon(parameters, lr=0.1, weight_decay=0.0)
    optimizer.step()
    assert all(torch.equal(p, start) for p, start in zip(parameters, matrices(), strict=True))
    assert parameters[0] not in optimizer.state
