"""The other side of the bench: Hugging Face's GPT-2, trained by Hugging Face's own Trainer.

Needs the ``bench`` extra, which is imported inside the functions: the rest of the library never is
in need of it.  Nothing here goes online.
"""

import os
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from unseen.datasets import Examples
from unseen.encoding import Encoding
from unseen.model import Shape, Transformer, build
from unseen.specs import RunSpec
from unseen.training import Data, Row, loss_of

INSTALL = "python -m pip install -c constraints.txt -e '.[bench]'"
WARM_UP = 3  # steps before a block, not counted
_IGNORED = -100  # the label that transformers leaves out of the loss
_NAMES = {"norm_attention": "ln_1", "norm_mlp": "ln_2", "norm.": "ln_f.", "inputs": "attn.c_attn", "mlp.0": "mlp.c_fc",
          "mlp.2": "mlp.c_proj", "output": "attn.c_proj", "embedding": "wte.weight", "positions": "wpe.weight",
          "blocks.": "h."}  # fmt: skip


def installed() -> bool:
    """Whether the ``bench`` extra is there."""
    return all(find_spec(name) for name in ("transformers", "accelerate"))


def gpt2_of(spec: RunSpec) -> nn.Module:
    """``GPT2LMHeadModel`` with the sizes of ``spec``, dropout 0, its own initialisation and tied embeddings.

    Its context is one token longer than ours: it reads the answer's last token too, and ignores it.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported
    from transformers import GPT2Config, GPT2LMHeadModel

    ours = _ours(spec)
    config = GPT2Config(
        vocab_size=ours.shape.vocabulary,
        n_positions=ours.shape.context + 1,
        n_embd=spec.model.width,
        n_inner=ours.blocks[0].mlp[0].out_features,
        n_layer=spec.model.layers,
        n_head=spec.model.heads,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
        **dict.fromkeys(("bos_token_id", "eos_token_id"), Encoding.of(spec.task).special("end")),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.model.seed)
        model = GPT2LMHeadModel(config)
    model.loss_type = "ForCausalLM"  # what transformers takes anyway, but with a warning
    return model


def _ours(spec: RunSpec) -> Transformer:
    return build(spec.model.but(recipe="gpt2"), Shape.of(Encoding.of(spec.task)))


def copy_weights(source: nn.Module, model: Transformer) -> None:
    """Give our ``gpt2`` recipe the weights of a ``GPT2LMHeadModel``; raises ``KeyError`` when one is missing."""
    theirs, ours = source.transformer.state_dict(), {}
    for name in model.state_dict():
        other = name
        for part, replacement in _NAMES.items():
            other = other.replace(part, replacement)
        turned = ".c_" in other and other.endswith("weight")  # their Conv1D keeps its matrix the other way round
        ours[name] = theirs[other].mT if turned else theirs[other]
    ours["positions"] = ours["positions"][: model.shape.context]
    model.load_state_dict(ours)


@torch.no_grad()
def difference(spec: RunSpec, examples: Examples) -> float:
    """The largest difference of logits and loss between our ``gpt2`` and Hugging Face's with the same weights.

    Every weight is drawn wide, biases and norms included, so that no part can hide behind a zero.
    """
    theirs, ours = gpt2_of(spec).eval(), _ours(spec)
    rng = torch.Generator().manual_seed(spec.model.seed)
    for parameter in theirs.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=rng) / 2)
    copy_weights(theirs, ours)
    tokens = torch.from_numpy(examples.tokens()).long()
    answer = theirs(tokens, labels=_labels(tokens, ours.shape.prompt))
    logits = answer.logits[:, ours.shape.prompt - 1 : -1] - ours(tokens[:, :-1])
    return max(logits.abs().max().item(), abs(answer.loss - loss_of(ours, tokens)).item())


def _labels(tokens: Tensor, prompt: int) -> Tensor:
    """The tokens (N, P + O) with the prompt left out of the loss; transformers shifts them itself."""
    return F.pad(tokens[:, prompt:], (prompt, 0), value=_IGNORED)


class _Lines(Dataset):
    """Training examples as the Trainer wants them; whole batches at once, which is faster than its default."""

    def __init__(self, examples: Examples):
        self.tokens = torch.from_numpy(examples.tokens()).long()
        self.labels = _labels(self.tokens, examples.prompts.shape[1])

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitems__(self, rows: list[int]) -> dict[str, Tensor]:
        return {"input_ids": self.tokens[rows], "labels": self.labels[rows]}


class _Watch:
    """Calls ``check`` every few steps with the clock stopped; joined to ``TrainerCallback`` when one is needed."""

    def __init__(self, every: int, check: Callable[[int, float], bool]):
        self.every, self.check, self.seconds = every, check, 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.begun = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step % self.every == 0 or state.global_step == args.max_steps:
            self.seconds += time.perf_counter() - self.begun
            control.should_training_stop |= self.check(state.global_step, self.seconds)
            self.begun = time.perf_counter()


class HuggingFace:
    """A contender of the bench: ``GPT2LMHeadModel`` in ``Trainer``, with the batch and rate of ``spec``.

    AdamW, a linear schedule without warm-up, loss on the answer alone, no dropout; everything else is
    transformers' default, its clipping of gradients at norm 1 included.
    """

    def __init__(self, spec: RunSpec, data: Data):
        self.spec, self.lines, self.model = spec, _Lines(data.training), gpt2_of(spec)
        self.prompt = data.training.prompts.shape[1]

    @property
    def tokens(self) -> int:
        """Tokens read in one step."""
        return self.spec.training.batch * self.lines.tokens.size(1)

    def block(self, steps: int) -> float:
        """Seconds for so many further steps, after a few that are not counted."""
        marks: dict[int, float] = {}
        self._train(steps + WARM_UP, 1, lambda step, seconds: bool(marks.update({step: seconds})))
        return marks[steps + WARM_UP] - marks[WARM_UP]

    def learn(self, scored: Examples, every: int, enough: Callable[[Row], bool]) -> None:
        """Train a new model to the end of ``spec.training.steps``, or until ``enough`` of a row says so."""
        self.model = gpt2_of(self.spec)
        self._train(self.spec.training.steps, every, lambda step, seconds: enough(
            {"step": step, "unseen": self.accuracy(scored), "seconds": seconds}))  # fmt: skip

    @torch.no_grad()
    def accuracy(self, examples: Examples) -> float:
        """The share of whole answers that are right, as ``evaluation.all_right`` decides it."""
        tokens = torch.from_numpy(examples.tokens()).long()
        logits = self.model.eval()(tokens).logits[:, self.prompt - 1 : -1]
        self.model.train()
        return (logits.argmax(-1) == tokens[:, self.prompt :]).all(1).float().mean().item()

    def _train(self, steps: int, every: int, check: Callable[[int, float], bool]) -> None:
        from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

        watch = type("Watch", (_Watch, TrainerCallback), {})(every, check)
        training, seeds = self.spec.training, {"seed": self.spec.model.seed, "data_seed": self.spec.task.example_seed}
        silence = {"report_to": [], "disable_tqdm": True, "logging_strategy": "no", "save_strategy": "no"}
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                folder, max_steps=steps, per_device_train_batch_size=training.batch, use_cpu=True,
                learning_rate=training.learning_rate, lr_scheduler_type="linear", warmup_steps=0, weight_decay=0.0,
                remove_unused_columns=False, dataloader_drop_last=True, dataloader_pin_memory=False, **silence, **seeds,
            )  # fmt: skip
            trainer = Trainer(self.model, arguments, lambda batch: batch, self.lines, callbacks=[watch])
            trainer.remove_callback(PrinterCallback)
            trainer.train()
