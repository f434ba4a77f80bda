"""What a model looks at: its attention weights while it writes, and the letters it ought to look at.

Both recipes read the prompt first and then write the answer letter by letter.  The letter that is written
next stands somewhere in the prompt: in the input z where it is copied, in the rule's y where it is replaced.

Letters for shapes are those of ``model``: B examples, H heads, T tokens read, O tokens of the answer.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from unseen.datasets import Examples
from unseen.encoding import Encoding
from unseen.model import Transformer

JOBS = ("copied", "replaced")


@torch.no_grad()
def attention(model: Transformer, tokens: np.ndarray) -> list[np.ndarray]:
    """The attention weights of each layer, (B, H, T, T), over what a model reads of tokens (B, P + O).

    Row t of (T, T) tells how the t-th token read divides its attention; each row sums to 1.
    """
    record: list[torch.Tensor] = []
    device = next(model.parameters()).device
    model(torch.from_numpy(tokens).to(device, torch.long)[:, : model.shape.context], record=record)
    return [layer.float().cpu().numpy() for layer in record]


def sources(examples: Examples) -> np.ndarray:
    """The place in the prompt (B, O) at which each token of the right answer stands; -1 for end tokens.

    Before and behind the match that is a place in z, inside it a place in y; in a no-op always in z.  An enciphered
    token stands there in plain.

    >>> from unseen.datasets import draw
    >>> from unseen.instructions import Instructions
    >>> from unseen.specs import TaskSpec
    >>> task = TaskSpec(alphabet="ab", pattern_length=2, replacement_length=2, input_length=4, instructions=2,
    ...                 unseen_instructions=1)
    >>> rules = Instructions("ab", np.array([[0, 1]], np.uint8), np.array([[1, 1]], np.uint8))
    >>> one = draw(task, rules, np.array([0]), np.random.default_rng(1))
    >>> one.encoding.text(one.tokens()[0]), sources(one).tolist()
    ('ab→bb|abba=bbba.', [[3, 4, 8, 9, -1]])
    """
    encoding = examples.encoding
    x, y, z_from = encoding.pattern_length, encoding.replacement_length, _input_from(encoding)
    lines = map(examples.line, range(len(examples)))
    at = np.array([line.text.find(line.rule.pattern) for line in lines])[:, None]  # (B, 1)
    at[at < 0] = encoding.input_length  # a no-op: every letter stands before the match
    j = np.arange(encoding.answer_length)  # (O,)
    cases = [examples.answers == encoding.special("end"), j < at, j < at + y]
    return np.select(cases, [-1, z_from + j, x + 1 + j - at], z_from + x - y + j)


def _input_from(encoding: Encoding) -> int:
    """The place in the prompt at which the input z begins."""
    return encoding.prompt_length - encoding.input_length - 1


def on_source(weights: Sequence[np.ndarray], examples: Examples) -> pd.DataFrame:
    """How much of its attention each head puts on the very letter that is to be written next.

    ``weights`` are those of ``attention`` for these examples.  Columns: layer and head (from 1), job
    (``copied`` letters come from z, ``replaced`` ones from y), attention (mean share, 0 to 1).
    """
    encoding, source = examples.encoding, sources(examples)
    z_from, first = _input_from(encoding), encoding.prompt_length - 1
    written = {"copied": source >= z_from, "replaced": (source >= 0) & (source < z_from)}
    found = []
    for layer, part in enumerate(weights, start=1):
        rows = part[:, :, first:]  # (B, H, O, T): the token read before each one written
        on = np.take_along_axis(rows, np.maximum(source, 0)[:, None, :, None], 3)[..., 0]  # (B, H, O)
        for head in range(on.shape[1]):
            found += [(layer, head + 1, job, on[:, head][written[job]].mean()) for job in JOBS if written[job].any()]
    return pd.DataFrame(found, columns=["layer", "head", "job", "attention"])


def best_heads(frame: pd.DataFrame) -> pd.DataFrame:
    """For each job of ``on_source`` the row of the head that puts most attention on the right letter."""
    return frame.loc[frame.groupby("job")["attention"].idxmax()].set_index("job")


def rows_of(heads: pd.DataFrame, weights: Sequence[np.ndarray], encoding: Encoding) -> dict[str, np.ndarray]:
    """The attention (O, T) of the heads of ``best_heads`` while they write the answer of the first example.

    Named after job, layer and head; each row is the attention of the token read before one is written.
    """
    places = [(job, int(row["layer"]), int(row["head"])) for job, row in heads.iterrows()]
    return {f"{job} letters: layer {layer}, head {head}": weights[layer - 1][0, head - 1, encoding.prompt_length - 1 :]
            for job, layer, head in places}  # fmt: skip
