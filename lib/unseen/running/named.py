"""A sweep with a name: a table of runs, what became of each, in a folder of its own under the runs folder.

The runs themselves lie in the store like all others, so two sweeps share what they have in common.
"""

import io
import json
from functools import partial
from pathlib import Path

import pandas as pd

from unseen.disk.checkpoints import SpecChanged
from unseen.disk.files import BrokenRun, brief, parse, read, runs_folder, write
from unseen.disk.names import BadName, check_name, shown
from unseen.running.inventory import entry
from unseen.running.workers import Executor
from unseen.specs import RunSpec, differences
from unseen.store import Store
from unseen.sweep import about, fill, manifests, rows

_LARGEST, _LONGEST, SHOWN = 2**28, 10_000, 20  # bytes of a ``sweep.json`` and of its lines; changed rows that are told


def folder_of(name: str) -> Path:
    """The folder of a sweep; raises ``BadName`` when the name is not fit for one, or a link leads out of its place."""
    place = runs_folder() / "sweeps"
    folder = place / check_name(name, "sweep name")
    try:
        inside = folder.parent == place and place in folder.resolve().parents
    except (OSError, RuntimeError):  # links in a circle
        inside = False
    if not inside:
        raise BadName(f"sweep name {shown(name)} would not lie in {place}, perhaps by a link; choose another name")
    return folder


def remember(name: str, specs: list[RunSpec]) -> Path:
    """Write down which runs a sweep is made of; rows may be added to it later, and none changed.

    Raises ``SpecChanged`` showing row and field where the sweep was begun with other runs, and writes nothing then.
    """
    path = folder_of(name) / "sweep.json"
    try:
        odd = _changed(_runs(path), specs)
    except (OSError, ValueError) as error:
        raise BrokenRun(f"{path} is not the list of a sweep's runs ({brief(error)}); choose another name") from error
    if odd:
        raise SpecChanged(f"sweep {name!r} was begun with another table: {'; '.join(odd)}. Choose another --name, or put "
                          "the rows back; rows may be added")  # fmt: skip
    write(path, "[\n" + ",\n".join(json.dumps(spec.to_dict()) for spec in specs) + "\n]\n")
    return path.parent


def _runs(path: Path) -> list[RunSpec]:
    """The runs in a ``sweep.json``, each on a line of its own: parsed one by one, a foreign file takes no more than its size."""
    if not path.is_file():
        return []
    text, found = io.BytesIO(read(path, _LARGEST)), []
    lines = iter(partial(text.readline, _LONGEST), b"")
    if next(lines, b"") != b"[\n":
        raise ValueError("it does not begin as a list")
    for line in lines:
        if line == b"]\n":
            return found
        found.append(RunSpec.from_dict(parse(line.decode().removesuffix("\n").removesuffix(","))))
    raise ValueError("it does not end as a list")


def _changed(before: list[RunSpec], now: list[RunSpec]) -> list[str]:
    """What a table says otherwise than it did: by row, whichever run stands there now."""
    gone = set(before) - set(now)
    said = []
    for row, spec in enumerate(before, start=2):  # as a spreadsheet counts, the header being row 1
        if spec in gone:
            instead = now[row - 2] if row - 2 < len(now) else None
            fields = differences(spec.to_dict(), instead.to_dict()) if instead and instead not in before else ["gone"]
            said.append(f"row {row}: {', '.join(fields)}")
    return said[:SHOWN] + [f"and {len(said) - SHOWN:,} more"] * (len(said) > SHOWN)


def run(name: str, specs: list[RunSpec], store: Store, executor: Executor | None = None) -> pd.DataFrame:
    """Train what is missing of a sweep and write ``results.csv`` into its folder, also when it is interrupted."""
    folder = remember(name, specs)
    failed: dict[str, str] = {}
    try:
        failed = fill(specs, store, executor)
    finally:
        table = results(specs, store, failed)
        write(folder / "results.csv", table.to_csv(index=False, lineterminator="\n"))
    return table


def results(specs: list[RunSpec], store: Store, failed: dict[str, str]) -> pd.DataFrame:
    """The rows of ``sweep.frame`` with the state and reason of each run; one row, without scores, for one that is not done."""
    known, found = manifests(specs, store), []
    for spec in specs:
        if spec in known:
            found += [{**row, "state": "done", "reason": ""} for row in rows(known[spec])]
        elif store.folder(spec).is_dir():
            stands = entry(store, store.folder(spec))
            reason = failed.get(spec.digest(), stands.reason)
            found.append({**about(spec), "run": spec.digest(), "state": stands.state, "reason": reason})
        elif spec.digest() in failed:  # before it had a folder
            found.append({**about(spec), "run": spec.digest(), "state": "failed", "reason": failed[spec.digest()]})
        else:
            found.append({**about(spec), "run": spec.digest(), "state": "waiting", "reason": ""})
    return pd.DataFrame(found)
