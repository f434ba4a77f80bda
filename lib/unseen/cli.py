"""The ``unseen`` command: notebooks headless, sweeps and single runs, and what lies in the store.

Exit codes: 0 done, 1 failed, 2 bad input (nothing was started), 130 interrupted (Ctrl-C), 143 terminated (SIGTERM).
``__main__`` is its door.
"""

import argparse
import os
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from unseen import parallel
from unseen.disk.checkpoints import SpecChanged
from unseen.disk.files import project_folder, provenance, read, runs_folder, write
from unseen.disk.weights import export_model
from unseen.errors import Explained
from unseen.headless import notebook_path, run_notebook
from unseen.parameters import BadParameters, parameters
from unseen.report import write_report
from unseen.running import inventory, named
from unseen.running.cluster import executor
from unseen.running.progress import duration
from unseen.running.signals import Terminated, polite_stops, terminable
from unseen.running.tables import read_table, run_of
from unseen.running.workers import threads
from unseen.scales import SCALES, scale
from unseen.store import Store
from unseen.sweep import ensure

STUDY = ("10_diversity_threshold", "00_start_here", "01_string_rewrites", "02_instruction_sets",
         "03_a_small_transformer", "04_training_one_model")  # fmt: skip
MORE = (
    "11_no_ops",
    "12_long_tail",
    "13_semantics",
    "14_occurrences",
    "15_pretrained_model",
    "16_markov_programs",
    "17_threshold_law",
    "18_specialist_and_generalist",
    "19_inside_the_model",
    "20_biased_features",
    "21_delia",
    "22_new_token",
    "23_gradients",
    "24_delia_on_a_language_model",
    "90_verdicts",
)  # behind the main job, in the order of the papers
DEMO = {"low": 10, "high": 3_000}  # instructions of the two committed models


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do it, and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        with terminable():
            code = options.do(options) or 0
            sys.stdout.flush()  # here, where a reader that has gone is no error
            return code
    except Explained as error:
        print(f"unseen: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError | SpecChanged) else 1
    except ValueError as error:
        print(f"unseen: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read this has seen enough, as in ``unseen status | head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as error:
        what = "terminated" if isinstance(error, Terminated) else "interrupted"
        print(f"unseen: {what}; the same command goes on from here", file=sys.stderr)
        return 143 if isinstance(error, Terminated) else 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "unseen", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do: Any, text: str, *options: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(do=do)
        for option in options:
            made.add_argument(*option.split(), **_OPTIONS[option])
        return made

    run = command("run", _run, "run one notebook headless", "-p --parameter")
    run.add_argument("notebook", help="its number, name or path")
    run.add_argument("--into", help="folder under the runs folder (default: the notebook's scale)")
    study = command("study", _study, "the main job and its report", "--scale", "--scheduler")
    study.add_argument("--all", action="store_true", help="every notebook, not the main job alone")
    command("keep", _keep, "copy the results of a study, and two models, to data/", "--scale")
    sweep = command("sweep", _sweep, "train every row of a table", "--scale", "--scheduler")
    sweep.add_argument("table", type=Path, help="a CSV file, one run a row, columns named by fields of the spec")
    sweep.add_argument("--name", help="folder under runs/sweeps/ (default: the table's)")
    command("train", _train, "train one run, with torchrun on several GPUs or hosts", "--scale", "-p --parameter")
    status = command("status", _status, "how every run of the store stands")
    status.add_argument("--csv", action="store_true", help="all columns, as CSV")
    command("verify", _verify, "check every hash of the store")
    clean = command("clean", _clean, "show what the store can do without, and delete it with --yes")
    clean.add_argument("--broken", action="store_true", help="also move runs that cannot be read to runs/broken/")
    clean.add_argument("--yes", action="store_true", help="do it")
    return parser


_OPTIONS: dict[str, dict[str, Any]] = {
    "--scale": {"default": "quick", "help": ", ".join(SCALES)},
    "--scheduler": {"default": "", "help": "serial, processes, local (Dask here), or the address of a Dask scheduler"},
    "-p --parameter": {"action": "append", "default": [], "metavar": "NAME=VALUE", "help": "as often as you like"},
}


def _given(options: argparse.Namespace) -> dict[str, str]:
    given = {}
    for text in options.parameter:
        name, equals, value = text.partition("=")
        if not equals:
            raise BadParameters(f"-p {text!r} must be NAME=VALUE")
        given[name] = value
    return given


def _run(options: argparse.Namespace) -> None:
    print(run_notebook(options.notebook, _given(options), options.into))


def _study(options: argparse.Namespace) -> None:
    """The main notebook first, then the tour, which finds its models in the store."""
    chosen, executed, seconds = scale(options.scale), [], {}
    executor(options.scheduler)  # refuses a bad one before anything starts
    print(f"== scale {chosen.name}: {chosen.minutes}; runs folder {runs_folder()}", flush=True)
    for name in STUDY + MORE * options.all:
        began = time.monotonic()
        print(f"== {name}", flush=True)
        trains = "scheduler" in parameters(notebook_path(name)) and options.scheduler
        given = {"scale": chosen.name} | ({"scheduler": options.scheduler} if trains else {})
        executed.append(run_notebook(name, given))
        seconds[name] = time.monotonic() - began
    path = write_report(chosen, executed, seconds)
    print(f"== done in {duration(sum(seconds.values()))}; open {path}")


def _sweep(options: argparse.Namespace) -> int:
    specs = read_table(options.table, scale(options.scale).main.base)
    name = options.name if options.name is not None else options.table.stem
    table = named.run(name, specs, Store(), executor(options.scheduler))
    undone = table[table["state"] != "done"]
    for line in undone.itertuples():
        print(f"run {line.run} {line.state}: {line.reason}")
    print(named.folder_of(name) / "results.csv")
    return 1 if len(undone) else 0


def _train(options: argparse.Namespace) -> None:
    spec = run_of(_given(options), scale(options.scale).main.base)
    with parallel.crew() as crew, threads(1), polite_stops() if crew.leads else nullcontext(int) as check:

        def watch(row: dict[str, float]) -> None:
            print(" ".join(f"{name}={value:g}" for name, value in row.items()), flush=True)
            check()

        manifest = ensure(spec, Store(), watch, say=partial(print, flush=True), crew=crew)
        if crew.leads:
            scores = ", ".join(f"{line['split']} {line['accuracy']:.1%}" for line in manifest["scores"])
            print(f"run {spec.digest()}: {scores}; {Store().folder(spec)}")


def _status(options: argparse.Namespace) -> None:
    store = Store()
    table = inventory.status(store)
    if options.csv:
        print(table.to_csv(index=False, lineterminator="\n"), end="")
        return
    counts = ", ".join(f"{count:,} {state}" for state, count in table["state"].value_counts().items())
    print(f"{store.root}: {counts or 'no runs'}, {table['size'].sum() / 1e6:.1f} MB")
    for line in table.head(_MOST_LINES).itertuples():
        print(f"{line.run}  {line.state:<11}  {line.step:>7,}/{line.steps:<7,}  {duration(line.age):>7} ago  "
              f"{line.size / 1e6:6.1f} MB  {line.what}{'  ' * bool(line.reason)}{line.reason}")  # fmt: skip
    if len(table) > _MOST_LINES:
        print(f"and {len(table) - _MOST_LINES:,} more; --csv shows all")


_MOST_LINES = 200


def _verify(options: argparse.Namespace) -> int:
    good, bad = inventory.verify(Store())
    for sentence in bad:
        print(sentence)
    print(f"{good:,} files are what was written, {len(bad):,} are not")
    return 1 if bad else 0


def _clean(options: argparse.Namespace) -> None:
    store = Store()
    litter, broken = inventory.litter(store), inventory.broken(store) if options.broken else []
    will = "" if options.yes else "would "
    for path in litter:
        print(f"{will}delete {path} ({path.stat().st_size:,} bytes)")
        if options.yes:
            path.unlink(missing_ok=True)
    for folder in broken:
        print(f"{will}move {folder} to {inventory.put_aside(store, folder) if options.yes else 'runs/broken/'}")
    print(f"{len(litter):,} files, {len(broken):,} broken runs" + ("" if options.yes else "; --yes does it"))


def _keep(options: argparse.Namespace) -> None:
    chosen, data = scale(options.scale), project_folder() / "data"
    folder = runs_folder() / chosen.name
    kept = [path for path in sorted(folder.glob("[0-9][0-9]_*"))
            if path.suffix in (".csv", ".json", ".png") and not path.name.endswith(".success.json") and path.is_file()]  # fmt: skip
    if not kept:
        raise BadParameters(f"nothing to keep in {folder}: 'unseen study --scale {chosen.name}' makes it")
    for path in kept:
        target = data / "results" / chosen.name / path.name
        write(target, read(path))
        print(target)
    if chosen.name == "quick":
        _keep_models(chosen.name, data / "checkpoints")


def _keep_models(name: str, folder: Path) -> None:
    for which, instructions in DEMO.items():
        spec = scale(name).run(instructions)
        manifest = Store().manifest(spec)
        if manifest is None:
            raise BadParameters(
                f"no run on {instructions:,} instructions in the store: 'unseen study --scale {name}' makes it"
            )
        trained_by = {key: manifest.get(key) for key in (*provenance(), "device", "threads")}
        scores = {line["split"]: line["accuracy"] for line in manifest["scores"]}
        export_model(Store().model(spec), spec, folder / f"{which}.safetensors", accuracy=scores, **trained_by)
        print(folder / f"{which}.safetensors")
