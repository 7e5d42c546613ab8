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
	$(PIP) --editable '.[data,providers,embeddings,local,tinker,torch,curves,eval,serve,dev]'
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

# Models of the tests' own on the loopback interface; costs are what the real ones would have asked for as many tokens.
WAY := build/way
MODELS := XDG_CACHE_HOME=$(WAY)/cache $(BIN)/python tests/loopback_models.py $(BIN)/scc
.PHONY: smoke-data
smoke-data: $(VENV)/dev ## From a corpus to checked training data, without a key
	rm -rf $(WAY) && mkdir -p $(WAY)
	$(BIN)/scc data corpus configs/samples/notes.md docs/decisions.md examples --output $(WAY)/corpus.jsonl
	$(MODELS) seed generate --recipe configs/recipes/compression.yaml --input $(WAY)/corpus.jsonl \
	    --output $(WAY)/pairs.jsonl --model anthropic:claude-sonnet-4-6 --budget-usd 5
	$(MODELS) validate $(WAY)/pairs.jsonl --models openai:gpt-5-mini,google:gemini-2.5-flash --budget-usd 5
	$(BIN)/scc data split $(WAY)/accepted.jsonl --output $(WAY)/data
	PYTHONPATH=tests $(BIN)/python -c \
	    "from pathlib import Path; from tiny_model import make_tokenizer; make_tokenizer(Path('$(WAY)/tokenizer'))"
	$(BIN)/scc data check $(WAY)/data --model $(WAY)/tokenizer --max-seq-length 8192
	$(BIN)/scc costs $(WAY)/costs.jsonl

# A tiny model on the sample rows: trained whole, then stopped half way and gone on with; the weights must be equal.
SMOKE = PYTHONPATH=tests $(BIN)/python tests/smoke_train.py
.PHONY: smoke-train-local
smoke-train-local: $(VENV)/dev ## Train a tiny model with MLX, stop it, resume it
	$(SMOKE) local build/train-local

.PHONY: smoke-train-torch
smoke-train-torch: $(VENV)/dev ## The same with TRL and PEFT
	$(SMOKE) torch build/train-torch

.PHONY: smoke-train-tinker
smoke-train-tinker: $(VENV)/dev ## The same with the SDK of Tinker, against a loopback server
	$(SMOKE) tinker build/train-tinker

TINKER := build/tinker-venv
$(TINKER)/ready:
	$(PYTHON) -m venv $(TINKER)
	$(TINKER)/bin/python -m pip install --quiet --disable-pip-version-check \
	    torch==2.13.0 'skyrl[tinker,jax]==0.3.0' tinker==0.38.0
	@touch $@

.PHONY: test-tinker
test-tinker: $(VENV)/dev $(TINKER)/ready ## The backend tinker against a real server (2.2 GB to install)
	TINKER_SERVER_PYTHON=$(CURDIR)/$(TINKER)/bin/python $(BIN)/python -m pytest tests/test_tinker_server.py

.PHONY: smoke-from-scratch
smoke-from-scratch: $(VENV)/dev ## Pretrain, sft, dpo and distill, each stopped and resumed
	$(SMOKE) from-scratch build/from-scratch

.PHONY: smoke-eval
smoke-eval: $(VENV)/dev ## Train, eval (stopped, resumed), compare, export, compress with the result
	PYTHONPATH=tests $(BIN)/python tests/smoke_eval.py build/eval

DATASET ?= Sudhendra/semantic-compression-sft
.PHONY: model
model: $(VENV)/dev ## Train the embedded model again into runs/prose (DATASET=name or folder)
	$(BIN)/scc data pull --dataset $(DATASET) --output data/sft
	$(BIN)/scc train --backend extractive --data data/sft --config configs/extractive.yaml --output runs/prose

.PHONY: docs
docs: $(VENV)/dev ## Write docs/cli.md from the commands
	$(BIN)/python docs/generate_cli.py
