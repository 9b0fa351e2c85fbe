# Every target builds .venv first if it must; Python does the work. `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

NOTEBOOKS := $(basename $(notdir $(wildcard notebooks/*.ipynb)))
.PHONY: help figures $(NOTEBOOKS) readme badges docs tune verify bench soak lab \
  test test-lowest test-browser test-arrivals audit lint format lock clean distclean

RUN := .venv/bin/python -m langevin
FLAGS = $(if $(PROFILE),--profile $(PROFILE)) $(if $(filter-out 0 no No NO false False FALSE,$(FRESH)),--fresh) $(ARGS)
PYTEST := python -m pytest -n 2 --dist worksteal
# What a backend, or a version of it, may compute otherwise.
OPTIMIZER_TESTS := tests/test_{arguments,laws,noise,optimizers,placement,saving,schedules}.py

export TF_CPP_MIN_LOG_LEVEL ?= 3
# What Python once compiled of TensorFlow's modules is kept, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE
# CLUSTER=tcp://host:port has a Dask cluster train.
export LANGEVIN_CLUSTER := $(CLUSTER)

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@$(if $(NOTEBOOKS),printf '  make %-15s draw the figures of this notebook alone\n' $(NOTEBOOKS))
	@echo 'PROFILE=smoke|quick|paper  scale of the figures (paper where a GPU is found, else quick)'
	@echo 'CLUSTER=tcp://host:port  train on the workers of a Dask cluster, which share this folder'
	@echo 'FRESH=1  train again what is stored    ARGS="…"  more arguments    PYTHON=…  for .venv'

figures: .venv/.ready  ## train what is not stored yet and draw every figure
	$(RUN) figures $(FLAGS)

$(NOTEBOOKS): .venv/.ready
	$(RUN) figures --only $@ $(FLAGS)

readme: .venv/.ready  ## put the findings of the recorded runs into README.md
	$(RUN) readme

badges: .venv/.ready  ## stamp the repository's address where it is repeated: REPO=owner/name
	$(RUN) badges $(if $(REPO),--repo $(REPO))

docs: .venv/.ready  ## build the site from docs, notebooks and docstrings: build/site/index.html
	.venv/bin/python -m sphinx -b html -q -W --keep-going docs build/site

tune: .venv/.ready  ## choose the learning rates and sigmas that the author did not publish
	$(RUN) tune $(FLAGS)

verify: .venv/.ready  ## train a random sample of the recorded runs again, and compare
	$(RUN) verify $(FLAGS)

bench: .venv/.ready  ## time our loop against model.fit, Langevin against plain: 10 quiet minutes
	$(RUN) bench $(ARGS)

MINUTES := 10
soak: .venv/.ready  ## kill sweeps at random for MINUTES=10, count what is lost; for the README
	.venv/bin/python tests/soak.py --minutes $(MINUTES)

lab: .venv/.ready  ## open start-here in JupyterLab
	.venv/bin/python -m jupyterlab --LabApp.default_url=/lab/tree/notebooks/start-here.ipynb \
	  $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

# Two workers on two cores: more threads in each would only wait for one another.
test test-lowest test-browser test-arrivals: export OMP_NUM_THREADS = 1
test test-lowest test-browser test-arrivals: export TF_NUM_INTRAOP_THREADS = 1

test: lint  ## lint, then every test: both backends, and every notebook in the smoke profile
	KERAS_BACKEND=jax .venv/bin/$(PYTEST) $(OPTIMIZER_TESTS) $(wildcard tests/test_*_jax.py tests/experiments/*/test_*_jax.py)
	.venv/bin/$(PYTEST)

test-lowest: .venv-lowest/.ready  ## the optimizers' tests on the lowest versions of everything
	.venv-lowest/bin/$(PYTEST) $(OPTIMIZER_TESTS) $(wildcard tests/test_optimizers_tensorflow.py)

test-browser: ARRIVALS = lab opened_site
test-browser: test-arrivals  ## JupyterLab and the site in a headless Chromium, which must be there

test-arrivals: .venv/.ready  ## the same, Binder, Colab, docs/extend.md, Run All of each notebook
	.venv/bin/$(PYTEST) --durations=20 $(ARRIVALS:%=tests/arrivals/%.py)
ARRIVALS := extend lab fresh opened_site run_all

audit: build/pip-audit  ## look for known holes in the locked dependencies
	$</bin/python tests/audit.py $</bin/pip-audit

lint: .venv/.ready  ## look for mistakes in the code and in the notebooks
	.venv/bin/ruff check
	.venv/bin/ruff format --check --quiet

format: .venv/.ready  ## repair what lint can repair, strip the notebooks
	.venv/bin/ruff check --fix
	.venv/bin/ruff format
	$(if $(NOTEBOOKS),.venv/bin/nbstripout --keep-id --extra-keys \
	  'metadata.papermill cell.metadata.papermill cell.metadata.execution' notebooks/*.ipynb)

lock: build/uv  ## choose the exact versions again, highest and lowest
	build/uv/bin/uv pip compile $(LOCK) $(EXTRAS:%=--extra %) --upgrade -o requirements.lock
	build/uv/bin/uv pip compile $(LOCK) --resolution lowest-direct --upgrade -o requirements-lowest.lock

# What a person's environment has beside a backend and the tests.
EXTRAS := notebooks docs browser remedies cluster
LOCK := pyproject.toml --universal --extra tensorflow --extra jax --extra test \
  --quiet --no-header --no-annotate --no-emit-index-url

clean:  ## remove what can be made again; recorded runs and .venv stay
	rm -rf .runs build figures/quick figures/smoke *.egg-info .pytest_cache .ruff_cache .hypothesis
	find langevin notebooks tests \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -r {} +

distclean: clean  ## clean, and remove the environments
	rm -rf .venv .venv-lowest

# By its exit status: without a driver nvidia-smi prints why not where the list would stand.
GPU = $(shell nvidia-smi >/dev/null 2>&1 && echo yes)

# An environment is ready when its stamp is newer than what it is made from.
# `touch .venv/.ready` makes do with an environment of your own.
# uv installs in a fifth of pip's time; but it does not know pip's settings, a mirror say.
.venv/.ready: requirements.lock
.venv/.ready: extras = $(if $(GPU),cuda,tensorflow) jax test $(EXTRAS)
.venv/.ready: pythons = python3.13 python3.12 python3.11 python3
.venv-lowest/.ready: requirements-lowest.lock
.venv-lowest/.ready: extras = tensorflow jax test
.venv-lowest/.ready: pythons = python3.11 python3.12 python3.13 python3

# A command that exists may still not run (pyenv's shims) or lack venv (Debian without python3-venv).
USABLE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))

# Of two at once the second waits where the system has flock, and finds it made.
.venv/.ready .venv-lowest/.ready: pyproject.toml
	@set -eu -o pipefail; mkdir -p build; exec 9>build/$(@D).lock; if command -v flock >/dev/null; then flock 9; fi; \
	if [ -e $@ ] && [ -z "$$(find $^ -newer $@)" ]; then exit 0; fi; \
	python=; for name in $(or $(PYTHON),$(pythons)); do \
	  if $$name -c '$(USABLE)' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo 'No Python 3.11, 3.12 or 3.13 with venv among: $(or $(PYTHON),$(pythons)).' \
	    'Install one (on Debian with python3-venv), or name yours: make PYTHON=…' >&2; exit 1; \
	fi; \
	echo "Making $(@D) with $$($$python -V): $(extras). A few minutes, 3 GB; with cuda more."; \
	$$python -m venv $(@D); \
	pip="$(@D)/bin/python -m pip install -qq --disable-pip-version-check"; \
	what=(--constraint $(filter %.lock,$^) --editable ".[$$(tr ' ' , <<<'$(strip $(extras))')]"); \
	$$pip uv && \
	  VIRTUAL_ENV=$(@D) $(@D)/bin/uv pip install --quiet "$${what[@]}" || \
	  $$pip "$${what[@]}"; \
	touch $@; \
	echo "$(@D) is ready after $$SECONDS s."

build/uv build/pip-audit:
	$(firstword $(wildcard .venv/bin/python) python3) -m venv $@
	$@/bin/python -m pip install --quiet $(@F)
