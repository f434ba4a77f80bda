"""Tunings of a language model on disk, and the tidy frame of their scores; what is done is never trained or sampled again.

::

    runs/adapters/<digest>/     a tuning, as ``pretrained.shelf`` keeps it; its answers and losses lie with the adapter
    runs/samples/llm-<...>/     self-sampled rows, in blocks of a thousand
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from unseen.delia import llm, llm_checks, llm_data, samples, tiny_llama
from unseen.delia.llm import Chat, LlmSpec
from unseen.delia.llm_data import TASKS, SmallTask
from unseen.delia.llm_scores import scores
from unseen.delia.messages import Conversation, as_text, load, pair
from unseen.delia.pipeline import mix, self_sample
from unseen.disk.files import runs_folder
from unseen.fields import lasting
from unseen.pretrained import shelf
from unseen.pretrained.local import Loaded, batch_of, fingerprint, loss_of, needed
from unseen.pretrained.turns import rows_of
from unseen.scales import scale

FORMAT = 1  # of the stored tunings; raised when the same run would give other numbers
TINY = LlmSpec(learning_rate=3e-3, micro_batch=32, accumulate=1, updates=300, new_tokens=24)
_AT_ONCE = 64  # questions whose loss is counted at a time


class Plan(NamedTuple):
    """What a scale tunes: ratios of diverse data, seeds, rows of a small task, questions of each kind."""

    ratios: tuple[int, ...]
    seeds: int
    rows: int
    examples: int


PLANS = {
    "smoke": Plan((0, 1), 1, 12, 8),
    "quick": Plan((0, 5, 67), 2, 100, 100),
    "full": Plan((0, 5, 67, 135, 260), 3, 100, 300),
    "paper": Plan((0, 67, 135, 260, 520), 5, 100, 500),
}


@dataclass(frozen=True)
class LlmRun:
    """One tuning: the settings, the SHA-256 of its rows and questions, and of the ``base`` it is of."""

    spec: LlmSpec
    rows: str
    questions: str
    base: str

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, ready for JSON."""
        return asdict(self)

    def digest(self) -> str:
        """Sixteen hexadecimal digits that name this run."""
        text = json.dumps({**self.to_dict(), "spec": lasting(self.spec), "llm": FORMAT}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Base:
    """A chat model in a folder, how it is tuned, and where its diverse data come from ("" for the demo's own queries)."""

    folder: Path
    spec: LlmSpec
    diverse: str = ""
    tasks: str = ""

    @property
    def samples(self) -> Path:
        """Where its self-sampled rows lie."""
        told = [
            fingerprint(self.folder),
            str(self.spec.new_tokens),
            _hash(Path(self.diverse).read_text("utf-8")) if self.diverse else "",
        ]
        return runs_folder() / "samples" / f"llm-{_hash(json.dumps(told))[:16]}"


def base_of(name: str, base: str = "", task_file: str = "", diverse_file: str = "") -> Base:
    """The base that a notebook's parameters ask for: a folder at the published settings, or the tiny model made here.

    Every file and the folder are checked before anything starts; raises ``BadBase`` or ``BadMessages``.
    """
    needed(llm_checks.PACKAGES, llm_checks.EXTRA)
    for path in filter(None, (task_file, diverse_file)):
        llm_data.answered(path)
    if base:
        return Base(llm_checks.ready(base), LlmSpec(), diverse_file, task_file)
    folder = tiny_llama.ensure(tiny_llama.SPECS.get(scale(name).name, tiny_llama.TinySpec()))
    spec = TINY.but(updates=4) if name == "smoke" else TINY
    return Base(llm_checks.ready(folder), spec, diverse_file, task_file)


def tasks_of(base: Base, name: str, seed: int) -> list[SmallTask]:
    """The small tasks of a seed at a scale: both of the demo, or the one in the file."""
    if base.tasks:
        return [llm_data.from_file(base.tasks, seed)]
    plan = PLANS[scale(name).name]
    return [llm_data.demo(task, seed, plan.rows, plan.examples) for task in TASKS]


def ratios_of(base: Base, name: str) -> tuple[int, ...]:
    """The ratios of a scale, without those for which a file of diverse queries is too short, counting on a tenth of bad samples."""
    ratios = PLANS[scale(name).name].ratios
    if not base.diverse:
        return ratios
    rows = len(tasks_of(base, name, 0)[0].rows)
    most = len(llm_data.references(base.diverse)) / (1 + samples.SPARE)
    return tuple(ratio for ratio in ratios if ratio * rows <= most)


def self_sampled(base: Base, count: int) -> list[Conversation]:
    """That many self-sampled rows, sampled where they are not there yet; raises ``ValueError`` when there are too few queries."""
    found, block = [], 0
    known = llm_data.references(base.diverse) if base.diverse else None
    loaded: Loaded | None = None
    while len(found) < count:
        if not samples.done(base.samples, block):
            asked = _asked(known, block)
            if not asked:
                raise ValueError(
                    f"{count:,} diverse rows are asked for, and the {len(known or []):,} queries give {len(found):,}"
                )
            loaded = loaded or llm.with_token(base.folder)
            print(f"the model answers {len(asked):,} diverse queries itself", flush=True)
            samples.keep(base.samples, block, self_sample(Chat(loaded, base.spec.new_tokens, seed=block), asked))
        found += samples.rows_of(base.samples, block)
        block += 1
    return found[:count]


def sampled_counts(base: Base) -> dict[str, int]:
    """How many samples there are so far: kept, malformed (never ended), rejected (empty)."""
    return samples.counts(base.samples, len(list(base.samples.glob("*.json"))))


def _asked(known: list[tuple[str, str]] | None, block: int) -> list[tuple[str, str]]:
    if known is None:
        return llm_data.diverse(samples.BLOCK, block)
    return known[block * samples.BLOCK : (block + 1) * samples.BLOCK]


def ensure(base: Base, task: SmallTask, ratio: int, seed: int) -> dict[str, Any]:
    """The manifest of a tuning: from its folder if it is done, else tuned now, on from its checkpoint if there is one."""
    diverse = self_sampled(base, ratio * len(task.rows)) if ratio else []
    rows, spec = mix(task.rows, diverse, ratio, seed), base.spec.but(seed=seed)
    return _once(base, spec, rows, task)


def untuned(base: Base, task: SmallTask, seed: int) -> dict[str, Any]:
    """The manifest of the base as it is, with an adapter that does nothing yet, asked the same."""
    return _once(base, base.spec.but(seed=seed), [], task)


def _once(base: Base, spec: LlmSpec, rows: list[Conversation], task: SmallTask) -> dict[str, Any]:
    questions = json.dumps({kind: as_text(asked) for kind, asked in task.questions.items()})
    run = LlmRun(spec, _hash(as_text(rows)), _hash(questions), fingerprint(base.folder))
    return shelf.once(run, lambda: _tuned(run, base.folder, rows, task))


def _tuned(
    run: LlmRun, folder: Path, rows: list[Conversation], task: SmallTask
) -> tuple[Loaded, dict[str, Any], dict[str, str]]:
    loaded, losses, begin = llm.adapted(llm.with_token(folder, run.spec.seed), run.spec), [], 0
    if rows:
        optimizer = llm.optimizer_of(loaded, run.spec)
        begin, save = shelf.resumed(run, loaded, optimizer, print)
        losses = llm.tune(loaded, run.spec, rows_of(loaded, rows), begin, optimizer, save)
    answers = asked(loaded, run.spec, task)
    told = {"updates": run.spec.updates_for(len(rows)) if rows else 0, "began_at_step": begin, "loss": losses[-1] if losses else None,
            "losses": {kind: loss_a_token(loaded, rows) for kind, rows in task.questions.items()}}  # fmt: skip
    return loaded, told, {f"answers {kind}.jsonl": as_text(rows) for kind, rows in answers.items()}


def asked(loaded: Loaded, spec: LlmSpec, task: SmallTask) -> dict[str, list[Conversation]]:
    """Greedy answers to a task's questions, by kind; one that did not end is empty."""
    chat, found = Chat(loaded, spec.new_tokens, temperature=0.0), {}
    for kind, rows in task.questions.items():
        said = chat([row[:-1] for row in rows])
        found[kind] = [pair(row[-2].content, answer or "") for row, answer in zip(rows, said, strict=True)]
    return found


@torch.no_grad()
def loss_a_token(loaded: Loaded, questions: Sequence[Conversation]) -> float:
    """Mean cross-entropy of the right answers' tokens."""
    rows = rows_of(loaded, questions)
    loaded.model.eval()
    total = sum(
        loss_of(loaded, batch_of(loaded, rows[at : at + _AT_ONCE])).item() for at in range(0, len(rows), _AT_ONCE)
    )
    return total / sum(len(answer) for _, answer in rows)


def measure(base: Base, name: str, bleurt: str = "") -> pd.DataFrame:
    """Tune what is missing at a scale: one row per tuning, kind of question and score.

    Columns task, method, ratio, seed, prompts, score, value, examples, updates, run; ``base`` is the untuned model.
    """
    plan, rows = PLANS[scale(name).name], []
    known = scores(bleurt)
    for seed in range(plan.seeds):
        for task in tasks_of(base, name, seed):
            for ratio in (None, *ratios_of(base, name)):
                told = untuned(base, task, seed) if ratio is None else ensure(base, task, ratio, seed)
                method = "base" if ratio is None else "DELIA" if ratio else "plain tuning"
                about = {"task": task.name, "method": method, "ratio": ratio or 0, "seed": seed}
                rows += [
                    {**about, **line, "updates": told["updates"], "run": told["digest"]}
                    for line in scored(told, task, known)
                ]
    return pd.DataFrame(rows)


def scored(told: dict[str, Any], task: SmallTask, known: dict[str, Any]) -> list[dict[str, Any]]:
    """Every score of a finished tuning on every kind of question, from the answers that were kept, and the loss."""
    found = []
    for kind, questions in task.questions.items():
        said = [row[-1].content for row in answers(told, kind)]
        right = [row[-1].content for row in questions]
        values = {name: score(said, right) for name, score in known.items()} | {"loss": told["losses"][kind]}
        found += [
            {"prompts": kind, "score": name, "value": value, "examples": len(right)} for name, value in values.items()
        ]
    return found


def answers(told: dict[str, Any], kind: str) -> list[Conversation]:
    """The kept answers of a finished tuning to a kind of question."""
    return load(runs_folder() / "adapters" / told["digest"] / "adapter" / f"answers {kind}.jsonl")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
