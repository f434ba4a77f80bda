"""What a stranger who clones the repository relies on: it installs, it is small, it says what is in it."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from unseen.studies.findings import write_findings

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = {
    path.name: json.loads(path.read_text("utf-8")) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
}
LARGEST = 2 * 2**20  # bytes of one file
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REQUIREMENTS = sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def tracked_files() -> list[Path]:
    """What git would hand out, or every text of the project where this is no checkout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in files or ROOT.glob("[a-z]*/**/*.[ipmt]*") if path.is_file()]


# Installing


def pip_arguments(line: str) -> list[str]:
    """What an install line installs, without the options that only make it quiet."""
    words = shlex.split(line.split("pip install", 1)[-1])
    return sorted(word for word in words if not word.startswith("--"))


def test_conda_installs_what_make_installs():
    environment = yaml.safe_load(read("environment.yml"))
    (recipe,) = re.findall(r"^\$\(READY\):.*\n((?:\t.*\n)+)", read("Makefile"), re.MULTILINE)
    (made,) = [pip_arguments(line.split("||")[0]) for line in recipe.splitlines() if "pip install" in line]
    (pip,) = [part["pip"] for part in environment["dependencies"] if isinstance(part, dict)]
    assert pip_arguments(" ".join(pip)) == made
    assert environment["dependencies"][:-1] == ["python=3.11", "pip"]
    assert environment["name"] == "unseen"
    assert environment["channels"] == ["conda-forge"]


def pins() -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in read("constraints.txt").splitlines()]
    requirements = [Requirement(line) for line in lines if line]
    assert all([s.operator for s in r.specifier] == ["=="] for r in requirements)
    return {canonicalize_name(r.name): next(iter(r.specifier)).version for r in requirements}


def test_every_requirement_is_pinned_within_its_range():
    pinned = pins()
    for wanted in map(Requirement, REQUIREMENTS):
        assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)], prereleases=True), wanted


@pytest.mark.parametrize("python", ["3.11.0", "3.14.0"])
def test_no_pin_excludes_a_python_that_the_project_admits(python):
    """Debian 12's own Python is 3.11.2: a package that needed 3.11.5 made the first command fail."""
    pinned = pins()
    limits = {each.name: each.metadata.get("Requires-Python") for each in distributions()
              if canonicalize_name(each.name) in pinned}  # fmt: skip
    assert len(limits) > 100
    assert [name for name, limit in limits.items() if limit and python not in SpecifierSet(limit)] == []


@pytest.mark.parametrize(("python", "said"), [
    ("sys.version_info = (3, 10)", "needs Python 3.11 or newer"),
    ("sys.modules['ensurepip'] = None", "apt install"),
])  # fmt: skip
def test_a_python_that_cannot_be_used_is_named_before_anything_is_made(python, said, tmp_path):
    stand_in = tmp_path / "python"
    stand_in.write_text(
        f'#!/bin/sh\nexec \'{sys.executable}\' -c "import sys; {python}; exec(sys.argv.pop(1))" "$3" "$4"\n'
    )
    stand_in.chmod(0o755)
    refusal = refused_by_make(tmp_path, f"PYTHON={stand_in}")
    assert said in refusal
    assert str(stand_in) in refusal
    assert not (tmp_path / ".venv").exists()


def refused_by_make(folder: Path, *given: str, **environment: str) -> str:
    """What ``make study`` says in a folder with the requirements of an environment."""
    (folder / "pyproject.toml").touch()
    (folder / "constraints.txt").touch()
    made = ["make", "-f", str(ROOT / "Makefile"), "study", *given]
    done = subprocess.run(made, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode
    return done.stderr


def test_a_python_that_cannot_be_started_is_named(tmp_path):
    for python in ("~/python3.11", "py -3.11", str(tmp_path)):
        assert f"PYTHON={python} cannot be started" in refused_by_make(tmp_path, f"PYTHON={python}")
    assert "LC_ALL=C.UTF-8 make" in refused_by_make(folder_of(tmp_path / "é"), LC_ALL="C")


def folder_of(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def test_an_environment_of_another_folder_or_of_a_python_that_is_gone_is_named(tmp_path):
    """A copied project would run the code of the one that it was copied from."""
    python = folder_of(tmp_path / ".venv" / "bin") / "python"
    python.symlink_to(tmp_path / "gone")
    assert "was the folder copied or moved, or its Python upgraded?" in refused_by_make(tmp_path)
    python.unlink()
    python.symlink_to(sys.executable)
    assert "rm -rf .venv" in refused_by_make(tmp_path, "--old-file=.venv/.ready")


def test_the_library_is_not_ignored():
    """A stock ``.gitignore`` of Python hides ``lib/``: what is new there would be missing in every clone."""
    asked = ["git", "check-ignore", "--no-index", "lib/unseen/new.py", "runs/store"]
    found = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    assert found.stdout == "runs/store\n" or found.returncode == 128  # no checkout


# Files


def test_no_file_is_large_or_names_a_path_of_one_machine():
    private = re.compile(rb"(?<![\w.~-])/(?:work|root)/")
    texts = {str(path.relative_to(ROOT)): path.read_bytes() for path in tracked_files()}
    assert len(texts) > 200
    assert {name: len(text) for name, text in texts.items() if len(text) > LARGEST} == {}
    assert [name for name, text in texts.items() if b"\0" not in text and private.search(text)] == []
    assert private.search(b"in '/" + b"work/main'")  # the check itself
    assert not private.search(b"https://example.org/" + b"work/")


# Notebooks


def code_cells(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def test_notebooks_are_stripped_and_have_ids_one_parameters_cell_and_the_usual_kernel():
    for name, notebook in NOTEBOOKS.items():
        code = code_cells(notebook)
        assert not any(cell["outputs"] or cell["execution_count"] for cell in code), name
        assert sum("parameters" in cell["metadata"].get("tags", []) for cell in code) == 1, name
        assert notebook["metadata"]["kernelspec"]["name"] == "python3", name
        assert all(cell.get("id") for cell in notebook["cells"]), name
    assert len(NOTEBOOKS) > 20


# Prose


TYPED = re.compile(r"\d[\d.,]* ?%|(?<![\w.-])0?\.\d{2,}")  # a percentage, or a share of two decimals and more
SETTINGS = {  # what may be typed: settings, published numbers, arithmetic; results are shown by cells
    "01_string_rewrites.ipynb": "30 %, 50 %",
    "02_instruction_sets.ipynb": "17 %",
    "11_no_ops.ipynb": "10 %, 30 %, 50 %",
    "12_long_tail.ipynb": "0.03, 10 %",
    "13_semantics.ipynb": "10 %, 50 %",
    "14_occurrences.ipynb": ".94, .28, .71, .88",
    "15_pretrained_model.ipynb": "40 %",
    "16_markov_programs.ipynb": "0.99",
    "17_threshold_law.ipynb": "0.001, 0.999",
    "20_biased_features.ipynb": "90 %",
    "31_choosing_for_a_target.ipynb": "5 %",
    "33_one_task_after_another.ipynb": "0.01 %, 0.03, 1 %, 10 %, 80 %, 90 %",
    "26_own_answers.ipynb": "0.05, 0.12",  # predicted
    "41_longer_training.ipynb": "0.85, 0.92, 0.95",  # predicted
}


def prose(notebook: dict) -> str:
    return "\n".join(source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown")


def test_no_result_is_typed_by_hand():
    texts = {name: prose(notebook) for name, notebook in NOTEBOOKS.items()}
    computed = re.compile("<!-- findings -->.*<!-- end of findings -->", re.DOTALL)
    texts |= {"README.md": computed.sub("", read("README.md")), "lib/README.md": read("lib/README.md")}
    allowed = {name: {"95 %", *SETTINGS.get(name, "").split(", ")} for name in texts}
    found = {name: {match.rstrip(".,") for match in TYPED.findall(text)} for name, text in texts.items()}
    assert {name: numbers - allowed[name] for name, numbers in found.items() if numbers - allowed[name]} == {}
    assert TYPED.findall("reaches 97.1 %, or .98 of 1,000 and 0.5") == ["97.1 %", ".98"]  # the check itself


def test_the_findings_in_the_readme_are_those_of_the_committed_results(tmp_path):
    again = tmp_path / "README.md"
    again.write_text(read("README.md"), "utf-8")
    write_findings(again)
    assert again.read_text("utf-8") == read("README.md")


def test_the_readme_of_the_library_names_every_room():
    rooms = {path.stem for path in (ROOT / "lib" / "unseen").iterdir() if path.suffix in ("", ".py")}
    named = set(re.findall(r"\w+", read("lib/README.md")))
    assert sorted(rooms - named - {"__init__", "__pycache__"}) == []


def test_no_two_classes_have_one_name():
    found = [name for path in (ROOT / "lib").rglob("*.py")
             for name in re.findall(r"^class ([A-Z]\w*)", path.read_text("utf-8"), re.M)]  # fmt: skip
    assert sorted(found) == sorted(set(found))


def test_the_readme_links_every_notebook_and_none_that_is_missing():
    assert set(re.findall(r"\]\(notebooks/([^)#]+\.ipynb)\)", read("README.md"))) == set(NOTEBOOKS)


def test_the_minutes_in_the_readme_are_those_of_the_notebook():
    rows = re.findall(r"^\| \[\w+\]\(notebooks/(\S+)\) \|.* \| (\d+) \|$", read("README.md"), re.M)
    assert len(rows) == len(NOTEBOOKS)
    for name, minutes in rows:
        said = re.search(r"^\| `quick`.*\| (.+) \|$", prose(NOTEBOOKS[name]), re.M)
        assert minutes in re.findall(r"\d+", said[1]) if said else minutes == "0", name
