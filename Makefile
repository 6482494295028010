# What people type. Everything here uses relative paths, so any directory name works; what is set up is keyed on
# the hashes of the lock files and on the directory, so a second run needs neither time nor network.

SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules

# The first interpreter that has wheels of everything in the lock.
PYTHON_FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
ifndef PYTHON
PYTHON := $(shell for p in python3 python3.12 python3.11; do \
    if $$p -c '$(PYTHON_FITS)' >/dev/null 2>&1; then echo $$p; break; fi; done)
endif
PY := .venv/bin/python
UV := .venv/bin/uv
UV_COMPILE = $(UV) pip compile --quiet --universal --no-header --generate-hashes --python-version 3.11 $(LOCK_FLAGS)
SOURCES := src tests contracts $(wildcard benchmarks)
ARGS ?=

.PHONY: help setup demo demo-all test chaos load-test families balancer-v3 docs lint types differential contracts bench \
    bench-latency soak gas contract-checks contract-tests contract-tests-long mutants audit lock clean \
    _check _python _node _contracts _test_packages

help:
	@cat <<'END'
	make setup         install everything into this directory (.venv, node_modules, .cache)
	make demo          set up, then trade on two local chains          (ARGS="--blocks 60 --json" …)
	make demo-all      six chains, until a cycle has landed through every kind of pool; fetches further contracts once
	make test          set up, then run the tests                      (ARGS="tests/signer -k caps" …)
	make load-test     1,000 landed trades a minute for 10 minutes on local chains; figures as JSON
	make chaos         the long tests: many kills at random points
	make families      every AMM family on a node: 5,000 random actions each, fields and storage words compared
	make balancer-v3   the third Vault, compiled once (two minutes): 100,000 quotes, 5,000 actions, trades on a node
	make lint types    ruff; pyright
	make docs          the documents as a site, in build/site
	make differential  quotes against the real contracts, a million random states
	make contracts     compile our contracts and write their artifacts
	make gas           gas of the executor's transactions beside mainnet's winners   (ARGS=--update)
	make contract-tests          forge, pyrevm, model of the executor; -long: a quarter of an hour
	make contract-checks         what CI runs of these beside the tests: artifacts, gas, model, forge, all short
	make mutants                 every check of the executor dropped or inverted: the tests must notice
	make audit         slither and halmos over the executor, in an environment of their own
	make bench         benchmarks
	make bench-latency the whole path from the socket to the lane, stage by stage     (ARGS="--json" …)
	make soak          hours of replay: memory and latency may not grow     (ARGS="--hours 2")
	make lock          solve the locks anew                            (LOCK_FLAGS=--upgrade for newer versions)
	make clean         remove what setup installed; recorded data stays
	END

# One set-up at a time in a directory; all its noise goes to stderr, so that stdout is the command's alone.
setup: _check
	@mkdir -p .cache
	if command -v flock >/dev/null; then exec 9>.cache/setup.lock; flock 9; fi
	$(MAKE) _python _node _contracts >&2 9>&-

# What is missing on this machine, in one line; empty when nothing is.
PROBLEM = $(shell \
    if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or 3.12 is needed: install python3 and python3-venv"; \
    elif ! $(PYTHON) -c '$(PYTHON_FITS)' >/dev/null 2>&1; then \
        echo "$(PYTHON) is not Python 3.11 or 3.12: install python3 and python3-venv, or pass another PYTHON="; \
    elif [ ! -x $(PY) ] && ! $(PYTHON) -c 'import ensurepip, venv' >/dev/null 2>&1; then \
        echo "Python cannot make virtual environments: install python3-venv"; \
    elif ! node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' >/dev/null 2>&1; then \
        echo "Node.js 20 or newer is needed: install nodejs"; \
    elif ! command -v npm >/dev/null; then echo "npm is needed: install npm"; fi)

_check:
	@$(if $(PROBLEM),$(error $(PROBLEM)))

_python:
	@key=$$(cat requirements-bootstrap.lock requirements-build.lock requirements-dev.lock pyproject.toml | { cat; pwd; } \
	    | sha256sum | cut -c1-16)
	stamp=.venv/.ouro-$$key
	if [ -e "$$stamp" ] && $(PY) -c '' 2>/dev/null; then exit 0; fi
	echo "ouro: installing Python packages"
	# An environment that another directory made, or whose interpreter is gone, only fails later and oddly.
	if [ -e .venv/bin/python ] && [ "$$($(PY) -c 'import sys; print(sys.prefix)' 2>/dev/null)" = "$$(pwd -P)/.venv" ]
	then :; else rm -rf .venv; $(PYTHON) -m venv .venv; fi
	rm -f .venv/.ouro-*
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
	    -r requirements-bootstrap.lock
	$(UV) pip install --quiet --python $(PY) --require-hashes --only-binary :all: \
	    -r requirements-dev.lock -r requirements-build.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation -e .
	touch "$$stamp"

_node:
	@key=$$(cat package.json package-lock.json | sha256sum | cut -c1-16)
	stamp=node_modules/.ouro-$$key
	if [ -e "$$stamp" ]; then exit 0; fi
	echo "ouro: installing Node packages"
	# anvil and forge are named by platform; elsewhere they do not run, and OURO_ANVIL names one that does.
	case "$$(uname -sm)" in "Linux x86_64") force= ;; *) force=--force ;; esac
	npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error $$force
	touch "$$stamp"

_contracts: _python
	@$(PY) -m ouro.testnet.artifacts

demo: setup
	@exec .venv/bin/ouro demo $(ARGS)

demo-all: setup
	@exec .venv/bin/ouro demo --chains all $(ARGS)

test: setup
	@exec $(PY) -m pytest -n 2 -m "not long" $(ARGS)

load-test: setup
	@exec $(PY) -m ouro.testnet.load --work-dir .cache/load-test-$$(date +%s) $(ARGS)

chaos: setup
	@exec $(PY) -m pytest -m "long" tests/e2e $(ARGS)

families: setup
	@exec $(PY) -m pytest -m "long" tests/engine/test_families.py $(ARGS)

# What it compiles stays in the cache: from then on `make test` has the short forms as well.
balancer-v3: setup
	@$(PY) -c 'from tests.differential import sources; sources.balancer_v3()'
	for family in balancer_v3_weighted balancer_v3_stable; do
	    $(PY) -m tests.differential --family $$family --cases 100000
	done
	exec $(PY) -m pytest -m "long or not long" -k balancer_v3 tests/protocols/test_balancer_v3.py \
	    tests/engine/test_family_trades.py tests/engine/test_families.py $(ARGS)

docs: setup
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet $(ARGS)
	echo "build/site/index.html"

lint: setup
	@.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)

types: setup
	@exec node node_modules/pyright/index.js $(ARGS)

differential: setup
	@exec $(PY) -m tests.differential --cases 1000000 $(ARGS)

contracts: setup
	@exec $(PY) contracts/compile.py $(ARGS)

FORGE := node_modules/@foundry-rs/forge-linux-amd64/bin/forge

# What only the contract tests need (Uniswap V4 with forge-std, Balancer, Morpho, the other families) is fetched here,
# not by set-up.
_test_packages: setup
	@$(PY) tests/contracts/packages.py >&2
	$(PY) -m tests.differential.sources >&2

# Forge on each build of the executor; both are shipped.
FORGE_TESTS = cd contracts && for build in OuroExecutor OuroExecutorStorage; do \
    echo "$$build"; OURO_BUILD=$$build ../$(FORGE) test || exit 1; done

gas: _test_packages
	@exec $(PY) tests/contracts/gas_table.py $(ARGS)

contract-tests: _test_packages
	@$(PY) contracts/compile.py --check
	$(PY) -m pytest tests/contracts $(ARGS)
	$(FORGE_TESTS)

contract-checks: export FOUNDRY_PROFILE = short
contract-checks: _test_packages
	@$(PY) contracts/compile.py --check
	$(PY) tests/contracts/gas_table.py
	$(PY) tests/contracts/model.py --length 2 --sample 500
	$(FORGE_TESTS)

contract-tests-long: export FOUNDRY_PROFILE = long
contract-tests-long: _test_packages
	@$(PY) tests/contracts/model.py --length 3 --pairs --sample 100000
	$(FORGE_TESTS)

mutants: _test_packages
	@exec $(PY) tests/contracts/mutants.py $(ARGS)

audit: setup
	@key=$$({ cat requirements-audit.lock; pwd; } | sha256sum | cut -c1-16)
	stamp=.venv-audit/.ouro-$$key
	if [ ! -e "$$stamp" ]; then
	    rm -rf .venv-audit; $(PYTHON) -m venv .venv-audit
	    $(UV) pip install --quiet --python .venv-audit/bin/python --require-hashes -r requirements-audit.lock
	    touch "$$stamp"
	fi
	exec $(PY) contracts/audit.py

bench: setup
	@exec $(PY) -m benchmarks.full $(ARGS)

bench-latency: setup
	@exec $(PY) -m benchmarks.latency --output benchmarks/results/latency.json $(ARGS)

soak: setup
	@exec $(PY) -m benchmarks.soak $(ARGS)

# No lock names a host: whatever registry the machine is set to is asked, and the hashes decide.
lock: setup
	@$(UV_COMPILE) requirements-bootstrap.in -o requirements-bootstrap.lock
	$(UV_COMPILE) requirements-build.in -o requirements-build.lock
	$(UV_COMPILE) pyproject.toml -o requirements.lock
	$(UV_COMPILE) pyproject.toml --extra dev -c requirements.lock -o requirements-dev.lock
	$(UV_COMPILE) requirements-audit.in -o requirements-audit.lock
	npm install --package-lock-only --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >&2
	# npm copies links to sponsors' pages into its lock and has no option against it.
	node -e 'const fs = require("fs"), lock = JSON.parse(fs.readFileSync("package-lock.json"));
	    for (const entry of Object.values(lock.packages)) { delete entry.funding; delete entry.resolved; }
	    fs.writeFileSync("package-lock.json", JSON.stringify(lock, null, 2) + "\n");'
	$(PY) -m ouro.testnet.artifacts --lock
	! grep -n "://" *.lock package-lock.json

clean:
	@rm -rf .venv .venv-audit node_modules .cache .pytest_cache .ruff_cache .hypothesis
