"""A model of this world as a sampler, and the self-sampled rows that a sweep of tunings needs."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from unseen.delia import samples
from unseen.delia.messages import Conversation
from unseen.delia.pipeline import Samples, nucleus, self_sample
from unseen.delia.prompts import diverse
from unseen.delia.spec import TuningSpec
from unseen.delia.world import prompts_of
from unseen.encoding import layout_of
from unseen.model import Cache, Transformer
from unseen.specs import RunSpec
from unseen.store import Store


class Own:
    """A model of this world as a ``pipeline.Sampler``: its own answers, drawn by nucleus sampling."""

    def __init__(self, model: Transformer, task: TuningSpec, seed: int):
        self.model, self.task = model, task
        self.generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def __call__(self, asked: Sequence[Conversation]) -> list[str | None]:
        """Answers to conversations, None for one that did not end in the longest answer's length."""
        layout, parts = layout_of(self.task), []
        for chunk in np.array_split(prompts_of(self.task, list(asked)), range(500, len(asked), 500)):
            cache, tokens, said = Cache(len(self.model.blocks)), torch.from_numpy(chunk).long(), []
            for _ in range(layout.answer_length):
                logits = self.model(tokens, cache)[:, -1]  # (N, V)
                tokens = nucleus(logits, self.task.temperature, self.task.top_p, self.generator)[:, None]
                said.append(tokens)
            parts.append(torch.cat(said, 1).numpy().astype(np.uint8))
        end = layout.special("end")
        return [layout.answer(ids) if end in ids else None for ids in np.concatenate(parts)]


def ensure_samples(runs: Iterable[RunSpec], store: Store | None = None) -> dict[str, int]:
    """Sample what the runs will mix, where it is not there yet, and count: kept, malformed, rejected.

    Their bases must be trained already.  Raises as ``Store.base`` and ``files.write`` do.
    """
    store, needed = store or Store(), {}
    for run in runs:
        if run.task.source:
            folder, blocks = samples.folder_of(run.task), samples.blocks_for(run.task.ratio * run.task.rows)
            if blocks > needed.get(folder, (0, None))[0]:
                needed[folder] = blocks, run
    total = dict.fromkeys(("kept", "malformed", "rejected"), 0)
    for folder, (blocks, run) in needed.items():
        missing = [block for block in range(blocks) if not samples.done(folder, block)]
        model = store.base(run) if missing else None
        if missing:
            print(f"{len(missing)} blocks of {samples.BLOCK:,} queries to be answered by the base", flush=True)
        for block in missing:
            samples.keep(folder, block, sampled(model, run.task, block))
        total = {name: total[name] + count for name, count in samples.counts(folder, blocks).items()}
    return total


def sampled(model: Transformer, task: TuningSpec, block: int) -> Samples:
    """The block of that number: its own queries, its own draws."""
    asked = [(query.content, query.answer) for query in diverse(samples.BLOCK, block, task.names)]
    return self_sample(Own(model, task, block), asked)
