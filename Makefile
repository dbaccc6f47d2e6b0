# Two commands for a fresh machine: `make demo` and `make test`. Everything goes into .venv.
PYTHON ?= python3
VENV ?= .venv
OUT ?= demo_output
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PROCESSES ?= 2
NODE_TESTS := test/test_cli.py test/commands test/nodes test/standalone test/system
SETUP := setup.py setup.cfg pyproject.toml constraints.txt

.PHONY: demo test lint types unit clean

demo: $(VENV)/.demo
	$(BIN)/sam-perception demo --out $(OUT)

test: lint types unit

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

# What starts nodes runs by itself: two of those at once would wait for each other's share of the machine.
unit: $(VENV)/.test
	@failed=0; set -x; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile $(NODE_TESTS:%=--ignore=%) || failed=1; \
	$(BIN)/python -m pytest $(NODE_TESTS) || failed=1; \
	exit $$failed

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "sam_perception needs Python 3.10 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing: sudo apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python $(SETUP)
	$(PIP) --editable '.[models]'
	@touch $@

# --no-deps: others' implementations, the tests' independent answer, ask for torchvision, of which nothing here needs any.
$(VENV)/.test: $(VENV)/bin/python $(SETUP) requirements-test-others.txt
	$(PIP) setuptools --editable '.[models,sim,training,test]'
	SAM2_BUILD_CUDA=0 $(PIP) --no-deps --no-build-isolation --requirement requirements-test-others.txt
	@touch $@

clean:
	rm -rf $(VENV) $(OUT) build dist *.egg-info
