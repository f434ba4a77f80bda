"""Who trains in notebook 91: this library, and Hugging Face's GPT-2 in Hugging Face's Trainer; and a language
model, tuned and answering by ``lm`` and by plain loops.

The first two take the spec and data of a run, a number of steps, and a ``check`` that is called every few
steps while the clock stands still; training ends early when it returns true.  The other side needs the extra
``bench``; it is imported inside the functions, and offline.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from unseen.lm.chat import Row as LanguageRow
from unseen.lm.chat import answers, prompts_of, rows_of
from unseen.lm.load import Loaded, load, read_local
from unseen.lm.tune import AdapterSpec, adapted, tune
from unseen.model import Shape, build, seeded
from unseen.objectives import loss_of
from unseen.specs import RunSpec
from unseen.training import Data, Row, start, train
from unseen.worlds import everyday
from unseen.worlds.base import Examples

Check = Callable[[int, float, nn.Module], bool]  # of the step, the seconds of training so far, and the model
Train = Callable[[int, int, Check], None]  # steps, how many lie between two checks, and the check
_WARM_UP = 3  # steps whose time is not counted
_IGNORED = -100  # the label that transformers leaves out of the loss
_NAMES = {
    "norm_attention": "ln_1",
    "norm_mlp": "ln_2",
    "norm.": "ln_f.",
    "inputs": "attn.c_attn",
    "mlp.0": "mlp.c_fc",
    "mlp.2": "mlp.c_proj",
    "output": "attn.c_proj",
    "embedding": "wte.weight",
    "positions": "wpe.weight",
    "blocks.": "h.",
}


def seconds_per_step(contender: Train, steps: int) -> float:
    """The mean time of so many steps of training, after three that are not counted."""
    marks: list[float] = []
    contender(_WARM_UP + steps, _WARM_UP, lambda step, seconds, model: bool(marks.append(seconds)))
    return (marks[-1] - marks[0]) / steps


class _Enough(Exception):
    """Stops ``training.train`` from within."""


def with_library(spec: RunSpec, data: Data, steps: int, every: int, check: Check) -> None:
    """Train a new model of a run by ``training.train``, on a schedule of so many steps."""
    state = start(spec)
    spec = spec.but(training=spec.training.but(steps=steps, evaluate_every=every, checkpoint_every=steps))

    def look(row: Row) -> None:
        if check(int(row["step"]), row["seconds"], state.model):
            raise _Enough

    with suppress(_Enough):
        train(spec, state, Data(data.training), look)


def with_trainer(spec: RunSpec, data: Data, steps: int, every: int, check: Check) -> None:
    """Train a new ``GPT2LMHeadModel`` in ``Trainer``, with the batch and the learning rate of a run.

    AdamW, a linear schedule without warm-up, loss on the answer alone, no dropout; everything else is
    transformers' default, its clipping of gradients at norm 1 included.
    """
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    theirs = Theirs(spec)

    class Watch(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            self.seconds, self.begun = 0.0, time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step % every == 0 or state.global_step == steps:
                self.seconds += time.perf_counter() - self.begun
                control.should_training_stop |= check(state.global_step, self.seconds, theirs)
                self.begun = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=spec.training.batch,
            learning_rate=spec.training.learning_rate,
            seed=spec.model.seed,
            data_seed=spec.task.example_seed,
            use_cpu=True,
            dataloader_pin_memory=False,
            dataloader_drop_last=True,
            remove_unused_columns=False,
            report_to=[],
            disable_tqdm=True,
            logging_strategy="no",
            save_strategy="no",
        )
        lines = _Lines(data.training)
        trainer = Trainer(theirs.gpt2, arguments, lambda batch: batch, lines, callbacks=[Watch()])
        trainer.remove_callback(PrinterCallback)
        trainer.train()


class Theirs(nn.Module):
    """``GPT2LMHeadModel`` with the sizes of a run, read as our models are: tokens (B, T) to logits (B, O, V).

    It has its own initialisation, tied embeddings and no dropout.  Its context is one token longer than ours:
    in training it reads the answer's last token too, and ignores it.
    """

    def __init__(self, spec: RunSpec):
        super().__init__()
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported
        from transformers import GPT2Config, GPT2LMHeadModel

        self.shape = Shape.of(spec.task.layout)
        config = GPT2Config(
            vocab_size=self.shape.vocabulary,
            n_positions=self.shape.context + 1,
            n_embd=spec.model.width,
            n_inner=spec.model.mlp_ratio * spec.model.width,
            n_layer=spec.model.layers,
            n_head=spec.model.heads,
            **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
            **dict.fromkeys(("bos_token_id", "eos_token_id"), spec.task.layout.special("end")),
        )
        with seeded(spec.model.seed):
            self.gpt2 = GPT2LMHeadModel(config)
        self.gpt2.loss_type = "ForCausalLM"  # what transformers takes anyway, but with a warning

    def forward(self, tokens: Tensor) -> Tensor:
        return self.gpt2(tokens).logits[:, self.shape.prompt - 1 :]


class _Lines(Dataset):
    """Examples for the Trainer; whole batches at once, which is faster than its default.

    Labels leave the prompt out; transformers shifts them itself.
    """

    def __init__(self, examples: Examples):
        prompt = examples.prompts.shape[1]
        self.tokens = torch.from_numpy(examples.tokens()).long()  # (N, P + O)
        self.labels = F.pad(self.tokens[:, prompt:], (prompt, 0), value=_IGNORED)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitems__(self, rows: list[int]) -> dict[str, Tensor]:
        return {"input_ids": self.tokens[rows], "labels": self.labels[rows]}


@torch.no_grad()
def difference(spec: RunSpec, examples: Examples) -> float:
    """The largest difference of logits and loss between our ``gpt2`` and theirs with the same weights.

    Every weight is drawn wide, biases and norms included, so that no part can hide behind a zero.
    """
    theirs, ours = Theirs(spec).eval(), build(spec.model, Shape.of(spec.task.layout))
    rng = torch.Generator().manual_seed(spec.model.seed)
    for parameter in theirs.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=rng) / 2)
    source, weights = theirs.gpt2.transformer.state_dict(), {}
    for name in ours.state_dict():
        other = name
        for part, replacement in _NAMES.items():
            other = other.replace(part, replacement)
        turned = ".c_" in other and other.endswith("weight")  # their Conv1D keeps it the other way round
        weights[name] = source[other].mT if turned else source[other]
    weights["positions"] = weights["positions"][: ours.shape.context]
    ours.load_state_dict(weights)
    lines = _Lines(examples)
    loss = theirs.gpt2(lines.tokens, labels=lines.labels).loss
    logits = theirs(lines.tokens[:, :-1]) - ours(lines.tokens[:, :-1])
    return max(logits.abs().max().item(), abs(loss - loss_of(ours, lines.tokens)).item())


# A language model: this library, and the plain loops that one writes with transformers and peft


def language(
    folder: Path, rounds: int, updates: int, queries: int, new_tokens: int = 32
) -> list[dict[str, Any]]:
    """Tokens a second of tuning and of greedy answers, both sides in turn; two rows per round.

    Both put the same adapter on a model in a folder and read the same everyday questions, eight at a time.
    The plain side is in the type of its file, computes all logits, and answers in the order given.
    Columns: round, contender, tuning, answers.
    """
    ours = load(folder, quick=True)
    theirs = read_local("AutoModelForCausalLM", folder)
    asked = everyday.formats(0, 8 * updates, queries)
    rows, prompts = rows_of(ours, asked[0]), prompts_of(ours, [row[:-1] for row in asked[1]["other"]])
    read = sum(len(prompt) + len(answer) for prompt, answer in rows)
    spec, found = (
        AdapterSpec(rank=16, alpha=32, batch=8, micro_batch=8, steps=updates, learning_rate=1e-4),
        [],
    )
    for each in range(rounds):
        for name in ("this library", "transformers and peft")[:: (-1) ** each]:
            mine = name == "this library"
            adapter = adapted(ours if mine else replace(ours, model=theirs), spec)
            began = time.perf_counter()
            if mine:
                tune(adapter, spec, rows, say=str)
            else:
                _tune_plainly(adapter, rows)
            tuned = time.perf_counter()
            if mine:
                written = answers(adapter, prompts, new_tokens, at_once=8, unended=True)
            else:
                written = _answer_plainly(adapter, prompts, new_tokens, at_once=8)
            ended = time.perf_counter()
            length = sum(map(len, ours.tokenizer(written)["input_ids"]))
            speeds = {"tuning": read / (tuned - began), "answers": length / (ended - tuned)}
            found.append({"round": each, "contender": name, **speeds})
            adapter.model.unload()
    return found


def _tune_plainly(adapter: Loaded, rows: Sequence[LanguageRow]) -> None:
    """The loop of a trainer: batches filled up on the right, labels that leave the prompt out."""
    optimizer = torch.optim.AdamW((p for p in adapter.model.parameters() if p.requires_grad), 1e-4)
    adapter.model.train()
    for at in range(0, len(rows), 8):
        batch = rows[at : at + 8]
        tokens = adapter.padded([prompt + answer for prompt, answer in batch], adapter.pad)
        mask = adapter.padded([[1] * len(prompt + answer) for prompt, answer in batch], 0)
        labels = adapter.padded([[_IGNORED] * len(prompt) + answer for prompt, answer in batch], _IGNORED)
        adapter.model(input_ids=tokens, attention_mask=mask, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def _answer_plainly(
    adapter: Loaded, prompts: Sequence[list[int]], new_tokens: int, at_once: int
) -> list[str]:
    """``generate`` on batches in the order given, filled up on the left."""
    found = []
    adapter.model.eval()
    for at in range(0, len(prompts), at_once):
        batch = prompts[at : at + at_once]
        tokens = adapter.padded(batch, adapter.pad, "left")
        mask = adapter.padded([[1] * len(prompt) for prompt in batch], 0, "left")
        how = {"max_new_tokens": new_tokens, "do_sample": False, "pad_token_id": adapter.pad}
        written = adapter.model.generate(input_ids=tokens, attention_mask=mask, **how)
        found += adapter.tokenizer.batch_decode(written[:, tokens.shape[1] :], skip_special_tokens=True)
    return found
