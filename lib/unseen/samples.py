"""Self-sampled rows on disk, in blocks of a thousand queries: ``runs/samples/<source>/<block>/``, each kept once.

A block holds ``rows.jsonl`` and a manifest with its counts.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unseen.disk.files import runs_folder
from unseen.errors import NotFinished
from unseen.messages import Conversation, Samples, load, save
from unseen.runs import once

BLOCK = 1_000  # queries that are sampled at a time
SPARE = 0.1  # share of additional blocks, since some samples are malformed or rejected
COUNTS = ("kept", "malformed", "rejected")


def folder_of(task: Any) -> Path:
    """Where the samples lie that a ``TuningSpec`` mixes."""
    return runs_folder() / "samples" / f"{task.source}-{task.temperature:g}-{task.top_p:g}-{task.names}"


def blocks_for(rows: int) -> int:
    """How many blocks are sampled for so many rows.

    >>> blocks_for(500), blocks_for(26_000)
    (1, 29)
    """
    return -(-int(rows * (1 + SPARE)) // BLOCK)


def ensure(folder: Path, block: int, sample: Callable[[], Samples]) -> dict[str, Any]:
    """The counts of a block, sampled now if it is not there; raises ``BrokenRun``, ``CannotWrite``, and as ``sample``."""

    def make(place: Path) -> dict[str, int]:
        found = sample()
        save(place / "rows.jsonl", found.rows)
        return {"kept": len(found.rows), "malformed": found.malformed, "rejected": found.rejected}

    return once.once(folder / f"{block:03}", {"block": block}, make)


def done(folder: Path, block: int) -> bool:
    """Whether a block was sampled."""
    return (folder / f"{block:03}" / "manifest.json").is_file()


def counts(folder: Path, blocks: int) -> dict[str, int]:
    """How many samples of the first blocks were kept, malformed and rejected; raises ``BrokenRun``."""
    notes = [_manifest(folder, block) for block in range(blocks)]
    return {name: sum(note[name] for note in notes) for name in COUNTS}


def rows_of(folder: Path, block: int) -> list[Conversation]:
    """The rows of a block; raises ``NotFinished``, or ``BrokenRun`` when they are not what was written."""
    _manifest(folder, block)
    return load(folder / f"{block:03}" / "rows.jsonl")


def _manifest(folder: Path, block: int) -> dict[str, Any]:
    found = once.done(folder / f"{block:03}", {"block": block})
    if found is None:
        raise NotFinished(f"{folder} lacks block {block}")
    return found


def stored(task: Any) -> Sequence[Conversation]:
    """The self-sampled rows that a ``TuningSpec`` mixes: the first ones, as many as it needs.

    Raises ``NotFinished`` when they were not sampled yet, ``BrokenRun`` when a block is not what was written.
    """
    folder, needed, rows = folder_of(task), task.ratio * task.rows, []
    for block in range(blocks_for(needed)):
        if not done(folder, block):
            raise NotFinished(
                f"{folder} lacks block {block}: sample {needed:,} rows first (sampling.ensure_samples)"
            )
        rows += rows_of(folder, block)
    if len(rows) < needed:
        raise NotFinished(
            f"{folder}: {len(rows):,} samples were kept of the {needed:,} needed; the base may be too weak"
        )
    return rows[:needed]
