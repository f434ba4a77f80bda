"""Tuning a language model by an adapter of low rank (LoRA): one spec, one loop, one form on disk.

::

    runs/adapters/<digest>/
        checkpoint.safetensors    weights of the adapter and the optimizer's state, while it trains
        adapter/                  what peft saved
        ...                       answers to questions, where a study keeps them
        manifest.json             scores, hashes, versions, times; written last

>>> AdapterSpec(batch=64, steps=0).steps_for(52_100)
815
"""

import hashlib
import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unseen.disk.files import LARGEST, BrokenRun, brief, read_sealed, runs_folder, sealed, write
from unseen.disk.weights import from_bytes, to_bytes
from unseen.fields import MOST, Checked, lasting
from unseen.instructions import generator
from unseen.lm.chat import Row
from unseen.lm.load import PACKAGES, BadBase, Loaded, seeded
from unseen.runs.once import ADVICE, once
from unseen.training import Diverged

FORMAT = 2  # raised when the same tuning would give other numbers, or is stored in another form
_IGNORED = -100  # the label of tokens that are not part of the loss
_AT_ONCE = 64  # rows whose loss is computed at a time


@dataclass(frozen=True)
class AdapterSpec(Checked):
    """An adapter and how it is tuned; the defaults are those of Zhang et al. (arXiv 2402.10891) for Llama-2-7B.

    It is put on all linear layers, or on the ``modules`` of these names.  AdamW; the rate rises over ``warm_up`` steps and
    falls linearly to zero if it ``decay``s.  A batch goes through the model ``micro_batch`` rows at a time; 0 ``steps`` are
    one epoch.  ``token_rate`` is the rate of the new token's own embedding, 0 for the rate of everything else.
    """

    rank: int = 512
    alpha: int = 1024
    modules: str = "all-linear"
    dropout: float = 0.0
    learning_rate: float = 1e-5
    warm_up: int = 0
    decay: bool = True
    token_rate: float = 0.0
    weight_decay: float = 0.0
    batch: int = 64
    micro_batch: int = 8
    steps: int = 2_000
    checkpoint_every: int = 500
    seed: int = 0

    def _check(self) -> None:
        for name in ("rank", "alpha", "batch", "micro_batch", "checkpoint_every"):
            self._within(name, 1, MOST)
        for name in ("warm_up", "steps", "seed"):
            self._within(name, 0, MOST)
        for name in ("token_rate", "weight_decay"):
            self._within(name, 0, 1)
        self._within("learning_rate", 1e-8, 1)
        self._within("dropout", 0, 0.9)
        if self.batch % self.micro_batch:
            self._refuse("micro_batch", f"must divide batch={self.batch}")

    def steps_for(self, rows: int) -> int:
        """How many steps a tuning on so many rows takes."""
        return self.steps or math.ceil(rows / self.batch)

    def factor(self, step: int, steps: int) -> float:
        """The factor on the learning rate at a step.

        >>> [AdapterSpec(warm_up=2).factor(step, 4) for step in range(4)]
        [0.5, 0.75, 0.5, 0.25]
        """
        return min(1.0, (step + 1) / max(1, self.warm_up)) * (1 - step / steps if self.decay else 1.0)


def adapted(loaded: Loaded, spec: AdapterSpec) -> Loaded:
    """The same model with a new adapter, all else frozen; raises ``BadBase`` where rank or layers do not fit the model."""
    from peft import LoraConfig, get_peft_model

    modules = spec.modules if spec.modules == "all-linear" else spec.modules.split(",")
    if spec.rank > (width := loaded.settings.hidden_size):
        raise BadBase(
            f"rank={spec.rank} is not allowed: this model is {width} wide, and a low rank is at most that"
        )
    known = {name.rsplit(".", 1)[-1] for name, _ in loaded.model.named_modules()} | {"all-linear"}
    if missing := [name for name in spec.modules.split(",") if name not in known]:
        raise BadBase(f"this model has no layers {', '.join(missing)}, which the published adapter is put on")
    config = LoraConfig(r=spec.rank, lora_alpha=spec.alpha, lora_dropout=spec.dropout, target_modules=modules,
                        task_type="CAUSAL_LM")  # fmt: skip
    with seeded(spec.seed), warnings.catch_warnings(record=True):  # of peft, about names in transformers
        return replace(loaded, model=get_peft_model(loaded.model, config))


def trained_weights(loaded: Loaded) -> dict[str, nn.Parameter]:
    """The weights of the adapter, by name."""
    return {name: weight for name, weight in loaded.model.named_parameters() if weight.requires_grad}


def optimizer_of(loaded: Loaded, spec: AdapterSpec) -> torch.optim.Optimizer:
    """AdamW on the weights of the adapter."""
    return torch.optim.AdamW(
        trained_weights(loaded).values(), lr=spec.learning_rate, weight_decay=spec.weight_decay
    )


def batches(spec: AdapterSpec, rows: int) -> Iterator[list[int]]:
    """Which rows each step reads: epoch by epoch, each row once in a new order; an epoch's last batch may be smaller.

    >>> [len(batch) for batch in batches(AdapterSpec(batch=4, micro_batch=2, steps=4), 10)]
    [4, 4, 2, 4]
    """
    left, epoch = spec.steps_for(rows), 0
    while left > 0:
        order = generator(spec.seed, f"epoch {epoch}").permutation(rows).tolist()
        parts = [order[at : at + spec.batch] for at in range(0, rows, spec.batch)][:left]
        yield from parts
        left, epoch = left - len(parts), epoch + 1


def tune(
    loaded: Loaded,
    spec: AdapterSpec,
    rows: Sequence[Row],
    begin: int = 0,
    optimizer: torch.optim.Optimizer | None = None,
    save: Callable[[int], Any] = lambda step: None,
) -> list[float]:
    """Tune an adapter from step ``begin`` to the last; returns the loss per token of each step.

    The order of the rows, and dropout, follow from the spec alone.  Raises ``Diverged`` when the loss is not finite.
    """
    optimizer, losses, steps = optimizer or optimizer_of(loaded, spec), [], spec.steps_for(len(rows))
    loaded.model.train()
    for step, chosen in enumerate(batches(spec, len(rows))):
        if step < begin:
            continue
        rate = spec.learning_rate * spec.factor(step, steps)
        token = _token_embedding(loaded) if spec.token_rate else None
        before = None if token is None else token.detach().clone()
        with seeded(spec.seed * 1_000_003 + step, loaded.device):
            losses.append(update(loaded, {optimizer: rate}, [rows[i] for i in chosen], spec.micro_batch))
        if not math.isfinite(losses[-1]):
            raise Diverged(f"the loss is {losses[-1]} at step {step} of {steps}")
        if token is not None:  # AdamW's steps are proportional to the rate
            with torch.no_grad():
                token.copy_(before + (token - before) * (spec.token_rate / spec.learning_rate))
        if (step + 1) % spec.checkpoint_every == 0 and step + 1 < steps:
            save(step + 1)
    loaded.model.eval()
    return losses


def update(
    loaded: Loaded, rates: dict[torch.optim.Optimizer, float], rows: Sequence[Row], micro_batch: int
) -> float:
    """One step of each optimizer at its rate, down the gradient of the mean loss per answer token; returns that loss."""
    for optimizer, rate in rates.items():
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
    loss = backward(loaded, micro_batch, rows)
    for optimizer in rates:
        optimizer.step()
    return loss


def backward(loaded: Loaded, micro_batch: int, rows: Sequence[Row]) -> float:
    """Gradients of the mean loss over a batch's answer tokens, a part of it at a time; returns that loss."""
    total, losses = sum(len(answer) for _, answer in rows), []
    for at in range(0, len(rows), micro_batch):
        loss = loss_of(loaded, rows[at : at + micro_batch]) / total
        loss.backward()
        losses.append(loss.item())
    return sum(losses)


def loss_of(loaded: Loaded, rows: Iterable[Row]) -> Tensor:
    """The sum of cross-entropies over the answers' tokens."""
    batch = batch_of(loaded, rows)
    logits = loaded.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    flat, labels = logits[:, :-1].flatten(0, 1).float(), batch["labels"][:, 1:].flatten()
    return nn.functional.cross_entropy(flat, labels, ignore_index=_IGNORED, reduction="sum")


def batch_of(loaded: Loaded, rows: Iterable[Row]) -> dict[str, Tensor]:
    """Rows as one batch (B, T), filled up on the right, with every label but those of the answers ignored."""
    rows = list(rows)
    longest = max(len(prompt) + len(answer) for prompt, answer in rows)
    columns: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": []}
    for prompt, answer in rows:
        empty = longest - len(prompt) - len(answer)
        columns["input_ids"].append([*prompt, *answer, *[loaded.pad] * empty])
        columns["attention_mask"].append([1] * (longest - empty) + [0] * empty)
        columns["labels"].append([_IGNORED] * len(prompt) + answer + [_IGNORED] * empty)
    return {name: torch.tensor(values, device=loaded.device) for name, values in columns.items()}


@torch.no_grad()
def mean_loss(loaded: Loaded, rows: Sequence[Row]) -> float:
    """The mean cross-entropy of the answers' tokens, without dropout."""
    loaded.model.eval()
    total = sum(loss_of(loaded, rows[at : at + _AT_ONCE]).item() for at in range(0, len(rows), _AT_ONCE))
    return total / sum(len(answer) for _, answer in rows)


def _token_embedding(loaded: Loaded) -> Tensor:
    """What of the adapter belongs to the new token alone: its column of the embedding's (rank, tokens)."""
    (table,) = [weight for name, weight in trained_weights(loaded).items() if "lora_embedding_A" in name]
    return table[:, loaded.token]


# On disk


def folder_of(digest: str) -> Path:
    """Where a tuning is kept."""
    return runs_folder() / "adapters" / digest


def kept(
    spec: AdapterSpec,
    about: dict[str, Any],
    base: Callable[[], Loaded],
    rows: Callable[[Loaded], Sequence[Row]],
    outcome: Callable[[Loaded, Path], dict[str, Any]],
    say: Callable[[str], Any] = print,
) -> dict[str, Any]:
    """The manifest of a tuning: from its folder if it is done, else tuned now, resuming from its checkpoint.

    ``about`` identifies, with the spec, what the result depends on: base, rows, questions; a hash of it names the folder.
    ``base`` loads the model, ``rows`` makes its training rows (none: the adapter stays as it is), and ``outcome`` returns
    what the manifest says about the tuned model and may write files into the folder.  Raises ``BadBase``, ``BrokenRun``,
    ``Diverged``, ``CannotWrite``.
    """
    run = json.loads(json.dumps({**about, "adapter": lasting(spec), "format": FORMAT}))
    digest = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:16]

    def make(folder: Path) -> dict[str, Any]:
        began, loaded = time.monotonic(), adapted(base(), spec)
        examples, optimizer = rows(loaded), optimizer_of(loaded, spec)
        begin, losses = 0, []
        if examples:
            path = folder / "checkpoint.safetensors"
            begin = _resumed(path, digest, loaded, optimizer, say)
            losses = tune(
                loaded,
                spec,
                examples,
                begin,
                optimizer,
                lambda step: _save(path, digest, step, loaded, optimizer),
            )
        shutil.rmtree(folder / "adapter", ignore_errors=True)  # of a process that died before the manifest
        loaded.model.save_pretrained(folder / "adapter", save_embedding_layers=False)
        found = {**outcome(loaded, folder), "loss": losses[-1] if losses else None, "began_at_step": begin}
        (folder / "checkpoint.safetensors").unlink(missing_ok=True)
        return {**found, "device": loaded.device, "seconds": round(time.monotonic() - began, 3),
                "packages": {name: version(name) for name in PACKAGES["adapters"]}}  # fmt: skip

    return once(folder_of(digest), {"digest": digest, "run": run}, make, say=say)


def _save(path: Path, digest: str, step: int, loaded: Loaded, optimizer: torch.optim.Optimizer) -> None:
    """Write a checkpoint: weights of the adapter and the optimizer's state, by name."""
    tensors = {f"weight.{name}": value for name, value in trained_weights(loaded).items()}
    for number, memory in optimizer.state_dict()["state"].items():
        tensors |= {f"memory.{number}.{name}": value for name, value in memory.items()}
    write(path, sealed(to_bytes(tensors, {"run": digest, "step": str(step)})))


def _resumed(
    path: Path, digest: str, loaded: Loaded, optimizer: torch.optim.Optimizer, say: Callable[[str], Any]
) -> int:
    """Set adapter and optimizer to a checkpoint; returns its step, 0 without one.  Raises ``BrokenRun``."""
    if not os.path.lexists(path):
        return 0
    try:
        tensors, about = from_bytes(read_sealed(path, LARGEST))
        if about.get("run") != digest:
            raise ValueError("it belongs to another run")
        memory: dict[int, dict[str, Tensor]] = {}
        for name in (name for name in tensors if name.startswith("memory.")):
            _, number, what = name.split(".")
            memory.setdefault(int(number), {})[what] = tensors[name]
        with torch.no_grad():
            for name, weight in trained_weights(loaded).items():
                weight.copy_(tensors[f"weight.{name}"])
        optimizer.load_state_dict({"state": memory, "param_groups": optimizer.state_dict()["param_groups"]})
        step = int(about["step"])
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        told = f"{path} is not a checkpoint of this run ({brief(error)}); {ADVICE.format(folder=path.parent)}"
        raise BrokenRun(told) from error
    say(f"adapter {digest} resumes from step {step}")
    return step
