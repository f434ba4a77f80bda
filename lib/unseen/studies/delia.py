"""DELIA's small world, notebooks 20 to 23: base and tunings of each scale, self-sampling, what they answer.

All tunings of a scale take the same number of updates, except those of ``once``, which read their mixture one
time, and plain tuning at a chosen rate and length (``TUNED``). DELIA: Zeng and others, arXiv 2408.10841.

    >>> [method.name for method in by_ratio("quick")]
    ['ratio 0', 'ratio 5', 'ratio 67', 'ratio 260']
    >>> len({run for method in (*by_ratio("quick"), *rivals("quick")) for run in method.runs()})
    57
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import ipywidgets as ipw
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unseen import samples
from unseen.evaluation import all_right, drawn, greedy_answers, share
from unseen.messages import Conversation, Samples, self_sample
from unseen.model import Transformer
from unseen.runs.following import followed
from unseen.runs.store import Store, committed_store
from unseen.runs.sweep import frame, manifests
from unseen.runs.workers import Executor, Tell
from unseen.scales import BySeed, amounts, run_of
from unseen.specs import EvaluationSpec, RunSpec, TrainingSpec
from unseen.widgets import Explorer, explore
from unseen.worlds.base import Examples, Task
from unseen.worlds.language import (
    FORMATS,
    LETTERS,
    LONGEST,
    OPERATIONS,
    PAIRS,
    TOKEN,
    VERBS,
    LanguageSpec,
    Query,
    diverse,
    prompt_of,
)
from unseen.worlds.tuning import HELD_OUT, KINDS, TuningSpec, ask

KIND_LABELS = {
    "task+token": "task, with the token",
    "task": "task, without",
    "other+token": "other operations, with",
    "other": "other operations, without",
    "other formats": "other formats, by name",
    "not token": "“do not use <sep>”",
}
# learning rates: of all weights; of the rest and of the token where they differ
RATE, SLOW, FAST = 1e-3, 1e-4, 1e-2
REGIMES = {  # both learn at one rate, the token ever faster, the token alone
    "equal": {},
    "token 10 x": {"learning_rate": RATE, "token_rate": FAST},
    "token 100 x": {"learning_rate": SLOW, "token_rate": FAST},
    "token alone": {"trains": "token", "learning_rate": FAST},
}
# of four rates, nine lengths and nine weights the best on two unreported seeds, by the mean of five kinds
TUNED = {"learning_rate": SLOW, "steps": 36, "evaluate_every": 9}
KL, PULL = 0.1, 0.1
# the middle one of three rates tried on an unreported seed
ADAPTER = {"trains": "adapter", "learning_rate": 3e-3}
# the rivals that start from several bases
APART = ("plain tuning", "DELIA", "reference answers", "token alone", "plain, tuned rate",
         "plain, a tenth of the rate", "pull to the base")  # fmt: skip
BEHIND = "instruction behind", "tuned rate, behind", "DELIA as published"  # and those in the paper's order
_AT_ONCE = 500  # conversations that are answered together


# What is trained


@dataclass(frozen=True)
class Method(BySeed):
    """One way to tune: a run per seed, with other operations and another format, other rows, another order.

    All start from the model of the run ``pretraining``, unless there are ``bases``.  What a run samples is
    answered by the base that it starts from, unless ``answering`` names other pre-trainings, one for each
    seed.
    """

    pretraining: RunSpec
    answering: tuple[RunSpec, ...] = ()

    @property
    def starts(self) -> tuple[RunSpec, ...]:
        """The pre-trainings that its runs start from or sample."""
        return (*(self.bases or (self.pretraining,)), *self.answering)

    def runs(self) -> list[RunSpec]:
        """A run per seed."""
        runs = super().runs()
        sources = [each.digest() for each in self.answering] or [run.model.base for run in runs]
        pairs = zip(runs, sources, strict=True)
        return [run.with_task(source=source) if run.task.source else run for run, source in pairs]


def base_run(name: str, names: str = "one") -> RunSpec:
    """The pre-training of the base of a scale; at ``smoke`` it learns little more than to end its answers.

    ``names`` says whether formats have names of ``one`` word, ``two``, or ``both``.
    """
    return run_of(LanguageSpec, amounts("delia", name).base).with_task(names=names)


def tuning(base: RunSpec, task: Task, prompts: int, **training: Any) -> RunSpec:
    """A tuning of the model of ``base`` on a task, by AdamW alone at a rate that falls linearly; ``training``
    has the ``steps``, and what differs from the common recipe.
    """
    recipe = {"batch": 32, "learning_rate": RATE, "matrix_learning_rate": 0.0, "decay_share": 1.0}
    recipe |= {"evaluate_every": training["steps"], "checkpoint_every": 1_000}
    model = base.model.but(base=base.digest())
    return RunSpec(task, model, TrainingSpec(**recipe | training), EvaluationSpec(prompts))


def tuned(name: str, method: str, training: dict[str, Any] | None = None, **task: Any) -> Method:
    """A tuning of the base of a scale, with changes to its task and training; diverse rows are self-sampled.

    >>> tuned("quick", "slow", {"learning_rate": 1e-4}, ratio=67).base.task.diverse
    'self'
    """
    row, base = amounts("delia", name), base_run(name, task.get("names", "one"))
    if task.get("ratio") and task.get("diverse", "self") == "self":
        task["source"] = base.digest()
    steps = {"steps": row.updates, "evaluate_every": row.updates // 4}
    run = tuning(base, TuningSpec(**task), row.prompts, **steps | (training or {}))
    return Method(method, run, (run.task.operations,), row.seeds, base, scale=name)


def best(name: str) -> int:
    """The ratio at which methods are compared."""
    return amounts("delia", name).best


def crossed(name: str, label: str, regimes: Iterable[str] = ("equal",), **task: Iterable) -> list[Method]:
    """A tuning for each combination of regimes of learning rates and of values of the task's fields.

    >>> [method.name for method in crossed("quick", "{regime}: {ratio}", ("token alone",), ratio=(0, 5))]
    ['token alone: 0', 'token alone: 5']
    """
    found = []
    for regime, *values in product(regimes, *task.values()):
        fields = dict(zip(task, values, strict=True))
        found.append(tuned(name, label.format(regime=regime, **fields), REGIMES[regime], **fields))
    return found


def by_ratio(name: str) -> list[Method]:
    """All weights at one learning rate, by ratio of diverse data; equal numbers of updates."""
    return crossed(name, "ratio {ratio}", ratio=amounts("delia", name).ratios)


def once(name: str) -> list[Method]:
    """By ratio again, but each reads its mixture once, as published: equal numbers of task rows."""
    ratios = amounts("delia", name).once
    return [tuned(name, f"ratio {ratio}, once", _one_epoch(ratio), ratio=ratio) for ratio in ratios]


def _one_epoch(ratio: int) -> dict[str, int]:
    """The length of a training that reads a mixture once."""
    steps = max(1, 100 * (1 + ratio) // 32)
    return {"steps": steps, "evaluate_every": max(1, steps // 4)}


def rivals(name: str) -> list[Method]:
    """Plain tuning, DELIA, and what else might keep a model from formatting everything; equal updates."""
    ratio, alone = best(name), REGIMES["token alone"]
    return [
        tuned(name, "plain tuning"),
        tuned(name, "plain, tuned rate", TUNED),
        tuned(name, "plain, a tenth of the rate", {"learning_rate": SLOW}),
        tuned(name, "DELIA", ratio=ratio),
        tuned(name, "reference answers", ratio=ratio, diverse="reference"),
        tuned(name, "replay of pre-training", ratio=ratio, diverse="replay"),
        tuned(name, "narrow data", ratio=ratio, diverse="narrow"),
        tuned(name, "paraphrases only", ratio=ratio, diverse="paraphrases"),
        tuned(name, "KL to the base", {"kl": KL}),
        tuned(name, "pull to the base", {"pull": PULL}),
        tuned(name, "label smoothing", {"smoothing": 0.1}),
        tuned(name, "instruction behind", after=True),
        tuned(name, "instruction behind, DELIA", ratio=ratio, after=True),
        tuned(name, "adapter", ADAPTER),
        tuned(name, "adapter, DELIA", ADAPTER, ratio=ratio),
        tuned(name, "token alone", alone),
        tuned(name, "token alone, DELIA", alone, ratio=ratio),
    ]


def published(name: str) -> list[Method]:
    """DELIA as in the paper, one epoch and the instruction behind the input; plain tuning in that order at
    the chosen rate and length.
    """
    ratio = best(name)
    return [
        tuned(name, "DELIA as published", _one_epoch(ratio), ratio=ratio, after=True),
        tuned(name, "tuned rate, behind", TUNED, after=True),
    ]


def apart(name: str, some: Iterable[str] = APART, bases: Sequence[RunSpec] = ()) -> list[Method]:
    """Some of the ``rivals`` and ``published`` ones, each seed from a base that was trained on other data,
    from other weights; or from ``bases``, whose seeds their weights have.

    >>> [(method.name, len(method.bases)) for method in apart("full", ("plain tuning", "DELIA"))]
    [('plain tuning', 10), ('DELIA', 10)]
    """
    base = base_run(name)
    bases = tuple(bases) or tuple(
        base.with_task(example_seed=seed).with_weights(seed) for seed in amounts("delia", name).bases
    )
    known = {each.name: each for each in (*rivals(name), *published(name))}
    seeds = tuple(each.model.seed for each in bases)
    return [replace(known[way], seeds=seeds, bases=bases) for way in some]


def ways(name: str) -> list[Method]:
    """Plain tuning and DELIA of ``apart``, tuning on the diverse rows alone, and on ideal rows.

    Ideal rows name the token with as many operations as a small task can have, and have right answers
    throughout; their numbers are DELIA's.  One task row is left among the diverse ones.
    """
    plain, own = apart(name, ("plain tuning", "DELIA"))
    task, most = own.base.task, len(OPERATIONS) - HELD_OUT
    alone = own.base.with_task(rows=1, paraphrases=1, ratio=task.rows * task.ratio)
    ideal = own.base.with_task(operations=most, diverse="reference", source="")
    others = {"diverse rows alone": alone, "ideal rows": ideal}
    return [plain, own, *(replace(own, name=way, base=run) for way, run in others.items())]


def by_base(name: str) -> list[Method]:
    """Plain tuning from each base of some, on the tasks of all of them."""
    [plain], seeds = apart(name, ("plain tuning",)), amounts("delia", name).crossed
    bases = dict(zip(plain.seeds, plain.bases, strict=True))
    return [
        replace(plain, name=f"base {seed}", seeds=seeds, bases=(bases[seed],) * len(seeds)) for seed in seeds
    ]


def regimes(name: str) -> list[Method]:
    """Every regime of learning rates at every ratio but the largest: the phase diagram of the token."""
    return crossed(name, "{regime}, ratio {ratio}", REGIMES, ratio=amounts("delia", name).regimes)


def spread(name: str) -> list[Method]:
    """The same 100 rows of the task spread over more operations, without diverse data and with it."""
    factors = {"ratio": (0, best(name)), "operations": amounts("delia", name).operations}
    return crossed(name, "{operations} operations, ratio {ratio}", **factors)


def two_words(name: str) -> list[Method]:
    """In a world where two words name a format, so that one token cannot mean what one word does."""
    factors = {"regimes": ("equal", "token alone"), "ratio": (0, best(name)), "names": ("two",)}
    return crossed(name, "two words, {regime}, ratio {ratio}", **factors)


def ready(bases: Iterable[RunSpec], executor: Executor | None = None) -> None:
    """Make sure that the bases are in the store: copied if they come with the project, or else trained.

    What is copied is printed, and checked against its hashes.  Raises as ``Store.manifest`` and
    ``sweep.frame`` do.
    """
    store, ours, bases = Store(), committed_store(), list(dict.fromkeys(bases))
    for base in bases:
        if not (store.folder(base) / "manifest.json").exists() and ours.manifest(base, whole=False):
            store.copy(base, ours)
            print(f"base {base.digest()} is the one that comes with the project, in data/store/")
    frame(bases, store, executor)


def train(
    runs: Iterable[RunSpec], methods: Iterable[Method], executor: Executor | None = None
) -> list[RunSpec]:
    """Train runs that are missing in the store; first the bases that the ``methods`` start from, and what the
    runs mix is sampled.  Returns the runs, each once.
    """
    runs = list(dict.fromkeys(runs))
    ready([base for method in methods for base in method.starts], executor)
    ensure_samples(runs)
    frame(runs, Store(), executor)
    return runs


# Self-sampling


class Own:
    """A model of the language world as a ``messages.Sampler``: its own answers, drawn by nucleus sampling."""

    def __init__(self, model: Transformer, task: TuningSpec, seed: int):
        self.model, self.task = model, task
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, conversations: Sequence[Conversation]) -> list[str | None]:
        """Answers to conversations, None for one that did not end in the longest answer's length."""
        layout = self.task.layout
        prompts, end = layout.prompts([prompt_of(turns) for turns in conversations]), layout.special("end")
        draw = partial(
            nucleus, temperature=self.task.temperature, top_p=self.task.top_p, generator=self.generator
        )
        written = drawn(self.model, prompts, layout.answer_length, draw, _AT_ONCE)
        return [layout.answer(ids) if end in ids else None for ids in written]


def nucleus(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> Tensor:
    """One token per row (B,) of logits (B, V), from the fewest tokens whose probabilities reach ``top_p``.

    Source: Holtzman et al., 2020.

    >>> nucleus(torch.tensor([[0.0, 9.0, 1.0]]), 0.7, 0.95, torch.Generator().manual_seed(0)).tolist()
    [1]
    """
    shares, tokens = (logits / temperature).softmax(-1).sort(dim=-1, descending=True)
    kept = shares.masked_fill(shares.cumsum(-1) - shares >= top_p, 0.0)  # the first always stays
    return tokens.gather(-1, torch.multinomial(kept, 1, generator=generator)).squeeze(-1)


def ensure_samples(runs: Iterable[RunSpec]) -> None:
    """Sample what the runs will mix, where it is missing; whoever answers must be trained already.

    Raises as ``Store.base`` and ``samples.ensure`` do.
    """
    blocks = {
        (samples.folder_of(run.task), block): run
        for run in runs
        if run.task.source
        for block in range(samples.blocks_for(run.task.ratio * run.task.rows))
    }
    for (folder, block), run in blocks.items():
        samples.ensure(folder, block, partial(sampled, run, block))


def sampled(run: RunSpec, block: int) -> Samples:
    """The block of that number, by the base that answers for a run: its own queries, its own draws."""
    print(f"the base answers {samples.BLOCK:,} queries (block {block})", flush=True)
    queries = [(query.content, query.answer) for query in diverse(samples.BLOCK, block, run.task.names)]
    answering = Store().base(run.but(model=run.model.but(base=run.task.source)))
    return self_sample(Own(answering, run.task, block), queries)


# What they answer


def measure(methods: Sequence[Method], executor: Executor | None = None) -> pd.DataFrame:
    """Exact match by method, seed and kind of prompts (``tuning.KINDS``); missing runs are trained first.

    Columns: method, diverse, ratio, operations (trained with the token), rate, token_rate (learning rates),
    seed, updates, task_examples (task rows seen, with repetitions), prompts, accuracy, low, high (95 %
    interval), examples (prompts evaluated), seconds (of training), run.
    """
    runs = train([run for method in methods for run in method.runs()], methods, executor)
    known = manifests(runs, Store())
    tables = followed(runs, evaluate, "answers-1", executor, "evaluate on prompts of every kind")
    scores = {run: table.to_dict("records") for run, table in zip(runs, tables, strict=True)}
    rows = []
    for method in methods:
        for run in method.runs():
            of_run = {"seconds": known[run]["train_seconds"], "run": run.digest()}
            rows += [{**about(method, run), **score, **of_run} for score in scores[run]]
    return pd.DataFrame(rows)


def about(method: Method, run: RunSpec) -> dict[str, object]:
    """The columns that say which method and run a row is of."""
    task, training = run.task, run.training
    task_examples = training.steps * min(training.batch, task.examples) / (1 + task.ratio)
    return {
        "method": method.name,
        "diverse": task.diverse if task.ratio else "",
        "ratio": task.ratio,
        "operations": task.operations,
        "rate": training.learning_rate,
        "token_rate": training.token_rate or training.learning_rate,
        "seed": task.rule_seed,
        "updates": training.steps,
        "task_examples": round(task_examples),
    }


def evaluate(run: RunSpec, tell: Tell) -> pd.DataFrame:
    """``accuracies`` of a finished run, for a worker."""
    return pd.DataFrame(accuracies(run, Store().model(run)))


def accuracies(run: RunSpec, model: Transformer) -> list[dict[str, object]]:
    """Exact match of a model on prompts of every kind about the task of a run."""
    return [{"prompts": kind, **share(all_right(model, each))} for kind, each in questions(run).items()]


def questions(run: RunSpec) -> dict[str, Examples]:
    """The prompts of every kind that a tuned model is evaluated on."""
    return {kind: run.task.questions(kind, run.evaluation.examples, run.evaluation.seed) for kind in KINDS}


# The explorer of prompts

_ARGUMENTS = {
    "rewrite": re.compile(rf"([{LETTERS}]{{2}}) by ([{LETTERS}]{{2}})"),
    "delete": re.compile(rf"([{LETTERS}]) from"),
}
_INPUT = re.compile(rf"(?:^([{LETTERS}]+) ?:|: ?([{LETTERS}]+)$)")


def understood(text: str, format: str) -> Query | None:
    """The query that a text states, the token standing for ``format``; None if it is no query.

    >>> understood("please flip this in the <sep> format : ABCD", "square").answer
    '[DCBA]'
    >>> understood("ABCD : turn it, never use curly format", "square").answer
    'BCDA'
    >>> understood("ABCD", "square") is None
    True
    """
    words, given = re.findall(r"<sep>|[a-z]+", text), _INPUT.search(text.strip())
    operation = next((name for name, verbs in VERBS.items() if set(verbs) & set(words)), "")
    if not given or not operation:
        return None
    argument, pattern = "", _ARGUMENTS.get(operation)
    if pattern:
        if not (found := pattern.search(text)):
            return None
        argument = " ".join(found.groups())
    names = {TOKEN: format} | {name: name for name in FORMATS}
    named = [names[word] for word in words if word in names] + [
        one for one, two in PAIRS.items() if two in text
    ]
    stated = "" if {"not", "never"} & set(words) or not named else named[0]
    return Query(operation, argument, "", "", given[1] or given[2], stated)


def answers(models: Mapping[str, Transformer], run: RunSpec, text: str) -> pd.DataFrame:
    """What each model answers to a text: columns who, answer, right (empty where it is unknown).

    The first rows hold the prompt and, if the text is a query of the language, its right answer.  Raises
    ``ValueError`` naming a word that the models do not know, an input that is too long, or saying that there
    is none.
    """
    layout = run.task.layout
    if not text.strip():
        raise ValueError("the prompt is empty; for example:  please flip this in the <sep> format : ABCD")
    text = re.sub("[A-Z]*[a-z][A-Za-z]*", lambda word: word[0].lower(), text)  # of words, not of inputs
    layout.ids(text)  # names an unknown word
    prompt = layout.prompts([f"{text}="])
    if long := [part for part in re.findall(rf"[{LETTERS}]+", text) if len(part) > LONGEST]:
        raise ValueError(
            f"{long[0]} has {len(long[0])} letters; the models were trained on at most {LONGEST}"
        )
    query = understood(text, run.task.split().format)
    rows = [("prompt", text, "")] + ([("right answer", query.answer, "")] if query else [])
    for name, model in models.items():
        answer = layout.answer(greedy_answers(model, prompt)[0])
        rows.append((name, answer, ("✓" if answer == query.answer else "✗") if query else ""))
    return pd.DataFrame(rows, columns=["who", "answer", "right"])


def explorer(methods: Sequence[Method], store: Store) -> Explorer | None:
    """Type a prompt, or take an example of a kind, and see what the base and tuned models of seed 0 answer.

    These are the models of those methods whose runs are in the ``store``.
    """
    tunings = {each.name: each.runs()[0] for each in methods}
    run = tunings[methods[0].name]
    there = {name: store.model(each) for name, each in tunings.items() if store.manifest(each, whole=False)}
    models = {"base": store.model(methods[0].pretraining), **there}

    def answer(kind: str, number: int, prompt: str) -> pd.DataFrame:
        example = ask(kind, run.task.split(), np.random.default_rng(number)).content
        return answers(models, run, prompt or example)

    wide = ipw.Layout(width="42em", max_width="100%")
    hint = f"words as in the examples, an input of at most {LONGEST} letters, {LETTERS[0]} to {LETTERS[-1]}"
    return explore(
        answer,
        [],
        dict.fromkeys(("kind", "number"), lambda _: {"prompt": ""}),  # it replaces one's own prompt
        kind=ipw.Dropdown(options=KINDS, description="example"),
        number=ipw.BoundedIntText(1, 1, 1_000, description="number", tooltip="1 to 1,000"),
        prompt=ipw.Text(description="or your own", tooltip=hint, layout=wide),
    )
