# Everything from a fresh clone, with no environment active: `make` lists the targets.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.NOTPARALLEL:

VENV := .venv
PYTHON := $(VENV)/bin/python
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-input
# The methods that benchmarks compare with hold NumPy and SciPy back, so they live apart.
BENCH := $(VENV)/bench

# One core each for the tests; more than four would only fight for memory.
PYTEST_OPTIONS ?= --numprocesses=logical --maxprocesses=4 --dist=loadfile
CT ?=
TORTURE ?= --seconds 600 --kills 100
DEMO := results/demo

export MPLBACKEND := Agg
export QT_QPA_PLATFORM ?= offscreen

.PHONY: help demo test lint bench torture format cmake-list clean

help:  ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(VENV)/installed-report  ## One phantom patient, every analysis; CT=path for your own scan
ifeq ($(strip $(CT)),)
	$(PYTHON) -m lungperfusion demo -o $(DEMO)
	@echo "Report: $(CURDIR)/$(DEMO)/batch/cases/phantom/report.html"
else
	$(PYTHON) -m lungperfusion lungs "$(CT)" -o $(DEMO)/lungs --overwrite
	@echo "Report: $(CURDIR)/$(DEMO)/lungs/report.html"
endif

# Linear algebra on several threads spins while it waits for a core that another test uses.
test: export OPENBLAS_NUM_THREADS := 1
test: $(VENV)/installed-test  ## Lint and every test; PYTEST_OPTIONS="-k density" for some
	@Scripts/system_libraries.sh
	lint=0; $(MAKE) --no-print-directory lint || lint=$$?; \
	$(PYTHON) -m pytest $(PYTEST_OPTIONS); exit $$lint

lint: $(VENV)/installed-test  ## Style, types and spelling
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	$(PYTHON) -m codespell_lib

format: $(VENV)/installed-test  ## Mend what can be mended by machine
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

bench: $(BENCH)/installed  ## Accuracy, speed and memory against their targets
	$(BENCH)/bin/python -m Benchmarks

torture: $(VENV)/installed-test  ## Kills, failing writes, limits of memory; TORTURE="--seconds 60"
	$(PYTHON) Testing/torture.py $(TORTURE)

cmake-list: $(VENV)/installed-test  ## Rewrite the file list of LungPerfusionLib/CMakeLists.txt
	$(PYTHON) Scripts/update_cmake_lists.py

clean:  ## Remove the environment, caches and demo results
	rm -rf $(VENV) $(DEMO) .pytest_cache .mypy_cache .ruff_cache

# Each stamp is newer than the requirements it was made from; the interpreter only has to be there.
$(VENV)/installed-report: EXTRAS := report
$(VENV)/installed-test: EXTRAS := test,report,slicer,cohort
$(VENV)/installed-%: pyproject.toml | $(PYTHON)
	@echo "Installing lungperfusion[$(EXTRAS)] into $(VENV) ..."
	$(PYTHON) $(PIP_INSTALL) --editable ".[$(EXTRAS)]"
	@touch $@

$(BENCH)/installed: pyproject.toml | $(PYTHON)
	@echo "Installing lungperfusion[bench,report,cohort] into $(BENCH) ..."
	$(PYTHON) -m venv --clear $(BENCH)
	$(BENCH)/bin/python $(PIP_INSTALL) --editable ".[bench,report,cohort]"
	@touch $@

$(PYTHON):
	Scripts/create_environment.sh $(VENV)
