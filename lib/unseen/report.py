"""What a study shows and leaves behind: tables and figures with their provenance, and the report of
``make study``."""

import html
import io
import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from unseen.errors import Explained
from unseen.files import (
    LARGEST_TEXT,
    hash_of,
    project_folder,
    provenance,
    read,
    read_json,
    runs_folder,
    write,
)
from unseen.lm.load import NAMED
from unseen.pages import REPORT, page
from unseen.parameters import parameters
from unseen.process_group import best_device
from unseen.runs.progress import duration, headless
from unseen.scales import SHOW, SHOWN, Setting
from unseen.specs import RunSpec
from unseen.studies.results import committed_folder, committed_table

MAIN = "10_diversity_threshold"  # the notebook whose results are the report
ASKED = "The scale paper has the paper's own sizes: days of training, for a GPU."


class Mislabelled(Explained, ValueError):
    """A result is of another scale or of other runs than its label says."""


def opening(scale: str) -> Any:
    """What a notebook shows at a scale, as Markdown for its top; a person must agree before ``paper`` starts.

    Raises ``ValueError`` when the person does not say yes.
    """
    from IPython.display import Markdown  # here, not above: the command starts without it

    if scale == SHOW:
        what = f"the committed results of `{SHOWN}`; nothing is trained"
        return Markdown(f'**Shown here:** {what}. Set `scale = "quick"` to train them on this machine.')
    if scale == "smoke":
        what = "it only checks that everything runs, and its numbers mean nothing"
        return Markdown(f'**Nothing is learned at `smoke`:** {what}. `scale = "show"` has the results.')
    if scale == "paper" and not headless() and input(f"{ASKED} Type yes to start: ") != "yes":
        raise ValueError(f"scale='paper': not started. {ASKED}")
    return Markdown(f"**Trained here** at `{scale}`. Finished runs are kept, and never trained again.")


def measured(
    name: str,
    scale: str,
    settings: Sequence[Setting],
    measure: Callable[[], pd.DataFrame],
    given: Mapping[str, object] = MappingProxyType({}),
    named: Mapping[str, object] = MappingProxyType({}),
) -> pd.DataFrame:
    """The table of that name: at ``show`` the committed one, else what ``measure`` returns, written too.

    Raises as ``write_table`` does.
    """
    if scale == SHOW:
        return committed_table(name, SHOW)
    table = measure()
    write_table(name, scale, settings, table, given, named)
    return table


def measured_on(
    base: str, name: str, scale: str, settings: Sequence[Setting], measure: Callable[[], pd.DataFrame]
) -> pd.DataFrame:
    """The table of a language model, as ``measured``; without a ``base`` nothing is tuned, and it is the
    committed one.

    A base with a name of its own here (``smollm2``) is said by the table's name; any other is a parameter.
    """
    if not base:
        return committed_table(name, SHOW)
    how = "named" if base in NAMED else "given"
    return measured(name, scale, settings, measure, **{how: {"base": base}})


def write_table(
    name: str,
    scale: str,
    settings: Sequence[Setting],
    table: pd.DataFrame,
    given: Mapping[str, object] = MappingProxyType({}),
    named: Mapping[str, object] = MappingProxyType({}),
) -> Path:
    """Write ``<runs>/<scale>/<name>.csv`` and, as JSON, what produced it; returns the path of the table.

    The name begins with the notebook's number, as in ``10_baselines``.
    ``given`` are parameters of the notebook that decide the results beside its scale; ``named`` ones are said
    by the table's name, so that it is no table of one's own.
    Raises ``Mislabelled`` when ``settings`` are of another scale, or the table's runs are others than theirs.
    """
    _check_label(name, scale, settings, table)
    path = runs_folder() / scale / f"{name}.csv"
    axes, changed = {}, {}
    if given:
        (notebook,) = (project_folder() / "notebooks").glob(f"{name[:2]}_*.ipynb")
        declared = parameters(notebook)
        changed = {key: value for key, value in given.items() if value != declared[key].default}
    digest = write(path, table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    for each in settings:
        some = {"weights": each.weights, "bases": [base.to_dict() for base in dict.fromkeys(each.bases)]}
        axes[each.name] = {
            "base": each.base.to_dict() if isinstance(each.base, RunSpec) else vars(each.base),
            "instructions": each.instructions,
            "seeds": each.seeds,
        } | {key: value for key, value in some.items() if value}
    command = ["unseen", "run", name[:2], "-p", f"scale={scale}"]
    command += [word for key, value in {**changed, **named}.items() for word in ("-p", f"{key}={value}")]
    about = {
        "command": shlex.join(command),
        "parameters": changed,
        "scale": scale,
        "tables": {path.name: digest},
        "settings": axes,
        "device": best_device(),
        **provenance(),
    }
    write(path.with_suffix(".json"), json.dumps(about, indent=1) + "\n")
    return path


def write_figure(notebook: str, scale: str, figure: Any, settings: Sequence[Setting] = ()) -> Path:
    """Write ``<runs>/<scale>/<notebook>.png`` from a figure, axes or grid of seaborn; it stays open.

    Raises ``Mislabelled`` when the ``settings`` that it shows are of another scale.
    """
    _check_label(notebook, scale, settings)
    path, buffer = runs_folder() / scale / f"{notebook}.png", io.BytesIO()
    figure = getattr(figure, "figure", figure)
    figure.savefig(buffer, format="png", dpi=160, bbox_inches="tight", metadata={"Software": None})
    write(path, buffer.getvalue())
    return path


def _check_label(
    notebook: str, scale: str, settings: Sequence[Setting], table: pd.DataFrame | None = None
) -> None:
    """Raise ``Mislabelled`` unless everything belongs to one scale; runs of an adapter have other digests."""
    again = "run the notebook again from its first cell, so that one scale holds for all of it"
    if other := {each.scale for each in settings if each.scale} - {scale}:
        made = ", ".join(sorted(other))
        raise Mislabelled(f"{notebook}: these results are of scale={made}, not {scale}: {again}")
    ours = settings and all(isinstance(each.base, RunSpec) for each in settings)
    if table is None or not ours or "run" not in table or "adapter" in set(table.get("recipe", ())):
        return
    runs = [run for each in settings for run in each.runs()]
    expected, found = {run.digest() for run in runs}, set(table["run"].dropna())
    strange, missing = found - expected - {run.model.base for run in runs}, expected - found
    if strange or missing:
        what = f"{len(strange)} runs of the table are of other settings, {len(missing)} are missing"
        raise Mislabelled(
            f"{notebook}: the table is not of these settings of scale={scale} ({what}): {again}"
        )


def results_in(folder: Path) -> list[Path]:
    """The tables, figures and JSON files of notebooks in a folder; devices and success markers are none."""
    found = sorted(path for kind in ("csv", "json", "png") for path in folder.glob(f"[0-9][0-9]_*.{kind}"))
    return [path for path in found if path.is_file() and not path.name.endswith(".success.json")]


def check_kept(folder: Path, scale: str) -> None:
    """Raise ``Mislabelled`` where a result is of another scale, of none, or made with changed parameters, and
    for a notebook that was executed here and stopped before its end: its checks have not all passed.

    A notebook's tables and figures share its number, and so the JSON files that say what produced them.
    Those written before scales were noted name theirs in the command.
    """
    noted: dict[str, dict[str, str]] = {}  # by a notebook's number the hashes of its tables
    found = results_in(folder)
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        if not path.with_suffix(".success.json").is_file():
            raise Mislabelled(f"{path} did not reach its end, so its results are not checked: run it again")
    for path in (each for each in found if each.suffix == ".json"):
        about = read_json(path, LARGEST_TEXT)
        made = about.get("scale") or "".join(re.findall(r"(?i)scale[= ](\w+)", about.get("command", "")))
        if made != scale:
            raise Mislabelled(f"{path} is of scale={made or 'unknown'}, so it is no result of {scale}")
        if about.get("parameters"):
            raise Mislabelled(f"{path} is of a run of your own ({about['command']}), so it is not kept")
        noted.setdefault(path.name[:2], {}).update(about.get("tables", {}))
    for path in (each for each in found if each.suffix == ".csv"):
        hashes = noted.get(path.name[:2])
        if hashes is None or (path.name in hashes and hashes[path.name] != hash_of(path)):
            raise Mislabelled(
                f"{path} is not what its JSON describes: run its notebook again at scale={scale}"
            )


def write_report(
    scale: str, seconds: Mapping[str, float], folder: Path | None = None, links: str = ""
) -> Path:
    """Write ``report.html``: the executed main notebook without code, then its provenance; returns its path.

    What cells tagged ``progress`` or ``exercise`` printed is left out, and solutions are.

    ``seconds`` is the time that each notebook of this run took, by its name.  ``folder`` is where the report
    and the tables that it links to are written (default: ``<runs>/<scale>``), ``links`` HTML above and below.
    Raises ``OSError`` when the main notebook has not been executed at this scale.
    """
    import nbformat  # here, not above: it takes seconds, and notebooks write tables alone

    source = runs_folder() / scale
    folder, tables = folder or source, committed_folder(SHOW) if scale == SHOW else source
    book = nbformat.read(source / f"{MAIN}.ipynb", as_version=4)
    for name in (f"{MAIN}.csv", f"{MAIN}.json") if folder != tables else ():
        write(folder / name, read(tables / name))
    book.cells = [*book.cells, nbformat.v4.new_markdown_cell(_origin(folder, seconds))]
    without = {"without_cells": ["solution"], "without_outputs": ["progress", "exercise"]}
    text = page(book, f"unseen: {scale}", links, **without, exclude_input=True)
    write(folder / REPORT, text)
    return folder / REPORT


def _origin(folder: Path, seconds: Mapping[str, float]) -> str:
    """Two lists in Markdown: the notebooks of a run, and what produced the table in a folder."""
    table = folder / f"{MAIN}.csv"
    origin, results = read_json(table.with_suffix(".json"), LARGEST_TEXT), pd.read_csv(table)
    versions = ", ".join(f"{name} {number}" for name, number in origin["versions"].items())
    machine = f"{versions}; commit {origin['commit']}; {origin['processor']}, {origin['cores']} cores"
    trained = results.drop_duplicates("run")["seconds"]
    amount = f"{len(trained)} trained models, {duration(trained.sum())} of training in all"
    return "\n".join([
        "## Notebooks of this run\n",
        *[f"* [{name}]({name}.html), {duration(time)}" for name, time in seconds.items()],
        "\n## Where the numbers come from\n",
        f"* {amount}, each scored on {results['examples'].min():,} examples a split",
        f"* {html.escape(machine)}",
        f"* every number: [{MAIN}.csv]({MAIN}.csv); what produced it: [{MAIN}.json]({MAIN}.json)",
    ])  # fmt: skip
