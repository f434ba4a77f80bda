"""``unseen choose``: rows of a user's own pool, chosen by a method of the arena that trains nothing.

Rows are conversations (see ``messages``).  Their vectors are the mean last states of a local language model,
or without one bags of letter and word n-grams; they are computed a block of rows at a time and kept, so a
second choice of the same pool, or one that was interrupted, does not compute them again.
"""

import errno
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from unseen.errors import Explained
from unseen.files import absolute, brief, cannot_write, resolved, runs_folder, seal, write
from unseen.lm.chat import ids_of, unhurried
from unseen.lm.load import Loaded, checked, fingerprint, load
from unseen.messages import as_text, located
from unseen.once import content, once
from unseen.studies.arena.bags import bags
from unseen.studies.arena.methods import METHODS, options_of
from unseen.studies.arena.novelty import mean_distance
from unseen.studies.arena.plain import units

OFFERED = ("random", "longest", "k-center", "novelselect", "kmq", "sae", "random-directions")
TOKENS = 256  # of a row that a model reads at most, as published for NovelSelect
_BLOCK, _AT_ONCE = 1_000, 16  # rows that are kept together; rows that a model reads at a time
_COMPARED = 1_000  # random rows beside which the chosen ones are held


class BadChoice(Explained, ValueError):
    """Nothing can be chosen like this; the message names the value, and what is allowed."""


def choose(
    pool: Path, method: str, keep: int, out: Path, model: str = "", seed: int = 0,
    parameters: dict[str, str] | None = None, say: Callable[[str], Any] = print,
) -> Path:  # fmt: skip
    """Write ``keep`` rows of a pool to ``out`` and, beside it, a table of what was chosen and why.

    Returns the path of the table: order, row and line of the pool, cosine ``distance`` to the nearest row
    chosen before, that row, and how the text begins.  Before any work it raises ``BadMessages`` for bad rows,
    ``BadChoice`` for an unknown method or parameter or an impossible number, ``BadBase`` for a folder
    that is no model.
    """
    if method not in OFFERED:
        raise BadChoice(f"method={method!r}: known methods are {', '.join(OFFERED)}")
    options = options_of(method, parameters or {})
    out = absolute(out, "out")
    beside = out.with_suffix(".csv")
    _check_out(out, beside, absolute(pool, "pool"))
    folder = checked(model) if model else None
    places, rows = zip(*located(pool), strict=True)
    if not 1 <= keep <= len(rows):
        raise BadChoice(f"keep={keep}: must be at least 1 and at most {len(rows):,}, the rows of {pool}")
    texts = ["\n".join(message.content for message in row) for row in rows]
    began = time.monotonic()
    x = vectors(texts, folder, say)
    if method == "novelselect":
        options |= {"say": unhurried(say)}
    reads = np.array([[len(text)] for text in texts]) if method == "longest" else x
    chosen = METHODS[method](reads, keep, seed, **options)
    write(out, as_text(rows[i] for i in chosen))
    table = _table(chosen, x, places, texts)
    write(beside, table.to_csv(index=False, lineterminator="\n", float_format="%.4g"))
    say(_summary(chosen, x, seed, time.monotonic() - began))
    return beside


def _check_out(out: Path, beside: Path, pool: Path) -> None:
    """Raise ``BadChoice`` or ``CannotWrite`` unless rows and table can be written, and not over the pool."""
    if out == beside:
        raise BadChoice(f"out={str(out)!r}: the table beside the rows gets that name; end it in .jsonl")
    if resolved(pool) in (resolved(out), resolved(beside)):
        raise BadChoice(f"out={str(out)!r} would write over the pool itself ({pool}); name another file")
    for path in (out, beside):
        if path.is_dir():
            raise BadChoice(f"out={str(out)!r}: {path} is a folder; name a file in it, as in rows.jsonl")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    if not os.access(out.parent, os.W_OK):
        raise cannot_write(out, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def vectors(texts: Sequence[str], folder: Path | None, say: Callable[[str], Any]) -> np.ndarray:
    """The vectors (n, d), float32, of texts, a block at a time: read where they are kept, else computed."""
    whole, loaded = unhurried(say), []
    if folder is None:
        say("no model is given: rows are compared by bags of their letters and words (--model FOLDER)")

    def of(block: Sequence[str]) -> np.ndarray:
        if folder is None:
            return bags(block)
        loaded.append(loaded[0] if loaded else load(folder))
        return embedded(loaded[0], block)

    reads = fingerprint(folder) if folder else "bags"
    parts = []
    for start in range(0, len(texts), _BLOCK):
        parts.append(_kept(texts[start : start + _BLOCK], reads, of))
        whole(f"{min(start + _BLOCK, len(texts)):,} of {len(texts):,} rows have vectors")
    return np.concatenate(parts)


def _kept(texts: Sequence[str], reads: str, of: Callable[[Sequence[str]], np.ndarray]) -> np.ndarray:
    about = {"rows": hashlib.sha256("\0".join(texts).encode()).hexdigest(), "reads": reads}
    folder = runs_folder() / "vectors" / seal(about)[:16]

    def make(place: Path) -> dict[str, Any]:
        found = np.ascontiguousarray(of(texts), np.float32)
        write(place / "vectors.f32", found.tobytes())
        return about | {"shape": list(found.shape)}

    manifest = once(folder, about, make)
    return np.frombuffer(content(folder, "vectors.f32", manifest), np.float32).reshape(manifest["shape"])


@torch.no_grad()
def embedded(loaded: Loaded, texts: Sequence[str]) -> np.ndarray:
    """The mean of a model's last states over the first ``TOKENS`` tokens of each text: (n, d)."""
    most = min(TOKENS, loaded.longest or TOKENS)
    ids = [row[:most] or [loaded.pad] for row in ids_of(loaded, list(texts))]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))  # so that little is padding
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(order), _AT_ONCE):
        rows = order[start : start + _AT_ONCE]
        read = loaded.batch([ids[row] for row in rows])
        mask = read["attention_mask"]
        states = loaded.last_states(read) * mask[..., None]  # (n, T, d)
        found |= dict(zip(rows, (states.sum(1) / mask.sum(1, keepdim=True)).cpu().numpy(), strict=True))
    return np.stack([found[row] for row in range(len(ids))])


def _table(chosen: np.ndarray, x: np.ndarray, places: Sequence[str], texts: Sequence[str]) -> pd.DataFrame:
    """A row per chosen row, in the order of choosing; see ``choose``."""
    unit = units(x[chosen])
    apart = 1 - unit @ unit.T
    apart[np.triu_indices(len(chosen))] = np.inf  # those chosen later, and itself
    nearest = apart.argmin(1)
    first = np.arange(len(chosen)) == 0
    return pd.DataFrame({
        "order": np.arange(1, len(chosen) + 1),
        "row": chosen + 1,
        "place": [places[row].rpartition(", ")[2] for row in chosen],
        "distance": np.where(first, np.nan, apart.min(1)),
        "nearest row": pd.Series(chosen[nearest] + 1, dtype="Int64").mask(first),
        "text": [brief(texts[row], 60) for row in chosen],
    })  # fmt: skip


def _summary(chosen: np.ndarray, x: np.ndarray, seed: int, seconds: float) -> str:
    rng = np.random.default_rng(seed)
    some = rng.choice(len(x), min(_COMPARED, len(x)), replace=False)
    apart, beside = mean_distance(x[chosen]), mean_distance(x[some])
    again = len(chosen) - len(set(chosen.tolist()))
    twice = f"; {again:,} of them are repeats" if again else ""
    return (f"{len(chosen):,} of {len(x):,} rows chosen in {seconds:.0f} s{twice}; mean distance of two "
            f"chosen rows {apart:.3f}, of two random rows {beside:.3f}")  # fmt: skip
