# The real work is in lib/; these targets only set up and call it.
SCALE ?= quick
PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

study: $(READY)  ## run the main job headless: SCALE=smoke|quick|full|paper
	$(BIN)/unseen study --scale $(SCALE)

study-all: $(READY)  ## every experiment, not the main job alone
	$(BIN)/unseen study --all --scale $(SCALE)

test: $(READY)  ## everything that must hold, offline
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-faults: $(READY)  ## break everything on purpose, a line per promise; LONG=1 for hundreds of kills
	FAULTS=$(if $(LONG),long,usual) $(BIN)/python -m pytest tests/faults

lab: $(READY)  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks/00_start_here.ipynb

lint: $(READY)  ## format the code, strip the notebooks, report the rest
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .
	$(BIN)/nbstripout --keep-id notebooks/*.ipynb

bench: $(READY)  ## speed, side by side in one run (installs the bench extra)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/unseen run 91 -p scale=full

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

.PHONY: help study study-all test test-faults lab lint bench
