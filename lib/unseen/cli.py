"""The ``unseen`` command: ``run`` a notebook headless, the whole ``study``, ``keep`` its results.

Exit codes: 0 done, 1 failed, 2 bad input (nothing was started), 130 interrupted.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path

from unseen.headless import BadParameters, NotebookFailed, run_notebook
from unseen.progress import duration
from unseen.report import write_report
from unseen.scales import SCALES, scale
from unseen.store import BrokenRun, Store, export_model, project_folder, provenance, runs_folder

STUDY = ("10_diversity_threshold", "00_start_here", "01_string_rewrites", "02_instruction_sets",
         "03_a_small_transformer", "04_training_one_model")  # fmt: skip
DEMO = {"low": 10, "high": 3_000}  # instructions of the two committed models


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do it, and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.do(options)
    except (BadParameters, ValueError) as error:
        print(f"unseen: {error}", file=sys.stderr)
        return 2
    except (NotebookFailed, BrokenRun) as error:
        print(f"unseen: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("unseen: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("unseen", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run one notebook headless")
    run.add_argument("notebook", help="its number, name or path")
    run.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE")
    run.add_argument("--into", help="folder under the runs folder (default: the notebook's scale)")
    run.set_defaults(do=_run)
    study = commands.add_parser("study", help="the main job and its report")
    study.add_argument("--scale", default="quick", help=", ".join(SCALES))
    study.set_defaults(do=_study)
    keep = commands.add_parser("keep", help="copy the results of a study, and two models, to data/")
    keep.add_argument("--scale", default="quick", help=", ".join(SCALES))
    keep.set_defaults(do=_keep)
    return parser


def _run(options: argparse.Namespace) -> None:
    given = {}
    for text in options.parameter:
        name, equals, value = text.partition("=")
        if not equals:
            raise BadParameters(f"-p {text!r} must be NAME=VALUE")
        given[name] = value
    if "scale" in given:
        scale(given["scale"])  # refuses an unknown one before a kernel starts
    print(run_notebook(options.notebook, given, options.into))


def _study(options: argparse.Namespace) -> None:
    """The main notebook first, then the tour, which finds its models in the store."""
    chosen, executed, seconds = scale(options.scale), [], {}
    print(f"== scale {chosen.name}: {chosen.minutes}; runs folder {runs_folder()}", flush=True)
    for name in STUDY:
        began = time.monotonic()
        print(f"== {name}", flush=True)
        executed.append(run_notebook(name, {"scale": chosen.name}))
        seconds[name] = time.monotonic() - began
    path = write_report(chosen, executed, seconds)
    print(f"== done in {duration(sum(seconds.values()))}; open {path}")


def _keep(options: argparse.Namespace) -> None:
    chosen, data = scale(options.scale), project_folder() / "data"
    folder = runs_folder() / chosen.name
    kept = [path for path in sorted(folder.glob("[0-9][0-9]_*"))
            if path.suffix in (".csv", ".json", ".png") and not path.name.endswith(".success.json")]  # fmt: skip
    if not kept:
        raise BadParameters(f"nothing to keep in {folder}: 'unseen study --scale {chosen.name}' makes it")
    for path in kept:
        target = data / "results" / chosen.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
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
        trained_by = {key: manifest[key] for key in (*provenance(), "device", "threads")}
        scores = {line["split"]: line["accuracy"] for line in manifest["scores"]}
        export_model(Store().model(spec), spec, folder / f"{which}.safetensors", accuracy=scores, **trained_by)
        print(folder / f"{which}.safetensors")


if __name__ == "__main__":
    sys.exit(main())
