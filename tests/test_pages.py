"""Pages for readers: each stands alone, and on the first one the models answer as PyTorch does."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from unseen import cli, pages
from unseen.evaluation import greedy_answers
from unseen.files import project_folder, read_text
from unseen.headless import notebooks
from unseen.rewriting import Rule
from unseen.widgets import load_demo

NAMES = ["00_start_here", "10_diversity_threshold"]
FIRST = pages.TEMPLATES / "first"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")


def executed(name):
    """A notebook with everything that a page treats in its own way."""
    figure = new_output("display_data", {"image/png": PIXEL})
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "7"}, "text/plain": "interactive()"}
    progress = new_output("stream", text="3 of 27 runs done")
    table = new_output("execute_result", {"text/html": "<table>the result</table>"})
    warning = new_output("stream", name="stderr", text="a warning")
    cells = [
        new_markdown_cell("# 10 · A title\n\n[next](11_no_ops.ipynb) and [a paper](https://arxiv.org/abs/1)"),
        new_code_cell("injected = 1", metadata={"tags": ["injected-parameters"]}),
        new_code_cell("train()", metadata={"tags": ["progress"]}, outputs=[progress, table]),
        new_code_cell("warn()", outputs=[warning]),
        new_markdown_cell("## The curve"),
        new_code_cell("draw()", outputs=[figure]),
        new_code_cell("draw()", outputs=[figure], metadata={"alt": "rises at < 300", "tags": ["thumbnail"]}),
        new_code_cell("explore()", outputs=[new_output("display_data", widget)]),
        new_code_cell("answer = 42", metadata={"tags": ["solution"]}),
        new_code_cell("mark()", metadata={"tags": ["success-marker"]}),
    ]
    about = {"answer": f"What {name} finds", "minutes": 7}
    return new_notebook(cells=cells, metadata={"unseen": about})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of pages of two notebooks."""
    runs = tmp_path_factory.mktemp("runs")
    (runs / "show").mkdir()
    for name in NAMES:
        nbformat.write(executed(name), runs / "show" / f"{name}.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSEEN_RUNS", str(runs))
        return pages.write_pages("show", NAMES).parent


def loaded(page):
    """What a browser loads for a page: targets of everything but links."""
    return re.findall(r"<(?:script|img|iframe|link|source)\b[^>]*?(?:src|href)=[\"']([^\"']*)", page)


def test_no_page_asks_another_host(folder):
    found = sorted(folder.glob("*.html"))
    assert [path.stem for path in found] == [*NAMES, "index"]
    for path in found:
        text = path.read_text("utf-8")
        here = [target for target in loaded(text) if not target.startswith("data:image/")]
        assert all((folder / target).is_file() for target in here), here
        assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", text)
        assert "application/vnd.jupyter" not in text
    first = loaded((folder / "index.html").read_text("utf-8"))
    assert set(first) == {"models.js", *(f"{name}.png" for name in NAMES)}


def test_a_page_links_to_its_neighbours_and_folds_what_is_no_prose(folder):
    text = (folder / f"{NAMES[0]}.html").read_text("utf-8")
    links = re.findall(r"href=[\"']([^\"'#]+)", text)
    assert {"index.html", "report.html", f"{NAMES[1]}.html", "11_no_ops.html"} <= set(links)
    folded = "".join(re.findall(r"<details.*?</details>", text, re.S))
    for inside in ("3 of 27 runs done", "a warning", "answer"):
        assert inside in folded
    assert "the result" in text
    assert "the result" not in folded
    assert "mark()" not in text
    assert "injected" not in text
    assert re.findall('alt="([^"]*)"', text) == ["The curve", "rises at &lt; 300"]


def test_the_gallery_has_a_figure_a_question_an_answer_and_minutes_for_each(folder):
    entries = re.findall(r"<li>.*?</li>", (folder / "index.html").read_text("utf-8"), re.S)
    assert len(entries) == len(NAMES)
    for name, entry in zip(NAMES, entries, strict=True):
        assert f'href="{name}.html"' in entry
        assert 'alt="rises at &lt; 300"' in entry
        assert f"What {name} finds" in entry
        assert re.search(r"<p class=.question.>\w.*?</p>", entry)
        assert "7 minutes to read" in entry
        assert re.search(r"at .*quick.*: [\w ]*\d", entry)


def test_the_gallery_has_a_question_of_every_notebook():
    assert list(pages._questions()) == [path.stem for path in notebooks()]


def said(script):
    """What node prints for a script that knows the first page's models, as JSON."""
    source = pages._models() + read_text(FIRST / "model.js") + script
    done = subprocess.run(["node", "-"], input=source, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def random_rules(layout, number):
    """Rules and inputs that hold the pattern, twice in some of them."""
    draw = np.random.default_rng(5)
    pattern, replacement, size = layout.parts
    for _ in range(number):
        x, y, z = ("".join(draw.choice(list(layout.alphabet), n)) for n in (pattern, replacement, size))
        at = draw.integers(0, size - pattern + 1, 2)
        for place in at[: draw.integers(0, 3)]:
            z = f"{z[:place]}{x}{z[place + pattern :]}"
        yield x, y, z


@needs_node
def test_the_models_of_the_page_have_the_answers_and_logits_of_pytorch():
    demo = load_demo()
    asked = list(random_rules(demo.layout, 200))
    texts = [demo.layout.prompt(Rule(x, y), z) for x, y, z in asked]
    found = said(
        f"const asked = {json.dumps(asked)}, texts = {json.dumps(texts[:10])};"
        "const all = (answer) => asked.map((each) => answer(...each));"
        "const given = (model) => all((...each) => model.answer(...each));"
        "const logits = (model) => texts.map((text) => model.decode(text).logits.map((each) => [...each]));"
        "const of = (about) => [new Unseen.Model(about)].map((model) => [given(model), logits(model)])[0];"
        "console.log(JSON.stringify({oracle: all(Unseen.oracle), models: MODELS.map(of)}));"
    )
    assert found["oracle"] == [Rule(x, y).apply(z) for x, y, z in asked]
    prompts = demo.layout.prompts(texts)
    for (given, logits), model in zip(found["models"], demo.models.values(), strict=True):
        model.load_state_dict({name: weight.half() for name, weight in model.state_dict().items()})
        written = greedy_answers(model, prompts)  # of weights in half precision, as the page has them
        assert given == [demo.layout.answer(ids) for ids in written]
        with torch.no_grad():
            exact = model(torch.from_numpy(np.concatenate([prompts, written[:, :-1]], 1)[:10]).long()).numpy()
        for mine, theirs in zip(logits, exact, strict=True):  # (O, V)
            np.testing.assert_allclose(mine, theirs[: len(mine)], atol=1e-3)
    right = [given == best for given, best in zip(found["models"][1][0], found["oracle"], strict=True)]
    assert 0.2 < np.mean(right) < 0.9  # both kinds of inputs are among them


TYPED = [("ca", "dog", "onecatnaps"), ("cat", "dogs", "onecatnaps"), ("cat", "dog", "one catnap")]


@needs_node
def test_the_page_refuses_what_the_layout_refuses():
    refusals, layout = [], load_demo().layout
    for pattern, replacement, text in TYPED:
        with pytest.raises(ValueError, match=":") as refused:
            layout.prompt(Rule(pattern, replacement), text)
        refusals.append([str(refused.value)])
    names = json.dumps(["pattern", "replacement", "input"])
    found = said(
        f"const names = {names}, problem = (text, i) => Unseen.problem(MODELS[0], names[i], text);"
        f"const why = {json.dumps(TYPED)}.map((typed) => typed.map(problem).filter((each) => each));"
        "console.log(JSON.stringify(why));"
    )
    assert found == refusals


@needs_node
def test_the_examples_of_the_page_show_what_their_headings_say():
    can, fails = re.findall(r"<fieldset>.*?</fieldset>", read_text(FIRST / "try.html"), re.S)
    demo = load_demo()
    good = list(demo.models.values())[1]
    for part, expected in ((can, True), (fails, False)):
        rules = [rule.split() for rule in re.findall(r'data-rule="(\w.*?)"', part)]
        prompts = demo.layout.prompts([demo.layout.prompt(Rule(x, y), z) for x, y, z in rules])
        answers = [demo.layout.answer(ids) for ids in greedy_answers(good, prompts)]
        right = [answer == Rule(x, y).apply(z) for answer, (x, y, z) in zip(answers, rules, strict=True)]
        assert right == [expected] * len(rules)
        assert [z.count(x) == 1 for x, _, z in rules] == [expected] * len(rules)


@pytest.fixture
def original(tmp_path):
    """A notebook of the project."""
    path = tmp_path / "00_start_here.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("first")]), path)
    return path


def sources(path):
    return [cell.source for cell in nbformat.read(path, as_version=4).cells]


def edit(path, source, outputs=()):
    book = nbformat.read(path, as_version=4)
    book.cells[0].update(source=source, outputs=list(outputs))
    nbformat.write(book, path)


def test_a_working_copy_follows_its_notebook_until_a_person_changes_it(runs, original):
    folder, kept = pages.copies("lab", [original])
    copy = folder / original.name
    assert (folder, kept, sources(copy)) == (runs / "lab", [], ["first"])
    edit(copy, "first", [new_output("stream", text="a result")])  # executed, not changed
    content = copy.read_bytes()
    assert pages.copies("lab", [original])[1] == []
    assert copy.read_bytes() == content
    edit(original, "second")
    assert pages.copies("lab", [original])[1] == []
    assert sources(copy) == ["second"]
    edit(copy, "mine")
    assert pages.copies("lab", [original])[1] == []  # nothing new in the project
    edit(original, "third")
    assert pages.copies("lab", [original])[1] == ["00_start_here"]
    assert sources(copy) == ["mine"]
    copy.write_text("half a file")
    assert pages.copies("lab", [original])[1] == ["00_start_here"]
    assert copy.read_text() == "half a file"


def test_lab_prints_the_first_copy_and_names_those_that_are_kept(runs, original, monkeypatch, capsys):
    monkeypatch.setattr(cli, "notebooks", lambda: [original])
    copy = runs / "lab" / original.name
    assert cli.main(["lab"]) == 0
    assert capsys.readouterr() == (f"{copy}\n", "")
    edit(copy, "mine")
    edit(original, "second")
    assert cli.main(["lab"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{copy}\n"
    assert printed.err.startswith(f"{copy} has changes of yours and is kept")


def test_pages_runs_every_notebook_at_show_and_writes_the_report_beside_them(runs, monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(cli, "notebooks", lambda: [Path(f"{name}.ipynb") for name in NAMES])
    monkeypatch.setattr(cli, "run_notebook", lambda *given: ran.append(given))
    first, written, reports = runs / "pages" / "index.html", [], []
    monkeypatch.setattr(cli, "write_pages", lambda scale, names: written.append(names) or first)
    monkeypatch.setattr(cli, "write_report", lambda *given: reports.append(given))
    assert cli.main(["pages"]) == 0
    assert ran == [(name, {"scale": "show"}) for name in NAMES]
    assert written == [NAMES[:1], NAMES]  # something to try meanwhile
    ((scale, seconds, folder, links),) = reports
    assert (scale, list(seconds), folder) == ("show", NAMES, runs / "pages")
    assert "index.html" in links
    assert capsys.readouterr().out.endswith(f"open {first}\n")


def test_binder_installs_the_tested_versions_and_opens_working_copies():
    build = project_folder() / "binder" / "postBuild"
    assert os.access(build, os.X_OK)
    install, copies = build.read_text().splitlines()[-2:]
    assert " -c constraints.txt -e '.[llm]'" in install
    assert copies == "unseen lab"
