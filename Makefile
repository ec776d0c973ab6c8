# make train and make test need nothing but Python and pip: they set up .venv themselves when it is missing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: train test test-processes test-slurm test-browser test-all coverage lint bench report docs clean

train: .venv/.core
	$(BIN)/python train.py $(ARGS)

# A worker per core, so a thread per worker.
test: export OMP_NUM_THREADS = 1
test: .venv/.dev lint
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal $(ARGS)

test-processes: export OMP_NUM_THREADS = 1
test-processes: .venv/.dev
	$(BIN)/python -m pytest -m processes --numprocesses auto --maxprocesses 8 --dist worksteal $(ARGS)

test-slurm: .venv/.dev
	$(BIN)/python -m pytest -m slurm tests/slurm $(ARGS)

test-browser: export OMP_NUM_THREADS = 1
test-browser: .venv/.dev
	$(BIN)/python -m pytest -m browser tests/browser $(ARGS)

test-all: .venv/.dev lint
	$(BIN)/python -m pytest -m "" $(ARGS)

# The fast suite with branch coverage, runs in processes of their own included.
coverage: export OMP_NUM_THREADS = 1
coverage: .venv/.dev
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --cov --cov-report term $(ARGS)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/deptry .
	$(BIN)/lint-imports --no-logo

bench: .venv/.dev
	$(BIN)/python scripts/benchmark.py $(ARGS)

# The comparison of a study as tables, figures and one page: make report STUDY=outputs/default
STUDY ?= outputs/default
report: .venv/.core
	$(BIN)/metriscope compare $(STUDY) --html $(ARGS)

# The site, in build/site. Its warnings are errors: links and anchors that lead nowhere, pages that nothing leads to.
docs: .venv/.docs
	$(BIN)/python scripts/site_pages.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

# Dependency groups need pip 25.1.
.venv/.pip:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@touch $@

.venv/.core: .venv/.pip pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/.dev: .venv/.core
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

.venv/.docs: .venv/.core
	$(BIN)/python -m pip install --quiet --group docs
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .coverage .coverage.* dist build
