# Two commands, each enough by itself on a fresh machine:
#   make study   installs into .venv and runs the smoothing study on the embedded default
#   make test    installs into .venv and runs the whole test suite
# PYTHON chooses the interpreter that makes .venv; STUDY and ARGS what `make study` runs.

PYTHON ?= python3
STUDY ?= smoothing
ARGS ?=
DATA ?= mini-nli
BENCHMARKS ?= study suite step decode overhead runner scale verify
BIN := .venv/bin

# torch first, at the pinned version: asked for as a range, pip may fetch another build of it.
TORCH := $(shell grep '^torch==' constraints.txt)

.PHONY: study test test-quick proofs test-faults test-lowest test-all bench lint schema clean

study: .venv/installed
	$(BIN)/python -m tune_distill.study $(STUDY) $(ARGS)

# Two files of tests at a time: four were 6 % faster together, and each test took twice as long. The
# order of files is tests/conftest.py's.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# All of the product's behaviour, real Ray included.
test: .venv/installed-dev
	$(PYTEST) -m "not proof"

test-quick: .venv/installed-dev
	$(PYTEST) -m "not slow and not proof"

# The long proofs: kills, clusters, 2,000 study files, and how often a verdict is wrong.
proofs: .venv/installed-dev
	$(PYTEST) -m proof

# Every kill and cut at five moments instead of one, and 300 changes to stored files instead of 30;
# some need root, for namespaces of their own.
test-faults: .venv/installed-dev
	TUNE_DISTILL_KILLS=5 TUNE_DISTILL_CHANGES=300 $(BIN)/python -m pytest tests/faults

# The whole suite, with each undocumented name of Ray missing in turn and each kill at five moments.
test-all: .venv/installed-dev
	TUNE_DISTILL_PROOFS=all TUNE_DISTILL_KILLS=5 $(PYTEST)

# The quick tests and one study with the oldest versions that pyproject.toml allows, in an environment
# of their own. torch stays at its pin: other versions bring gigabytes of libraries for GPUs. Old
# packages warn of what newer ones beside them will change, so warnings are no errors here.
LOWEST := .venv-lowest
test-lowest: $(LOWEST)/installed
	$(LOWEST)/bin/python -m pytest -m "not slow and not proof" -W default
	rm -rf $(LOWEST)/results
	$(LOWEST)/bin/python -m tune_distill.study smoothing --results $(LOWEST)/results

# Measures everything that docs/performance.md tells; DATA is mini-nli, or e-SNLI's folder.
bench: .venv/installed-dev
	for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks $$name --data $(DATA) || exit 1; done

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

schema: .venv/installed
	$(BIN)/python -m tune_distill.spec.schema
	$(BIN)/python -m tune_distill.records.schema_page

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt $(TORCH)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(LOWEST)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/pip install --quiet uv $(TORCH)
	echo "$(TORCH)" > $(LOWEST)/torch.txt
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
		--constraint $(LOWEST)/torch.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv $(LOWEST) build dist
