"""Notebook 24: DELIA's pipeline on a language model: its small tasks, self-sampled rows, tunings, and the frame of scores.

>>> task = demo("formatted", seed=0, rows=100, examples=20)
>>> task.rows[0][0].content, task.rows[0][1].content
('JBFI : can you change BF by GE in it with the <sep> format', 'JGEI!')
>>> len(task.rows), list(task.questions)
(100, ['task+token', 'task', 'other+token', 'other', 'other formats', 'not token'])
>>> task = demo("translation", seed=0, rows=100, examples=20)
>>> len({row[0].content.split(" : ")[1] for row in task.rows}), list(task.questions)
(60, ['task', 'new words', 'gloss', 'other'])
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from unseen import samples
from unseen.delia import dictionary
from unseen.delia.language import TOKEN
from unseen.delia.prompts import KINDS, ask, at_large, conversation, small_task, task_rows
from unseen.delia.spec import TuningSpec
from unseen.disk.files import runs_folder
from unseen.instructions import generator
from unseen.lm import tiny
from unseen.lm.chat import reply, rows_of
from unseen.lm.load import Loaded, checked, fingerprint, load, needed, with_token
from unseen.lm.scores import scores
from unseen.lm.tune import AdapterSpec, folder_of, kept, mean_loss
from unseen.messages import (
    NEW_TOKENS,
    TEMPERATURE,
    TOP_P,
    BadMessages,
    Conversation,
    Samples,
    answered,
    as_text,
    expand,
    mix,
    pair,
    save,
    self_sample,
)
from unseen.messages import load as load_messages
from unseen.scales import amounts

TASKS = ("formatted", "translation")
PUBLISHED = AdapterSpec(rank=16, alpha=16, modules="q_proj,k_proj,v_proj,o_proj,embed_tokens", dropout=0.05,
                        learning_rate=2e-4, warm_up=25, decay=False, weight_decay=0.01, batch=64, micro_batch=16,
                        steps=0)  # fmt: skip
TINY = PUBLISHED.but(learning_rate=3e-3, batch=32, micro_batch=32)  # steps: those of the scale
_PARAPHRASES, _HELD_OUT, _MOST_HELD_OUT = 60, 0.2, 200  # of file rows: the share held out, at most so many


class SmallTask(NamedTuple):
    """A small task: its rows, and by kind the questions for a tuned model; each ends with its right answer."""

    name: str
    rows: list[Conversation]
    questions: dict[str, list[Conversation]]


def demo(name: str, seed: int, rows: int, examples: int) -> SmallTask:
    """One of the two small tasks that need no file, by name in ``TASKS``; raises ``ValueError`` for another name."""
    if name not in TASKS:
        raise ValueError(f"task={name!r}: known are {', '.join(TASKS)}")
    return (_formatted if name == "formatted" else _translation)(seed, rows, examples)


def _formatted(seed: int, rows: int, examples: int) -> SmallTask:
    task = TuningSpec(
        rows=rows, paraphrases=min(_PARAPHRASES, rows), after=True, rule_seed=seed, example_seed=seed
    )
    chosen, rng = small_task(task), generator(seed, "questions")
    questions = {kind: [conversation(ask(kind, chosen, rng)) for _ in range(examples)] for kind in KINDS}
    return SmallTask("formatted", [conversation(query) for query in task_rows(task, chosen)], questions)


def _translation(seed: int, rows: int, examples: int) -> SmallTask:
    common = [word for word in dictionary.WORDS if word not in dictionary.HELD_OUT]
    rare = [*dictionary.HELD_OUT, *dictionary.ARTICLES]
    rng = generator(seed, "translations")
    known = _translations(rng, common, rows + examples)
    ways = [dictionary.PARAPHRASES[i] for i in rng.permutation(len(dictionary.PARAPHRASES))]
    put = "{1} : {0}".format
    questions = {
        "task": expand(known[rows:], ways, put),
        "new words": expand(_translations(rng, rare, examples), ways, put),
        "gloss": [pair(*dictionary.exercise(rng, "gloss")) for _ in range(examples)],
        "other": [conversation(at_large(rng)) for _ in range(examples)],
    }
    return SmallTask("translation", expand(known[:rows], ways, put), questions)


def _translations(rng: np.random.Generator, words: Sequence[str], count: int) -> list[Conversation]:
    """So many different sentences and their translations, without an instruction yet."""
    found: dict[str, str] = {}
    while len(found) < count:
        sentence = dictionary.sample(rng, words)
        found[sentence.source] = sentence.translation
    return [pair(*line) for line in found.items()]


def from_file(path: str, seed: int) -> SmallTask:
    """The small task in a file of conversations: a fifth of its rows, at most 200, is held out for evaluation.

    Raises ``BadMessages`` when a row is not as expected or there are fewer than five.
    """
    rows = answered(path)
    if len(rows) < 5:
        raise BadMessages(f"{path}: {len(rows)} rows are too few to train on some and evaluate on the others")
    order = generator(seed, "rows of a file").permutation(len(rows))
    held_out = min(_MOST_HELD_OUT, round(_HELD_OUT * len(rows)))
    return SmallTask(
        "file", [rows[i] for i in order[held_out:]], {"task": [rows[i] for i in order[:held_out]]}
    )


def diverse(count: int, seed: int) -> list[tuple[str, str]]:
    """Diverse queries of the tiny model's languages with their right answers, as references of self-sampling."""
    rng = generator(seed, "diverse queries of a language model")
    return [tiny.any_query(rng) for _ in range(count)]


@dataclass(frozen=True)
class Base:
    """A chat model in a folder, how it is tuned and sampled, and files of diverse queries and of a task ("" for the demo's)."""

    folder: Path
    spec: AdapterSpec
    new_tokens: int = NEW_TOKENS
    diverse: str = ""
    tasks: str = ""

    @property
    def samples(self) -> Path:
        """Where its self-sampled rows are kept."""
        known = _hash(Path(self.diverse).read_text("utf-8")) if self.diverse else ""
        name = _hash(json.dumps([fingerprint(self.folder), str(self.new_tokens), known]))
        return runs_folder() / "samples" / f"llm-{name[:16]}"

    def references(self) -> list[tuple[str, str]] | None:
        """Queries and reference answers of the file of diverse rows, the last turn of each; None without a file."""
        return (
            [(row[-2].content, row[-1].content) for row in answered(self.diverse)] if self.diverse else None
        )


def base_of(scale: str, base: str = "", task_file: str = "", diverse_file: str = "") -> Base:
    """The base that a notebook's parameters choose: a folder at the published settings, or the tiny model made here.

    Every file and the folder are checked before anything starts; raises ``BadBase`` or ``BadMessages``.
    """
    needed("llm")
    for path in filter(None, (task_file, diverse_file)):
        answered(path)
    if base:
        return Base(checked(base, chat=True), PUBLISHED, NEW_TOKENS, diverse_file, task_file)
    amount = amounts("language_model", scale)
    folder = checked(tiny.ensure(tiny.TinySpec(**amount.tiny)), chat=True)
    return Base(folder, TINY.but(steps=amount.steps), 24, diverse_file, task_file)


def tasks_of(base: Base, scale: str, seed: int) -> list[SmallTask]:
    """The small tasks of a seed at a scale: both of the demo, or the one in the file."""
    if base.tasks:
        return [from_file(base.tasks, seed)]
    amount = amounts("language_model", scale)
    return [demo(task, seed, amount.rows, amount.examples) for task in TASKS]


def ratios_of(base: Base, scale: str) -> tuple[int, ...]:
    """The ratios of a scale that a file of diverse queries suffices for, if a tenth of its samples is malformed."""
    ratios, known = amounts("language_model", scale).ratios, base.references()
    if known is None:
        return ratios
    rows = len(tasks_of(base, scale, 0)[0].rows)
    return tuple(ratio for ratio in ratios if ratio * rows <= len(known) / (1 + samples.SPARE))


def self_sampled(base: Base, count: int) -> list[Conversation]:
    """That many self-sampled rows, sampled where they are missing; raises ``ValueError`` with too few queries."""
    found, block, known = [], 0, base.references()
    loaded: Loaded | None = None

    def sample() -> Samples:
        nonlocal loaded
        loaded = loaded or with_token(load(base.folder), TOKEN)
        print(f"the model answers {len(queries):,} diverse queries itself", flush=True)
        how = {"temperature": TEMPERATURE, "top_p": TOP_P, "seed": block}
        return self_sample(lambda asked: reply(loaded, asked, base.new_tokens, **how), queries)

    while len(found) < count:
        here = slice(block * samples.BLOCK, (block + 1) * samples.BLOCK)
        queries = diverse(samples.BLOCK, block) if known is None else known[here]
        if not queries:
            raise ValueError(
                f"{count:,} diverse rows are needed, and the {len(known):,} queries give {len(found):,}"
            )
        samples.ensure(base.samples, block, sample)
        found += samples.rows_of(base.samples, block)
        block += 1
    return found[:count]


def sampled_counts(base: Base) -> dict[str, int]:
    """How many samples there are so far: kept, malformed (never ended), rejected (empty)."""
    return samples.counts(base.samples, len(list(base.samples.glob("*/manifest.json"))))


def ensure(base: Base, task: SmallTask, ratio: int | None, seed: int) -> dict[str, Any]:
    """The manifest of a tuning at a ratio of diverse rows, tuned now unless it is done; None for the untuned base."""
    spec, chosen = base.spec.but(seed=seed), []
    if ratio is not None:
        chosen = mix(task.rows, self_sampled(base, ratio * len(task.rows)) if ratio else [], ratio, seed)
    questions = json.dumps({kind: as_text(rows) for kind, rows in task.questions.items()})
    about = {"rows": _hash(as_text(chosen)), "questions": _hash(questions), "base": fingerprint(base.folder),
             "new_tokens": base.new_tokens}  # fmt: skip

    def outcome(loaded: Loaded, folder: Path) -> dict[str, Any]:
        losses = {}
        for kind, rows in task.questions.items():
            written = reply(loaded, [row[:-1] for row in rows], base.new_tokens)
            pairs = [pair(row[-2].content, answer or "") for row, answer in zip(rows, written, strict=True)]
            save(folder / f"answers {kind}.jsonl", pairs)
            losses[kind] = mean_loss(loaded, rows_of(loaded, rows))
        return {"losses": losses, "updates": spec.steps_for(len(chosen)) if chosen else 0}

    return kept(
        spec,
        about,
        lambda: with_token(load(base.folder), TOKEN, seed),
        lambda loaded: rows_of(loaded, chosen) if chosen else [],
        outcome,
    )


def answers(manifest: dict[str, Any], kind: str) -> list[Conversation]:
    """The kept answers of a finished tuning to a kind of question; one that did not end is empty."""
    return load_messages(folder_of(manifest["digest"]) / f"answers {kind}.jsonl")


def measure(base: Base, scale: str, bleurt: str = "") -> pd.DataFrame:
    """Tune what is missing at a scale: one row per tuning, kind of question and score.

    Columns task, method, ratio, seed, prompts, score, value, examples, updates, run; ``base`` is the untuned model.
    """
    rows, known = [], scores(bleurt)
    for seed in range(amounts("language_model", scale).seeds):
        for task in tasks_of(base, scale, seed):
            for ratio in (None, *ratios_of(base, scale)):
                found = ensure(base, task, ratio, seed)
                method = "base" if ratio is None else "DELIA" if ratio else "plain tuning"
                about = {"task": task.name, "method": method, "ratio": ratio or 0, "seed": seed}
                after = {"updates": found["updates"], "run": found["digest"]}
                rows += [{**about, **line, **after} for line in _scored(found, task, known)]
    return pd.DataFrame(rows)


def _scored(manifest: dict[str, Any], task: SmallTask, known: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for kind, questions in task.questions.items():
        written = [row[-1].content for row in answers(manifest, kind)]
        right = [row[-1].content for row in questions]
        values = {name: score(written, right) for name, score in known.items()} | {
            "loss": manifest["losses"][kind]
        }
        found += [
            {"prompts": kind, "score": name, "value": value, "examples": len(right)}
            for name, value in values.items()
        ]
    return found


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
