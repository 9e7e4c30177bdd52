# The two commands a newcomer needs: make run, make test. Both do all the set-up.
.PHONY: setup run demo test test-long test-fast lint lock notebook browser help
SHELL := /bin/bash
PYTHON ?= python3
UV = $(shell command -v uv || echo .uv/bin/uv)

# Behind a proxy that inspects, a company's authority is often named in a variable of another program's.
ifndef SSL_CERT_FILE
CERTIFICATES := $(or $(PIP_CERT),$(REQUESTS_CA_BUNDLE),$(CURL_CA_BUNDLE))
ifneq ($(CERTIFICATES),)
export SSL_CERT_FILE := $(CERTIFICATES)
endif
endif
# Where it is named in none, the machine's own certificates have it: uv asks them only when told (older ones by the
# second name), and they are used where the roots that uv brings fail.
SYSTEM_CERTIFICATES := UV_SYSTEM_CERTS=1 UV_NATIVE_TLS=1
INSTALL = VIRTUAL_ENV=.venv $(UV) pip sync --require-hashes --compile-bytecode requirements.lock \
  && VIRTUAL_ENV=.venv $(UV) pip install --quiet --no-deps --editable .

help:  ## show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/'

setup: .venv/.complete  ## build .venv from requirements.lock (gets uv if it is missing), fetch the jars

.venv/.complete: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	@command -v uv >/dev/null || [ -x .uv/bin/uv ] || { echo "Getting uv …"; $(PYTHON) -m venv .uv && .uv/bin/pip install --quiet uv; }
	@echo "Building .venv …"
	@rm -rf .venv
	@$(UV) venv --quiet --python $(PYTHON) .venv
	@{ $(INSTALL); } || { echo "Once more, with the certificates that this machine trusts …"; \
	  export $(SYSTEM_CERTIFICATES); $(INSTALL); }
	@.venv/bin/python -m velib_dagster.runtime.jars
	@touch $@

run: setup  ## start everything: feed, Kafka, Spark, PostgreSQL, Dagster, MLflow
	@exec .venv/bin/velib up

DEMO ?= $(HOME)/.local/share/velib-dagster/demo
demo: setup  ## a week of the simulated network through the whole chain: statistics, models; UP=1 leaves the pages open
	@[ -d $(DEMO)/answers ] || .venv/bin/velib simulate --stations 200 --days 7 --every 300 --into $(DEMO)/answers
	@VELIB_FEED=simulated .venv/bin/velib backfill $(DEMO)/answers --home $(DEMO)/home
	@.venv/bin/velib train --target full --horizons 15 --models logistic_lags,gbt_lags,forest_rich --home $(DEMO)/home
	@[ -z "$(UP)" ] || exec .venv/bin/velib up --home $(DEMO)/home

test: setup browser  ## run every test but the long ones, in two processes
	.venv/bin/python -m pytest --numprocesses 2 -m "not long" $(PYTEST_ARGS)

test-long: setup browser  ## the tests that take many minutes: chains of kills, a new home's first ten minutes
	.venv/bin/python -m pytest -m long $(PYTEST_ARGS)

test-fast: setup  ## the pure tests: seconds, no service
	.venv/bin/python -m pytest -m "not kafka and not postgres and not spark and not platform and not browser and not long" $(PYTEST_ARGS)

notebook: setup  ## execute the notebooks over CSV=FILE, as velib export wrote it, and keep what they show
	.venv/bin/python spark/notebooks/render.py $(CSV)

# Debian's Chromium where there is none and we may install it; Playwright's own elsewhere
browser: setup
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing Chromium for the browser tests …"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	  else .venv/bin/playwright install chromium; fi \
	  || echo "No Chromium: the browser tests will be skipped"

lint: setup  ## ruff and mypy
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

lock: setup  ## resolve requirements.lock anew from pyproject.toml
	$(UV) pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --quiet --output-file requirements.lock
