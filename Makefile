# Nightdesk. `make run` opens the desk, `make demo` a sample desk, `make test` runs the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.nightdesk-setup
T ?=
B ?=

.PHONY: run demo test check format setup keys shots fuzz bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Nightdesk needs Python 3.11 or newer; PYTHON=/path/to/python3 make chooses one.")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

run: $(STAMP)
	@$(BIN)/nightdesk

demo: $(STAMP)
	@$(BIN)/nightdesk demo

format: $(STAMP)
	$(BIN)/ruff format src tests docs
	$(BIN)/ruff check --fix src tests docs

check: $(STAMP)
	$(BIN)/ruff format --check src tests docs
	$(BIN)/ruff check src tests docs
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 $(if $(T),-k "$(T)")

# A million broken inputs for the capture core, some minutes. SEED=7 makes others, INPUTS=20000 fewer.
SEED ?= 1
INPUTS ?= 1000000
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz.run --seed $(SEED) --inputs $(INPUTS)

keys: $(STAMP)
	$(BIN)/python docs/keys.py

shots: $(STAMP)
	$(BIN)/python docs/shots.py

bench: $(STAMP)
	$(BIN)/python tests/bench/run.py $(B)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
