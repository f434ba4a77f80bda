"""Self-sampled rows on disk, in blocks of a thousand queries: ``runs/samples/<run>-<temperature>-<top-p>-<names>/<block>.jsonl``.

Beside each block lie its counts and the hash of its rows, written last; a block that has them is done.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unseen.delia.messages import Conversation, as_text, load
from unseen.delia.pipeline import Samples
from unseen.delia.spec import TuningSpec
from unseen.disk.files import BrokenRun, hash_of, read_json, runs_folder, write
from unseen.errors import NotFinished

BLOCK = 1_000  # queries that are sampled at a time
SPARE = 0.1  # how many more blocks than rows ask for, since some samples are malformed or rejected
COUNTS = ("kept", "malformed", "rejected")


def folder_of(task: TuningSpec) -> Path:
    """Where the samples that a task mixes lie."""
    return runs_folder() / "samples" / f"{task.source}-{task.temperature:g}-{task.top_p:g}-{task.names}"


def blocks_for(rows: int) -> int:
    """How many blocks are sampled for so many rows.

    >>> blocks_for(500), blocks_for(26_000)
    (1, 29)
    """
    return -(-int(rows * (1 + SPARE)) // BLOCK)


def keep(folder: Path, block: int, samples: Samples) -> None:
    """Write a block, its counts last; raises ``CannotWrite``."""
    found = write(folder / f"{block:03}.jsonl", as_text(samples.rows))
    numbers = len(samples.rows), samples.malformed, samples.rejected
    write(folder / f"{block:03}.json", json.dumps(dict(zip(COUNTS, numbers, strict=True)) | {"sha256": found}))


def done(folder: Path, block: int) -> bool:
    """Whether a block was sampled to its end."""
    return (folder / f"{block:03}.json").is_file()


def counts(folder: Path, blocks: int) -> dict[str, int]:
    """How many samples of the first blocks were kept, malformed and rejected; raises ``BrokenRun``."""
    notes = [_note(folder / f"{block:03}.json") for block in range(blocks)]
    return {name: sum(note[name] for note in notes) for name in COUNTS}


def _note(path: Path) -> dict[str, Any]:
    """The counts of a block that is done, and the hash of its rows; raises ``BrokenRun``."""
    try:
        note = read_json(path)
    except ValueError as error:
        raise _broken(path) from error
    counted = isinstance(note, dict) and all(isinstance(note.get(name), int) and note[name] >= 0 for name in COUNTS)
    if not counted or not isinstance(note.get("sha256"), str):
        raise _broken(path)
    return note


def rows_of(folder: Path, block: int) -> list[Conversation]:
    """The rows of a block that is done; raises ``BrokenRun`` when they are not what was written."""
    path, note = folder / f"{block:03}.jsonl", _note(folder / f"{block:03}.json")
    if not path.is_file() or hash_of(path) != note["sha256"]:
        raise _broken(path)
    if len(rows := load(path)) != note["kept"]:
        raise _broken(path.with_suffix(".json"))
    return rows


def _broken(path: Path) -> BrokenRun:
    return BrokenRun(f"{path} is not what was written; delete {path.with_suffix('.json')} to sample that block again")


def stored(task: TuningSpec) -> Sequence[Conversation]:
    """The self-sampled rows that a task mixes: the first of them, as many as it asks for.

    Raises ``NotFinished`` when they were not sampled yet, ``BrokenRun`` when a block is not what was written.
    """
    folder, wanted, rows = folder_of(task), task.ratio * task.rows, []
    for block in range(blocks_for(wanted)):
        if not done(folder, block):
            raise NotFinished(
                f"{folder} lacks block {block}: sample {wanted:,} rows first (delia.sampling.ensure_samples)"
            )
        rows += rows_of(folder, block)
    if len(rows) < wanted:
        raise NotFinished(
            f"{folder}: {len(rows):,} samples were kept of the {wanted:,} asked for; the base may be too weak"
        )
    return rows[:wanted]
