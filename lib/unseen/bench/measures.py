"""What the bench measures: pace, time to accuracy, arithmetic against the machine's peak, the generator.

A machine shared with others is noisy, so whatever is compared is measured in alternating short blocks,
and ratios are taken within a round.

    >>> from unseen.model import Shape, build
    >>> from unseen.specs import ModelSpec
    >>> model = build(ModelSpec(), Shape(vocabulary=30, prompt=19, context=29))
    >>> multiply_adds(model, batch=2) == counted_by_torch(model, batch=2)
    True
"""

import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from unseen.bench.huggingface import WARM_UP
from unseen.datasets import Examples, training_examples
from unseen.encoding import Encoding
from unseen.evaluation import all_right
from unseen.model import Transformer
from unseen.rewriting import Rule
from unseen.specs import SPECIAL, RunSpec, TaskSpec
from unseen.training import Data, Row, loss_of, start, train

ACCURACY = 0.95  # of unseen rules: where the clock stops


class Contender(Protocol):
    """Something that trains: ``tokens`` read in a step, and the two ways it is timed."""

    tokens: int

    def block(self, steps: int) -> float:
        """Seconds for so many further steps, after ``WARM_UP`` that are not counted."""

    def learn(self, scored: Examples, every: int, enough: Callable[[Row], bool]) -> None:
        """Train from new until ``enough`` of a row (step, unseen, seconds) says so, or to the last step."""


class _Enough(Exception):
    """Stops ``training.train`` from within."""


class Library:
    """A contender of this library, trained by ``training.train``."""

    def __init__(self, spec: RunSpec, data: Data):
        self.spec, self.data, self.state = spec, data, start(spec)
        self.tokens = spec.training.batch * Encoding.of(spec.task).context

    def block(self, steps: int) -> float:
        for count in (WARM_UP, steps):
            before = self.state.history[-1]["seconds"] if self.state.history else 0.0
            last = self.state.step + count
            plan = self.spec.training.but(steps=last, evaluate_every=last, checkpoint_every=last)
            train(self.spec.but(training=plan), self.state, self.data)
        return self.state.history[-1]["seconds"] - before

    def learn(self, scored: Examples, every: int, enough: Callable[[Row], bool]) -> None:
        state = self.state = start(self.spec)

        def watch(row: Row) -> None:
            if enough({**row, "unseen": float(all_right(state.model, scored).mean())}):
                raise _Enough

        with suppress(_Enough):
            train(self.spec.but(training=self.spec.training.but(evaluate_every=every)), state, self.data, watch)


@dataclass(frozen=True)
class Learned:
    """How far a contender came: after ``steps`` and ``seconds`` of training its unseen-rule ``accuracy``."""

    steps: int
    seconds: float
    accuracy: float

    @property
    def reached(self) -> bool:
        return self.accuracy >= ACCURACY


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
    width, context, answer = model.spec.width, model.shape.context, model.shape.context - model.shape.prompt + 1
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


def peak(size: int = 1024, repeats: int = 10) -> float:
    """Multiply-adds a second of this machine in a large float32 product: the median of a few."""
    a, b = torch.rand(2, size, size)
    return size**3 / statistics.median(_seconds(lambda: a @ b) for _ in range(repeats))


def measure_rounds(contenders: dict[str, Contender], rounds: int, steps: int) -> pd.DataFrame:
    """One row per round and contender: seconds per step, and the machine's peak just before."""
    rows = []
    for number in range(rounds):
        for name in list(contenders)[:: (-1) ** number]:
            fastest = peak()
            seconds = contenders[name].block(steps) / steps
            rows.append({"round": number, "contender": name, "seconds": seconds, "peak": fastest})
    return pd.DataFrame(rows)


def measure_learning(contender: Contender, scored: Examples, every: int, name: str) -> Learned:
    """Train a contender until it is accurate enough; evaluation stands outside the clock."""
    rows, said = [], time.perf_counter()

    def enough(row: Row) -> bool:
        nonlocal said
        rows.append(row)
        if time.perf_counter() - said > 10:
            said = time.perf_counter()
            print(f"  {name}: step {row['step']}, unseen {row['unseen']:.3f}, {row['seconds']:.0f} s", file=sys.stderr)
        return row["unseen"] >= ACCURACY

    contender.learn(scored, every, enough)
    return Learned(int(rows[-1]["step"]), rows[-1]["seconds"], rows[-1]["unseen"])


def oracle_loop(
    task: TaskSpec, rules: list[Rule], size: int, encode: Callable[[str], Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Prompts (N, P) and answers (N, O) the plain way, one string at a time; one occurrence, no no-ops."""
    rng, prompts, answers = random.Random(task.example_seed), [], []
    for number in range(size):
        rule, text = rules[number % len(rules)], ""
        while text.count(rule.pattern) != 1:
            text = "".join(rng.choices(task.alphabet, k=task.input_length))
            place = rng.randrange(task.input_length - task.pattern_length + 1)
            text = text[:place] + rule.pattern + text[place + task.pattern_length :]
        prompts.append(
            encode(f"{rule.pattern}{SPECIAL['arrow']}{rule.replacement}{SPECIAL['given']}{text}{SPECIAL['gives']}")
        )
        answers.append(encode(rule.apply(text) + SPECIAL["end"]))
    return np.array(prompts, np.uint8), np.array(answers, np.uint8)


def measure_generator(data: Data, task: TaskSpec, rounds: int, loop: int, fast: int) -> pd.DataFrame:
    """Examples a second of the generator (``fast`` of them) and of two loops (``loop`` of them), one row per round.

    The loops differ in how they encode a string: with the library's ``Encoding.ids``, which checks it, or
    with nothing but a table, which is as fast as such a loop gets.
    """
    rules, encoding = list(data.split.seen), Encoding.of(task)
    table = {token: i for i, token in enumerate(encoding.vocabulary)}
    encoders = {"loop, table": lambda text: [table[c] for c in text], "loop, Encoding.ids": encoding.ids}
    plain = oracle_loop(task, rules, 100, encoding.ids)
    if [part.shape[1] for part in plain] != [data.training.prompts.shape[1], data.training.answers.shape[1]]:
        raise ValueError("the oracle loop and the generator make different arrays")
    rows = []
    for _ in range(rounds):
        speed = fast / _seconds(lambda: training_examples(task.but(examples=fast), data.split))
        rates = {name: loop / _seconds(partial(oracle_loop, task, rules, loop, by)) for name, by in encoders.items()}
        rows.append({"generator": speed, **rates, **{f"x {name}": speed / rate for name, rate in rates.items()}})
    return pd.DataFrame(rows)


def _seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def machine() -> dict[str, str]:
    """Versions, processor and commit, as far as they can be known."""
    found = {"python": platform.python_version(), "processor": _processor(), "commit": _commit()}
    for name in ("torch", "numpy", "transformers", "accelerate"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return (
            subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True).stdout.strip()
            or "unknown"
        )
    except OSError:  # no git here
        return "unknown"
