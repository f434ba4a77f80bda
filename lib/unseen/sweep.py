"""From many specs to one tidy frame: train what is missing, keep what is done.

``frame(specs)`` is what the notebooks call.
"""

import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pandas as pd
import torch

from unseen.evaluation import greedy_answers, score
from unseen.progress import Board
from unseen.specs import RunSpec
from unseen.store import Store
from unseen.training import Row, State, data_of, start, train
from unseen.workers import Executor, Processes, Serial, Stopped


class SweepFailed(RuntimeError):
    """Some runs of a sweep failed; the message counts them and tells the reason of the first."""


def ensure(
    spec: RunSpec, store: Store, watch: Callable[[Row], Any] = lambda row: None, device: str = "auto"
) -> dict[str, Any]:
    """The manifest of a run: from the store if it is done, else trained now, on from its last checkpoint.

    ``watch`` sees each new row of the history; a ``Stopped`` or ``KeyboardInterrupt`` that it raises
    leaves a checkpoint behind.  Another process that trains the same run is waited for.
    """
    with store.lock(spec):
        if manifest := store.manifest(spec):
            return manifest
        device = best_device() if device == "auto" else device
        began, state, data = time.time(), start(spec, device), data_of(spec)
        if found := store.resume(spec, state):
            print(f"run {spec.digest()} {found}", file=sys.stderr, flush=True)

        def watched(row: Row) -> None:
            try:
                watch(row)
            except (Stopped, KeyboardInterrupt):
                store.checkpoint(spec, state)
                raise

        def save(state: State) -> None:
            if state.step < spec.training.steps:
                store.checkpoint(spec, state)

        train(spec, state, data, watched, save)
        scores = [{"split": name, **score(greedy_answers(state.model, part.prompts), part)}
                  for name, part in data.evaluation.items()]  # fmt: skip
        times = {"started": round(began), "train_seconds": state.history[-1]["seconds"]}
        return store.finish(spec, state, scores, device=device, threads=torch.get_num_threads(), **times)


def frame(specs: Iterable[RunSpec], store: Store | None = None, executor: Executor | None = None) -> pd.DataFrame:
    """One row per run and split for all specs, in their order; missing runs are trained first.

    Columns: recipe, layers, width, pattern_length, input_length, instructions, examples_per_instruction,
    seed, split, accuracy, low, high (95 % interval), examples, seconds (of training), run (its digest).
    Raises ``SweepFailed`` when a run failed; all others are finished and kept first.
    """
    specs, store = list(dict.fromkeys(specs)), store or Store()
    missing = [spec for spec in specs if store.manifest(spec) is None]
    print(f"{len(specs)} runs: {len(specs) - len(missing)} in the store, {len(missing)} to train", flush=True)
    if missing:
        executor = executor or (Processes() if best_device() == "cpu" else Serial())
        with Board(missing) as board:
            executor.run(missing, partial(train_one, store=store), board.report)
        if board.failed:
            digest, reason = next(iter(board.failed.items()))
            raise SweepFailed(f"{len(board.failed)} of {len(missing)} runs failed; the first, {digest}: {reason}")
    return pd.DataFrame([row for spec in specs for row in rows(store.manifest(spec))])


def train_one(spec: RunSpec, tell: Callable[[int], Any], store: Store) -> None:
    """What a worker does with a run: make sure that it is done, telling its step."""
    ensure(spec, store, lambda row: tell(int(row["step"])))


def rows(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The tidy rows of a finished run, one for each split; see ``frame``."""
    spec = RunSpec.from_dict(manifest["spec"])
    about = {
        "recipe": spec.model.recipe,
        "layers": spec.model.layers,
        "width": spec.model.width,
        "pattern_length": spec.task.pattern_length,
        "input_length": spec.task.input_length,
        "instructions": spec.task.instructions,
        "examples_per_instruction": spec.task.examples_per_instruction,
        "seed": spec.task.rule_seed,
    }
    after = {"seconds": manifest["train_seconds"], "run": manifest["digest"]}
    return [{**about, **line, **after} for line in manifest["scores"]]


def histories(specs: Iterable[RunSpec], store: Store | None = None) -> pd.DataFrame:
    """The training histories of finished runs, one row per run, step and split, ready to plot.

    Columns: recipe, instructions, seed, step, loss, seconds, split, accuracy.
    """
    store, parts = store or Store(), []
    for spec in specs:
        about = {"recipe": spec.model.recipe, "instructions": spec.task.instructions, "seed": spec.task.rule_seed}
        history = store.history(spec).melt(["step", "loss", "seconds"], ["seen", "unseen"], "split", "accuracy")
        parts.append(history.assign(**about))
    return pd.concat(parts, ignore_index=True)


def best_device() -> str:
    """``cuda`` or ``mps`` where torch finds one, else ``cpu``."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
