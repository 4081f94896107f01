# `make` lists what there is. PYTHON=python3.12 make test takes another Python (3.11 or newer).
PYTHON ?= python3

VENV := .venv
RUN := $(VENV)/bin/python
export PYTHONPATH := operator:tests

# A virtual environment is as new as the requirements it was made from, whatever files' times say (git does not keep them).
STAMP := $(VENV)/.made-from-$(shell cat requirements/dev.txt | cksum | tr -d ' ')

.DEFAULT_GOAL := help
.PHONY: help test unit simulation soak soak-cluster lint docs cluster-tests demo bench bench-quick sbom clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Two cores are busy when the cluster comes up beside lint and unit tests. The simulated world has a clock of its own, so
# it gets what the real cluster leaves of the machine; in a session of its own, which is ended as a whole.
test: $(STAMP) ## everything: linters, unit tests, simulated and real clusters (leaves the cluster up)
	@mkdir -p logs
	@echo "the test cluster comes up meanwhile (logs/cluster.txt)"
	@$(RUN) -m harness > logs/cluster.txt 2>&1 & cluster=$$!; \
	trap 'kill $$cluster $$shown 2> /dev/null' INT TERM; \
	$(MAKE) --no-print-directory lint docs unit; code=$$?; \
	[ $$code -eq 0 ] || { kill $$cluster; exit $$code; }; \
	tail -n +1 -f logs/cluster.txt & shown=$$!; \
	wait $$cluster; code=$$?; \
	kill $$shown; exit $$code
	@$(RUN) -m testbed.background $(RUN) -m pytest -m simulation > logs/simulation.txt 2>&1 & simulation=$$!; \
	trap 'kill -TERM -$$simulation 2> /dev/null' INT TERM; \
	echo "the simulated world runs meanwhile (logs/simulation.txt)"; \
	$(RUN) -m pytest -m cluster; real=$$?; \
	wait $$simulation; simulated=$$?; \
	cat logs/simulation.txt; \
	exit $$((real | simulated))

unit: $(STAMP) ## unit tests alone: a minute, no cluster
	$(RUN) -m pytest -m "not cluster and not simulation"

simulation: $(STAMP) ## all simulated worlds, of which `make test` plays a third: half an hour, no cluster
	WORLDS=all $(RUN) -m pytest -m simulation

SEED ?= 0
HOURS ?= 1
soak: $(STAMP) ## random simulated worlds for HOURS, from SEED on
	$(RUN) -m simulation --seed $(SEED) --hours $(HOURS)

MINUTES ?= 30
soak-cluster: $(STAMP) ## users, and faults of all kinds, on the real test cluster for MINUTES, from SEED
	$(RUN) -m soak --seed $(SEED) --minutes $(MINUTES)

cluster-tests: $(STAMP) ## tests on a real cluster alone
	$(RUN) -m pytest -m cluster

lint: $(STAMP) ## ruff, mypy and import-linter
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy operator tests
	$(VENV)/bin/lint-imports

docs: $(STAMP) ## the documentation as a site, in site/; warnings are errors
	$(RUN) deploy/docs.py --check
	$(VENV)/bin/zensical build --clean --strict

demo: $(STAMP) ## a funded escrow on a cluster of its own (kubectl context kind-xmr-escrow)
	$(RUN) -m demo

bench: $(STAMP) ## measure everything in docs/performance.md again, and write that page
	$(RUN) -m benchmarks all; code=$$?; $(RUN) -m benchmarks page && exit $$code

bench-quick: $(STAMP) ## few rounds of each; fails when a count is over its budget, never because of seconds
	$(RUN) -m benchmarks all --quick

sbom: $(STAMP) ## what is in the images, as CycloneDX, in dist/
	$(RUN) deploy/sbom.py

clean: $(STAMP) ## remove all clusters and what builds left; caches stay
	$(RUN) -m testbed down --all
	rm -rf logs site dist .state

$(STAMP):
	@command -v $(PYTHON) > /dev/null || \
		{ echo "There is no $(PYTHON). Install Python 3.11 or newer, or name one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$$($(PYTHON) --version) is too old: Python 3.11 or newer is needed. Name one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || \
		{ echo "$$($(PYTHON) --version) cannot make virtual environments (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	@touch $@
