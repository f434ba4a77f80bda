# The real work is in lib/; these targets only set up and call it.
SCALE ?= quick
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$name" -E -c "import sys; assert sys.version_info >= (3, 11)" 2>/dev/null && command -v "$$name" && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

define CHECK
import locale, os, sys
version, python = sys.version.split()[0], sys.argv[1]
if sys.version_info < (3, 11):
    sys.exit("unseen needs Python 3.11 or newer; %s is %s.  Name another: make PYTHON=/path/to/python3.11" % (python, version))
try:
    import ensurepip, venv
except ImportError:
    sys.exit("%s (%s) cannot make an environment: its module venv or ensurepip is missing.  Debian, Ubuntu: "
             "apt install python%d.%d-venv" % ((python, version) + sys.version_info[:2]))
try:
    os.getcwd().encode(locale.getencoding())
except UnicodeError:
    sys.exit("The path of this folder has letters that this locale lacks: LC_ALL=C.UTF-8 make")
endef
define HERE
import os, sys, unseen
there = os.path.dirname(os.path.dirname(os.path.abspath(unseen.__file__)))
if not os.path.samefile(there, "lib"):
    sys.exit("It is that of " + os.path.dirname(there))
endef
export CHECK HERE
export PIP_USER := 0
unexport PIP_PREFIX PIP_ROOT PIP_TARGET PYTHONHOME
STALE := The environment $(CURDIR)/$(VENV) cannot be used: was the folder copied or moved, or its Python upgraded? \
	Delete it (rm -rf $(VENV)), and the same command makes it again.
FAILED := The installation failed; pip says why above.  Usual reasons: no package index within reach, a full disk, \
	or a Python newer than the wheels of constraints.txt (3.11 to 3.14 have them): a package without one needs a compiler.

help:  ## this list
	@grep -hE '^[a-z -]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

study: ready  ## run the main job headless: SCALE=smoke|quick|full|paper
	$(BIN)/unseen study --scale $(SCALE)

study-all: ready  ## every experiment, not the main job alone
	$(BIN)/unseen study --all --scale $(SCALE)

test: ready  ## everything that must hold, offline
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-faults: ready  ## break everything on purpose, a line per promise; LONG=1 for hundreds of kills
	FAULTS=$(if $(LONG),long,usual) $(BIN)/python -m pytest tests/faults

test-browser: ready  ## try notebooks and pages as a person would, in Debian's chromium (installs the browser extra)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[browser]'
	npm install --silent --no-save --ignore-scripts --prefix $(VENV)/axe axe-core@4.14.1 || \
		echo "npm could not install axe-core: contrast and alternative texts are not checked"
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/browser

lab: ready  ## open working copies of the notebooks in JupyterLab: runs/lab/, which git ignores
	@copy="$$($(BIN)/unseen lab)" && $(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) "$$copy"

pages: ready  ## all notebooks as pages to read and play without installing: runs/pages/index.html
	$(BIN)/unseen pages

model: ready  ## fetch a small language model, SmolLM2-135M-Instruct (93 MB), for notebooks 15, 24 and 25
	$(BIN)/unseen model

student teacher: ready  ## write the notebooks without solutions, or with, to runs/student, runs/teacher
	$(BIN)/unseen edition $@

lint: ready  ## format the code, strip the notebooks, report the rest
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .
	$(BIN)/nbstripout --keep-id notebooks/*.ipynb

bench: ready  ## speed, side by side in one run (installs the bench extra)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/unseen run 91 -p scale=full

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || \
		{ echo "No Python 3.11 or newer found.  Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -E -c "" || { echo "PYTHON=$(PYTHON) cannot be started.  Give the path of one." >&2; exit 1; }
	@"$(PYTHON)" -E -c "$$CHECK" "$(PYTHON)"
	@test ! -L $(BIN)/python || $(BIN)/python -E -c "" || { echo "$(STALE)" >&2; exit 1; }
	"$(PYTHON)" -E -m venv $(VENV)
	@$(BIN)/python -E -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' || \
		{ echo "$(FAILED)" >&2; exit 1; }
	@touch $@

ready: $(READY)
	@$(BIN)/python -c "$$HERE" || { echo "$(STALE)" >&2; exit 1; }

.PHONY: help ready study study-all test test-faults test-browser lab model student teacher pages lint bench
