"""Self-sampled rows on disk: ``runs/samples/<source>/<block>/`` has those of a thousand queries."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unseen import once
from unseen.errors import NotFinished
from unseen.files import runs_folder
from unseen.messages import Conversation, Samples, load, save

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
    """The counts of a block, sampled now if it is not there; raises as ``once`` and ``sample`` do."""

    def make(place: Path) -> dict[str, int]:
        found = sample()
        save(place / "rows.jsonl", found.rows)
        return {"kept": len(found.rows), "malformed": found.malformed, "rejected": found.rejected}

    return once.once(folder / f"{block:03}", {"block": block}, make)


def counts(folder: Path, block: int) -> dict[str, Any] | None:
    """The counts of a block, None where it was not sampled yet; raises ``BrokenRun``."""
    return once.done(folder / f"{block:03}", {"block": block})


def rows_of(folder: Path, block: int) -> list[Conversation]:
    """The rows of a block; raises ``NotFinished`` when it was not sampled yet, ``BrokenRun``."""
    if counts(folder, block) is None:
        raise NotFinished(f"{folder} lacks block {block}: sample it first (ensure_samples)")
    return load(folder / f"{block:03}" / "rows.jsonl")


def stored(task: Any) -> Sequence[Conversation]:
    """The self-sampled rows that a ``TuningSpec`` mixes: the first ones, as many as it needs.

    Raises ``NotFinished`` when they were not sampled yet, ``BrokenRun`` when a block is not what was written.
    """
    folder, needed = folder_of(task), task.ratio * task.rows
    rows = [row for block in range(blocks_for(needed)) for row in rows_of(folder, block)]
    if len(rows) < needed:
        raise NotFinished(
            f"{folder}: {len(rows):,} of {needed:,} samples were kept; the base may be too weak"
        )
    return rows[:needed]
