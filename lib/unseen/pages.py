"""What a reader opens: a notebook as a page that stands alone, all of them as a folder, copies to work in.

A page holds its figures and its style, and asks no other host for anything.  The folder that ``write_pages``
makes works from a disk and from any static host; on its first page the two committed models answer in
JavaScript (``templates/page/model.js``).
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Collection, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from unseen.files import project_folder, read_text, runs_folder, write
from unseen.parameters import MARKER, VALUES, BadParameters, read_notebook, tags_of

TEMPLATES = Path(__file__).with_name("templates")
FIRST, REPORT, MODELS = "index.html", "report.html", "models.js"  # in the folder of pages
_README_ROW = re.compile(r"^\| \[(\w+)\]\(notebooks/\1\.ipynb\) \| (.*?) \| (.*?) \|$", re.M)


def page(
    book: Any,
    title: str,
    links: str = "",
    without_cells: Collection[str] = (),
    without_outputs: Collection[str] = (),
    **options: Any,
) -> str:
    """A notebook as one HTML document, with ``links`` (HTML) above and below it.

    Cells with a tag of ``without_cells`` are left out, and the outputs of cells with a tag of
    ``without_outputs``.  Other options are those of nbconvert's ``HTMLExporter``.
    Cells tagged ``solution``, what cells tagged ``progress`` print, and the error stream are folded.
    A figure's alternative text is ``alt`` of its cell's metadata, else the heading above it.
    """
    from nbconvert import HTMLExporter  # here, not above: it takes seconds
    from pygments.formatters import HtmlFormatter
    from traitlets.config import Config

    tags = {"remove_cell_tags": set(without_cells), "remove_all_outputs_tags": set(without_outputs)}
    exporter = HTMLExporter(
        template_name="page",
        extra_template_basedirs=[str(TEMPLATES)],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        config=Config(TagRemovePreprocessor={"enabled": True, **tags}),
        **options,
    )
    book.cells = described(book.cells)
    styles = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("xcode", "github-dark"))
    colours = "{}\n@media (prefers-color-scheme: dark) {{\n{}\n}}".format(*styles)
    resources = {"title": title, "links": links, "highlighting": colours}
    made, _ = exporter.from_notebook_node(book, resources)
    made = re.sub(r'(<table|<div(?= class="output_png))', r'\1 tabindex="0"', made)  # on phones they scroll
    return re.sub(r'(href="\d\d_\w+)\.ipynb', r"\1.html", made)


def described(cells: list[Any]) -> list[Any]:
    """Cells in which each figure without an alternative text has the heading above it as one."""
    heading = ""
    for cell in cells:
        if cell.cell_type == "markdown":
            found = re.search(r"^#+ (.*)", cell.source, re.M)
            heading = found[1] if found else heading
        else:
            cell.metadata.setdefault("alt", heading)
    return cells


def links(before: str = "", after: str = "") -> str:
    """The links of a page, as HTML: all notebooks, the report, and the notebooks before and after it."""
    targets = {FIRST: "All notebooks", REPORT: "Report"}
    targets |= {f"{name}.html": f"{sign} {name}" for name, sign in ((before, "←"), (after, "→")) if name}
    items = "".join(f"<li><a href='{target}'>{label}</a></li>" for target, label in targets.items())
    return f"<ul>{items}</ul>"


def write_pages(scale: str, names: Sequence[str]) -> Path:
    """Write ``<runs>/pages/``: a first page, and one for each notebook that was executed at a scale.

    Returns the path of the first page.  Raises ``BadParameters`` for a notebook that cannot be read.
    """
    folder, entries = runs_folder() / "pages", []
    for before, name, after in zip_longest(["", *names[:-1]], names, names[1:], fillvalue=""):
        book = read_notebook(runs_folder() / scale / f"{name}.ipynb")
        entries.append(_entry(name, book, folder))
        text = page(book, name, links(before, after), {VALUES, MARKER})
        write(folder / f"{name}.html", text)
    write(folder / MODELS, _models())
    write(folder / FIRST, _first(entries))
    return folder / FIRST


def _first(entries: list[str]) -> str:
    """The first page: what this is about, the two models to try, and the gallery."""
    from nbformat.v4 import new_markdown_cell, new_notebook

    part = {path.name: read_text(path) for path in (TEMPLATES / "first").iterdir()}
    scripts = "".join(f"<script>{part[name]}</script>" for name in ("model.js", "try.js"))
    tried = _shown(f"<style>{part['first.css']}</style>{part['try.html']}{scripts}")
    above, below = map(new_markdown_cell, part["top.md"].split("<!-- the two models -->"))
    gallery = _shown(f"<ul class='gallery'>{''.join(entries)}</ul>")
    return page(new_notebook(cells=[above, tried, below, gallery]), "unseen", exclude_input=True)


def _shown(text: str) -> Any:
    """A cell that shows HTML as it is."""
    from nbformat.v4 import new_code_cell, new_output

    return new_code_cell(outputs=[new_output("display_data", {"text/html": text})])


def _entry(name: str, book: Any, folder: Path) -> str:
    """A notebook in the gallery, as HTML; its first figure is written to the folder."""
    question, minutes = _questions().get(name, ("", ""))
    about = book.metadata.get("unseen", {})
    title = html.escape(re.sub("^# ", "", book.cells[0].source.splitlines()[0]))
    lines = [
        _thumbnail(name, book, folder),
        f"<h3><a href='{name}.html'>{title}</a></h3>",
        f"<p class='question'>{question}</p>",
        f"<p>{html.escape(about.get('answer', ''))}</p>",
        f"<p class='minutes'>{about.get('minutes', '')} minutes to read; ",
        f"at <code>quick</code>: {minutes}</p>",
    ]
    return f"<li>{''.join(lines)}</li>"


def _thumbnail(name: str, book: Any, folder: Path) -> str:
    """The main figure of a notebook as an ``img``, its file written; without one, the notebook's number.

    That is the figure of a cell tagged ``thumbnail`` or the one that it keeps, else its first.
    """
    pictures = [
        ("thumbnail" in tags_of(cell) or "write_figure" in cell.source, cell, output.data["image/png"])
        for cell in described(book.cells)
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    if not pictures:
        return f"<div class='blank' aria-hidden='true'>{name[:2]}</div>"
    _, cell, picture = max(pictures, key=lambda each: each[0])  # of equals the first
    write(folder / f"{name}.png", base64.b64decode(picture))
    return f"<img src='{name}.png' alt='{html.escape(cell.metadata['alt'])}' loading='lazy'>"


def _questions() -> dict[str, list[str]]:
    """Question and minutes of each notebook by its name, as HTML: the rows of the README's table."""
    from nbconvert.filters import markdown2html

    rows = _README_ROW.findall(read_text(project_folder() / "README.md"))
    return {name: [re.sub("</?p>", "", markdown2html(each)).strip() for each in said] for name, *said in rows}


def _models() -> str:
    """The committed models as JavaScript: sizes, and weights in half precision as safetensors in base64."""
    from safetensors.torch import save

    from unseen.widgets import load_demo

    demo, listed = load_demo(), []
    layout = {
        name: getattr(demo.layout, name) for name in ("vocabulary", "alphabet", "context", "answer_length")
    }
    layout["lengths"] = dict(zip(("pattern", "replacement", "input"), demo.layout.parts, strict=True))
    for name, model in demo.models.items():
        sizes = {size: getattr(model.spec, size) for size in ("layers", "width", "heads")}
        weights = save({key: weight.half() for key, weight in model.state_dict().items()})
        listed.append({"name": name, **layout, **sizes, "weights": base64.b64encode(weights).decode()})
    return f"const MODELS = {json.dumps(listed)};\n"


def copies(which: str, notebooks: Sequence[Path]) -> tuple[Path, list[str]]:
    """Copy notebooks to ``<runs>/<which>/``; returns the folder, and the names of outdated copies.

    ``lab`` has all as they are, ``student`` no solutions, ``teacher`` solutions unfolded.
    A copy in which a person changed a cell is never overwritten.  Others are written anew when their notebook
    changes.  Each notes in its metadata what it was copied from; outputs are no changes.
    """
    folder, kept = runs_folder() / which, []
    for path in notebooks:
        book, copy = _edition(which, read_notebook(path)), folder / path.name
        book.metadata["unseen_copy"] = _sources(book)
        state = _state(copy, book.metadata["unseen_copy"])
        if state == "replace":
            write(copy, json.dumps(book))
        elif state == "changed":
            kept.append(path.stem)
    return folder, kept


def _state(copy: Path, sources: str) -> str:
    """What becomes of the copy of a notebook with these sources: ``leave``, ``replace``, or ``changed``."""
    if not copy.exists():
        return "replace"
    try:
        mine = read_notebook(copy)
    except BadParameters:
        return "changed"
    noted = mine.metadata.get("unseen_copy")
    if noted == sources:
        return "leave"
    return "replace" if noted == _sources(mine) else "changed"


def _sources(book: Any) -> str:
    """The hash of what a notebook's cells say, whatever came out of them."""
    cells = [(cell.cell_type, cell.source) for cell in book.cells]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def _edition(which: str, book: Any) -> Any:
    """A notebook without solutions for a ``student``, with them unfolded for a ``teacher``, else as it is."""
    if which == "student":
        book.cells = [cell for cell in book.cells if "solution" not in tags_of(cell)]
    for cell in book.cells if which == "teacher" else ():
        if "solution" in tags_of(cell):
            cell.metadata.pop("jupyter", None)
    return book
