"""The report that ``make study`` leaves: one HTML file with figures, numbers, timings and origin."""

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from unseen import plots
from unseen.claims import INSTRUCTION_DIVERSITY
from unseen.disk.files import provenance, runs_folder, write
from unseen.diversity import curve
from unseen.running.progress import duration
from unseen.scales import Scale, Setting
from unseen.sweep import best_device

_STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 2.5rem auto; padding: 0 1.2rem; color: #222; }
h1 { line-height: 1.2; margin-bottom: .2rem } h2 { margin-top: 2.2rem } img { max-width: 100%; }
.lead { font-size: 1.15rem; color: #444; margin-top: 0 } .scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem }
th, td { text-align: right; padding: .25rem .7rem; border-bottom: 1px solid #ddd } th { border-color: #888 }
code { background: #f4f4f4; padding: .1rem .3rem } .note { color: #666; font-size: .92rem }
"""


def write_report(scale: Scale, notebooks: list[Path], seconds: dict[str, float]) -> Path:
    """Write ``<runs>/<scale>/report.html`` from the results that the notebook of the main job left there.

    ``notebooks`` are executed notebooks to link to, ``seconds`` the time each took in this run.
    """
    folder = runs_folder() / scale.name
    results = pd.read_csv(folder / "10_diversity_threshold.csv")
    baselines = pd.read_csv(folder / "10_baselines.csv")
    threshold = curve.main_threshold(results)
    with plt.rc_context():  # the theme of the page is not the caller's
        plots.set_theme()
        ax = plots.accuracy_by_instructions(curve.main_curve(results), baselines, threshold, INSTRUCTION_DIVERSITY)
        picture = _png(ax.figure)
        write(folder / "10_diversity_threshold.png", picture)
        step = f"Half accuracy at {threshold}." if threshold else "No step to fit at this scale."
        readings = curve.readings(results, INSTRUCTION_DIVERSITY)
        parts = [
            "<h1>Do models follow instructions they have never seen?</h1>",
            f"<p class='lead'>Instruction diversity, scale <code>{scale.name}</code>: {html.escape(step)}</p>",
            _picture(picture, "Exact match against the number of different training instructions"),
            "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in readings) + "</ul>",
            f"<p class='note'>Published range: {html.escape(INSTRUCTION_DIVERSITY.source)}.</p>",
            "<h2>Mean exact match</h2>",
            _table(_means(results)),
            *_settings(results),
            "<h2>Notebooks of this run</h2>",
            "<ul>" + "".join(_link(path, seconds) for path in notebooks) + "</ul>",
            "<h2>Where the numbers come from</h2>",
            _origin(results),
        ]
    page = (f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>unseen: {scale.name}</title>"
            f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style></head>"
            f"<body>{''.join(parts)}</body></html>")  # fmt: skip
    write(folder / "report.html", page)
    return folder / "report.html"


def _settings(results: pd.DataFrame) -> list[str]:
    """The other settings of the study, where there are any."""
    if results["setting"].nunique() == 1:
        return []
    table = curve.thresholds(results)
    fitted = table[table["note"] == ""]
    shown = _table(table[["setting", "middle", "low", "high", "top", "seeds", "note"]])
    if fitted.empty:
        return ["<h2>Other settings</h2>", shown]
    figure = plots.threshold_by_setting(fitted).figure
    return ["<h2>Other settings</h2>", _picture(_png(figure), "Thresholds of all settings"), shown]


def _means(results: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy by setting, number of instructions and split, over seeds."""
    keys = ["setting", "instructions", "examples_per_instruction"]
    results = results.assign(setting=pd.Categorical(results["setting"], results["setting"].unique()))
    table = results.pivot_table("accuracy", keys, "split", observed=True).reset_index()
    seeds = results.groupby(keys, observed=True)["seed"].nunique().reset_index(name="seeds")
    return table.merge(seeds, on=keys)


def _table(frame: pd.DataFrame) -> str:
    """A frame as an HTML table, numbers rounded to three places."""
    return f"<div class='scroll'>{frame.to_html(index=False, border=0, float_format='{:.3f}'.format, na_rep='')}</div>"


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()


def _picture(png: bytes, title: str) -> str:
    """A picture inside the page."""
    return f"<p><img alt='{html.escape(title)}' src='data:image/png;base64,{base64.b64encode(png).decode()}'></p>"


def _link(path: Path, seconds: dict[str, float]) -> str:
    time = f", {duration(seconds[path.stem])}" if path.stem in seconds else ""
    return f"<li><a href='{path.stem}.html'>{path.stem}</a>{time}</li>"


def _origin(results: pd.DataFrame) -> str:
    origin = provenance()
    versions = ", ".join(f"{name} {number}" for name, number in origin["versions"].items())
    trained = results.drop_duplicates("run")["seconds"]
    lines = [
        f"{results['run'].nunique()} trained models, {duration(trained.sum())} of training in all, "
        f"{trained.mean():.0f} s each; each scored on {results['examples'].min():,} examples a split",
        html.escape(f"{versions}; commit {origin['commit']}; {origin['processor']}, {origin['cores']} cores"),
        "every number: <a href='10_diversity_threshold.csv'>10_diversity_threshold.csv</a>, its origin in "
        "<a href='10_diversity_threshold.json'>10_diversity_threshold.json</a>",
    ]
    return "<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"


def write_table(notebook: str, scale: str, settings: Sequence[Setting], table: pd.DataFrame, command: str = "") -> Path:
    """Write the tidy results of a notebook, and what produced them, under ``<runs>/<scale>/``."""
    path = runs_folder() / scale / f"{notebook}.csv"
    write(path, table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    axes = {setting.name: {"base": setting.base.to_dict(), "instructions": setting.instructions,
                           "seeds": setting.seeds} for setting in settings}  # fmt: skip
    command = command or f"unseen run {notebook[:2]} -p scale={scale}"
    about = {"command": command, "settings": axes, "device": best_device(), **provenance()}
    write(path.with_suffix(".json"), json.dumps(about, indent=1) + "\n")
    return path


def write_figure(notebook: str, scale: str, figure: Figure) -> Path:
    """Write the key figure of a notebook beside its table, under ``<runs>/<scale>/``; the figure stays open."""
    path, buffer = runs_folder() / scale / f"{notebook}.png", io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, bbox_inches="tight", metadata={"Software": None})
    write(path, buffer.getvalue())
    return path


def write_results(scale: Scale, results: pd.DataFrame, baselines: pd.DataFrame) -> Path:
    """Write the tidy results of the main job, and what produced them, under ``<runs>/<scale>/``."""
    text = baselines.to_csv(index=False, lineterminator="\n", float_format="%.6g")
    write(runs_folder() / scale.name / "10_baselines.csv", text)
    command = f"make study SCALE={scale.name}"
    return write_table("10_diversity_threshold", scale.name, scale.settings, results, command)
