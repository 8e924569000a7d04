# Nightdesk. `make run` opens the desk, `make demo` a sample desk, `make test` runs the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.nightdesk-setup
T ?=
B ?=

.PHONY: run demo test check format setup keys shots fuzz torture whisper bench bench-peers clean

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

# Tests wait more than they work, so three share two cores; who has done its part takes over from who has long ones.
# What fails so is tried once more alone: both are printed.
test: $(STAMP)
	@$(BIN)/python -m pytest -n 3 --dist worksteal $(if $(T),-k "$(T)") || { [ $$? = 1 ] && echo "Once more, alone: what failed above." && \
		$(BIN)/python -m pytest --last-failed --last-failed-no-failures none; }

# A million broken inputs for the capture core, some minutes. SEED=7 makes others, INPUTS=20000 fewer.
SEED ?= 1
INPUTS ?= 1000000
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz.run --seed $(SEED) --inputs $(INPUTS)

# A real desk struck 200 times at random moments; writes docs/reliability.md. ROUNDS=20 fewer, SEED=7 others.
ROUNDS ?= 200
torture: $(STAMP)
	$(BIN)/python -m tests.torture.run --rounds $(ROUNDS) --seed $(SEED)

keys: $(STAMP)
	$(BIN)/python docs/keys.py

shots: $(STAMP)
	$(BIN)/python docs/shots.py
	$(BIN)/python docs/accelerator_shots.py

bench: $(STAMP)
	$(BIN)/python tests/bench/run.py $(B)

# openai-whisper and torch, some gigabytes: `nightdesk transcribe` and its tests use them where they are.
# What torch is for: the processor on a Mac, CUDA on Linux, unless pip is told of another source of packages.
whisper: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt 'torch==2.13.0'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt openai-whisper

# Programs that the benches measure beside us and that come from PyPI; the others are Debian packages.
bench-peers:
	$(PYTHON) -m venv .bench
	.bench/bin/python -m pip install --quiet --disable-pip-version-check supervisor circus glances nvitop toolong 'setuptools<81'

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
