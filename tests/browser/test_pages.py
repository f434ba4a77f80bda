"""The pages on a phone and on a desk, offline: the models answer, no host is asked, all can be read."""

import pytest
from nbformat.v4 import new_markdown_cell, new_notebook

from unseen.files import project_folder, read_text, write
from unseen.headless import run_notebook
from unseen.pages import links, write_pages
from unseen.pages import page as page_of
from unseen.report import write_report

NAMES = ["00_start_here", "10_diversity_threshold"]
AXE = project_folder() / ".venv" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["color-contrast", "image-alt", "label", "button-name", "link-name", "document-title"]  # of axe-core
SIZES = {"phone": {"width": 390, "height": 844}, "desk": {"width": 1280, "height": 900}}


@pytest.fixture(scope="module")
def folder(browser, runs_of_all):
    """The folder of pages of two notebooks and the report."""
    for name in NAMES:
        run_notebook(name, {"scale": "show"})
    folder = write_pages("show", NAMES).parent
    write_report("show", dict.fromkeys(NAMES, 1.0), folder, links())
    return folder


@pytest.fixture(params=[(size, colours) for size in SIZES for colours in ("light", "dark")], ids="-".join)
def page(request, browser):
    """A window without a network, on a screen of each size, light and dark."""
    size, colours = request.param
    context = browser.new_context(viewport=SIZES[size], color_scheme=colours, offline=True)
    yield context.new_page()
    context.close()


@pytest.fixture
def asked(page):
    """What the page asks for that does not lie beside it."""
    found = []
    page.on("request", lambda request: found.append(request.url))
    return lambda: [url for url in found if not url.startswith(("file:", "data:", "blob:"))]


def visit(page, path):
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
        f"{path.name} scrolls sideways"
    )


def test_two_models_answer_without_a_network(page, folder, asked, pictures):
    from playwright.sync_api import expect

    visit(page, folder / "index.html")
    pattern, text = page.get_by_label("Replace the pattern"), page.get_by_label("in the input")
    answer, problem = page.locator("#answer"), page.get_by_role("alert")
    expect(answer).to_contain_text("cat → dog")
    answered = answer.inner_text()
    pattern.fill("c1")
    expect(problem).to_have_count(1)
    expect(problem).to_contain_text("pattern")
    expect(answer).to_have_class("old")
    assert answer.inner_text() == answered
    pictures(page, "refused")
    pattern.fill("ONE")
    text.fill("twoonethre")
    expect(answer).to_contain_text("one → dog")
    expect(answer).not_to_have_class("old")
    expect(problem).to_have_text("")
    assert answer.inner_text().count("✓ right") == 1  # of the two models
    page.get_by_role("button", name="a random rule").dblclick()
    expect(answer).not_to_contain_text("one → dog")
    pictures(page, "answered")
    page.get_by_role("link", name="10 ·").click()
    expect(page).to_have_url((folder / "10_diversity_threshold.html").as_uri())
    assert asked() == []


@pytest.mark.parametrize("name", ["index", *NAMES, "report"])
def test_every_page_can_be_read(page, folder, asked, name, pictures):
    visit(page, folder / f"{name}.html")
    pictures(page, "top")
    assert asked() == []
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: make test-browser installs it where npm is")
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
    faults = [
        f"{each['id']}: {node['target'][0]} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]
    assert faults == []


def test_the_readme_is_two_screens(browser, runs_of_all):
    book = new_notebook(cells=[new_markdown_cell(read_text(project_folder() / "README.md"))])
    base = f"<head><base href='{project_folder().as_uri()}/'>"
    write(runs_of_all / "readme.html", page_of(book, "unseen").replace("<head>", base))
    window = browser.new_page(viewport={"width": 1280, "height": 800})
    window.goto((runs_of_all / "readme.html").as_uri())
    loaded = "[...document.images].map(image => image.naturalWidth > 0)"
    assert window.evaluate(loaded) == [True, True]
    assert window.evaluate("document.documentElement.scrollHeight") <= 2 * 800
    window.close()
