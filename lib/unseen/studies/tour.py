"""What notebooks 00 to 04 show before anything is measured: single rewrites, attention, changed instructions.

Notebook 19's study builds on attention, and on instructions that a model knows with another replacement.
Letters for shapes are those of ``model``: B examples, H heads, T tokens read, O tokens of the answer.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from unseen.evaluation import exact_match, greedy_answers
from unseen.figures import Tile, tiles
from unseen.layout import Layout
from unseen.model import Transformer
from unseen.rewriting import Rule
from unseen.worlds.base import Examples, generator
from unseen.worlds.rules import Instructions
from unseen.worlds.strings import TaskSpec, leftmost, rewrite

Span = tuple[str, int, int]  # a mark of ``figures.tiles``, the place where it begins, and its length

# Letters of one rewrite


def marked(text: str, *spans: Span) -> list[Tile]:
    """The letters of a text, each with the marks of the spans that it lies in.

    >>> marked("cat", ("pattern", 1, 2), ("_wrong", 2, 1))
    [('c', ''), ('a', 'pattern'), ('t', 'pattern _wrong')]
    """
    return [
        (letter, " ".join(mark for mark, start, size in spans if start <= place < start + size))
        for place, letter in enumerate(text)
    ]


def rewrites(cases: Sequence[tuple[Rule, str]], mark: str = "") -> str:
    """Rewrites letter by letter as HTML: input above answer, each copied letter below itself.

    The match is orange, what replaces it green.  Further matches, which the rule leaves alone, are
    underlined, and so is every occurrence of ``mark``.
    """
    return "<br>".join(tiles(_rewrite(rule, text, mark)) for rule, text in cases)


def _rewrite(rule: Rule, text: str, mark: str) -> list[tuple[str, list[Tile], str]]:
    at, x, y = text.find(rule.pattern), len(rule.pattern), len(rule.replacement)
    spans = _occurrences(text, mark, "_unseen")
    if at < 0:
        return [("input", marked(text, *spans), f"{rule}   (no-op)"), ("answer", marked(text), "")]
    spans += [("pattern", at, x), *_occurrences(text, rule.pattern, "_pattern", at + x)]
    above, below, gap = marked(text, *spans), marked(rule.apply(text), ("replacement", at, y)), [("", "")]
    above[at + x : at + x] = gap * (y - x)  # match and replacement share the longer one's columns
    below[at + y : at + y] = gap * (x - y)
    return [("input", above, str(rule)), ("answer", below, "")]


def _occurrences(text: str, part: str, mark: str, start: int = 0) -> list[Span]:
    """Every occurrence of a part from a place on."""
    found = re.compile(re.escape(part)).finditer(text, start) if part else ()
    return [(mark, each.start(), len(part)) for each in found]


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


def match_places(examples: Examples) -> np.ndarray:
    """Where in z the leftmost match begins, (B,); -1 in a no-op."""
    x = examples.prompts[:, examples.layout.place("x")]
    return leftmost(x.T, examples.inputs.T, absent=-1)


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
    at = match_places(examples)[:, None]  # (B, 1)
    at[at < 0] = layout.input_length  # a no-op: every letter stands before the match
    j = np.arange(layout.answer_length)  # (O,)
    cases = [examples.answers == layout.special("end"), j < at, j < at + y]
    y0, z0 = layout.place("y").start, layout.place("z").start
    return np.select(cases, [-1, z0 + j, y0 + j - at], z0 + j + x - y)


def on_source(weights: Sequence[np.ndarray], examples: Examples) -> pd.DataFrame:
    """How much of its attention each head puts on the very letter that is to be written next.

    ``weights`` are those of ``attention`` for these examples.  Columns: layer and head (from 1), job
    (``copied`` letters come from z, ``replaced`` ones from y), attention (mean share, 0 to 1).
    """
    layout, source = examples.layout, sources(examples)
    first = layout.prompt_length - 1
    in_z = source >= layout.place("z").start
    written = {"copied": in_z, "replaced": (source >= 0) & ~in_z}
    found = []
    for layer, part in enumerate(weights, start=1):
        rows = part[:, :, first:]  # (B, H, O, T): the token read before each one written
        on = np.take_along_axis(rows, np.maximum(source, 0)[:, None, :, None], 3)[..., 0]  # (B, H, O)
        for head in range(on.shape[1]):
            shares = {job: on[:, head][where].mean() for job, where in written.items() if where.any()}
            found += [(layer, head + 1, job, share) for job, share in shares.items()]
    return pd.DataFrame(found, columns=["layer", "head", "job", "attention"])


# Instructions of one's own, and changed ones


def one_example(layout: Layout, rule: Rule, text: str) -> Examples:
    """A rule and an input of one's own as examples (B = 1).

    Raises ``ValueError`` where they, or their answer, do not fit the layout.

    >>> one_example(TaskSpec().layout, Rule("iss", "art"), "kissmeonce").line(0).answer
    'kartmeonce'
    """
    pair = layout.prompt(rule, text), rule.apply(text)
    return Examples.of(layout, [pair], applies=np.array([rule.applies_to(text)]))


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
    before = rewrite(x, y, now.inputs.T, layout).T
    return now, replace(now, answers=before)


def follows_or_recites(model: Transformer, task: TaskSpec) -> dict[str, float]:
    """The shares of ``changed_instructions`` answered as the prompt says, and as the model was trained to."""
    now, before = changed_instructions(task)
    answers = greedy_answers(model, now.prompts)
    follows, recites = (float(exact_match(answers, each).mean()) for each in (now, before))
    return {"follows the prompt": follows, "recites": recites}
