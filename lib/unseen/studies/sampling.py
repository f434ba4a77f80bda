"""Self-sampling from the small models of the language world, and the rows that tunings mix."""

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from unseen import samples
from unseen.messages import Conversation, Samples, self_sample
from unseen.model import Cache, Transformer
from unseen.runs.store import Store
from unseen.specs import RunSpec
from unseen.worlds.language import diverse, prompt_of
from unseen.worlds.tuning import TuningSpec

_AT_ONCE = 500  # conversations


class Own:
    """A model of the language world as a ``messages.Sampler``: its own answers, drawn by nucleus sampling."""

    def __init__(self, model: Transformer, task: TuningSpec, seed: int):
        self.model, self.task = model, task
        self.generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def __call__(self, conversations: Sequence[Conversation]) -> list[str | None]:
        """Answers to conversations, None for one that did not end in the longest answer's length."""
        layout, parts = self.task.layout, []
        prompts = layout.prompts([prompt_of(turns) for turns in conversations])
        for chunk in np.array_split(prompts, range(_AT_ONCE, len(prompts), _AT_ONCE)):
            cache, tokens, written = Cache(len(self.model.blocks)), torch.from_numpy(chunk).long(), []
            for _ in range(layout.answer_length):
                logits = self.model(tokens, cache)[:, -1]  # (N, V)
                tokens = nucleus(logits, self.task.temperature, self.task.top_p, self.generator)[:, None]
                written.append(tokens)
            parts.append(torch.cat(written, 1).numpy().astype(np.uint8))
        end = layout.special("end")
        return [layout.answer(ids) if end in ids else None for ids in np.concatenate(parts)]


def nucleus(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> Tensor:
    """One token per row (B,) of logits (B, V), from the fewest tokens whose probabilities reach ``top_p``.

    Source: Holtzman et al., 2020.

    >>> nucleus(torch.tensor([[0.0, 9.0, 1.0]]), 0.7, 0.95, torch.Generator().manual_seed(0)).tolist()
    [1]
    """
    shares, tokens = (logits / temperature).softmax(-1).sort(dim=-1, descending=True)
    kept = shares.masked_fill(shares.cumsum(-1) - shares >= top_p, 0.0)  # the first always stays
    return tokens.gather(-1, torch.multinomial(kept, 1, generator=generator)).squeeze(-1)


def ensure_samples(runs: Iterable[RunSpec], store: Store | None = None) -> dict[str, int]:
    """Sample what the runs will mix, where it is missing, and count: kept, malformed, rejected.

    Their bases must be trained already.  Raises as ``Store.base`` and ``samples.ensure`` do.
    """
    store, found = store or Store(), {}
    for run in runs:
        if not run.task.source:
            continue
        folder = samples.folder_of(run.task)
        for block in range(samples.blocks_for(run.task.ratio * run.task.rows)):
            if (folder, block) not in found:
                found[folder, block] = samples.ensure(folder, block, partial(sampled, store, run, block))
    return {name: sum(counts[name] for counts in found.values()) for name in samples.COUNTS}


def sampled(store: Store, run: RunSpec, block: int) -> Samples:
    """The block of that number, from the base of a run: its own queries, its own draws."""
    print(f"the base answers {samples.BLOCK:,} queries (block {block})", flush=True)
    queries = [(query.content, query.answer) for query in diverse(samples.BLOCK, block, run.task.names)]
    return self_sample(Own(store.base(run), run.task, block), queries)
