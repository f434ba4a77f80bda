"""Chromium, and one JupyterLab server on working copies of the notebooks, its runs folder a temporary one.

Waits are long, since a busy machine is not a failure; nothing sleeps.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unseen.files import read_json, write

CHROMIUM = shutil.which("chromium")
PATIENCE = 120_000  # ms until a page shows what it should: a kernel may have to start
STALE, ALERT = ".unseen-stale", "[role=alert]"
TRACEBACK = ", ".join(f"[data-mime-type='application/vnd.jupyter.{kind}']" for kind in ("error", "stderr"))


@pytest.fixture(scope="session")
def browser():
    """Debian's chromium, driven by Playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="make test-browser installs Playwright")
    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt install chromium")
    playwright.expect.set_options(timeout=PATIENCE)
    with playwright.sync_playwright() as engines:
        chromium = engines.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def runs_of_all(tmp_path_factory):
    """The runs folder that all tests here share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSEEN_RUNS", str(tmp_path_factory.mktemp("runs")))
        yield Path(os.environ["UNSEEN_RUNS"])


@pytest.fixture(scope="session")
def lab(browser, runs_of_all, tmp_path_factory):
    """A JupyterLab server as ``make lab`` starts it, that knows no settings of this machine's user."""
    home = tmp_path_factory.mktemp("jupyter")
    kinds = ("CONFIG", "DATA", "RUNTIME")
    env = os.environ | {f"JUPYTER_{kind}_DIR": str(home / kind) for kind in kinds} | {"IPYTHONDIR": str(home)}
    env |= {f"JUPYTERLAB_{kind}_DIR": str(home / kind) for kind in ("SETTINGS", "WORKSPACES")}
    news = '{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}'
    write(home / "CONFIG" / "labconfig" / "page_config.json", news)  # it asks another host
    copies = subprocess.run([sys.executable, "-m", "unseen", "lab"], env=env, capture_output=True, check=True)
    folder = Path(copies.stdout.decode().strip()).parent
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--port-retries=50"]
    with (home / "log").open("w") as log:
        server = subprocess.Popen([*command, str(folder)], env=env, stdout=log, stderr=log)
    yield _address(server, home)
    server.terminate()
    server.wait(60)


def _address(server, home):
    """Where a server listens, and its token, as soon as it says so."""
    ends = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < ends and server.poll() is None:
        for path in (home / "RUNTIME").glob("jpserver-*.json"):
            return read_json(path)
        time.sleep(0.2)
    pytest.fail((home / "log").read_text())


@pytest.fixture
def pictures(request, runs_of_all):
    """Take a picture of a page, to look at it: ``pictures(page, "stopped")``."""
    folder = runs_of_all / "pictures"
    folder.mkdir(exist_ok=True)
    name = re.sub(r"\W+", "_", request.node.name)
    return lambda page, moment: page.screenshot(path=folder / f"{name}-{moment}.png")


@pytest.fixture
def page(browser):
    """A window of a person who agrees to leave a page that is not saved."""
    window = browser.new_page(viewport={"width": 1280, "height": 1000})
    window.set_default_timeout(PATIENCE)
    window.on("dialog", lambda dialog: dialog.accept())
    yield window
    window.close()


@pytest.fixture
def notebook(page, lab):
    """Open the working copy of a notebook by its number, as ``notebook("00")``."""
    opened = Notebook(page, lab)
    yield opened
    opened.shut_down()


class Notebook:
    """A notebook in JupyterLab."""

    def __init__(self, page, lab):
        from playwright.sync_api import expect

        self.page, self.lab, self.expect = page, lab, expect
        self.cells = page.locator(".jp-NotebookPanel:visible .jp-CodeCell")
        self.explorer = page.locator(".unseen-live:visible")
        self.answer = self.explorer.locator(".jp-OutputArea")
        self.alert = self.explorer.locator(ALERT)

    def open(self, number):
        """Open it, in a lab that remembers nothing of earlier ones."""
        (self.path,) = Path(self.lab["root_dir"]).glob(f"{number}_*.ipynb")
        self.page.goto(f"{self.lab['url']}lab/tree/{self.path.name}?reset&token={self.lab['token']}")
        self.ready()

    def sources(self):
        """What stands in the code cells of its file."""
        code = [cell for cell in read_json(self.path)["cells"] if cell["cell_type"] == "code"]
        return ["".join(cell["source"]) for cell in code]

    def ready(self):
        """Wait for all cells and a kernel."""
        self.expect(self.cells).to_have_count(len(self.sources()))
        self.expect(self.page.get_by_text("| Idle")).to_be_visible()

    def menu(self, *names):
        """Choose an entry of a menu."""
        for name in names:
            self.page.get_by_role("menuitem", name=name).locator("visible=true").first.click()

    def run_all(self):
        """Run all cells to the end; no output may be a traceback or a warning."""
        self.menu(re.compile("^Run$"), re.compile("^Run All Cells$"))
        prompts = self.cells.locator(".jp-InputArea-prompt")
        self.expect(prompts.first).not_to_have_text("[ ]:")
        self.expect(prompts.filter(has_text="[*]")).to_have_count(0)
        self.untroubled()
        self.expect(prompts.last).to_have_text(re.compile(r"\[\d+\]"))
        if self.explorer.count():
            self.explorer.scroll_into_view_if_needed()

    def untroubled(self):
        """No output is a traceback or a warning."""
        self.expect(self.page.locator(TRACEBACK)).to_have_count(0)

    def save(self):
        """Save, and wait until it is saved."""
        self.page.keyboard.press("Control+s")
        self.expect(self.page.locator(".lm-mod-current.jp-mod-dirty")).to_have_count(0)

    def shut_down(self):
        """End the kernels, as closing a lab does."""
        self.page.goto("about:blank")
        api = f"{self.lab['url']}api/sessions"
        headers = {"Authorization": f"token {self.lab['token']}"}
        for session in self.page.request.get(api, headers=headers).json():
            self.page.request.delete(f"{api}/{session['id']}", headers=headers)

    def answers(self, earlier=""):
        """Wait for an answer that is not an earlier one, under values that are all good; gives its text."""
        self.expect(self.answer).not_to_have_text(earlier)
        self.expect(self.explorer.locator(STALE)).to_have_count(0)
        self.expect(self.alert).to_have_count(0)
        return self.answer.text_content()

    def refuses(self, earlier):
        """Wait for one alert; the earlier answer stays, greyed.  Gives what the alert says."""
        self.expect(self.alert).to_have_count(1)
        self.expect(self.alert).to_be_visible()
        self.expect(self.explorer.locator(STALE)).to_have_count(1)
        assert self.answer.text_content() == earlier
        return self.alert.inner_text()
