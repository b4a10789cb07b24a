# A fresh machine needs Python 3.11 or 3.12, a C++ compiler and this file: `make demo`.

PI0 := .venv/bin/pi0
PYTHON := .venv/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo test docs bench lock clean

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

docs: setup-test ## these pages as a site in docs/_build/html; warnings and broken links are errors
	@$(PYTHON) -m sphinx -q -W --keep-going -b html -d docs/_build/doctrees docs docs/_build/html
	@$(PYTHON) docs/_ext/check_links.py docs/_build/html README.md CONTRIBUTING.md
	@echo "docs/_build/html/index.html"

bench: setup ## benchmarks, one JSON object a line (ARGS="motion --quick" runs one of them; the longest run by name alone)
	@$(PYTHON) -m bench $(ARGS)

lock: setup ## write requirements/*.lock anew (ARGS=--upgrade for the newest versions)
	@$(PYTHON) scripts/lock.py $(ARGS)

clean: ## remove what set-up and tests made
	rm -rf docs/_build docs/generated .venv .ros .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
