"""What notebooks 00 to 04 show before anything is measured: single rewrites, sets of instructions, attention.

Notebook 19's study builds on attention, and on questions to a trained model that its score does not cover.
Letters for shapes are those of ``model``: B examples, H heads, T tokens read, O tokens of the answer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.lib.stride_tricks import sliding_window_view

from unseen.evaluation import exact_match, greedy_answers
from unseen.figures import Tile, tiles
from unseen.layout import SPECIAL, Layout
from unseen.model import Transformer
from unseen.rewriting import MarkovAlgorithm, Rule
from unseen.worlds.base import Examples, generator
from unseen.worlds.rules import Instructions, Split, nearest_rules
from unseen.worlds.strings import TaskSpec
from unseen.worlds.strings import rewrite as rewrite_columns

KINDS = ("one letter, one place", "two letters, two places", "whole patterns")
SIDES = ("pattern", "replacement")
_CHUNK = 1 << 14  # texts searched at a time

# Letters: one rewrite, the run of a program


def rewrites(cases: Sequence[tuple[Rule, str]], mark: str = "") -> str:
    """Rewrites letter by letter as HTML: input above answer, each copied letter below itself.

    The match is orange, what replaces it green.  Further matches, which the rule leaves alone, are
    underlined, and so is every occurrence of ``mark``.
    """
    return "<br>".join(tiles(_rewrite(rule, text, mark)) for rule, text in cases)


def _rewrite(rule: Rule, text: str, mark: str) -> list[tuple[str, list[Tile], str]]:
    at, x, y = text.find(rule.pattern), len(rule.pattern), len(rule.replacement)
    plain, marks = [(letter, "") for letter in text], [""] * len(text)
    _underline(marks, text, mark, "unseen")
    if at < 0:
        above = list(zip(text, marks, strict=True))
        return [("input", above, f"{rule}   (no-op)"), ("answer", plain, "")]
    _underline(marks, text, rule.pattern, "pattern", at + x)
    _mark(marks, at, x, "pattern")
    above, gap = list(zip(text, marks, strict=True)), [("", "")]
    above[at + x : at + x] = gap * (y - x)  # match and replacement share the longer one's columns
    put = [*[(letter, "replacement") for letter in rule.replacement], *gap * (x - y)]
    return [("input", above, str(rule)), ("answer", [*plain[:at], *put, *plain[at + x :]], "")]


def _mark(marks: list[str], start: int, length: int, name: str) -> None:
    marks[start : start + length] = [f"{mark} {name}" for mark in marks[start : start + length]]


def _underline(marks: list[str], text: str, part: str, name: str, start: int = 0) -> None:
    """Mark every occurrence of a part from a place on."""
    for found in re.compile(re.escape(part)).finditer(text, start) if part else ():
        _mark(marks, found.start(), len(part), f"_{name}")


def tape(program: MarkovAlgorithm, text: str, limit: int = 40) -> str:
    """The run of a Markov algorithm as HTML: a row per step, with the rule that wrote it.

    Orange is what the next step replaces, a green line marks what the last step wrote.
    Raises ``StepLimitExceeded`` when it takes more than ``limit`` steps.
    """
    steps, rows = list(program.steps(text, limit)), []
    for number in range(len(steps) + 1):
        shown, note = (steps[number - 1].text, str(steps[number - 1].rule)) if number else (text, "start")
        marks = [""] * len(shown)
        if number < len(steps):
            _mark(marks, steps[number].position, len(steps[number].rule.pattern), "pattern")
        if number:
            _mark(marks, steps[number - 1].position, len(steps[number - 1].rule.replacement), "_replacement")
        rows.append((str(number), list(zip(shown, marks, strict=True)), note + "   (empty)" * (not shown)))
    return tiles(rows)


# Sets of instructions: what a training set shows, how near it comes to unseen rules


def coverage(patterns: np.ndarray, letters: int, sizes: Sequence[int]) -> pd.DataFrame:
    """Which share of everything possible the first I patterns show, for each I of ``sizes``.

    ``patterns`` (R, |x|) are different letter ids below ``letters``.  Counted are single letters at their
    place in the pattern, pairs of letters at two places (neighbours or not), and whole patterns.
    Columns: instructions, kind (one of ``KINDS``), share, possible (how many there are in all).

    >>> patterns = np.array([[0, 0], [0, 1], [1, 1], [1, 0]])     # aa ab bb ba
    >>> frame = coverage(patterns, 2, [1, 3])
    >>> frame.loc[frame["instructions"] == 3, "share"].tolist()
    [1.0, 0.75, 0.75]
    """
    ids, length = patterns.astype(np.int64), patterns.shape[1]
    singles = [_first_shown(ids[:, i], letters) for i in range(length)]
    two = [ids[:, i] * letters + ids[:, j] for i, j in combinations(range(length), 2)]
    pairs = [_first_shown(codes, letters**2) for codes in two]
    found = []
    for size in sizes:
        for kind, first in zip(KINDS, (singles, pairs), strict=False):
            if first:  # a pattern of one letter holds no pair
                found.append((size, kind, float((np.array(first) < size).mean()), sum(map(len, first))))
        found.append((size, KINDS[-1], size / letters**length, letters**length))
    return pd.DataFrame(found, columns=["instructions", "kind", "share", "possible"])


def _first_shown(codes: np.ndarray, possible: int) -> np.ndarray:
    """The index (possible,) at which each code below it first occurs in ``codes`` (R,); R if never."""
    first = np.full(possible, len(codes))
    np.minimum.at(first, codes, np.arange(len(codes)))
    return first


def coverage_frame(task: TaskSpec, sizes: Sequence[int], seeds: Sequence[int]) -> pd.DataFrame:
    """``coverage`` of the training patterns that several rule seeds draw; one more column, seed."""
    letters, sets = len(task.alphabet), {seed: _largest(task, sizes, seed).seen.patterns for seed in seeds}
    parts = [coverage(patterns, letters, sizes).assign(seed=seed) for seed, patterns in sets.items()]
    return pd.concat(parts, ignore_index=True)


def distance_frame(
    task: TaskSpec, sizes: Sequence[int], seeds: Sequence[int], rules: int = 500
) -> pd.DataFrame:
    """How far the first ``rules`` unseen rules are from the training rule with the most similar pattern.

    Columns: instructions, seed, side, distance, share.  ``distance`` counts letters that differ (Hamming),
    for the side ``pattern`` between the two patterns, for ``replacement`` between the two replacements.

    >>> task = TaskSpec(alphabet="abcdef", instructions=3, unseen_instructions=2)
    >>> distance_frame(task, [3], [0]).groupby("side")["share"].sum().tolist()
    [1.0, 1.0]
    """
    found = []
    for seed in seeds:
        split = _largest(task, sizes, seed)
        unseen = split.unseen[:rules]
        for size in sizes:
            for side, distances in zip(SIDES, distances_to_nearest(unseen, split.seen[:size]), strict=True):
                shares = np.bincount(distances, minlength=getattr(task, f"{side}_length") + 1) / len(unseen)
                found += [(size, seed, side, distance, share) for distance, share in enumerate(shares)]
    return pd.DataFrame(found, columns=["instructions", "seed", "side", "distance", "share"])


def _largest(task: TaskSpec, sizes: Sequence[int], seed: int) -> Split:
    """One draw serves every number of instructions: a smaller set is the beginning of the largest."""
    largest = max(sizes)
    return task.but(instructions=largest, examples=max(task.examples, largest), rule_seed=seed).split()


def distances_to_nearest(rules: Instructions, known: Instructions) -> tuple[np.ndarray, np.ndarray]:
    """How many letters of each rule's pattern, and of its replacement, differ from those of its nearest rule.

    That is the known rule with the most similar pattern.  Two arrays (R,).

    >>> known = Instructions("abc", np.array([[0, 0], [1, 1]]), np.array([[2, 2], [2, 0]]))  # aa->cc bb->ca
    >>> distances_to_nearest(Instructions("abc", np.array([[1, 2]]), np.array([[0, 0]])), known)  # bc->aa
    (array([1]), array([1]))
    """
    nearest = nearest_rules(rules.patterns, known)
    pattern = (rules.patterns != known.patterns[nearest]).sum(1)
    return pattern, (rules.replacements != known.replacements[nearest]).sum(1)


def holding(texts: np.ndarray, strings: np.ndarray) -> np.ndarray:
    """Whether each text (N, L) holds at least one of the strings (R, l), anywhere: (N,), bool.

    >>> holding(np.array([[0, 1, 2], [2, 2, 2]]), np.array([[1, 2], [0, 0]])).tolist()
    [True, False]
    """
    length, searched, found = strings.shape[1], _words(strings), []
    for start in range(0, len(texts), _CHUNK):
        windows = sliding_window_view(texts[start : start + _CHUNK], length, axis=1)
        found.append(np.isin(_words(windows), searched).any(1))
    return np.concatenate(found)


def _words(strings: np.ndarray) -> np.ndarray:
    """One comparable value per row of letters (..., l) -> (...): its bytes, shifted so that none is zero."""
    return np.ascontiguousarray(strings + 1, dtype=np.uint8).view(f"S{strings.shape[-1]}")[..., 0]


# Attention: a letter to be written occurs in the prompt, in z where it is copied, in y where it is replaced


@torch.no_grad()
def attention(model: Transformer, tokens: np.ndarray) -> list[np.ndarray]:
    """The attention weights of each layer, (B, H, T, T), over what a model reads of tokens (B, P + O).

    Row t of (T, T) is how the t-th token read divides its attention; each row sums to 1.
    """
    record: list[torch.Tensor] = []
    device = next(model.parameters()).device
    model(torch.from_numpy(tokens).to(device, torch.long)[:, : model.shape.context], record=record)
    return [layer.float().cpu().numpy() for layer in record]


def sources(examples: Examples) -> np.ndarray:
    """The place in the prompt (B, O) of each token of the right answer; -1 for end tokens.

    Before and after the match that is a place in z, inside it a place in y; in a no-op always in z.  The
    source of an enciphered token is its plain letter.

    >>> task = TaskSpec(alphabet="ab", pattern_length=2, replacement_length=2, input_length=4, instructions=2,
    ...                 unseen_instructions=1)
    >>> rules = Instructions("ab", np.array([[0, 1]], np.uint8), np.array([[1, 1]], np.uint8))
    >>> one = task.draw(rules, np.array([0]), np.random.default_rng(1))
    >>> one.layout.text(one.tokens()[0]), sources(one).tolist()
    ('ab→bb|abba=bbba.', [[3, 4, 8, 9, -1]])
    """
    layout = examples.layout
    x, y = layout.pattern_length, layout.replacement_length
    lines = map(examples.line, range(len(examples)))
    at = np.array([line.text.find(line.rule.pattern) for line in lines])[:, None]  # (B, 1)
    at[at < 0] = layout.input_length  # a no-op: every letter stands before the match
    j = np.arange(layout.answer_length)  # (O,)
    cases = [examples.answers == layout.special("end"), j < at, j < at + y]
    return np.select(cases, [-1, x + y + 2 + j, x + 1 + j - at], 2 * x + 2 + j)  # z begins at x + y + 2


def on_source(weights: Sequence[np.ndarray], examples: Examples) -> pd.DataFrame:
    """How much of its attention each head puts on the very letter that is to be written next.

    ``weights`` are those of ``attention`` for these examples.  Columns: layer and head (from 1), job
    (``copied`` letters come from z, ``replaced`` ones from y), attention (mean share, 0 to 1).
    """
    layout, source = examples.layout, sources(examples)
    first = layout.prompt_length - 1
    in_z = source >= first - layout.input_length
    written = {"copied": in_z, "replaced": (source >= 0) & ~in_z}
    found = []
    for layer, part in enumerate(weights, start=1):
        rows = part[:, :, first:]  # (B, H, O, T): the token read before each one written
        on = np.take_along_axis(rows, np.maximum(source, 0)[:, None, :, None], 3)[..., 0]  # (B, H, O)
        for head in range(on.shape[1]):
            shares = {job: on[:, head][where].mean() for job, where in written.items() if where.any()}
            found += [(layer, head + 1, job, share) for job, share in shares.items()]
    return pd.DataFrame(found, columns=["layer", "head", "job", "attention"])


def best_heads(frame: pd.DataFrame) -> pd.DataFrame:
    """For each job of ``on_source`` the row of the head that puts most attention on the right letter."""
    return frame.loc[frame.groupby("job")["attention"].idxmax()].set_index("job")


def rows_of(heads: pd.DataFrame, weights: Sequence[np.ndarray], layout: Layout) -> dict[str, np.ndarray]:
    """The attention (O, T) of the heads of ``best_heads`` while they write the answer of the first example.

    Named after job, layer and head; each row is the attention of the token read before one is written.
    """
    found, first = {}, layout.prompt_length - 1
    for job, row in heads.iterrows():
        layer, head = int(row["layer"]), int(row["head"])
        found[f"{job} letters: layer {layer}, head {head}"] = weights[layer - 1][0, head - 1, first:]
    return found


# Questions to a trained model: a rule of one's own, changed instructions, worlds it has never seen


def one_example(layout: Layout, rule: Rule, text: str) -> Examples:
    """A rule and an input of one's own as examples (B = 1).

    Raises ``ValueError`` where they, or their answer, do not fit the layout.

    >>> one_example(TaskSpec().layout, Rule("iss", "art"), "kissmeonce").line(0).answer
    'kartmeonce'
    """
    prompt, answer = layout.prompt(rule, text), rule.apply(text)
    if len(answer) >= layout.answer_length:
        raise ValueError(
            f"answer: {len(answer)} letters, but this model writes at most {layout.answer_length - 1}"
        )
    answers = layout.ids(answer.ljust(layout.answer_length, SPECIAL["end"]))[None]
    rules, applies = np.zeros(1, np.int32), np.array([rule.applies_to(text)])
    return Examples(layout, layout.ids(prompt)[None], answers, rules, applies)


def changed_instructions(task: TaskSpec, size: int = 500) -> tuple[Examples, Examples]:
    """Training patterns with the replacements of *other* training rules: what is right now, and what was.

    Two sets of examples with the same prompts; the answers of the second put in what the training rule of
    that pattern would.

    >>> task = TaskSpec(alphabet="abcdef", instructions=3, unseen_instructions=2)
    >>> now, before = changed_instructions(task, size=2)
    >>> [(line.rule.replacement in line.answer) for line in (now.line(0), before.line(0))]
    [True, False]
    """
    seen = task.split().seen
    other = Instructions(seen.alphabet, seen.patterns, np.roll(seen.replacements, 1, axis=0))
    now = task.draw(other, np.arange(size) % len(seen), generator(2_000_000, "changed instructions"))
    layout, x, y = now.layout, seen.patterns[now.rule].T, seen.replacements[now.rule].T
    before = rewrite_columns(x, y, now.inputs.T, layout.answer_length, layout.special("end")).T
    return now, replace(now, answers=before)


def follows_or_recites(model: Transformer, task: TaskSpec, size: int = 500) -> dict[str, float]:
    """The shares of ``changed_instructions`` answered as the prompt says, and as the model was trained to."""
    now, before = changed_instructions(task, size)
    answers = greedy_answers(model, now.prompts)
    follows, recites = (float(exact_match(answers, each).mean()) for each in (now, before))
    return {"follows the prompt": follows, "recites": recites}


def other_worlds(
    model: Transformer, task: TaskSpec, worlds: Mapping[str, Mapping[str, Any]], size: int = 500
) -> pd.DataFrame:
    """Answers to unseen rules in worlds that differ from ``task`` in some fields; lengths must stay the same.

    Columns: world, exact match, and the share of answers in which *every* x was replaced.
    """
    unseen, found = task.split().unseen, []
    for name, changes in worlds.items():
        rng = generator(2_000_000, name)
        examples = task.but(**changes).draw(unseen, np.arange(size) % len(unseen), rng)
        answers = greedy_answers(model, examples.prompts)
        lines = [examples.line(i) for i in range(size)]
        everywhere = [line.text.replace(line.rule.pattern, line.rule.replacement) for line in lines]
        same = np.array(everywhere) == [examples.layout.answer(answer) for answer in answers]
        found.append((name, exact_match(answers, examples).mean(), same.mean()))
    return pd.DataFrame(found, columns=["world", "exact match", "every x replaced"])
