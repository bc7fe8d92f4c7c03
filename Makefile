# Sets itself up with `python3 -m venv` and pip: no root, nothing outside this folder.
# Another interpreter: make demo PYTHON=python3.12. More arguments: make demo ARGS="training.steps=50".

PYTHON ?= python3
ARGS ?=
# Tests run side by side in so many processes, of one thread each.
JOBS ?= 2
# make check compares with it.
SINCE ?= main
VENV := .venv
PY := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo check test test-slow bench bench-gpu bench-quick bench-table docs lint clean
.NOTPARALLEL:

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(VENV)/demo.stamp ## Set up, then teach the bundled model a little robot: python run.py experiment=pip
	$(PY) run.py experiment=pip $(ARGS)

check: lint ## Before a commit: lint, and the tests of what has changed since main (SINCE=...), about two minutes
	HF_HUB_OFFLINE=1 $(PY) -m tools.affected --since $(SINCE) --seconds $$((70 * $(JOBS))) -- -q -n $(JOBS) --dist worksteal $(ARGS)

test: $(VENV)/dev.stamp ## Set up, then the test suite (offline, without the slow and gpu tiers)
	HF_HUB_OFFLINE=1 $(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-slow: $(VENV)/dev.stamp ## The slow tier: full-size networks and whole runs
	HF_HUB_OFFLINE=1 $(PY) -m pytest -m "slow and not gpu" $(ARGS)

bench: $(VENV)/dev.stamp ## Measure beside a peer, e.g. make bench NAME=prepare; results in bench/results
	$(PY) -m bench $(NAME) $(ARGS)

bench-quick: $(VENV)/dev.stamp ## Every bench at its smallest: do both sides agree, and are the files written?
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(PY) -m bench.quick

bench-gpu: $(VENV)/dev.stamp ## All that a card is measured by, in at most 12 minutes; again: goes on (docs/gpu.md)
	$(PY) -m bench gpu $(ARGS)

bench-table: $(VENV)/dev.stamp ## Renew the table of bench/README.md from bench/results
	$(PY) -m bench.table

docs: $(VENV)/dev.stamp ## The guides as a site in build/site, links checked
	$(PY) tools/configuration_reference.py
	$(PY) -m tools.house
	$(PY) -m mkdocs build --quiet

lint: $(VENV)/dev.stamp ## Style, format, types, and the direction of imports
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -c "from importlinter.cli import lint_imports_command as lint; lint()"

clean: ## Remove the environment and all caches; runs in outputs/ and mlruns/ stay
	rm -rf $(VENV) build t2i.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find run.py bench conf sweeps t2i tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is older than the files that say what to install: then the environment is brought up to date.
$(VENV)/demo.stamp: pyproject.toml constraints.txt
	$(call install,.)
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt
	$(call install,.[dev])
	@touch $(VENV)/demo.stamp $@

define install
	@command -v $(PYTHON) >/dev/null || { echo "t2i needs Python 3.11 or newer and there is no $(PYTHON) here; install it, or name another: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "t2i needs Python 3.11 or newer and $(PYTHON) is $$($(PYTHON) -V 2>&1); name another: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) comes without its venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing into $(VENV): about 2 GB, once"
	@$(PY) -m pip install --disable-pip-version-check --no-compile -c constraints.txt -e '$(1)'
endef
