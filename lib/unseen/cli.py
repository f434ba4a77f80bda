"""The ``unseen`` command: notebooks headless, sweeps and single runs, and what lies in the store.

Exit codes: 0 done, 1 failed, 2 bad input (nothing was started), 130 Ctrl-C, 143 SIGTERM.
"""

import argparse
import sys
import time
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from unseen import process_group
from unseen.errors import Explained
from unseen.fields import short
from unseen.files import absolute, project_folder, read, runs_folder, write
from unseen.headless import Console, notebook_path, notebooks, run_notebook
from unseen.lm import fetch
from unseen.pages import copies, links, write_pages
from unseen.parameters import BadParameters, check_asserts, parameters
from unseen.report import MAIN, check_kept, results_in, write_report
from unseen.runs import inventory
from unseen.runs.cluster import executor
from unseen.runs.progress import duration
from unseen.runs.store import SpecChanged, Store, ensure
from unseen.runs.tables import name_of, read_table, run_of, run_sweep, sweep_folder
from unseen.runs.workers import threads
from unseen.scales import SCALES, SHOW, scale
from unseen.signals import Terminated, polite_stops, terminable
from unseen.studies import claims
from unseen.studies.arena import own_pool
from unseen.studies.findings import write_findings

_MOST_LINES = 200  # of ``unseen status``


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do it, and return the exit code."""
    out, err = Console(sys.stdout), Console(sys.stderr)
    with redirect_stdout(out), redirect_stderr(err):
        code = _done(_parser().parse_args(arguments))
        out.flush()
        if out.failed:  # of a full disk, say
            print(f"unseen: standard output: {out.failed.strerror}", file=err)
        return code or int(out.failed is not None)


def _done(options: argparse.Namespace) -> int:
    """Do what the options say, errors as sentences; returns the exit code."""
    try:
        with terminable():
            check_asserts()
            return options.do(options) or 0
    except (Explained, ValueError, OSError) as error:
        print(f"unseen: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError | SpecChanged) else 1
    except KeyboardInterrupt as error:
        what, code = ("terminated", 143) if isinstance(error, Terminated) else ("interrupted", 130)
        then = "resumes from here" if options.do in _RESUME else "starts again"
        print(f"unseen: {what}; the same command {then}", file=sys.stderr)
        return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "unseen", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for do, *options in (
        (_run, "notebook", "-p --parameter", "--into"),
        (_study, "--scale", "--scheduler", "--all"),
        (_pages,),
        (_lab,),
        (_keep, "--scale"),
        (_rates,),
        (_sweep, "table", "--name", "--scale", "--scheduler"),
        (_train, "--scale", "-p --parameter"),
        (_status, "--csv"),
        (_verify,),
        (_clean, "--broken", "--yes"),
        (_edition, "which"),
        (_choose, "pool", "--method", "--keep", "--out", "--model", "--seed", "-p --parameter"),
        (_model, "name"),
    ):
        command = commands.add_parser(do.__name__[1:], help=do.__doc__, description=do.__doc__)
        command.set_defaults(do=do)
        for option in options:
            command.add_argument(*option.split(), **_OPTIONS[option])
    return parser


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{short(text)} must be NAME=VALUE")
    return name, value


_OPTIONS: dict[str, dict[str, Any]] = {
    "notebook": {"help": "its number, name or path"},
    "which": {"choices": ["student", "teacher"],
              "help": "student, without solutions, or teacher, with solutions unfolded"},
    "name": {"nargs": "?", "default": "smollm2",
             "help": "smollm2 (the default), or org/name of the Hugging Face hub"},
    "table": {"help": "a CSV file, one run a row, columns named by fields of the spec"},
    "-p --parameter": {"action": "append", "default": [], "type": _pair, "metavar": "NAME=VALUE",
                       "help": "as often as you like"},
    "--into": {"help": "folder under the runs folder (default: the notebook's scale)"},
    "pool": {"help": "a file of conversations as JSON lines"},
    "--method": {"required": True, "help": ", ".join(own_pool.OFFERED)},
    "--keep": {"required": True, "type": int, "help": "how many rows"},
    "--out": {"required": True, "help": "where they are written, with a table beside"},
    "--model": {"default": "", "help": "folder of a language model that reads the rows (default: none)"},
    "--seed": {"default": 0, "type": int, "help": "of what is random (default: 0)"},
    "--name": {"help": "folder under runs/sweeps/ (default: the table's)"},
    "--scale": {"default": "quick", "help": ", ".join(SCALES)},
    "--scheduler": {"default": "",
                    "help": "serial, processes, local (Dask here), or the address of a Dask scheduler"},
    "--all": {"action": "store_true", "help": "every notebook, not the main job alone"},
    "--csv": {"action": "store_true", "help": "all columns, as CSV"},
    "--broken": {"action": "store_true", "help": "also move runs that cannot be read to runs/broken/"},
    "--yes": {"action": "store_true", "help": "do it"},
}  # fmt: skip


def _run(options: argparse.Namespace) -> None:
    """Run one notebook headless."""
    print(run_notebook(options.notebook, dict(options.parameter), options.into))


def _run_each(names: list[str], scale: str, scheduler: str = "") -> dict[str, float]:
    """Run notebooks one after the other; returns the seconds that each took, by its name."""
    seconds = {}
    for name in names:
        began = time.monotonic()
        print(f"== {name}", flush=True)
        trains = scheduler and "scheduler" in parameters(notebook_path(name))
        run_notebook(name, {"scale": scale} | ({"scheduler": scheduler} if trains else {}))
        seconds[name] = time.monotonic() - began
    return seconds


def _study(options: argparse.Namespace) -> None:
    """Run the main job and write its report."""
    chosen = scale(options.scale)
    executor(options.scheduler)  # refuses a bad one before anything starts
    print(f"== scale {chosen.name}: {chosen.minutes}; runs folder {runs_folder()}", flush=True)
    names = [path.stem for path in notebooks() if options.all or path.stem <= MAIN]
    names.sort(key=lambda name: name != MAIN)  # first: the tour finds its models in the store
    seconds = _run_each(names, chosen.name, options.scheduler)
    path = write_report(chosen.name, seconds)
    print(f"== done in {duration(sum(seconds.values()))}; open {path}")


def _pages(options: argparse.Namespace) -> None:
    """Execute all notebooks and write them as pages that need no server."""
    names = [path.stem for path in notebooks()]
    seconds = _run_each(names[:1], SHOW)
    if not (runs_folder() / "pages").exists():  # the two models can be tried long before all is written
        print(f"== to try meanwhile: {write_pages(SHOW, names[:1])}", flush=True)
    seconds |= _run_each(names[1:], SHOW)
    first = write_pages(SHOW, names)
    write_report(SHOW, seconds, first.parent, links())
    print(f"== done in {duration(sum(seconds.values()))}; open {first}")


def _lab(options: argparse.Namespace) -> None:
    """Make or refresh working copies of the notebooks; prints the path of the first."""
    print(_copies("lab") / notebooks()[0].name)


def _edition(options: argparse.Namespace) -> None:
    """Write the notebooks for students, without solutions, or for teachers."""
    print(_copies(options.which))


def _copies(which: str) -> Path:
    folder, kept = copies(which, notebooks())
    for name in kept:
        print(
            f"{folder / name}.ipynb has changes of yours and is kept; its notebook has changed since "
            "(delete or rename the copy to get the new one)",
            file=sys.stderr,
        )
    return folder


def _sweep(options: argparse.Namespace) -> int:
    """Train every row of a table."""
    path = absolute(options.table, "table")
    specs = read_table(path, scale(options.scale).main.base)
    name = name_of(path) if options.name is None else options.name
    table = run_sweep(name, specs, Store(), executor(options.scheduler))
    undone = table[table["state"] != "done"]
    for line in undone.itertuples():
        print(f"run {line.run} {line.state}: {line.reason}")
    print(sweep_folder(name) / "results.csv")
    return 1 if len(undone) else 0


def _train(options: argparse.Namespace) -> None:
    """Train one run, with torchrun on several GPUs or hosts."""
    spec = run_of(dict(options.parameter), scale(options.scale).main.base)
    with (
        process_group.joined() as group,
        threads(1),
        polite_stops() if group.leads else nullcontext(int) as check,
    ):

        def watch(row: dict[str, float]) -> None:
            print(" ".join(f"{name}={value:g}" for name, value in row.items()), flush=True)
            check()

        manifest = ensure(spec, Store(), watch, say=partial(print, flush=True), group=group)
        if group.leads:
            scores = ", ".join(f"{line['split']} {line['accuracy']:.1%}" for line in manifest["scores"])
            print(f"run {spec.digest()}: {scores}; {Store().folder(spec)}")


def _status(options: argparse.Namespace) -> None:
    """Show the state of every run in the store."""
    store = Store()
    table = inventory.status(store)
    if options.csv:
        print(table.to_csv(index=False, lineterminator="\n"), end="")
        return
    counts = ", ".join(f"{count:,} {state}" for state, count in table["state"].value_counts().items())
    print(f"{store.root}: {counts or 'no runs'}, {table['size'].sum() / 1e6:.1f} MB")
    for line in table.head(_MOST_LINES).itertuples():
        steps, size = f"{line.step:>7,}/{line.steps:<7,}", f"{line.size / 1e6:6.1f} MB"
        state = f"{line.state:<11}  {steps}  {duration(line.age):>7} ago  {size}"
        print(f"{line.run}  {state}  {line.what}", line.reason)
    if len(table) > _MOST_LINES:
        print(f"and {len(table) - _MOST_LINES:,} more; --csv shows all")


def _verify(options: argparse.Namespace) -> int:
    """Check every hash of the store."""
    good, bad = inventory.verify(Store())
    for sentence in bad:
        print(sentence)
    print(f"{good:,} files are what was written, {len(bad):,} are not")
    return 1 if bad else 0


def _clean(options: argparse.Namespace) -> None:
    """Show what the store can do without, and delete it with --yes."""
    store = Store()
    litter, broken = inventory.litter(store), inventory.broken(store) if options.broken else []
    will = "" if options.yes else "would "
    for path in litter:
        print(f"{will}delete {path} ({path.stat().st_size:,} bytes)")
        if options.yes:
            path.unlink(missing_ok=True)
    for folder in broken:
        target = inventory.put_aside(store, folder) if options.yes else "runs/broken/"
        print(f"{will}move {folder} to {target}")
    print(f"{len(litter):,} files, {len(broken):,} broken runs" + ("" if options.yes else "; --yes does it"))


def _rates(options: argparse.Namespace) -> None:
    """Simulate how often each verdict would pass without an effect, into data/false_passes.csv."""
    print(claims.write_false_passes(project_folder() / "data").to_string(index=False))


def _choose(options: argparse.Namespace) -> None:
    """Choose rows of your own pool by a method of the arena that trains nothing."""
    given, pool, out = dict(options.parameter), absolute(options.pool, "pool"), absolute(options.out, "out")
    with threads(1):
        print(own_pool.choose(pool, options.method, options.keep, out, options.model,
                              options.seed, given, partial(print, flush=True)))  # fmt: skip


def _model(options: argparse.Namespace) -> None:
    """Fetch a language model for the notebooks: the only command that downloads anything."""
    fetch.ensure(options.name, partial(print, flush=True))


def _keep(options: argparse.Namespace) -> None:
    """Copy the results of a study, and two models, to data/, and judge the claims there anew."""
    chosen, data = scale(options.scale), project_folder() / "data"
    folder = runs_folder() / chosen.name
    if chosen.name in (SHOW, "smoke"):
        raise BadParameters(f"nothing to keep in {folder}: nothing is learned at {SHOW} and smoke")
    if not (kept := results_in(folder)):
        raise BadParameters(f"nothing to keep in {folder}: 'unseen study --scale {chosen.name}' makes it")
    check_kept(folder, chosen.name)
    for path in kept:
        write(data / "results" / chosen.name / path.name, read(path))
        print(data / "results" / chosen.name / path.name)
    for spec in chosen.ends() if chosen.name == "quick" else ():
        print(Store(data / "store").copy(spec, Store()))
    claims.write_verdicts(data)
    write_findings(data.parent / "README.md")


_RESUME = (_run, _study, _sweep, _train, _rates, _choose)  # commands that keep what they have done
