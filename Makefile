# The words people type. Each does its own set-up; `make site` and `make test` need Python >= 3.11 and make, no more.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check -q

.PHONY: site serve check test test-slow lint speed wheel bench archive clean

## Build the site into public/
site: $(VENV)/.site node_modules/.installed
	@$(RUN) -m scripts build
	@echo "The site is in public/. To read it: make serve, then open http://127.0.0.1:8000/"

## Serve the site on this machine, rebuilding on change
serve: $(VENV)/.site node_modules/.installed
	@$(RUN) -m scripts serve

## Check every entry, technique and result
check: $(VENV)/.site
	@$(RUN) -m scripts check

## Lint, type-check, check the data, run the tests
test: lint node_modules/.installed
	$(RUN) -m scripts check
	$(RUN) -m pytest -q -m "not slow" -n 2 --dist loadfile

## The tests that take minutes
test-slow: $(VENV)/.dev node_modules/.installed
	$(RUN) -m pytest -q -m slow

lint: $(VENV)/.dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

## The site's speed against plain mkdocs-material
speed: $(VENV)/.dev node_modules/.installed
	$(RUN) -m scripts site-speed

## Build the wheel and try it in fresh environments: TORCH="here", "lowest newest" or versions; gigabytes but for "here"
wheel: $(VENV)/.dev
	$(RUN) -m scripts wheel $(addprefix --torch ,$(or $(TORCH),here))

## Run the benchmarks and record them in results/
bench: $(VENV)/.dev
	$(RUN) -m scripts.bench $(CASES)

## One file with the site, its data and its source: the same bytes for the same commit
archive: $(VENV)/.site node_modules/.installed
	@$(RUN) -m scripts archive

clean:
	rm -rf build public $(VENV) node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "venv is missing; on Debian: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/.site: requirements/site.txt | $(VENV)/bin/python
	@echo "installing the site's tools"
	@$(PIP) install -r requirements/site.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/torch.txt | $(VENV)/bin/python
	@echo "installing the tools of tests and site"
	@$(PIP) install -r requirements/torch.txt
	@$(PIP) install -r requirements/dev.txt
	@touch $@ $(VENV)/.site

node_modules/.installed: package.json package-lock.json | $(VENV)/bin/python
	@test -e $(VENV)/.site || $(MAKE) --no-print-directory $(VENV)/.site
	@echo "installing the browser libraries"
	@$(RUN) -m scripts setup
	@touch $@
