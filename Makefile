# The two commands are `make demo` and `make test`. Everything runs in .venv, built from the lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export DAGSTER_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export GX_ANALYTICS_ENABLED := false

.DEFAULT_GOAL := help
.PHONY: help setup demo ui api test soak check lint format types imports definitions docs golden screenshot lock clean

help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## Create .venv from the lock; does nothing when it is up to date

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

demo: setup  ## Settle thirty real weeks of 2019 with a simulated population
	$(BIN)/quanta demo

ui: setup  ## Open the Dagster UI on http://127.0.0.1:3000
	DAGSTER_HOME=$$($(BIN)/quanta instance) && export DAGSTER_HOME && exec $(BIN)/dagster dev --workspace workspace.yaml --host 127.0.0.1

api: setup  ## Serve the API on http://127.0.0.1:8000
	$(BIN)/python -m quanta_pipelines.api

test: setup  ## Run the tests
	$(BIN)/python -m pytest -m "not soak" -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

soak: setup  ## Run the long counts
	$(BIN)/python -m pytest -m soak $(PYTEST_ARGS)

check: lint types imports definitions  ## Lint, types, import contracts, definitions

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/sqlfluff lint --disable-progress-bar dbt_project/models

format: setup  ## Format Python and SQL
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/sqlfluff fix --disable-progress-bar dbt_project/models

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

definitions: setup
	$(BIN)/dbt --quiet parse --project-dir dbt_project --profiles-dir dbt_project
	home=$$(mktemp -d) && DAGSTER_HOME=$$home $(BIN)/dagster definitions validate --log-level warning --workspace workspace.yaml; \
	  done=$$?; rm -r $$home; exit $$done

docs: setup  ## Write dbt's page on the marts, var/warehouse/docs/index.html
	$(BIN)/python docs/make_marts_page.py

golden: setup  ## Write the golden tables again; look at the difference before you commit it
	$(BIN)/python -m pytest -m "not soak" tests/golden tests/test_architecture.py tests/pipeline/test_market_faults.py tests/pipeline/test_http_faults.py --golden-update

screenshot: setup  ## Take the README's pictures from the running UI and the service
	$(BIN)/python docs/screenshots/take.py
	$(BIN)/python docs/screenshots/take_pages.py

lock: setup  ## Resolve the lock again (needs uv)
	uv pip compile pyproject.toml --extra dev --python-version 3.11 --generate-hashes --no-emit-index-url --no-strip-extras --output-file requirements.lock

clean:  ## Remove everything that was built, the demo's data included
	rm -rf $(VENV) var build dbt_project/target dbt_project/logs *.egg-info .mypy_cache .ruff_cache .pytest_cache
