# A fresh machine needs Python 3.11 or 3.12, a C++ compiler and this file: `make demo`.

PI0 := .venv/bin/pi0
PYTHON := .venv/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo test bench lock clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## everything a fresh machine needs; does nothing when there is nothing to do
	@sh scripts/setup.sh

setup-test:
	@sh scripts/setup.sh --test

demo: setup ## the main job on the simulated robot (ARGS="--headless --duration 60 --report demo.json")
	@$(PI0) demo $(ARGS)

test: setup-test ## lint, types, layers and all tests (ARGS="test/control" runs some of them)
	@sh scripts/test.sh $(ARGS)

bench: setup ## benchmarks, one JSON object a line (ARGS="motion --quick" runs one of them)
	@$(PYTHON) -m bench $(ARGS)

lock: setup ## write requirements/*.lock anew (ARGS=--upgrade for the newest versions)
	@$(PYTHON) scripts/lock.py $(ARGS)

clean: ## remove what set-up and tests made
	rm -rf .venv .ros .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
