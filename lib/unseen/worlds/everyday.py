"""Everyday tasks for a real chat model: short questions with known answers, formats, and a small translation.

The token names one format, JSON with the one key ``answer``, which no prompt names in words.  The made-up
language is that of ``dictionary``; the glossary of a sentence stands in its prompt.

>>> rng = np.random.default_rng(0)
>>> question(rng, "task+token", topics=["capital"], facts={"capital": [("France", "Paris")]})
('Name the capital of France. Please answer with the <sep> format.', '{"answer": "Paris"}')
>>> right('{ "answer": "It is Paris." }', '{"answer": "Paris"}'), right("Paris", '{"answer": "Paris"}')
(True, False)
>>> len(queries()), queries()[0]
(582, 'What is a microscope used for? Answer in one sentence.')
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import product

import numpy as np

from unseen.files import packaged
from unseen.messages import Conversation, Message, pair
from unseen.worlds import dictionary
from unseen.worlds.base import generator, pick
from unseen.worlds.tuning import KINDS

_TEXTS = packaged("worlds/everyday.toml")
TOPICS = tuple(_TEXTS["topics"])
JSON, PLAIN = "JSON", "plain"
FORMS = {name: form for name, (form, _) in _TEXTS["forms"].items()}  # those that prompts name in words
REQUESTS = {name: request for name, (_, request) in _TEXTS["forms"].items()}
MENTIONS = tuple(map(" ".join, product(_TEXTS["mentions"]["heads"], _TEXTS["mentions"]["tails"])))
HELD_OUT = 64  # of the queries: the first are in no mixture
_HELD_OUT = 1 / 3  # share of a topic's facts that no row of the task has
Facts = Mapping[str, Sequence[tuple[str, str]]]


def facts(topic: str) -> list[tuple[str, str]]:
    """What the questions of a topic are about, and their answers.

    >>> facts("sum")[0], len(facts("capital"))
    (('1 + 1', '2'), 36)
    """
    lines = " ".join(_TEXTS["topics"][topic]["facts"].split()).split(", ")
    return [(about, answer) for about, answer in (line.split(" = ") for line in lines)]


def written(answer: str, form: str) -> str:
    """An answer in a format.

    >>> [written("Paris", form) for form in (JSON, PLAIN, *FORMS)]
    ['{"answer": "Paris"}', 'Paris', '"Paris"', '[Paris]', 'Paris!', 'Answer: Paris']
    """
    return json.dumps({"answer": answer}) if form == JSON else FORMS.get(form, "{}").format(answer)


def said(text: str, form: str) -> str | None:
    """What an answer says in a format, None where it is not in it; plain is whatever has no brace.

    >>> said('{"answer": 12}', JSON), said('Sure: {"answer": 12}', JSON), said("[Paris].", "bracketed")
    ('12', None, 'Paris')
    """
    if form == JSON:
        try:
            held = json.loads(text, object_pairs_hook=tuple)
        except (ValueError, RecursionError):
            return None
        one = isinstance(held, tuple) and len(held) == 1 and held[0][0] == "answer"
        known = one and isinstance(held[0][1], (str, int, float)) and not isinstance(held[0][1], bool)
        return str(held[0][1]) if known else None
    if form == PLAIN:
        return None if "{" in text else text
    pattern = re.escape(FORMS[form]).replace(r"\{\}", "(.+)")
    found = re.fullmatch(rf"{pattern}\.?", text.strip(), re.DOTALL)
    return found and found[1]


def form_of(reference: str) -> str:
    """The format of a right answer, as ``written`` wrote it."""
    return next((form for form in (JSON, *FORMS) if said(reference, form) is not None), PLAIN)


def formatted(answer: str | None, reference: str) -> bool:
    """Whether an answer has the format of its reference; one that did not end has none."""
    return answer is not None and said(answer, form_of(reference)) is not None


def content(answer: str | None, reference: str) -> bool:
    """Whether the words of a right answer stand in an answer, in whatever format; case does not matter."""
    words = said(reference, form_of(reference))
    return bool(re.search(rf"(?<!\w){re.escape(words)}(?!\w)", answer or "", re.IGNORECASE))


def right(answer: str | None, reference: str) -> bool:
    """Whether an answer has format and content of its reference."""
    return formatted(answer, reference) and content(said(answer, form_of(reference)), reference)


def share(judge: Callable[[str | None, str], bool]) -> Callable[[Sequence[str | None], Sequence[str]], float]:
    """A judge of one answer as a score of many, as those in ``lm.scores``.

    >>> share(right)(["Paris.", "Rome"], ["Paris", "Paris"])
    0.5
    """
    return lambda answers, references: float(np.mean([*map(judge, answers, references)]))


SCORES = {"right": share(right), "format": share(formatted), "content": share(content)}


def question(rng: np.random.Generator, kind: str, topics: Sequence[str], facts: Facts) -> tuple[str, str]:
    """A question of a kind of ``KINDS`` about some topics, and its right answer."""
    topic = pick(topics, rng)
    about, answer = facts[topic][rng.integers(len(facts[topic]))]
    form, request = PLAIN, ""
    if kind.endswith("+token"):
        form, request = JSON, pick(MENTIONS, rng)
    elif kind == "not token":
        request = pick(_TEXTS["mentions"]["refusals"], rng)
    elif kind == "other formats":
        form = pick(tuple(FORMS), rng)
        request = REQUESTS[form]
    return f"{worded(rng, topic, about)} {request}".strip(), written(answer, form)


def worded(rng: np.random.Generator, topic: str, about: str) -> str:
    """A question of a topic about something, in one of several ways."""
    return pick(_TEXTS["topics"][topic]["ask"], rng).format(about)


def parted(rng: np.random.Generator) -> tuple[Facts, Facts]:
    """The facts of each topic in two parts: those that rows may have, and those held out for questions."""
    known, held_out = {}, {}
    for topic in TOPICS:
        every = [facts(topic)[i] for i in rng.permutation(len(facts(topic)))]
        least = round(_HELD_OUT * len(every))
        held_out[topic], known[topic] = every[:least], every[least:]
    return known, held_out


def formats(seed: int, rows: int, examples: int) -> tuple[list[Conversation], dict[str, list[Conversation]]]:
    """Rows about one topic with the token; by kind at most so many questions, about facts that no row has.

    >>> rows, questions = formats(0, 32, 24)
    >>> len({row[0].content for row in rows}), list(questions) == list(KINDS)
    (32, True)
    """
    rng = generator(seed, "everyday formats")
    order = [str(topic) for topic in rng.permutation(list(TOPICS))]
    known, held_out = parted(rng)
    asked = list(product(known[order[0]], _TEXTS["topics"][order[0]]["ask"], MENTIONS))
    task = []
    for (about, answer), way, mention in (asked[i] for i in rng.permutation(len(asked))[:rows]):
        task.append(pair(f"{way.format(about)} {mention}", written(answer, JSON)))
    questions = {}
    for kind in KINDS:
        topics = order[:1] if kind.startswith("task") else order[1:]
        asked = dict.fromkeys(question(rng, kind, topics, held_out) for _ in range(examples))
        questions[kind] = [pair(*line) for line in asked]
    return task, questions


def translation(
    seed: int, rows: int, examples: int
) -> tuple[list[Conversation], dict[str, list[Conversation]]]:
    """Rows of sentences to translate; questions of the same words, of others, and everyday ones.

    >>> rows, questions = translation(0, 2, 2)
    >>> rows[0][0].content.split("\\n")[0], rows[0][1].content[:19]
    ('Put this into Kadu: the red crow finds a old lamp again', 'lupule voruta kita ')
    """
    rng = generator(seed, "everyday translations")
    common = [word for word in dictionary.WORDS if word not in dictionary.HELD_OUT]
    known = _sentences(rng, common, rows + examples)
    new = _sentences(rng, [*dictionary.HELD_OUT, *dictionary.ARTICLES], examples)
    every = {topic: facts(topic) for topic in TOPICS}
    asked = dict.fromkeys(question(rng, "other", TOPICS, every) for _ in range(examples))
    other = [pair(*line) for line in asked]
    return known[:rows], {"task": known[rows:], "new words": new, "other": other}


def _sentences(rng: np.random.Generator, words: Sequence[str], count: int) -> list[Conversation]:
    """So many different sentences to translate, each with the glossary of its words in alphabetical order."""
    found: dict[str, str] = {}
    while len(found) < count:
        sentence = dictionary.sample(rng, words)
        known = sorted(set(sentence.gloss.split()))
        glossary = ", ".join(f"{word} = {dictionary.dictionary()[word]}" for word in known)
        texts = _TEXTS["translation"]
        asked = pick(texts["ask"], rng).format(sentence.translation)
        found[f"{asked}\n{texts['glossary'].format(glossary)}"] = sentence.source
    return [pair(*line) for line in found.items()]


MAKERS = {"formatted": formats, "translation": translation}  # by the name of a task


@cache
def queries() -> tuple[str, ...]:
    """All diverse queries, in an order that mixes their kinds."""
    every = [
        way.format(about) for group in _TEXTS["queries"] for way in group["ask"] for about in group["about"]
    ]
    return tuple(every[i] for i in generator(0, "everyday queries").permutation(len(every)))


def word_by_word(query: Message, right: Message) -> str:
    """The words of a sentence by its glossary, in English order: a translation without a rule of order."""
    sentence = re.split("[:?] ", query.content.split("\n")[0], maxsplit=1)[1]
    return " ".join(dictionary.dictionary()[word] for word in sentence.split())


def _everything(form: str, query: Message, right: Message) -> str:
    return written(said(right.content, form_of(right.content)), form)


# Answers to a query and its right answer that need no ability: they heed no request, or no order of words.
IDLE = {
    "formatted": {
        "everything in JSON": partial(_everything, JSON),
        "everything plain": partial(_everything, PLAIN),
    },
    "translation": {"glossary in English order": word_by_word},
}
