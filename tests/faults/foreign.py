"""A world of every file that the project opens, and a way to read them in little room, so that bombs are noticed."""

import json
import os
import resource
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout, suppress
from hashlib import sha256
from pathlib import Path

from deeds import LONG, finished, forked

from bad_parameters import write_book
from unseen import once
from unseen.errors import Explained
from unseen.files import seal, sealed
from unseen.parameters import checked, parameters
from unseen.runs import inventory, tables
from unseen.runs.checkpoints import export_model, fault, import_model, resume, same_spec
from unseen.runs.store import Store, ensure
from unseen.runs.sweep import frame, histories
from unseen.runs.tables import BadName, BadTable, read_table
from unseen.runs.workers import Serial
from unseen.signals import Stopped
from unseen.specs import RunSpec
from unseen.training import Diverged, data_of, start, train

OURS = (Explained, BadTable, BadName, Diverged)
ROOM, GROWTH, SECONDS = 1_750 * 2**20, 300 * 2**20, 60  # bytes of addresses, of memory; of processor time for one file
SPECS, DATA = [LONG.with_seed(seed) for seed in range(3)], []


class World:
    """A store with a finished run and one with a stopped one, an exported model, a named sweep, a table, a notebook."""

    def __init__(self, root):
        self.root, self.done, self.stopped = root, Store(root / "runs" / "store"), Store(root / "stopped")
        folders = {name: getattr(self, name).folder(LONG) for name in ("done", "stopped")}
        self.paths = {
            "checkpoint": folders["stopped"] / "checkpoint-000000000030.safetensors",
            "weights": folders["done"] / "weights.safetensors",
            "manifest": folders["done"] / "manifest.json",
            "spec": folders["stopped"] / "spec.json",
            "state": folders["stopped"] / "state.json",
            "progress": folders["stopped"] / "progress.csv",
            "history": folders["done"] / "history.csv",
            "model": root / "m.safetensors",
            "description": root / "m.json",
            "sweep": root / "runs" / "sweeps" / "mine" / "sweep.json",
            "table": root / "table.csv",
            "notebook": root / "book.ipynb",
        }

    def put(self, name, content):
        """Put a content into a file's place, with every hash as it must be."""
        if name == "checkpoint":
            content = sealed(content)
        elif name == "manifest" and len(content) < 2**20:
            content = resealed(content)
        self.paths[name].write_bytes(content)
        if name in ("weights", "history"):
            manifest = json.loads(self.paths["manifest"].read_text())
            manifest["files"][self.paths[name].name] = sha256(content).hexdigest()
            manifest["bytes"][self.paths[name].name] = len(content)
            self.paths["manifest"].write_bytes(resealed(json.dumps(manifest).encode()))
        elif name == "model":
            described = json.loads(self.paths["description"].read_text())
            self.paths["description"].write_text(json.dumps({**described, "sha256": sha256(content).hexdigest()}))

    def restore(self, fault):
        """Bring the files that hold hashes back to how they are in another world."""
        for name in ("manifest", "description"):
            self.paths[name].write_bytes(fault.paths[name].read_bytes())

    def content(self, name):
        """What a file holds, without its seal."""
        return self.paths[name].read_bytes()[: -32 if name == "checkpoint" else None]

    def read(self, name):
        """Read a file in all the ways there are; whether what it holds was believed."""
        return getattr(self, f"_{name}")()

    def _checkpoint(self):
        state, path = start(LONG), self.paths["checkpoint"]
        found, trouble = resume(path.parent, LONG, state), fault(path, LONG)
        assert trouble.isprintable()
        assert found.skipped or not trouble or not os.path.lexists(path), (found.skipped, trouble)
        inventory.status(self.stopped)
        if not found.skipped:
            train(LONG, state, DATA[0])  # so that what was believed is of use
        return not found.skipped

    def _weights(self):
        model = self.done.model(LONG)
        assert all(value.isfinite().all() for value in model.state_dict().values())
        return True

    def _manifest(self):
        inventory.status(self.done)
        inventory.verify(self.done)
        inventory.broken(self.done)
        frame([LONG], self.done, Serial())
        return self.done.manifest(LONG) is not None

    def _spec(self):
        inventory.status(self.stopped)
        inventory.verify(self.stopped)
        inventory.broken(self.stopped)
        same_spec(self.paths["spec"], LONG)
        return self.paths["spec"].is_file()

    def _state(self):
        entry = inventory.entry(self.stopped, self.stopped.folder(LONG))
        assert entry.reason.isprintable()
        assert len(once.holder(self.stopped.folder(LONG))) < 10_000
        return bool(once.state(self.stopped.folder(LONG)))

    def _progress(self):
        assert inventory.entry(self.stopped, self.stopped.folder(LONG)).step >= 30
        return len(self.stopped.history(LONG)) > 0

    def _history(self):
        histories([LONG], self.done)
        return len(self.done.history(LONG)) > 0

    def _model(self):
        model, _ = import_model(self.paths["model"])
        return all(value.isfinite().all() for value in model.state_dict().values())

    _description = _model

    def _sweep(self):
        tables.remember("mine", SPECS)
        return True

    def _table(self):
        return bool(read_table(self.paths["table"], RunSpec()))

    def _notebook(self):
        checked(self.paths["notebook"], {})
        return bool(parameters(self.paths["notebook"]))


NAMES = tuple(World(Path()).paths)


def resealed(content):
    try:
        manifest = json.loads(content)
        manifest.pop("seal", None)
        return json.dumps({**manifest, "seal": seal(manifest)}).encode()
    except (ValueError, TypeError, AttributeError, RecursionError):
        return content


def build(root):
    """A new world in a folder, which UNSEEN_RUNS must name already."""
    world = World(root)

    def stop(row):
        if row["step"] == 30:
            raise Stopped

    finished(LONG, world.done.root)
    with suppress(Stopped):
        ensure(LONG, world.stopped, stop, device="cpu")
    export_model(start(LONG).model, LONG, world.paths["model"])
    tables.remember("mine", SPECS)
    world.paths["table"].write_text("width,seed\n64,0\n64,1\n")
    write_book(world.paths["notebook"])
    DATA[:] = [data_of(LONG)]


def guarded(work, told):
    """Do pieces of work by name in little room, and write down how each ended: [name, outcome, growth, seconds]."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM,) * 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with told.open("w") as file, open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        for name, do in work:
            print(json.dumps(name), file=file, flush=True)
            outcome, began = outcome_of(do), time.process_time()
            growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
            print(json.dumps([name, outcome, growth, time.process_time() - began]), file=file, flush=True)


def outcome_of(do):
    try:
        return "believed" if do() else "ignored"
    except OURS as error:
        fine = all(line.isprintable() for line in str(error).split("\n")) and len(str(error)) < 20_000
        return "refused" if fine else f"told badly: {str(error)[:500]!r}"
    except BaseException:
        return traceback.format_exc()


def outcomes(work, folder):
    """How pieces of work ended, by name, in a process of their own; fails where one takes too much or its error is not ours."""
    told = folder / "told"
    process = forked(guarded, work, told)
    process.join(600)
    process.kill()
    lines = [json.loads(line) for line in told.read_text().splitlines()]
    assert process.exitcode == 0, f"exit {process.exitcode} at {lines[-1]}"
    for name, outcome, growth, seconds in lines[1::2]:
        assert outcome in ("believed", "ignored", "refused"), f"{name}: {outcome}"
        assert growth < GROWTH, f"{name} took {growth / 2**20:.0f} MB"
        assert seconds < SECONDS, f"{name} took {seconds:.0f} s"
    return {name: outcome for name, outcome, _, _ in lines[1::2]}
