# Homeward's targets; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
UV := .tools/bin/uv
NODE_MODULES := deploy/local/clickhouse/node_modules
TRITON := .triton
TRAIN := .train
# Files of tests side by side. Each may start a whole stack, so that more than cores are no faster.
TEST_WORKERS ?= 2
# uv takes the python3 that is here; it downloads none.
export UV_PYTHON_DOWNLOADS := never
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help
help: ## This list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

## --- using it --------------------------------------------------------------------------------------

.PHONY: run
run: setup ## Start the whole of Homeward here, in the foreground, with a tour.
	@exec $(BIN)/python -m deploy.local

.PHONY: setup
setup: .venv/.stamp $(NODE_MODULES)/.stamp $(TRITON)/.stamp ## Install what the other targets need (they call it themselves).

.PHONY: test
test: setup ## Run the tests. Those that need a browser or PostgreSQL are skipped by name without one.
	@$(BIN)/pytest --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

## --- changing it -----------------------------------------------------------------------------------

.PHONY: check
check: lint types imports protos-check docs-check test ## Everything that CI runs.

.PHONY: lint
lint: setup ## Style, in Python.
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

.PHONY: types
types: setup ## Types, strictly.
	@$(BIN)/mypy

.PHONY: imports
imports: setup ## Who may import whom.
	@$(BIN)/lint-imports --no-logo

.PHONY: protos-check
protos-check: setup ## Lint the contract, compare it with the released one, and see that the stubs are fresh.
	@$(BIN)/buf lint && $(BIN)/buf breaking --against protos/released.binpb
	@tools/protos.sh .cache/protos && diff -r -x __pycache__ .cache/protos protos/gen \
	  || { echo "the stubs in protos/gen are stale: run \`make protos\`"; exit 1; }

.PHONY: docs-check
docs-check: setup ## See that docs/settings.md is fresh.
	@$(BIN)/python -m tools.settings_page --check

.PHONY: protos
protos: setup ## Generate the stubs from the contract.
	@tools/protos.sh

.PHONY: docs
docs: setup ## Generate docs/settings.md from the settings' docstrings, and docs/commands.md from the commands.
	@$(BIN)/python -m tools.settings_page && $(BIN)/python -m playbook.reference

.PHONY: format
format: setup ## Bring the code into shape.
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

## --- measuring it ----------------------------------------------------------------------------------

.PHONY: bench-hotpath
bench-hotpath: setup ## The router beside a direct call and LiteLLM, on the same upstream (needs nginx, h2load).
	@$(BIN)/python -m bench.hotpath

.PHONY: bench-sovereign
bench-sovereign: setup ## First token and pace of the model at home, straight from Triton and through the router.
	@$(BIN)/python -m bench.sovereign

.PHONY: bench-classifier
bench-classifier: setup ## Time and memory of naming a request by meaning, in process and over gRPC.
	@$(BIN)/python -m bench.classifier

.PHONY: bench-ledger
bench-ledger: setup ## Legs a second into the book beside bare inserts, and rows a second of an inventory import.
	@$(BIN)/python -m bench.ledger && $(BIN)/python -m bench.inventory

.PHONY: soak-ledger
soak-ledger: setup ## A million legs while ledger and ClickHouse are killed at random; then the book must be whole.
	@$(BIN)/python -m bench.soak_ledger --legs 1000000

.PHONY: bench-rollback
bench-rollback: setup ## How long a decision takes to be in force on four routers.
	@$(BIN)/python -m bench.rollback

.PHONY: proof
proof: setup ## The verdict's promise, drawn many thousand times, beside the twins that must break it.
	@$(BIN)/python -m playbook.proof

.PHONY: eval-scorers
eval-scorers: setup ## Each scorer of answers beside people, on public judgements; writes docs/scorers.md.
	@$(BIN)/python -m playbook.scorers

.PHONY: eval-classifier
eval-classifier: setup ## Measure models/classifier on test_dev and the few-shot benchmark; refresh its card and pictures.
	@$(BIN)/python -m playbook.evaluation

.PHONY: soak-sovereign
soak-sovereign: setup ## 20,000 requests to the model at home, with cancels, kills and reloads.
	@$(BIN)/python -m bench.soak_sovereign

.PHONY: train-stand-in
train-stand-in: setup ## Train the heads of the stand-in cloud anew (5 minutes on one core).
	@$(UV) run --no-sync --with-requirements training/stand_in/requirements.txt python -m training.stand_in

.PHONY: train-classifier
train-classifier: $(TRAIN)/.stamp ## Train models/classifier anew (set HOMEWARD_TRAINING_MIRROR for the named rows).
	@$(TRAIN)/bin/python -m training.classifier
	@$(BIN)/python -m training.classifier.background

.PHONY: train-demo-model
train-demo-model: $(TRAIN)/.stamp ## Train the small Llama of models/small-llama anew (an hour on two cores).
	@$(TRAIN)/bin/python -m training.small_llama

.PHONY: evaluate-demo-model
evaluate-demo-model: $(TRAIN)/.stamp ## Measure models/small-llama on the whole public test splits.
	@$(TRAIN)/bin/python -m training.small_llama.evaluate

.PHONY: screenshot
screenshot: setup ## Take the README's picture of a trace from a running stack (needs chromium).
	@$(BIN)/python -m tools.screenshot

## --- what the others need --------------------------------------------------------------------------

$(UV): tools/uv.txt
	@command -v python3 >/dev/null || { echo "python3 is missing: install Python 3.11 or 3.12"; exit 1; }
	@python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
	  || { echo "python3 is $$(python3 -V): Homeward needs 3.11 or 3.12"; exit 1; }
	@echo "Setting up: uv" && python3 -m venv .tools \
	  || { echo "python3 can't make environments: install its venv package (Debian: python3-venv)"; exit 1; }
	@.tools/bin/pip install -q --disable-pip-version-check --require-hashes -r tools/uv.txt && touch $@

.venv/.stamp: $(UV) pyproject.toml uv.lock
	@echo "Setting up: Python packages, as locked" && $(UV) sync -q --frozen --python python3 && touch $@

# By pip, which takes a CPU build of torch where there is one beside PyPI's.
$(TRAIN)/.stamp: training/small_llama/requirements.txt training/classifier/requirements.txt
	@echo "Setting up: torch and what exports a model" && python3 -m venv --clear $(TRAIN) \
	  && $(TRAIN)/bin/pip install -q --disable-pip-version-check $(addprefix -r ,$^) && touch $@

# An environment of its own: model.py runs on numpy 1, and nothing of it may reach the router.
$(TRITON)/.stamp: $(UV) deploy/triton/cpu/requirements.txt
	@echo "Setting up: Triton and its model's runtime, 110 MB from PyPI" \
	  && $(UV) venv -q --clear --python python3 $(TRITON) \
	  && $(UV) pip install -q --python $(TRITON) --no-deps --require-hashes -r deploy/triton/cpu/requirements.txt && touch $@

$(NODE_MODULES)/.stamp: deploy/local/clickhouse/package-lock.json
	@if [ -n "$$HOMEWARD_CLICKHOUSE_URL" ] || command -v clickhouse >/dev/null; then mkdir -p $(@D); \
	else command -v npm >/dev/null || { echo "npm is missing: install Node.js, which has it" \
	    "(or a clickhouse binary, or set HOMEWARD_CLICKHOUSE_URL)"; exit 1; }; \
	  echo "Setting up: ClickHouse, 178 MB from npm" && cd deploy/local/clickhouse && npm ci --silent; fi && touch $(CURDIR)/$@
