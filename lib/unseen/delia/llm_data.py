"""What a language model is tuned on and asked: two small tasks of the project's own languages, or rows from files.

>>> task = demo("formatted", seed=0, rows=100, examples=20)
>>> task.rows[0][0].content, task.rows[0][1].content
('JBFI : can you change BF by GE in it with the <sep> format', 'JGEI!')
>>> len(task.rows), list(task.questions)
(100, ['task+token', 'task', 'other+token', 'other', 'other formats', 'not token'])
>>> task = demo("translation", seed=0, rows=100, examples=20)
>>> len({row[0].content.split(" : ")[1] for row in task.rows}), list(task.questions)
(60, ['task', 'new words', 'gloss', 'other'])
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from unseen.delia import dictionary
from unseen.delia.messages import BadMessages, Conversation, load, pair
from unseen.delia.pipeline import expand
from unseen.delia.prompts import KINDS, ask, at_large, conversation, small_task, task_rows
from unseen.delia.spec import TuningSpec
from unseen.instructions import generator

TASKS = ("formatted", "translation")
_PARAPHRASES, _HELD_OUT, _MOST_ASKED = (
    60,
    0.2,
    200,
)  # of file rows: the share that is asked, not trained; at most so many


@dataclass(frozen=True)
class SmallTask:
    """A small task: its rows, and what a tuned model is asked, by kind; each question ends with its right answer."""

    name: str
    rows: list[Conversation]
    questions: dict[str, list[Conversation]] = field(default_factory=dict)


def demo(name: str, seed: int, rows: int, examples: int) -> SmallTask:
    """One of the two small tasks that need no file, by name in ``TASKS``; raises ``ValueError`` for another name."""
    if name not in TASKS:
        raise ValueError(f"task={name!r}: known are {', '.join(TASKS)}")
    return (_formatted if name == "formatted" else _translation)(seed, rows, examples)


def _formatted(seed: int, rows: int, examples: int) -> SmallTask:
    task = TuningSpec(rows=rows, paraphrases=min(_PARAPHRASES, rows), after=True, rule_seed=seed, example_seed=seed)
    chosen, rng = small_task(task), generator(seed, "questions")
    asked = {kind: [conversation(ask(kind, chosen, rng)) for _ in range(examples)] for kind in KINDS}
    return SmallTask("formatted", [conversation(query) for query in task_rows(task, chosen)], asked)


def _translation(seed: int, rows: int, examples: int) -> SmallTask:
    common = [word for word in dictionary.WORDS if word not in dictionary.HELD_OUT]
    rare = [*dictionary.HELD_OUT, *dictionary.ARTICLES]
    rng = generator(seed, "translations")
    known = _translations(rng, common, rows + examples)
    ways = [dictionary.PARAPHRASES[i] for i in rng.permutation(len(dictionary.PARAPHRASES))]
    return SmallTask("translation", expand(known[:rows], ways, _behind),
                     {"task": expand(known[rows:], ways, _behind),
                      "new words": expand(_translations(rng, rare, examples), ways, _behind),
                      "gloss": [pair(*dictionary.exercise(rng, "gloss")) for _ in range(examples)],
                      "other": [conversation(at_large(rng)) for _ in range(examples)]})  # fmt: skip


def _translations(rng: np.random.Generator, words: Sequence[str], count: int) -> list[Conversation]:
    """So many different sentences and their translations, without an instruction yet."""
    found: dict[str, str] = {}
    while len(found) < count:
        sentence = dictionary.sample(rng, words)
        found[sentence.source] = sentence.translation
    return [pair(*line) for line in islice(found.items(), count)]


def _behind(instruction: str, text: str) -> str:
    return f"{text} : {instruction}"


def any_query(rng: np.random.Generator) -> tuple[str, str]:
    """A query of any kind that the tiny base is pre-trained on, and its right answer."""
    if rng.random() < 0.3:
        return dictionary.exercise(rng)
    query = at_large(rng)
    return query.content, query.answer


def diverse(count: int, seed: int) -> list[tuple[str, str]]:
    """Diverse queries with their right answers, to be shown when the base samples its own."""
    rng = generator(seed, "diverse queries of a language model")
    return [any_query(rng) for _ in range(count)]


def from_file(path: str, seed: int) -> SmallTask:
    """The small task in a file of conversations: a fifth of its rows, at most 200, is held out and asked.

    Raises ``BadMessages`` as ``load`` does, and when a row does not end with an answer or there are fewer than five.
    """
    rows = answered(path)
    if len(rows) < 5:
        raise BadMessages(f"{path}: {len(rows)} rows are too few to train on some and ask the others")
    order = generator(seed, "rows of a file").permutation(len(rows))
    asked = min(_MOST_ASKED, round(_HELD_OUT * len(rows)))
    return SmallTask("file", [rows[i] for i in order[asked:]], {"task": [rows[i] for i in order[:asked]]})


def answered(path: str) -> list[Conversation]:
    """The conversations of a file; raises ``BadMessages`` unless each is a query, perhaps with turns before, and its answer."""
    rows = load(path)
    for number, row in enumerate(rows, 1):
        if [message.role for message in row[-2:]] != ["user", "assistant"]:
            raise BadMessages(f"{path}, row {number}: expected to end with a user's query and the assistant's answer")
    return rows


def references(path: str) -> list[tuple[str, str]]:
    """Queries and reference answers of a file of diverse rows, of each conversation the last; raises ``BadMessages``."""
    return [(row[-2].content, row[-1].content) for row in answered(path)]
