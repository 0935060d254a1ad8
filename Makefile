# What a developer runs, each by one word. `make` alone says what there is.
#
# Everything that a target needs beyond the prerequisites below is fetched into target/,
# .venv/ and tests/e2e/node_modules/, and fetched anew only when its lock changed.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# How long each fuzz target runs.
FUZZ_SECONDS ?= 30

VENV := .venv
VENV_STAMP := $(VENV)/.requirements
E2E := tests/e2e
NODE_STAMP := $(E2E)/node_modules/.package-lock
# Servers for the tests of shared limits: those at hand, or Debian's, unpacked.
REDIS := target/tools/redis-server
VALKEY := target/tools/valkey-server
CARGO_FUZZ := target/tools/bin/cargo-fuzz

.PHONY: help test lint bench chaos fuzz prerequisites

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-7s%s\n", $$1, $$2 }'

# `cargo test` builds the gateway's binary as well: the one that the real clients call.
test: prerequisites $(VENV_STAMP) $(NODE_STAMP) $(REDIS) $(VALKEY) ## Run every test: Rust's, real clients against the built gateway, the short faults
	cargo test --locked
	cargo run --locked --quiet --manifest-path tests/loom/Cargo.toml --target-dir target/loom
	cd $(E2E) && REDIS_SERVER=$(abspath $(REDIS)) VALKEY_SERVER=$(abspath $(VALKEY)) ../../$(VENV)/bin/python -B -m pytest
	$(VENV)/bin/python -B tests/chaos/run.py --short

lint: ## Check formatting, and clippy with warnings denied
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings

bench: prerequisites ## Measure, and print the table of figures
	benches/run.sh

chaos: prerequisites $(VENV_STAMP) ## Inject every fault of docs/reliability.md into the built gateway
	cargo build --locked
	$(VENV)/bin/python -B tests/chaos/run.py

# The sanitizers hang on flags of nightly's; RUSTC_BOOTSTRAP lets the stable compiler take them.
# What a run finds is kept in fuzz/corpus; fuzz/seeds is what it starts from.
fuzz: $(CARGO_FUZZ) ## Fuzz every target for FUZZ_SECONDS (default 30) each
	for name in $$($(CARGO_FUZZ) list); do \
		mkdir -p "fuzz/corpus/$$name"; \
		RUSTC_BOOTSTRAP=1 $(CARGO_FUZZ) run --target-dir target/fuzz "$$name" \
			"fuzz/corpus/$$name" "fuzz/seeds/$$name" -- -max_total_time=$(FUZZ_SECONDS); \
	done

prerequisites:
	@missing=0; \
	need() { eval "$$1" >/dev/null 2>&1 || { echo "make: missing $$2" >&2; missing=1; }; }; \
	need 'cargo --version' 'cargo: install Rust from https://rustup.rs'; \
	need 'command -v cc' 'cc: install a C compiler (Debian: build-essential)'; \
	need 'python3 -c "import sys; assert sys.version_info >= (3, 11)"' 'python3, 3.11 or later'; \
	need 'python3 -c "import ensurepip, venv"' 'venv, a module of python3 (Debian: python3-venv)'; \
	need 'node -e "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)"' 'node, 20 or later'; \
	need 'npm --version' 'npm: it comes with Node.js'; \
	exit $$missing

$(VENV_STAMP): $(E2E)/requirements.txt | prerequisites
	python3 -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

$(NODE_STAMP): $(E2E)/package-lock.json $(E2E)/package.json | prerequisites
	cd $(E2E) && npm ci --no-audit --no-fund
	touch $@

$(REDIS): $(E2E)/redis-server.sh | prerequisites
	$< $@

$(VALKEY): $(E2E)/redis-server.sh | prerequisites
	$< $@ valkey-server

$(CARGO_FUZZ):
	cargo install --locked --root target/tools cargo-fuzz
