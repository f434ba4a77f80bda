"""A local chat model in DELIA's pipeline: checked before it is loaded, given the new token, sampled from, tuned.

The defaults of ``LlmSpec`` are the published ones.  Needs the ``llm`` extra, imported inside the functions.

>>> LlmSpec().updates_for(100), LlmSpec().updates_for(52_100), LlmSpec(updates=300).updates_for(100)
(2, 815, 300)
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unseen.delia.language import TOKEN
from unseen.delia.messages import Conversation
from unseen.delia.pipeline import NEW_TOKENS, TEMPERATURE, TOP_P
from unseen.fields import MOST, Checked
from unseen.instructions import generator
from unseen.pretrained.local import BadBase, Loaded, Row, backward, load, trained_weights
from unseen.pretrained.turns import ends, prompts_of, reads
from unseen.training import Diverged

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "embed_tokens")


@dataclass(frozen=True)
class LlmSpec(Checked):
    """An adapter on attention and embeddings, and how it is tuned and sampled; the defaults are the published settings.

    An update goes through ``accumulate`` batches of ``micro_batch`` rows; 0 ``updates`` are one epoch.  The rate is constant
    behind ``warm_up`` updates.  ``token_rate`` is that of the new token's own embedding, 0 for the same as everything has.
    """

    rank: int = 16
    alpha: int = 16
    dropout: float = 0.05
    learning_rate: float = 2e-4
    token_rate: float = 0.0
    warm_up: int = 25
    weight_decay: float = 0.01
    micro_batch: int = 16
    accumulate: int = 4
    updates: int = 0
    new_tokens: int = NEW_TOKENS
    checkpoint_every: int = 500
    seed: int = 0

    def _check(self) -> None:
        for name in ("rank", "alpha", "micro_batch", "accumulate", "new_tokens", "checkpoint_every"):
            self._within(name, 1, MOST)
        for name in ("warm_up", "updates", "seed"):
            self._within(name, 0, MOST)
        for name in ("token_rate", "weight_decay"):
            self._within(name, 0, 1)
        self._within("learning_rate", 1e-8, 1)
        self._within("dropout", 0, 0.9)

    @property
    def batch(self) -> int:
        """Rows of an update."""
        return self.micro_batch * self.accumulate

    def updates_for(self, rows: int) -> int:
        """How many updates a tuning on so many rows has."""
        return self.updates or math.ceil(rows / self.batch)


def with_token(folder: Path, seed: int = 0, device: str = "auto") -> Loaded:
    """The model of a folder that is ``ready``, with the new token: its own embedding is drawn at random, by the seed.

    The published code draws the rows behind the vocabulary instead, which no token has.
    """
    loaded = load(folder, device)
    from tokenizers import AddedToken

    loaded.tokenizer.add_tokens([AddedToken(TOKEN, lstrip=True, normalized=False, special=False)])
    model, size = loaded.model, len(loaded.tokenizer)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        if size > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(size, mean_resizing=False)
        table = model.get_input_embeddings().weight
        new = torch.randn(table.shape[1]) * table.float().std().item()
        table[token_id(loaded)] = new.to(table)
    return loaded


def token_id(loaded: Loaded) -> int:
    """The id of the new token."""
    return loaded.tokenizer.convert_tokens_to_ids(TOKEN)


def adapted(loaded: Loaded, spec: LlmSpec) -> Loaded:
    """The same model with a new adapter, all else frozen; raises ``BadBase`` where it has other layers than an adapter is for."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=spec.rank, lora_alpha=spec.alpha, lora_dropout=spec.dropout, target_modules=list(MODULES),
                        task_type="CAUSAL_LM")  # fmt: skip
    known = {name.rsplit(".", 1)[-1] for name, _ in loaded.model.named_modules()}
    if missing := [name for name in MODULES if name not in known]:
        raise BadBase(f"this model has no layers {', '.join(missing)}, which the published adapter is put on")
    with (
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(record=True),
    ):  # of peft, about names in transformers
        torch.manual_seed(spec.seed)
        return Loaded(get_peft_model(loaded.model, config), loaded.tokenizer, loaded.device)


class Chat:
    """A chat model as a ``pipeline.Sampler``: one answer to each conversation, None for one that did not end.

    It samples as published, or answers greedily at temperature 0.
    """

    def __init__(self, loaded: Loaded, new_tokens: int = NEW_TOKENS, seed: int = 0, temperature: float = TEMPERATURE,
                 top_p: float = TOP_P, at_once: int = 64):  # fmt: skip
        self.loaded, self.new_tokens, self.seed, self.at_once = loaded, new_tokens, seed, at_once
        how = (
            {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
            if temperature
            else {"do_sample": False}
        )
        self.how = {**how, "max_new_tokens": new_tokens, "pad_token_id": loaded.pad, "eos_token_id": ends(loaded)}

    @torch.no_grad()
    def __call__(self, asked: Sequence[Conversation]) -> list[str | None]:
        """Answers to conversations that end with a query; raises ``BadBase`` for one that is too long."""
        prompts, found = prompts_of(self.loaded, asked), {}
        if max(map(len, prompts), default=0) + self.new_tokens > reads(self.loaded):
            raise BadBase(
                f"a conversation and {self.new_tokens} new tokens are longer than the {reads(self.loaded):,} that this model reads"
            )
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
        with torch.random.fork_rng(devices=[0] if self.loaded.device == "cuda" else []):
            torch.manual_seed(self.seed)
            for at in range(0, len(order), self.at_once):
                chosen = order[at : at + self.at_once]
                written = self._written([prompts[i] for i in chosen])
                found |= dict(zip(chosen, map(self._answer, written), strict=True))
        return [found[i] for i in range(len(prompts))]

    def _written(self, prompts: list[list[int]]) -> list[list[int]]:
        from transformers import GenerationConfig

        width, pad = max(map(len, prompts)), self.loaded.pad
        ids = torch.tensor([[pad] * (width - len(each)) + each for each in prompts], device=self.loaded.device)
        seen = torch.tensor(
            [[0] * (width - len(each)) + [1] * len(each) for each in prompts], device=self.loaded.device
        )
        self.loaded.model.eval()
        config = GenerationConfig(**self.how)
        return self.loaded.model.generate(input_ids=ids, attention_mask=seen, generation_config=config)[
            :, width:
        ].tolist()

    def _answer(self, ids: list[int]) -> str | None:
        at = next((i for i, token in enumerate(ids) if token in self.how["eos_token_id"]), None)
        return None if at is None else self.loaded.tokenizer.decode(ids[:at], skip_special_tokens=True).strip()


def batches(spec: LlmSpec, rows: int) -> Iterator[list[int]]:
    """Which rows each update has: epoch by epoch, each row once in its order of the epoch; an epoch's last may be fewer.

    >>> [len(batch) for batch in batches(LlmSpec(micro_batch=2, accumulate=2, updates=4), 10)]
    [4, 4, 2, 4]
    """
    total, epoch = spec.updates_for(rows), 0
    while total > 0:
        order = generator(spec.seed, f"epoch {epoch}").permutation(rows).tolist()
        parts = [order[at : at + spec.batch] for at in range(0, rows, spec.batch)][:total]
        yield from parts
        total, epoch = total - len(parts), epoch + 1


def tune(loaded: Loaded, spec: LlmSpec, rows: list[Row], begin: int = 0,
         optimizer: torch.optim.Optimizer | None = None, save: Callable[[int], Any] = lambda step: None) -> list[float]:  # fmt: skip
    """Tune an adapter from update ``begin`` to the last; returns the loss a token of each update.

    Order and dropout follow from the spec alone.  Raises ``Diverged`` when the loss is not finite.
    """
    optimizer, losses = optimizer or optimizer_of(loaded, spec), []
    devices = [0] if loaded.device == "cuda" else []
    loaded.model.train()
    for step, chosen in enumerate(batches(spec, len(rows))):
        if step < begin:
            continue
        optimizer.param_groups[0]["lr"] = spec.learning_rate * min(1.0, (step + 1) / max(1, spec.warm_up))
        optimizer.zero_grad()
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(spec.seed * 1_000_003 + step)
            losses.append(sum(backward(loaded, spec.micro_batch, [rows[i] for i in chosen])))
        if not math.isfinite(losses[-1]):
            raise Diverged(f"the loss is {losses[-1]} at update {step}")
        _stepped(loaded, spec, optimizer)
        if (step + 1) % spec.checkpoint_every == 0:
            save(step + 1)
    loaded.model.eval()
    return losses


def optimizer_of(loaded: Loaded, spec: LlmSpec) -> torch.optim.Optimizer:
    """AdamW on the weights of the adapter."""
    return torch.optim.AdamW(trained_weights(loaded).values(), lr=spec.learning_rate, weight_decay=spec.weight_decay)


def _stepped(loaded: Loaded, spec: LlmSpec, optimizer: torch.optim.Optimizer) -> None:
    """One step; what it moved the new token's own column by is scaled, for AdamW's steps are in proportion to the rate."""
    own = _own(loaded)
    before = own.detach().clone()
    optimizer.step()
    if spec.token_rate:
        with torch.no_grad():
            own.copy_(before + (own - before) * (spec.token_rate / spec.learning_rate))


def _own(loaded: Loaded) -> Tensor:
    """What of the adapter belongs to the new token alone: its column of the embedding's (rank, tokens)."""
    weights: dict[str, nn.Parameter] = trained_weights(loaded)
    (table,) = [weight for name, weight in weights.items() if "lora_embedding_A" in name]
    return table[:, token_id(loaded)]
