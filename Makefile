# The front door for people and for CI. Every target can be run twice; each first checks the tools that it needs.
# Variables: PYTHON (python3), ORACLE_PYTHON (.venv-oracle/bin/python), CARGO_TARGET_DIR and ORT_DYLIB_PATH as usual.

PYTHON ?= python3
ORACLE_PYTHON ?= .venv-oracle/bin/python
# Asked only by the targets that use it: cargo knows about CARGO_TARGET_DIR and the user's own configuration.
TARGET_DIR = $(shell cargo metadata --no-deps --format-version 1 | $(PYTHON) -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
OFFPRINT = $(TARGET_DIR)/release/offprint
SETUP := $(PYTHON) export/setup/setup.py
export PYTHON
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help demo test build venv openvino-venv oracle-venv bench-side-by-side check-python check-rust

help: ## Show this list
	@echo "offprint: turns corpora of papers into embeddings and labels"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F '|' '{ printf "  make %-20s %s\n", $$1, $$2 }'

demo: check-python check-rust venv build ## Train on the sample papers with real weights and label papers that training did not see
	@$(PYTHON) export/setup/demo.py --program $(OFFPRINT)

# Documentation tests go first, so that the last lines are those of the test files.
test: check-python check-rust venv ## Run all tests; says first which of them have to be skipped, and why
	@set -e; \
	export ORT_DYLIB_PATH="$${ORT_DYLIB_PATH:-$$($(SETUP) --print runtime)}"; \
	export OFFPRINT_MINILM="$${OFFPRINT_MINILM:-$$($(SETUP) --print minilm)}"; \
	$(MAKE) --no-print-directory openvino-venv || echo "the tests on OpenVINO are skipped: its library could not be fetched"; \
	export OFFPRINT_OPENVINO="$${OFFPRINT_OPENVINO:-$$($(SETUP) --print openvino 2>/dev/null || true)}"; \
	sh export/setup/skipped.sh; \
	cargo test --locked --doc; \
	cargo test --locked --lib --bins --tests

build: check-rust ## Build the program in release mode
	@cargo build --locked --release --bin offprint

venv: check-python ## Fetch ONNX Runtime's shared library and the MiniLM weights into .venv, pinned and hash-checked
	@$(SETUP)

openvino-venv: check-python ## Fetch the ONNX Runtime with OpenVINO's provider into .venv-openvino, pinned and hash-checked
	@$(SETUP) --openvino

oracle-venv: check-python ## Make .venv-oracle and .venv-peers with torch, transformers, fastembed and others for comparisons (several GB)
	@sh export/oracle/setup.sh
	@sh export/oracle/peers.sh

bench-side-by-side: check-python check-rust venv build ## Measure against sentence-transformers, fastembed, optimum and scikit-learn (DATA=folder; after make oracle-venv)
	@ORT_DYLIB_PATH="$${ORT_DYLIB_PATH:-$$($(SETUP) --print runtime)}" \
	$(ORACLE_PYTHON) benches/side_by_side/run.py --program $(OFFPRINT) $(if $(DATA),--data $(DATA))
	@ORT_DYLIB_PATH="$${ORT_DYLIB_PATH:-$$($(SETUP) --print runtime)}" \
	$(ORACLE_PYTHON) benches/side_by_side/heads.py --program $(OFFPRINT) $(if $(DATA),--data $(DATA))

check-python:
	@sh export/setup/check.sh python

check-rust:
	@sh export/setup/check.sh rust cc
