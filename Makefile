# Needs GNU make and Python 3.11.4 or later; `make` alone lists the targets.
PYTHON ?= python3
SIZE ?= sample
PY := .venv/bin/python
# Names as they are: to the shell, a[1] is a pattern.
quoted = $(foreach name,$(1),'$(name)')

.DEFAULT_GOAL := help
.PHONY: help setup run full test lab data results floors sweep site bench doctor lock oldest clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

setup: ## make .venv and fetch the data packages, unless up to date (PYTHON=python3.12)
	@PYTHON="$(PYTHON)" sh tools/setup.sh

run: setup ## execute every notebook and print the table (ONLY="lesson1-dogscats", SIZE=small or full, SEED=7)
	$(PY) -m tools.run --size $(SIZE) $(if $(ONLY),--only $(call quoted,$(ONLY))) $(if $(SEED),--seed $(SEED))

full: ## the same on the full data
	@$(MAKE) --no-print-directory run SIZE=full

test: setup ## lint, types, unit tests, every notebook with other seeds
	$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy && $(PY) -m pytest -n 2 --dist loadfile $(ARGS)

lab: setup ## open JupyterLab on nbs/
	$(PY) -m jupyterlab nbs

data: setup ## fetch a full data set (NAME=dogscats), or draw the small one from it (SIZE=small)
	$(PY) -m tools.data $(or $(NAME),$(error which data set? make data NAME=dogscats)) --size $(SIZE:sample=full)

results: setup ## write results/README.md and the tables of README.md from the records
	$(PY) -m tools.report

floors: setup ## measure what lessons must reach, with five seeds (NAME="lesson1-dogscats", SIZE=small)
	$(PY) -m tools.floors $(call quoted,$(or $(NAME),$(error which lesson? make floors NAME=lesson1-dogscats))) --size $(SIZE)

sweep: setup ## run lessons with several seeds, on several GPUs or machines (SEEDS="1 2 3", SCHEDULER=tcp://HOST:8786)
	$(PY) -m tools.sweep --size $(SIZE) $(if $(ONLY),--only $(call quoted,$(ONLY))) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SCHEDULER),--scheduler $(SCHEDULER))

site: setup ## make a static site of the lessons and of the package in .runs/site/html
	rm -rf .runs/site && $(PY) -m sphinx -W -q -c docs -d .runs/site/doctrees . .runs/site/html

bench: setup ## compare the speed with that of fastai
	$(PY) -m tools.bench pictures && $(PY) -m tools.bench epochs && $(PY) -m tools.bench tables

doctor: ## check this machine
	@"$(or $(wildcard $(PY)),$(PYTHON))" -m tools.doctor

lock: ## pin the dependencies of pyproject.toml anew (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --fork-strategy fewest --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --allow-unsafe --no-header -q -o requirements.lock

oldest: setup ## run the unit tests on the oldest versions that pyproject.toml admits (needs uv)
	uv venv -q --clear .oldest && uv pip install -q -p .oldest --resolution lowest-direct -r pyproject.toml --all-extras
	.oldest/bin/python -m pytest -W default -m "not notebook and not browser" -k "not doctor_is_content" $(ARGS)  # it knows the lock

clean: ## remove whatever set-up and runs have made; full data sets stay, data/work, and what you put into samples and small sets
	@"$(PYTHON)" tools/clean.py
	@[ ! -d .runs ] || find .runs -mindepth 1 -maxdepth 1 ! -name work -exec rm -rf {} +  # weights of earlier versions: .runs/work
	rm -rf .venv .oldest data/packages data/full/.*.????????.part docs/api .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
