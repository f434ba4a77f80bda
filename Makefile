# The real work is in lib/; these targets only set up and call it.
SCALE ?= quick
PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

define CHECK
import sys
version = sys.version.split()[0]
if sys.version_info < (3, 11):
    sys.exit("unseen needs Python 3.11 or newer; $(PYTHON) is %s.  Name another: make PYTHON=/path/to/python3.11" % version)
try:
    import ensurepip, venv
except ImportError:
    sys.exit("$(PYTHON) (%s) cannot make an environment: its module venv or ensurepip is missing.  Debian, Ubuntu: "
             "apt install python%d.%d-venv" % ((version,) + sys.version_info[:2]))
endef
export CHECK
FAILED := The installation failed; pip says why above.  Usual reasons: no package index within reach, a full disk, \
	or a Python newer than the wheels of constraints.txt (3.11 to 3.14 have them): a package without one needs a compiler.

help:  ## this list
	@grep -hE '^[a-z -]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

study: $(READY)  ## run the main job headless: SCALE=smoke|quick|full|paper
	$(BIN)/unseen study --scale $(SCALE)

study-all: $(READY)  ## every experiment, not the main job alone
	$(BIN)/unseen study --all --scale $(SCALE)

test: $(READY)  ## everything that must hold, offline
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-faults: $(READY)  ## break everything on purpose, a line per promise; LONG=1 for hundreds of kills
	FAULTS=$(if $(LONG),long,usual) $(BIN)/python -m pytest tests/faults

test-browser: $(READY)  ## try notebooks and pages as a person would, in Debian's chromium (installs the browser extra)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[browser]'
	npm install --silent --no-save --ignore-scripts --prefix $(VENV)/axe axe-core@4.14.1 || \
		echo "npm could not install axe-core: contrast and alternative texts are not checked"
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/browser

lab: $(READY)  ## open working copies of the notebooks in JupyterLab: runs/lab/, which git ignores
	@copy="$$($(BIN)/unseen lab)" && $(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) "$$copy"

pages: $(READY)  ## all notebooks as pages to read and play without installing: runs/pages/index.html
	$(BIN)/unseen pages

model: $(READY)  ## fetch a small language model, SmolLM2-135M-Instruct (93 MB), for notebooks 15, 24 and 25
	$(BIN)/unseen model

student teacher: $(READY)  ## write the notebooks without solutions, or with, to runs/student, runs/teacher
	$(BIN)/unseen edition $@

lint: $(READY)  ## format the code, strip the notebooks, report the rest
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .
	$(BIN)/nbstripout --keep-id notebooks/*.ipynb

bench: $(READY)  ## speed, side by side in one run (installs the bench extra)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/unseen run 91 -p scale=full

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python found.  Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c "$$CHECK"
	"$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' || \
		{ echo "$(FAILED)" >&2; exit 1; }
	@touch $@

.PHONY: help study study-all test test-faults test-browser lab model student teacher pages lint bench
