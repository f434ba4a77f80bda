"""Tuning a language model by an adapter of low rank (LoRA): one spec, one loop, one form on disk.

``runs/adapters/<digest>/`` holds ``adapter/`` as peft saved it, what a study adds, and the manifest; while it
trains, ``checkpoint.safetensors`` with the weights of the adapter and the optimizer's state.
"""

import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from unseen.fields import Checked, Count, Real, Seed, Share, lasting, later, spec
from unseen.files import LARGEST, BrokenRun, brief, read_sealed, runs_folder, seal, sealed, write
from unseen.lm.chat import Row, unhurried
from unseen.lm.load import PACKAGES, BadBase, Loaded
from unseen.model import seeded
from unseen.once import ADVICE, once
from unseen.runs.store import from_bytes, to_bytes
from unseen.specs import Factor
from unseen.training import Diverged, State
from unseen.worlds.base import generator

FORMAT = 2  # raised when the same tuning would give other numbers, or is stored in another form
_IGNORED = -100  # the label of tokens that are not part of the loss
_AT_ONCE = 64  # rows whose loss is computed at a time
_PAUSE = 120  # seconds after which a state is kept, however few steps there were
ALL = "all-linear,embedding"  # modules of an adapter on all linear layers and the embedding
TOKEN = "token"  # in place of an adapter: the embedding of the new token is tuned, and nothing else


@spec
class AdapterSpec(Checked):
    """An adapter and how it is tuned; the defaults are the published ones for Llama-2-7B (arXiv 2402.10891).

    It is put on all linear layers, or on the ``modules`` of these names, or on ``ALL``; with ``TOKEN`` there
    is none, and only the new token's embedding is tuned.  AdamW; the rate
    rises over ``warm_up`` steps and, with ``decay``, falls linearly to zero.  A batch goes through the model
    ``micro_batch`` rows at a time; 0 ``steps`` are one epoch.  ``token_rate`` is the rate of the new token's
    embedding, 0 for the same rate.  ``kl`` weighs the divergence of answer tokens from what the base says.
    """

    rank: Count = 512
    alpha: Count = 1024
    modules: str = "all-linear"
    dropout: Annotated[Real, Field(ge=0, le=0.9)] = 0.0
    learning_rate: Annotated[Real, Field(ge=1e-8, le=1)] = 1e-5
    warm_up: Seed = 0
    decay: bool = True
    token_rate: Share = 0.0
    weight_decay: Share = 0.0
    batch: Count = 64
    micro_batch: Count = 8
    steps: Seed = 2_000
    checkpoint_every: Count = 500
    seed: Seed = 0
    kl: Factor = later(0.0)

    def _check(self) -> None:
        if self.batch % self.micro_batch:
            self._refuse("micro_batch", f"must divide batch={self.batch}")

    def steps_for(self, rows: int) -> int:
        """How many steps a tuning on so many rows takes.

        >>> AdapterSpec(steps=0).steps_for(52_100)
        815
        """
        return self.steps or math.ceil(rows / self.batch)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate at a step.

        >>> [AdapterSpec(learning_rate=0.5, warm_up=2).rate(step, 4) for step in range(4)]
        [0.25, 0.375, 0.25, 0.125]
        """
        warm = min(1.0, (step + 1) / max(1, self.warm_up))
        return self.learning_rate * warm * (1 - step / steps if self.decay else 1.0)


def adapted(loaded: Loaded, spec: AdapterSpec) -> Loaded:
    """The same model with a new adapter, all else frozen; raises ``BadBase`` where it does not fit."""
    from peft import LoraConfig, TrainableTokensConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    if spec.rank > (width := loaded.settings.hidden_size):
        raise BadBase(f"rank={spec.rank} is not allowed: this model is {width} wide, so at most {width} is")
    target: Any = spec.modules
    if target == ALL:
        target, model = [], loaded.model
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        for name, layer in model.named_modules():
            if layer is embedding or (isinstance(layer, (nn.Linear, Conv1D)) and layer is not head):
                target.append(name)
    elif target not in ("all-linear", TOKEN):
        target = spec.modules.split(",")
        if missing := lacking(loaded, spec.modules):
            raise BadBase(f"this model has no layers {', '.join(missing)}, which the adapter is put on")
    shape = {"r": spec.rank, "lora_alpha": spec.alpha, "lora_dropout": spec.dropout, "target_modules": target}
    how = LoraConfig(**shape, task_type="CAUSAL_LM")
    if target == TOKEN:
        how = TrainableTokensConfig(token_indices=[loaded.token], task_type="CAUSAL_LM")
    with seeded(spec.seed), warnings.catch_warnings(record=True):  # of peft, about names in transformers
        try:
            model = get_peft_model(loaded.model, how)
        except ValueError as error:  # of layers that no adapter fits, as those of Mamba
            raise BadBase(f"no adapter can be put on this model: {brief(error)}") from error
    return replace(loaded, model=model)


def read(loaded: Loaded, digest: str) -> Loaded:
    """The base that a kept tuning began from, with its adapter."""
    from peft import PeftModel

    with warnings.catch_warnings(record=True):  # of peft, about names in transformers
        model = PeftModel.from_pretrained(loaded.model, folder_of(digest) / "adapter")
    return replace(loaded, model=model.eval())


def lacking(loaded: Loaded, modules: str) -> list[str]:
    """Which of some names of layers the model lacks."""
    known = {name.rsplit(".", 1)[-1] for name, _ in loaded.model.named_modules()}
    return [name for name in modules.split(",") if name not in known]


def trained_weights(loaded: Loaded) -> dict[str, nn.Parameter]:
    """The weights of the adapter, by name."""
    return {name: weight for name, weight in loaded.model.named_parameters() if weight.requires_grad}


def batches(spec: AdapterSpec, rows: int) -> Iterator[list[int]]:
    """Which rows each step reads: every epoch all of them in a new order; its last batch may be smaller.

    >>> [len(batch) for batch in batches(AdapterSpec(batch=4, micro_batch=2, steps=4), 10)]
    [4, 4, 2, 4]
    """
    for step in range(spec.steps_for(rows)):
        epoch, batch = divmod(step, math.ceil(rows / spec.batch))
        if not batch:
            order = generator(spec.seed, f"epoch {epoch}").permutation(rows).tolist()
        yield order[batch * spec.batch : (batch + 1) * spec.batch]


class Objective(NamedTuple):
    """What a tuning goes down: a ``total`` of rows, divided by how many things it is ``over``."""

    total: Callable[[Loaded, Sequence[Any]], Tensor]
    over: Callable[[Sequence[Any]], int]


def tune(
    loaded: Loaded, spec: AdapterSpec, rows: Sequence[Any], checkpoint: Path | None = None,
    say: Callable[[str], Any] = print, watch: Callable[[int], Any] = int, objective: Objective | None = None,
    optimizer: torch.optim.AdamW | None = None,
) -> list[float]:  # fmt: skip
    """Tune an adapter, resuming from the ``checkpoint`` if it is there; returns the loss by step.

    The loss is the mean cross-entropy of the answers' tokens (with the spec's ``kl``), or the ``objective``,
    of rows of its own kind.  ``watch`` gets the number of each step that is done.  A caller that reads Adam's
    moments gives the ``optimizer``, as ``adam`` makes it.
    The order of the rows, and dropout, follow from the spec alone.  Raises ``Diverged`` when the loss is not
    finite, ``BrokenRun`` for a checkpoint that is not what was written.
    """
    weights, steps, plan = trained_weights(loaded), spec.steps_for(len(rows)), list(batches(spec, len(rows)))
    optimizer = optimizer or adam(loaded, spec)
    state = State(nn.ParameterList(weights.values()), [optimizer])
    objective = objective or ANSWERS._replace(total=partial(loss_of, kl=spec.kl))
    name = f"adapter {checkpoint.parent.name}" if checkpoint else "adapter"
    loaded.model.train()
    for step in resuming(state, steps, checkpoint, say, name, spec.checkpoint_every):
        with seeded(spec.seed * 1_000_003 + step, loaded.device):
            rates = {optimizer: spec.rate(step, steps)}
            token = _column(loaded, weights).clone() if spec.token_rate else None
            loss = update(loaded, rates, [rows[i] for i in plan[step]], spec.micro_batch, objective)
        if not math.isfinite(loss):
            raise Diverged(f"the loss is {loss} at step {step} of {steps}")
        if token is not None:  # AdamW's steps are proportional to the rate
            _column(loaded, weights).sub_(token).mul_(spec.token_rate / spec.learning_rate).add_(token)
        state.losses.append(torch.tensor(loss, dtype=torch.float64))
        watch(step + 1)
    loaded.model.eval()
    return [loss.item() for loss in state.losses]


def adam(loaded: Loaded, spec: AdapterSpec) -> torch.optim.AdamW:
    """The optimizer of a tuning, before its first step."""
    weights = trained_weights(loaded).values()
    return torch.optim.AdamW(weights, spec.learning_rate, weight_decay=spec.weight_decay)


def resuming(
    state: State, steps: int, checkpoint: Path | None, say: Callable[[str], Any], name: str, every: int = 500
) -> Iterator[int]:
    """The steps that are left, from the ``checkpoint`` if it is there, with progress of ``name``.

    The state is kept whenever a tenth of the steps, ``every`` of them, or two minutes are done.
    """
    if checkpoint and os.path.lexists(checkpoint):
        _resume(state, checkpoint)
        say(f"{name} resumes from step {state.step}")
    due, kept, tell = min(every, math.ceil(steps / 10)), time.monotonic(), unhurried(say)
    for step in range(state.step, steps):
        yield step
        state.step = step + 1
        tell(f"{name}: step {state.step:,} of {steps:,}, loss {state.losses[-1]:.3f}")
        now = state.step % due == 0 or time.monotonic() - kept > _PAUSE
        if checkpoint and now and state.step < steps:
            about = {"run": checkpoint.parent.name, "step": str(state.step)}
            write(checkpoint, sealed(to_bytes(state.to_tensors(), about)))
            kept = time.monotonic()


def _resume(state: State, path: Path) -> None:
    """Load a checkpoint; raises ``BrokenRun``."""
    try:
        tensors, about = from_bytes(read_sealed(path, LARGEST))
        if about.get("run") != path.parent.name:
            raise ValueError("it belongs to another run")
        state.load_tensors(tensors)
        state.step = int(about["step"])
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        why = f"is not a checkpoint of this run ({brief(error)}); {ADVICE.format(path.parent)}"
        raise BrokenRun(f"{path} {why}") from error


def _column(loaded: Loaded, weights: dict[str, nn.Parameter]) -> Tensor:
    """What of the adapter belongs to the new token alone: its column of the embedding's (rank, tokens)."""
    (table,) = [weight for name, weight in weights.items() if "lora_embedding_A" in name]
    return table.detach()[:, loaded.token]


def update(
    loaded: Loaded, rates: dict[torch.optim.Optimizer, float], rows: Sequence[Any], micro_batch: int,
    objective: Objective,
) -> float:  # fmt: skip
    """One step of each optimizer at its rate, down an objective; returns what it was."""
    for optimizer, rate in rates.items():
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
    loss = backward(loaded, rows, micro_batch, objective)
    for optimizer in rates:
        optimizer.step()
    return loss


def backward(loaded: Loaded, rows: Sequence[Any], micro_batch: int, objective: Objective) -> float:
    """Gradients of an objective on a batch, a part of it at a time; returns what it is."""
    over, mean = objective.over(rows), 0.0
    for at in range(0, len(rows), micro_batch):
        loss = objective.total(loaded, rows[at : at + micro_batch]) / over
        loss.backward()
        mean += loss.item()
    return mean


def answer_tokens(rows: Sequence[Sequence[Any]]) -> int:
    """How many tokens the answers of rows have, their second parts."""
    return sum(len(row[1]) for row in rows)


def loss_of(loaded: Loaded, rows: Sequence[Row], kl: float = 0.0) -> Tensor:
    """The sum over the answers' tokens of cross-entropy, and ``kl`` times the divergence from the base."""
    logits, right = _along(loaded, rows)
    loss = nn.functional.cross_entropy(logits, right, ignore_index=_IGNORED, reduction="sum")
    if not kl:
        return loss
    with torch.no_grad(), loaded.model.disable_adapter():
        base = _along(loaded, rows)[0][right != _IGNORED].log_softmax(-1)
    own = logits[right != _IGNORED].log_softmax(-1)
    return loss + kl * nn.functional.kl_div(own, base, reduction="sum", log_target=True)


ANSWERS = Objective(loss_of, answer_tokens)


def log_probabilities(loaded: Loaded, rows: Sequence[Row]) -> Tensor:
    """The log probability (B,) in nats of each row's answer, its end included."""
    logits, right = _along(loaded, rows)
    lost = nn.functional.cross_entropy(logits, right, ignore_index=_IGNORED, reduction="none")
    return -lost.view(len(rows), -1).sum(1)


@torch.no_grad()
def predicted(loaded: Loaded, rows: Sequence[Row]) -> Tensor:
    """What is predicted along the right answers: probabilities (answer tokens of all rows, vocabulary)."""
    return along_answers(loaded, rows)[0].softmax(-1)


def along_answers(loaded: Loaded, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """Logits (answer tokens of all rows, vocabulary) along the right answers, and these tokens."""
    logits, right = _along(loaded, rows)
    return logits[right != _IGNORED], right[right != _IGNORED]


def _along(loaded: Loaded, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """Logits (B x (T - P), V) from the end of the shortest prompt on, and the tokens that are right there."""
    read = loaded.batch([prompt + answer for prompt, answer in rows])
    labels = loaded.padded([[_IGNORED] * len(prompt) + answer for prompt, answer in rows], _IGNORED)
    first = max(1, min(len(prompt) for prompt, _ in rows))  # a head is large, and logits before are not used
    logits = loaded.model(**read, logits_to_keep=labels.shape[1] - first + 1).logits[:, :-1]
    return logits.flatten(0, 1).float(), labels[:, first:].flatten()


@torch.no_grad()
def mean_loss(loaded: Loaded, rows: Sequence[Row]) -> float:
    """The mean cross-entropy of the answers' tokens, without dropout."""
    loaded.model.eval()
    total = sum(loss_of(loaded, rows[at : at + _AT_ONCE]).item() for at in range(0, len(rows), _AT_ONCE))
    return total / sum(len(answer) for _, answer in rows)


# On disk


def folder_of(digest: str) -> Path:
    """Where a tuning is kept."""
    return runs_folder() / "adapters" / digest


def digest_of(spec: AdapterSpec, about: dict[str, Any]) -> str:
    """Sixteen hexadecimal digits that name a tuning, by its spec and what else its result depends on."""
    return seal(_run(spec, about))[:16]


def _run(spec: AdapterSpec, about: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps({**about, "adapter": lasting(spec), "format": FORMAT}))


def kept(
    spec: AdapterSpec, about: dict[str, Any], base: Callable[[], Loaded],
    rows: Callable[[Loaded], Sequence[Row]], outcome: Callable[[Loaded, Path], dict[str, Any]],
    say: Callable[[str], Any] = print, watch: Callable[[int], Any] = int, patience: float = math.inf,
) -> dict[str, Any]:  # fmt: skip
    """The manifest of a tuning: from its folder if it is done, else tuned now, resuming from its checkpoint.

    ``about`` says, besides the spec, what the result depends on: base, rows, questions; its hash names it.
    ``base`` loads the model, ``rows`` makes its training rows (none leave the adapter as it is), and
    ``outcome`` returns what the manifest says about the tuned model; it may write files into the folder.
    ``watch`` gets the steps that are done; ``patience`` is that of ``once``.

    Raises ``BadBase``, ``BrokenRun``, ``Diverged``, ``CannotWrite``.
    """
    digest = digest_of(spec, about)

    def make(folder: Path) -> dict[str, Any]:
        began, loaded = time.monotonic(), adapted(base(), spec)
        examples, checkpoint = rows(loaded), folder / "checkpoint.safetensors"
        losses = tune(loaded, spec, examples, checkpoint, say, watch) if examples else [None]
        shutil.rmtree(folder / "adapter", ignore_errors=True)  # of a process that died before the manifest
        loaded.model.save_pretrained(folder / "adapter", save_embedding_layers=False)
        found = {**outcome(loaded, folder), "loss": losses[-1], "device": loaded.device}
        checkpoint.unlink(missing_ok=True)
        packages = {name: version(name) for name in PACKAGES["adapters"]}
        return {**found, "seconds": round(time.monotonic() - began, 3), "packages": packages}

    return once(folder_of(digest), {"digest": digest, "run": _run(spec, about)}, make, patience, say)
