"""From many specs to one tidy frame: train what is missing, keep what is done.

``frame(specs)`` is what the notebooks call.
"""

import math
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pandas as pd
import torch

from unseen.disk import holding, space
from unseen.disk.checkpoints import bytes_needed
from unseen.disk.files import provenance
from unseen.errors import Explained
from unseen.evaluation import greedy_answers, score, scores_by_kind
from unseen.model import inherited
from unseen.objectives import objective_of
from unseen.parallel import ALONE, Crew
from unseen.running.progress import Board, work
from unseen.running.workers import Executor, Serial, Stopped, Tell, suited
from unseen.specs import RunSpec
from unseen.store import Store
from unseen.training import Diverged, Row, State, batch_size, data_of, start, train


class SweepFailed(Explained):
    """Some runs of a sweep failed; the message counts them and tells the reason of the first."""


def ensure(
    spec: RunSpec,
    store: Store,
    watch: Callable[[Row], Any] = lambda row: None,
    device: str = "auto",
    patience: float = math.inf,
    say: Callable[[str], Any] = print,
    crew: Crew = ALONE,
) -> dict[str, Any]:
    """The manifest of a run: from the store if it is done, else trained now, on from its last checkpoint.

    ``watch`` sees each new row of the history; a ``Stopped`` or ``KeyboardInterrupt`` that it raises leaves a checkpoint
    behind.  Another process that trains the same run is waited for up to ``patience`` seconds, then ``Held`` is raised.
    ``say`` is told what a person should know.  Raises ``CannotWrite``, ``BrokenRun``, ``SpecChanged`` or ``Diverged``.

    Every member of a ``crew`` calls this for the same run; only the leader touches the store, watches and says.
    """
    crew.check(batch_size(spec.task, spec.training))
    if crew.size > 1 and (spec.training.kl or spec.training.pull or spec.training.smoothing):
        raise ValueError(
            "kl and pull need the base beside the run, smoothing the whole batch: train it with one process"
        )
    device = crew.device or (best_device() if device == "auto" else device)
    if not crew.leads:
        return _helped(spec, device, crew)
    if manifest := store.manifest(spec, whole=False):
        store.tidy(spec)
        return crew.same(manifest)
    with holding.hold(store.folder(spec), patience, say):
        if manifest := store.manifest(spec, whole=False):  # the one who held it has done it
            return crew.same(manifest)
        _refuse_known_divergence(spec, store)
        space.check(store.root, bytes_needed(spec))
        with _noted(spec, store):
            return _trained(spec, store, watch, device, say, crew)


def _helped(spec: RunSpec, device: str, crew: Crew) -> dict[str, Any]:
    """What the other members of a crew do: compute their shares, from the state in which the leader begins."""
    if (manifest := crew.same(None)) is None:
        train(spec, start(spec, device), data_of(spec), crew=crew, objective=objective_of(spec.training))
        manifest = crew.same(None)
    return manifest


def _refuse_known_divergence(spec: RunSpec, store: Store) -> None:
    """Training is deterministic: what diverged with these versions would diverge again."""
    state = holding.state(store.folder(spec))
    if state.get("state") == "diverged" and state.get("versions") == provenance()["versions"]:
        raise Diverged(f"{state.get('reason')} (known since the last try; delete {store.folder(spec)} to try again)")


@contextmanager
def _noted(spec: RunSpec, store: Store) -> Iterator[None]:
    """Write down how a run ended that was not finished."""
    try:
        yield
    except BaseException as error:
        diverged, failed = isinstance(error, Diverged), isinstance(error, Exception)
        state = "diverged" if diverged else "failed" if failed else "interrupted"
        with suppress(OSError):  # what stopped it may be the disk
            if not (store.folder(spec) / "spec.json").exists():  # it was refused before it began
                store.describe(spec)
            holding.note(store.folder(spec), state, f"{error}" if diverged else f"{type(error).__name__}: {error}")
        raise


def _trained(
    spec: RunSpec, store: Store, watch: Callable[[Row], Any], device: str, say: Callable[[str], Any], crew: Crew
) -> dict[str, Any]:
    began, state = time.time(), begun(spec, store, device)
    found, before = store.begin(spec, state), []
    if found:
        say(f"run {spec.digest()} {found}")
        before = [*found.before, {"step": found.step, "skipped": found.skipped, "host": platform.node(), **found.wrote}]
    data = data_of(spec)

    def watched(row: Row) -> None:
        store.append(spec, row)
        try:
            watch(row)
        except (Stopped, KeyboardInterrupt):
            store.checkpoint(spec, state, before)
            raise

    def save(state: State) -> None:
        if state.step < spec.training.steps:
            store.checkpoint(spec, state, before)

    crew.same(None)  # not done yet: the others train too
    base = store.base(spec).to(device) if spec.training.kl or spec.training.pull else None
    train(spec, state, data, watched, save, crew, objective_of(spec.training, base))
    answers = {name: greedy_answers(state.model, part.prompts) for name, part in data.evaluation.items()}
    scores = [{"split": name, **score(answers[name], part)} for name, part in data.evaluation.items()]
    kinds = [{"split": name, **line} for name, part in data.evaluation.items()
             for line in scores_by_kind(answers[name], part)]  # fmt: skip
    times = {"started": round(began), "train_seconds": state.history[-1]["seconds"]}
    where = {"device": device, "threads": torch.get_num_threads(), "processes": crew.size}
    return crew.same(store.finish(spec, state, scores, kinds=kinds, **where, **times, resumed=before))


def begun(spec: RunSpec, store: Store, device: str) -> State:
    """The state before the first step, with the weights of its base if it has one; raises as ``Store.base`` does."""
    state = start(spec, device)
    if spec.model.base:
        base = store.base(spec)
        form = {"seed": 0, "base": "", "inherits": "all"}
        if base.shape != state.model.shape or base.spec.but(**form) != spec.model.but(**form):
            raise ValueError(f"ModelSpec.base={spec.model.base}: a model of another form, {base.spec} for {base.shape}")
        weights = inherited(base.state_dict(), state.model.state_dict(), spec.model.inherits)
        state.model.load_state_dict(weights)
    return state


def frame(specs: Iterable[RunSpec], store: Store | None = None, executor: Executor | None = None) -> pd.DataFrame:
    """One row per run and split for all specs, in their order; missing runs are trained first.

    Columns: recipe, layers, width, pattern_length, input_length, instructions, examples_per_instruction,
    seed, split, accuracy, low, high (95 % interval), examples, seconds (of training), run (its digest).
    Raises ``SweepFailed`` when a run failed; all others are finished and kept first.
    """
    specs, store = list(dict.fromkeys(specs)), store or Store()
    known = manifests(specs, store)
    missing = [spec for spec in specs if spec not in known]
    if failed := fill(specs, store, executor, missing):
        digest, reason = next(iter(failed.items()))
        raise SweepFailed(f"{len(failed)} of {len(specs)} runs failed; the first, {digest}: {reason}")
    known |= manifests(missing, store)
    return pd.DataFrame([row for spec in specs for row in rows(known[spec])])


def manifests(specs: list[RunSpec], store: Store) -> dict[RunSpec, dict[str, Any]]:
    """The manifests of those runs that are finished; read by several threads, as a shared disk answers slowly."""
    with ThreadPoolExecutor(16) as readers:
        found = zip(specs, readers.map(partial(store.manifest, whole=False), specs), strict=True)
        return {spec: manifest for spec, manifest in found if manifest}


def fill(
    specs: list[RunSpec], store: Store, executor: Executor | None = None, missing: list[RunSpec] | None = None
) -> dict[str, str]:
    """Train the runs that the store lacks, or those ``missing``; returns the reasons of those that failed, by digest.

    They begin in their order, but for those that ``in_order`` puts in front.
    """
    specs = list(dict.fromkeys(specs))
    if missing is None:
        known = manifests(specs, store)
        missing = [spec for spec in specs if spec not in known]
    print(f"{len(specs)} runs: {len(specs) - len(missing)} in the store, {len(missing)} to train", flush=True)
    if not missing:
        return {}
    executor = executor or (suited(missing) if best_device() == "cpu" else Serial())
    with space.probe(store.root) as probe, Board(missing) as board:
        for part in in_order(missing):
            executor.run(part, partial(train_one, store=store, probe=probe), board.report)
    return board.failed


def in_order(missing: list[RunSpec]) -> list[list[RunSpec]]:
    """The order in which runs are to begin, in parts that wait for each other: bases before the runs that start from them.

    A run that takes a tenth of all the work or more goes to the front of its part, the longest first: it might else
    begin when all others are done, and keep one core of many busy for long.
    """
    parts, left, whole = [], list(missing), sum(map(work, missing))
    while left:
        absent = {spec.digest() for spec in left}
        ready = [spec for spec in left if spec.model.base not in absent]
        parts.append(sorted(ready, key=lambda spec: -work(spec) if 10 * work(spec) >= whole else 0.0))
        left = [spec for spec in left if spec.model.base in absent]
    return parts


def train_one(spec: RunSpec, tell: Tell, store: Store, probe: str = "") -> None:
    """What a worker does with a run: make sure that it is done, telling its step; ``Held`` when another one does it.

    Raises ``CannotWrite`` when the worker does not see ``probe``, which the driver wrote into the store.
    """
    space.same_as(store.root, probe)
    ensure(spec, store, lambda row: tell(int(row["step"])), patience=0, say=lambda note: tell(0, note))


def about(spec: RunSpec) -> dict[str, Any]:
    """The columns that tell which run a row is of."""
    return {
        "recipe": spec.model.recipe,
        "layers": spec.model.layers,
        "width": spec.model.width,
        "pattern_length": getattr(spec.task, "pattern_length", None),  # of string rewriting only
        "input_length": getattr(spec.task, "input_length", None),
        "instructions": spec.task.instructions,
        "examples_per_instruction": spec.task.examples_per_instruction,
        "seed": spec.task.rule_seed,
    }


def rows(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The tidy rows of a finished run, one for each split; see ``frame``."""
    which = about(RunSpec.from_dict(manifest["spec"]))
    after = {"seconds": manifest["train_seconds"], "run": manifest["digest"]}
    return [{**which, **line, **after} for line in manifest["scores"]]


def kinds(specs: Iterable[RunSpec], store: Store | None = None) -> pd.DataFrame:
    """Scores of finished runs apart for inputs that hold the pattern (kind ``has-op``) and for no-ops; columns of ``frame``, and kind.

    A run without no-ops has one kind only, ``has-op``.  Raises ``NotFinished`` where a run is.
    """
    store, found = store or Store(), []
    for spec in specs:
        manifest = store.finished(spec)
        lines = manifest.get("kinds") or [{**line, "kind": "has-op"} for line in manifest["scores"]]
        found += rows({**manifest, "scores": lines})
    return pd.DataFrame(found)


def histories(specs: Iterable[RunSpec], store: Store | None = None) -> pd.DataFrame:
    """The training histories of finished runs, one row per run, step and split, ready to plot.

    Columns: recipe, instructions, seed, step, loss, seconds, split, accuracy.  Raises ``NotFinished`` where a run is.
    """
    store, parts = store or Store(), []
    for spec in specs:
        store.finished(spec)
        which = {name: about(spec)[name] for name in ("recipe", "instructions", "seed")}
        history = store.history(spec).melt(["step", "loss", "seconds"], ["seen", "unseen"], "split", "accuracy")
        parts.append(history.assign(**which))
    return pd.concat(parts, ignore_index=True)


def best_device() -> str:
    """``cuda`` or ``mps`` where torch finds one, else ``cpu``."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
