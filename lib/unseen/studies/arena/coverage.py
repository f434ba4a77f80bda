"""Choosing by features of a sparse autoencoder: SAE-GreedSelect (Yang and others, 2025, arXiv 2502.14050).

Claim: at equal size, rows chosen to cover the features of a sparse autoencoder, trained on a language model's
last layer, train better models than random ones, or the longest.

A TopK autoencoder writes each vector as a sum of k of many directions.  The features of a row are those of
its vectors that are active, and greedy coverage takes again and again the row that adds most features not yet
covered.

Ours, where the source is silent: a feature is active if it is among the k kept (the published threshold of 10
means nothing at another width), and when nothing new is left a new round of coverage starts.  The control is
``random_directions``: the same greedy coverage, with directions that nobody trained.
"""

import heapq

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unseen.model import seeded

_BATCH = 1_024  # vectors of a step


class TopK(nn.Module):
    """A sparse autoencoder: vectors (n, d) as sums of the ``active`` largest of ``latents`` directions.

    >>> with seeded(0):
    ...     sae = TopK(torch.zeros(4), latents=16, active=2)
    >>> (sae.code(torch.randn(5, 4)) > 0).sum(1).tolist(), sae(torch.randn(5, 4)).shape
    ([2, 2, 2, 2, 2], torch.Size([5, 4]))
    """

    def __init__(self, centre: Tensor, latents: int, active: int):
        super().__init__()
        self.active, self.centre = active, nn.Parameter(centre.clone())
        self.decoder = nn.Parameter(F.normalize(torch.randn(latents, len(centre)), dim=1))
        self.encoder = nn.Parameter(self.decoder.detach().clone())
        self.bias = nn.Parameter(torch.zeros(latents))

    def code(self, x: Tensor) -> Tensor:
        """The latents (n, latents), all but the ``active`` largest zero."""
        latents = (x - self.centre) @ self.encoder.T + self.bias
        kept, which = latents.topk(self.active, dim=1)
        return torch.zeros_like(latents).scatter(1, which, F.relu(kept))

    def forward(self, x: Tensor) -> Tensor:
        return self.code(x) @ F.normalize(self.decoder, dim=1) + self.centre


def trained(x: np.ndarray, latents: int, active: int, seed: int, steps: int = 500) -> TopK:
    """A TopK autoencoder of vectors (n, d): least squared error of the reconstruction, by Adam.

    >>> rows = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    >>> data = torch.from_numpy(rows)
    >>> before, after = ((trained(rows, 32, 4, 0, n)(data) - data).square().mean().item() for n in (1, 200))
    >>> after < 0.7 * before
    True
    """
    with seeded(seed):
        data = torch.from_numpy(np.asarray(x, np.float32))
        sae = TopK(data.mean(0), latents, active)
        optimizer = torch.optim.Adam(sae.parameters(), lr=2e-3)
        for step in range(steps):
            batch = data[torch.randint(len(data), (min(_BATCH, len(data)),))]
            optimizer.param_groups[0]["lr"] = 2e-3 * min(1, 2 * (1 - step / steps))
            loss = (sae(batch) - batch).square().sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return sae


@torch.no_grad()
def features(sae: TopK, x: np.ndarray) -> np.ndarray:
    """Which latents are active for each row of ``x``, (n, d) or, with several vectors a row, (n, t, d):
    (n, latents), bool.
    """
    vectors = x.reshape(len(x), -1, x.shape[-1])
    size = max(1, _BATCH // vectors.shape[1])
    return np.concatenate([
        (sae.code(torch.from_numpy(np.asarray(rows, np.float32).reshape(-1, x.shape[-1]))) > 0)
        .view(len(rows), -1, len(sae.bias)).any(1).numpy()
        for rows in np.array_split(vectors, range(size, len(vectors), size))
    ])  # fmt: skip


def greedy_cover(found: np.ndarray, keep: int, seed: int) -> np.ndarray:
    """Indices (keep,) of rows with features ``found`` (n, latents), bool: each adds most that none before it
    has, equal ones in random order; when none adds any, all features count as uncovered again.

    A row's gain can only fall within a round, so rows wait in a heap with their last known gain.

    >>> greedy_cover(np.array([[1, 1, 0], [0, 0, 1], [1, 1, 1], [1, 0, 0]], bool), 3, 0).tolist()[:1]
    [2]
    """
    order = np.random.default_rng(seed).permutation(len(found))
    left, chosen = order, []
    while len(chosen) < keep:
        uncovered = found[left].any(0)
        gains = found[left].sum(1)
        heap = [(-int(gain), place) for place, gain in enumerate(gains)]
        heapq.heapify(heap)
        taken = []
        while heap and len(chosen) + len(taken) < keep:
            _, place = heap[0]
            gain = int(np.count_nonzero(found[left[place]] & uncovered))
            if -gain != heap[0][0]:
                heapq.heapreplace(heap, (-gain, place))
            elif gain or not taken:
                taken.append(heapq.heappop(heap)[1])
                uncovered &= ~found[left[place]]
            else:
                break
        chosen += left[taken].tolist()
        left = np.delete(left, taken)
    return np.array(chosen)


def sae(
    x: np.ndarray, keep: int, seed: int, latents: int = 1_024, active: int = 16, steps: int = 500
) -> np.ndarray:
    """Indices (keep,) by greedy coverage of the features of an autoencoder trained on the rows of ``x``."""
    model = trained(x.reshape(-1, x.shape[-1]), latents, active, seed, steps)
    return greedy_cover(features(model, x), keep, seed)


def random_directions(
    x: np.ndarray, keep: int, seed: int, latents: int = 1_024, active: int = 16
) -> np.ndarray:
    """The control of ``sae``: greedy coverage by random directions around the mean of the rows of ``x``."""
    with seeded(seed):
        centre = torch.from_numpy(np.asarray(x, np.float32).reshape(-1, x.shape[-1]).mean(0))
        return greedy_cover(features(TopK(centre, latents, active), x), keep, seed)
