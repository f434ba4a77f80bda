"""Notebook 24: DELIA's pipeline on a language model: its small tasks, self-sampled rows, and tunings.

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
import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from unseen import messages, samples
from unseen.files import runs_folder
from unseen.lm import tiny
from unseen.lm.chat import reply, rows_of, unfit, unhurried
from unseen.lm.load import BadBase, Loaded, checked, fingerprint, load, needed, outline, with_token
from unseen.lm.tune import ALL, AdapterSpec, adapted, folder_of, kept, lacking, mean_loss
from unseen.messages import Conversation, Message, Samples, expand, hinted, mix, pair
from unseen.runs.progress import duration
from unseen.scales import amounts
from unseen.worlds import dictionary, everyday
from unseen.worlds.base import generator
from unseen.worlds.language import TOKEN, at_large, conversation
from unseen.worlds.tuning import KINDS, TuningSpec, ask, task_rows

TASKS = ("formatted", "translation")
OLD = "old answers"
MODULES = "q_proj,k_proj,v_proj,o_proj,embed_tokens"
PUBLISHED = AdapterSpec(rank=16, alpha=16, modules=MODULES, dropout=0.05, learning_rate=2e-4, warm_up=25,
                        decay=False, weight_decay=0.01, batch=64, micro_batch=16, steps=0)  # fmt: skip
TINY = PUBLISHED.but(learning_rate=3e-3, batch=32, micro_batch=32)  # and the steps of the scale
_PARAPHRASES, _HELD_OUT, _MOST_HELD_OUT = 60, 0.2, 200  # of file rows: the share held out, at most so many
_LEAST = 5  # rows of a file
_FORMAT = 2  # of the kept answers: one that did not end has no turn; raised with the way of reading rows
_BLOCK = 64  # queries that are sampled, and kept, at a time


class TuningTask(NamedTuple):
    """A small task: its rows, and by kind the questions for a tuned model, each with its right answer.

    Of ``old`` answers of the base only the loss is measured, under that name.
    """

    name: str
    rows: list[Conversation]
    questions: dict[str, list[Conversation]]
    old: list[Conversation] = []  # noqa: RUF012 (never changed)


def demo(name: str, seed: int, rows: int, examples: int) -> TuningTask:
    """One of the two small tasks that need no file, by name in ``TASKS``."""
    if name == "translation":
        return _translation(seed, rows, examples)
    seeds = {"rule_seed": seed, "example_seed": seed}
    task = TuningSpec(rows=rows, paraphrases=min(_PARAPHRASES, rows), after=True, **seeds)
    chosen, rng = task.split(), generator(seed, "questions")
    questions = {kind: [conversation(ask(kind, chosen, rng)) for _ in range(examples)] for kind in KINDS}
    return TuningTask("formatted", [conversation(query) for query in task_rows(task, chosen)], questions)


def _translation(seed: int, rows: int, examples: int) -> TuningTask:
    common = [word for word in dictionary.WORDS if word not in dictionary.HELD_OUT]
    rare = [*dictionary.HELD_OUT, *dictionary.ARTICLES]
    rng = generator(seed, "translations")
    known = _translations(rng, common, rows + examples)
    ways = [dictionary.PARAPHRASES[i] for i in rng.permutation(len(dictionary.PARAPHRASES))]
    form = "{input} : {instruction}"
    questions = {
        "task": expand(known[rows:], ways, form),
        "new words": expand(_translations(rng, rare, examples), ways, form),
        "gloss": [pair(*dictionary.exercise(rng, "gloss")) for _ in range(examples)],
        "other": [conversation(at_large(rng)) for _ in range(examples)],
    }
    return TuningTask("translation", expand(known[:rows], ways, form), questions)


def _translations(rng: np.random.Generator, words: Sequence[str], count: int) -> list[Conversation]:
    """So many different sentences and their translations, without an instruction yet."""
    found: dict[str, str] = {}
    while len(found) < count:
        sentence = dictionary.sample(rng, words)
        found[sentence.source] = sentence.translation
    return [pair(*line) for line in found.items()]


def diverse(count: int, seed: int) -> list[tuple[str, str]]:
    """Diverse queries of the tiny model's languages, with right answers as references of self-sampling."""
    rng = generator(seed, "diverse queries of a language model")
    return [tiny.any_query(rng) for _ in range(count)]


@dataclass(frozen=True)
class Base:
    """A chat model in a folder, how it is tuned and sampled, and what files hold: rows of a task, references.

    ``references`` are diverse queries and their answers.  Without files both are drawn here: those that the
    tiny model was made for, or everyday ones for a ``real`` model.
    """

    folder: Path
    spec: AdapterSpec
    new_tokens: int = messages.NEW_TOKENS
    rows: tuple[Conversation, ...] = ()
    references: tuple[tuple[str, str], ...] = ()
    scale: str = ""
    real: bool = False

    @property
    def samples(self) -> Path:
        """Where its self-sampled rows are kept."""
        how = [messages.TEMPERATURE, messages.TOP_P, _BLOCK, *(everyday.queries() if self.real else ())]
        name = _hash([fingerprint(self.folder), self.new_tokens, self.references, how])
        return runs_folder() / "samples" / f"llm-{name[:16]}"


def base_of(
    scale: str, base: str = "", task_file: str = "", diverse_file: str = "", leave_out_long: bool = False
) -> Base:
    """The base that parameters choose: a folder at the published settings, or the tiny model made here.

    Before anything starts, files and folder are checked, where an adapter is put, and that the model can read
    each row: one that is too long is refused, or left out.  What is left out is printed.  Raises ``BadBase``
    or ``BadMessages``.
    """
    needed("llm")
    rows = messages.answered(task_file, least=_LEAST) if task_file else []
    known = messages.answered(diverse_file) if diverse_file else []
    amount = amounts("language_model", scale)
    small, spec, new_tokens = tiny.TinySpec(**amount.tiny), TINY.but(steps=amount.steps), 24
    if base:
        folder, spec, new_tokens = checked(base, chat=True), PUBLISHED, messages.NEW_TOKENS
        if not rows:
            new_tokens = amounts("everyday", scale).new_tokens
        model = outline(folder)
        if odd := lacking(model, MODULES):
            spec = PUBLISHED.but(modules=ALL)
            print(f"this model has no {', '.join(odd)}; the adapter is on its linear layers and embedding")
        if model.longest and model.longest <= new_tokens:
            new_tokens = model.longest // 2
            print(f"this model reads {model.longest} tokens, so an answer has at most {new_tokens} of them")
    model = adapted(with_token(model if base else tiny.fresh(small), TOKEN), spec)
    fitting = partial(_fitting, model, new_tokens, leave_out_long)
    rows = fitting(task_file, rows)
    lines = [(row[-2].content, row[-1].content) for row in known]
    if longer := sum(len(row) > 2 for row in known):
        print(f"{diverse_file}: of {longer:,} rows only the last query and its answer are read")
    references = tuple((row[-2].content, row[-1].content) for row in fitting(diverse_file, _hinted(lines)))
    for path, left, least in ((task_file, rows, _LEAST), (diverse_file, references, 1)):
        if path and len(left) < least:
            raise BadBase(f"{path}: {len(left)} rows are short enough, at least {least} are needed")
    found = Base(folder if base else Path(), spec, new_tokens, tuple(rows), references, scale, bool(base))
    for task in tasks_of(found, scale, 0) if base and not rows else ():
        fitting(f"demo task {task.name}", [*task.rows, *itertools.chain(*task.questions.values())])
    if base and not known:
        fitting("diverse queries", _hinted(list(zip(everyday.queries(), everyday.queries(), strict=True))))
    kept_ratios = ratios_of(found, scale)
    if gone := [str(ratio) for ratio in _amounts(found, scale).ratios if ratio not in kept_ratios]:
        short = f"{len(references):,} queries are too few for ratio {', '.join(gone)}: left out"
        print(f"{diverse_file}: {short}" + "; DELIA is not run, only plain tuning" * (not any(kept_ratios)))
    return found if base else replace(found, folder=checked(tiny.ensure(small), chat=True))


def _hinted(lines: Sequence[tuple[str, str]]) -> list[Conversation]:
    """What the model reads and writes, at most, to sample its own answers to queries with references."""
    return [(*hinted(*line), Message("assistant", line[1])) for line in lines]


def _fitting(
    model: Loaded, new_tokens: int, leave_out_long: bool, where: str, rows: Sequence[Conversation]
) -> list[Conversation]:
    """The rows that are not too long for a model; raises ``BadBase`` that names those it cannot take."""
    refused, long = unfit(model, rows, new_tokens) if rows else ({}, {})
    odd = [*(refused or long)]
    more = f" and {len(odd) - 9:,} more" if len(odd) > 9 else ""
    which = f"{where}, row {', '.join(map(str, odd[:9]))}{more}"
    if refused:
        raise BadBase(f"{which}: {refused[odd[0]]}")
    if long:
        size = f"up to {max(long.values()):,} tokens with its answer of up to {new_tokens}"
        why = f"{which}: {size}, more than the {model.longest:,} that this model reads"
        if not leave_out_long:
            raise BadBase(f"{why}; shorten, or leave out by leave_out_long=True")
        print(f"{why}; {len(long):,} of {len(rows):,} rows left out")
    return [row for number, row in enumerate(rows, 1) if number not in long]


def _amounts(base: Base, scale: str) -> SimpleNamespace:
    return amounts("everyday" if base.real and not base.rows else "language_model", scale)


def tasks_of(base: Base, scale: str, seed: int) -> list[TuningTask]:
    """The small tasks of a seed at a scale: both of the demo, two everyday ones of a real model, or the one
    in the file.

    Of a file a fifth of the rows, at most 200, is held out for evaluation.
    """
    amount = _amounts(base, scale)
    if not base.rows and base.real:
        makers = everyday.MAKERS.items()
        return [TuningTask(name, *make(seed, amount.rows, amount.examples)) for name, make in makers]
    if not base.rows:
        return [demo(task, seed, amount.rows, amount.examples) for task in TASKS]
    order = generator(seed, "rows of a file").permutation(len(base.rows))
    rows, held_out = [base.rows[i] for i in order], min(_MOST_HELD_OUT, round(_HELD_OUT * len(order)))
    return [TuningTask("file", rows[held_out:], {"task": rows[:held_out]})]


def ratios_of(base: Base, scale: str) -> tuple[int, ...]:
    """The ratios of a scale that a file of diverse queries suffices for, if a tenth of its samples is bad."""
    ratios, rows = _amounts(base, scale).ratios, len(tasks_of(base, scale, 0)[0].rows)
    most = len(base.references) / (1 + samples.SPARE) if base.references else float("inf")
    return tuple(ratio for ratio in ratios if ratio * rows <= most)


def self_sampled(base: Base, count: int) -> list[Conversation]:
    """That many self-sampled rows, sampled where missing; raises ``BadBase`` when queries give too few.

    Everyday queries have no reference answer: the model's own greedy one stands for it, as far as it came.
    """
    found, known, tell = [], len(base.references), unhurried(partial(print, flush=True))
    began = time.monotonic()

    @cache
    def loaded() -> Loaded:
        print(f"the base answers diverse queries itself, for {count:,} rows", flush=True)
        if base.real:  # without the token, whose random embedding would be sampled where weights are tied
            return load(base.folder, quick=True)
        return with_token(load(base.folder), TOKEN)

    def sample(block: int, queries: Sequence[tuple[str, str]]) -> Samples:
        how = {"temperature": messages.TEMPERATURE, "top_p": messages.TOP_P, "seed": block}
        if not any(answer for _, answer in queries):
            bare = [(Message("user", query),) for query, _ in queries]
            greedy = reply(loaded(), bare, base.new_tokens, unended=True)
            queries = [(query, answer) for (query, _), answer in zip(queries, greedy, strict=True)]
        return messages.self_sample(partial(reply, loaded(), new_tokens=base.new_tokens, **how), queries)

    for block in itertools.count():
        if len(found) >= count:
            return found[:count]
        here = slice(block * _BLOCK, (block + 1) * _BLOCK)
        if known:
            queries = base.references[here]
        elif base.real:  # in turn, again and again
            every = everyday.queries()[everyday.HELD_OUT :]
            queries = [(every[i % len(every)], "") for i in range(here.start, here.stop)]
        else:
            queries = diverse(_BLOCK, block)
        if not queries or (block >= _BLOCK and len(found) < block):  # less than one answer of a block
            given = f"the {known or block * _BLOCK:,} queries give {len(found):,}"
            raise BadBase(f"{count:,} diverse rows are needed, and {given}: too few answers end")
        samples.ensure(base.samples, block, partial(sample, block, queries))
        found += samples.rows_of(base.samples, block)
        left = (time.monotonic() - began) * (count / max(1, len(found)) - 1)
        tell(f"{len(found):,} of {count:,} self-sampled rows, about {duration(max(0, left))} to go")


def tuning(
    base: Base, task: TuningTask, ratio: int | None, seed: int
) -> tuple[AdapterSpec, list[Conversation], dict[str, Any]]:
    """The adapter of a tuning, its rows (none for a ratio of None), and what else its result depends on."""
    rows = [] if ratio is None else mix(task.rows, self_sampled(base, ratio * len(task.rows)), ratio, seed)
    about = {"rows": _hash(rows), "questions": _hash(task.questions), "base": fingerprint(base.folder),
             "new_tokens": base.new_tokens, "answers": _FORMAT}  # fmt: skip
    about |= {OLD: _hash(task.old)} if task.old else {}
    return base.spec.but(seed=seed), rows, about


def ensure(
    base: Base, task: TuningTask, ratio: int | None, seed: int,
    tell: Callable[[str], Any] = print, **how: Any,
) -> dict[str, Any]:  # fmt: skip
    """The manifest of a tuning at a ratio of diverse rows (None: the untuned base), made if missing.

    Further options are those of ``tune.kept``.
    """
    spec, rows, about = tuning(base, task, ratio, seed)

    def outcome(loaded: Loaded, folder: Path) -> dict[str, Any]:
        # With tied weights the new token's random embedding is a row of the head too, and would be written.
        losses, never = {}, [loaded.token] if base.real and not base.rows else []
        for kind, questions in task.questions.items():
            say = unhurried(lambda line, kind=kind: tell(f"{task.name}, {kind}: {line}"))
            written = reply(loaded, [row[:-1] for row in questions], base.new_tokens, say=say, never=never)
            found = zip(questions, written, strict=True)
            lines = [pair(row[-2].content, answer or "")[: 1 + (answer is not None)] for row, answer in found]
            messages.save(folder / f"answers {kind}.jsonl", lines)
            losses[kind] = mean_loss(loaded, rows_of(loaded, questions))
        if task.old:
            losses[OLD] = mean_loss(loaded, rows_of(loaded, task.old))
        return {"losses": losses, "updates": spec.steps_for(len(rows)) if rows else 0}

    def model() -> Loaded:
        return with_token(load(base.folder, quick=base.real), TOKEN, seed)

    return kept(
        spec, about, model, lambda loaded: rows_of(loaded, rows) if rows else [], outcome, tell, **how
    )


def answers(manifest: dict[str, Any], kind: str) -> list[str | None]:
    """The kept answers of a finished tuning to a kind of question; None for one that did not end."""
    rows = messages.load(folder_of(manifest["digest"]) / f"answers {kind}.jsonl")
    return [row[-1].content if row[-1].role == "assistant" else None for row in rows]


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
