# Everything a newcomer types. Needs make and Python 3.11 or newer with venv, nothing else.
# The tree may lie at any path: every path below is relative to it.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet
RUNTIME := .venv/.runtime-installed
DEVELOPMENT := .venv/.development-installed

# Turned into options of run_site, so that `make run SAMPLE=no PORT=8100` reads well.
RUN_OPTIONS = $(if $(filter no off false 0,$(SAMPLE)),--no-sample) $(if $(PORT),--port $(PORT))

# Linting must neither need nor touch a configured site.
WITH_SCRATCH_HOME = scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	LIBRARIAN_ENV_FILE=none LIBRARIAN_NAME=lint LIBRARIAN_HOME="$$scratch" DATABASE_URL="sqlite:///$$scratch/lint.sqlite3"

# `make network DOWN=central` and `UP=central` speak to the network that runs in another terminal.
NETWORK_OPTIONS = $(if $(DOWN),--down $(DOWN)) $(if $(UP),--up $(UP)) $(if $(filter no off false 0,$(SAMPLE)),--no-sample) \
	$(if $(PORT),--port $(PORT))

.PHONY: help setup run demo network worker test soak bench lint check clean FORCE

help: ## Print this list
	@echo "Targets (make TARGET):"
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-10s %s\n", $$1, $$2}'

setup: $(DEVELOPMENT) ## Make .venv and install what running and testing need

run: $(RUNTIME) ## Start a working site with sample data (SAMPLE=no starts empty, PORT=8100 moves it)
	@exec $(PY) manage.py run_site $(RUN_OPTIONS) $(ARGS)

demo: run ## The same as run

network: $(RUNTIME) ## Start three sites that push files on to each other (DOWN=central, UP=central while they run)
	@exec $(PY) manage.py run_network $(NETWORK_OPTIONS) $(ARGS)

worker: $(RUNTIME) ## Start one job cluster (CLUSTER=default or CLUSTER=bulk)
	@Q_CLUSTER_NAME="$(or $(CLUSTER),default)" exec $(PY) manage.py qcluster $(ARGS)

test: $(DEVELOPMENT) ## Run the whole suite on SQLite, then on a PostgreSQL of its own (ARGS='-k name' narrows)
	@exec $(PY) -m tests.rig.run $(ARGS)

soak: $(DEVELOPMENT) ## Run the long fault and load tests on both databases
	@exec $(PY) -m tests.rig.run --soak $(ARGS)

bench: $(DEVELOPMENT) ## Measure the figures of the design's targets (ARGS= chooses)
	@exec $(PY) -m benchmarks $(ARGS)

lint: $(DEVELOPMENT) ## Check code, formatting, import direction, migrations and templates
	@echo "ruff: code";              $(PY) -m ruff check .
	@echo "ruff: formatting";        $(PY) -m ruff format --check .
	@echo "import-linter: floors";   .venv/bin/lint-imports --no-logo
	@echo "migrations: none missing"; $(WITH_SCRATCH_HOME) $(PY) manage.py makemigrations --check --dry-run
	@echo "djlint: templates";       $(PY) -m djlint --lint --quiet --allow-empty-input templates

check: $(RUNTIME) ## Check settings, database and the truths the archive must hold
	@echo "django: settings, models, triggers"; $(PY) manage.py check --database default --fail-level WARNING
	@echo "archive: invariants";                $(PY) manage.py check_invariants

clean: ## Remove .venv and caches; the site's data under var/ stays
	rm -rf .venv .venv-postgres .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The first interpreter that is new enough, as `python`; a sentence and exit 1 when there is none.
define find_python
python=; \
for name in python3.13 python3.12 python3.11 python3; do \
  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$name"; break; fi; \
done; \
if [ -z "$$python" ]; then \
  echo "The Librarian needs Python 3.11 or newer; no python3.13, python3.12, python3.11 or python3 here is." >&2; \
  exit 1; \
fi
endef

# A virtual environment whose interpreter is gone or too old is made anew; a whole one is kept.
define ensure_venv
if ! $(PY) -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
  $(find_python); \
  echo "Making .venv with $$python"; \
  "$$python" -m venv --clear .venv || { \
    rm -rf .venv; \
    echo "$$python cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
    exit 1; \
  }; \
fi
endef

# Stamps: pip runs again only after the requirements changed, or when .venv no longer works (the interpreter that it
# points to was upgraded or removed).
ifeq ($(shell $(PY) -c 'import django; print("works")' 2>/dev/null),)
$(RUNTIME): FORCE
endif
FORCE:

$(RUNTIME): requirements.txt
	@$(ensure_venv)
	@echo "Installing requirements.txt into .venv"
	@$(PIP) -r requirements.txt
	@touch $@

$(DEVELOPMENT): requirements-dev.txt $(RUNTIME)
	@echo "Installing requirements-dev.txt into .venv"
	@$(PIP) -r requirements-dev.txt
	@touch $@
