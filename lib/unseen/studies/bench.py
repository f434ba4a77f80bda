"""Speed, side by side in one run (notebook 91): pace, time to accuracy, arithmetic against the machine's
peak, the generator.

Three contenders learn the same task on one thread, one after another: ``modern`` (the library's defaults),
``gpt2`` (our model of the paper with the paper's optimizer) and ``transformers`` (Hugging Face's GPT-2 in
Hugging Face's Trainer, the paper's recipe again; extra ``bench``, imported inside the functions, offline).
A machine shared with others is noisy, so whatever is compared is measured in alternating short blocks, and
ratios are taken within a round.

    >>> from unseen.specs import ModelSpec
    >>> model = build(ModelSpec(), Shape(vocabulary=30, prompt=19, context=29))
    >>> multiply_adds(model, batch=2) == counted_by_torch(model, batch=2)
    True
"""

import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from timeit import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from torch.utils.flop_counter import FlopCounterMode

from unseen.evaluation import all_right
from unseen.model import Shape, Transformer, build, seeded
from unseen.objectives import loss_of
from unseen.scales import GPT2, GPT2_TRAINING
from unseen.specs import RunSpec
from unseen.training import Data, Row, start, train
from unseen.worlds.base import Examples
from unseen.worlds.strings import TaskSpec

ACCURACY = 0.95  # on unseen rules: where the clock stops
FAITHFUL = 1e-4  # bound on the difference of logits between our gpt2 and Hugging Face's
WARM_UP = 3  # steps before a block, not counted
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


class _Enough(Exception):
    """Stops ``training.train`` from within."""


class Library:
    """A contender of this library, trained by ``training.train``; ``tokens`` are read in a step."""

    def __init__(self, spec: RunSpec, data: Data):
        self.spec, self.data, self.state = spec, data, start(spec)
        self.tokens = spec.training.batch * spec.task.layout.context

    def block(self, steps: int) -> float:
        """Seconds for so many further steps, after ``WARM_UP`` that are not counted."""
        for count in (WARM_UP, steps):
            before = self.state.history[-1]["seconds"] if self.state.history else 0.0
            last = self.state.step + count
            plan = self.spec.training.but(steps=last, evaluate_every=last, checkpoint_every=last)
            train(self.spec.but(training=plan), self.state, self.data)
        return self.state.history[-1]["seconds"] - before

    def learn(self, scored: Examples, every: int, watch: Callable[[int, float, float], bool]) -> None:
        """Train from new until ``watch`` of step, seconds and accuracy says so, or to the last step."""
        state = self.state = start(self.spec)
        spec = self.spec.but(training=self.spec.training.but(evaluate_every=every))

        def look(row: Row) -> None:
            if watch(int(row["step"]), row["seconds"], float(all_right(state.model, scored).mean())):
                raise _Enough

        with suppress(_Enough):
            train(spec, state, self.data, look)


def learn(contender: "Library | HuggingFace", scored: Examples, every: int) -> dict[str, Any]:
    """Train a contender until it is accurate enough, evaluation outside the clock: how far it came.

    Keys: steps, seconds (of training), accuracy (on unseen rules), reached (whether that is enough).
    """
    rows: list[dict[str, Any]] = []

    def watch(steps: int, seconds: float, accuracy: float) -> bool:
        reached = accuracy >= ACCURACY
        rows.append({"steps": steps, "seconds": seconds, "accuracy": accuracy, "reached": reached})
        return reached

    contender.learn(scored, every, watch)
    return rows[-1]


def contenders(modern: RunSpec, data: Data, steps: int) -> "dict[str, Library | HuggingFace]":
    """Everybody who can take part (``transformers`` with the extra alone); the paper's recipe runs ``steps``.

    Raises ``ValueError`` when our ``gpt2`` with Hugging Face's weights answers otherwise than theirs.
    """
    paper = modern.but(model=GPT2.but(seed=modern.model.seed), training=GPT2_TRAINING.but(steps=steps))
    found = {"modern": Library(modern, data), "gpt2": Library(paper, data)}
    if not all(find_spec(name) for name in ("transformers", "accelerate")):
        return found
    apart = difference(paper, data.evaluation["unseen"].first(512))
    if not apart < FAITHFUL:
        raise ValueError(f"gpt2 is not GPT-2: with the same weights logits differ by {apart:.2g}")
    return {**found, "transformers": HuggingFace(paper, data)}


def multiply_adds(model: Transformer, batch: int) -> int:
    """Multiply-adds of all matrix products in one step's forward and backward pass, from the shapes alone.

    A layer works for n positions: all T, in the last one only the O that answer.  Forward, one example::

        every layer   n x (entries of its matrices) + (T - n) x (entries of those that read all positions)
        attention     2 n T C
        head          O C V

    Keys and values read all positions, 2 C^2 entries, in ``gpt2`` 3 C^2: queries are in the same product.
    Backward is two products of the same size for each, hence three times the sum.  Norms, softmax,
    activations, embeddings and the optimizer are not counted: they are what keeps the share below one.
    """
    width, context = model.spec.width, model.shape.context
    answer = context - model.shape.prompt + 1
    total = answer * width * model.shape.vocabulary
    for block in model.blocks:
        n = answer if block is model.blocks[-1] else context
        entries = sum(p.numel() for p in block.parameters() if p.ndim == 2)
        total += n * entries + (context - n) * (2 if model.modern else 3) * width**2 + 2 * n * context * width
    return 3 * batch * total


def counted_by_torch(model: Transformer, batch: int) -> int:
    """The same number from torch's own counter, watching one step."""
    with FlopCounterMode(display=False) as counter:
        loss_of(model, torch.zeros(batch, model.shape.context + 1, dtype=torch.long)).backward()
    return counter.get_total_flops() // 2


def peak(size: int = 1024) -> float:
    """Multiply-adds a second of this machine in a large float32 product: the median of ten."""
    a, b = torch.rand(2, size, size)
    return size**3 / statistics.median(repeat(lambda: a @ b, number=1, repeat=10))


def oracle_loop(task: TaskSpec, rules: list, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Prompts (N, P) and answers (N, O) the plain way, one string at a time; one occurrence, no no-ops.

    It encodes with nothing but a table, which is as fast as such a loop gets.
    """
    table = {token: i for i, token in enumerate(task.layout.vocabulary)}
    rng, prompts, answers = random.Random(task.example_seed), [], []
    for number in range(size):
        rule, text = rules[number % len(rules)], ""
        while text.count(rule.pattern) != 1:
            text = "".join(rng.choices(task.alphabet, k=task.input_length))
            place = rng.randrange(task.input_length - task.pattern_length + 1)
            text = text[:place] + rule.pattern + text[place + task.pattern_length :]
        prompts.append([table[token] for token in f"{rule.pattern}→{rule.replacement}|{text}="])
        answers.append([table[token] for token in f"{rule.apply(text)}."])
    return np.array(prompts, np.uint8), np.array(answers, np.uint8)


# The other side: Hugging Face's GPT-2, trained by Hugging Face's own Trainer


def gpt2_of(spec: RunSpec) -> nn.Module:
    """``GPT2LMHeadModel`` with the sizes of ``spec``, dropout 0, its own initialisation and tied embeddings.

    Its context is one token longer than ours: it reads the answer's last token too, and ignores it.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported
    from transformers import GPT2Config, GPT2LMHeadModel

    ours = _ours(spec)
    config = GPT2Config(
        vocab_size=ours.shape.vocabulary, n_positions=ours.shape.context + 1, n_embd=spec.model.width,
        n_inner=ours.blocks[0].mlp[0].out_features, n_layer=spec.model.layers, n_head=spec.model.heads,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
        **dict.fromkeys(("bos_token_id", "eos_token_id"), spec.task.layout.special("end")),
    )  # fmt: skip
    with seeded(spec.model.seed):
        model = GPT2LMHeadModel(config)
    model.loss_type = "ForCausalLM"  # what transformers takes anyway, but with a warning
    return model


def _ours(spec: RunSpec) -> Transformer:
    return build(spec.model.but(recipe="gpt2"), Shape.of(spec.task.layout))


@torch.no_grad()
def difference(spec: RunSpec, examples: Examples) -> float:
    """The largest difference of logits and loss between our ``gpt2`` and theirs with the same weights.

    Every weight is drawn wide, biases and norms included, so that no part can hide behind a zero.
    """
    theirs, ours = gpt2_of(spec).eval(), _ours(spec)
    rng = torch.Generator().manual_seed(spec.model.seed)
    for parameter in theirs.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=rng) / 2)
    source, weights = theirs.transformer.state_dict(), {}
    for name in ours.state_dict():
        other = name
        for part, replacement in _NAMES.items():
            other = other.replace(part, replacement)
        turned = ".c_" in other and other.endswith("weight")  # their Conv1D keeps it the other way round
        weights[name] = source[other].mT if turned else source[other]
    weights["positions"] = weights["positions"][: ours.shape.context]
    ours.load_state_dict(weights)
    tokens, labels = _tokens_and_labels(examples)
    answer = theirs(tokens, labels=labels)
    logits = answer.logits[:, ours.shape.prompt - 1 : -1] - ours(tokens[:, :-1])
    return max(logits.abs().max().item(), abs(answer.loss - loss_of(ours, tokens)).item())


def _tokens_and_labels(examples: Examples) -> tuple[Tensor, Tensor]:
    """Tokens (N, P + O), and labels without the prompt; transformers shifts them itself."""
    tokens, prompt = torch.from_numpy(examples.tokens()).long(), examples.prompts.shape[1]
    return tokens, F.pad(tokens[:, prompt:], (prompt, 0), value=_IGNORED)


class _Lines(Dataset):
    """Examples as the Trainer wants them; whole batches at once, which is faster than its default."""

    def __init__(self, examples: Examples):
        self.tokens, self.labels = _tokens_and_labels(examples)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitems__(self, rows: list[int]) -> dict[str, Tensor]:
        return {"input_ids": self.tokens[rows], "labels": self.labels[rows]}


class HuggingFace:
    """A contender as ``Library``: ``GPT2LMHeadModel`` in ``Trainer``, with the batch and rate of ``spec``.

    AdamW, a linear schedule without warm-up, loss on the answer alone, no dropout; everything else is
    transformers' default, its clipping of gradients at norm 1 included.
    """

    def __init__(self, spec: RunSpec, data: Data):
        self.spec, self.lines, self.model = spec, _Lines(data.training), gpt2_of(spec)
        self.tokens = spec.training.batch * self.lines.tokens.size(1)

    def block(self, steps: int) -> float:
        """As that of ``Library``."""
        marks: dict[int, float] = {}
        self._train(steps + WARM_UP, 1, lambda step, seconds: bool(marks.update({step: seconds})))
        return marks[steps + WARM_UP] - marks[WARM_UP]

    def learn(self, scored: Examples, every: int, watch: Callable[[int, float, float], bool]) -> None:
        """As that of ``Library``."""
        self.model = gpt2_of(self.spec)
        steps = self.spec.training.steps
        self._train(steps, every, lambda step, seconds: watch(step, seconds, self._accuracy(scored)))

    @torch.no_grad()
    def _accuracy(self, examples: Examples) -> float:
        """The share of whole answers that are right, as ``evaluation.all_right`` decides it."""
        tokens, labels = _tokens_and_labels(examples)
        guesses = self.model.eval()(tokens).logits.argmax(-1)[:, :-1]
        self.model.train()
        return ((guesses == labels[:, 1:]) | (labels[:, 1:] == _IGNORED)).all(1).float().mean().item()

    def _train(self, steps: int, every: int, check: Callable[[int, float], bool]) -> None:
        """Train, and every few steps, with the clock stopped, ``check`` whether that is enough."""
        from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

        class Watch(TrainerCallback):
            def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                self.seconds, self.begun = 0.0, time.perf_counter()

            def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                if state.global_step % every == 0 or state.global_step == steps:
                    self.seconds += time.perf_counter() - self.begun
                    control.should_training_stop |= check(state.global_step, self.seconds)
                    self.begun = time.perf_counter()

        training, seeds = self.spec.training, {"seed": self.spec.model.seed}
        seeds |= {"data_seed": self.spec.task.example_seed}
        silence = {"report_to": [], "disable_tqdm": True, "logging_strategy": "no", "save_strategy": "no"}
        loading = {"remove_unused_columns": False, "dataloader_drop_last": True}
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                folder, max_steps=steps, per_device_train_batch_size=training.batch, use_cpu=True,
                learning_rate=training.learning_rate, dataloader_pin_memory=False,
                **loading, **silence, **seeds,
            )  # fmt: skip
            trainer = Trainer(self.model, arguments, lambda batch: batch, self.lines, callbacks=[Watch()])
            trainer.remove_callback(PrinterCallback)
            trainer.train()
