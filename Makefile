# `make help` lists the targets. The first use of one makes .venv and installs what it needs.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help run test check format bench bench-short fuzz long clean

VENV := .venv
BIN := $(VENV)/bin
SERVER := $(VENV)/.server
DEV := $(VENV)/.dev

# More options for the command of a target: make run ARGS="--http :9000".
ARGS ?=
# A certain interpreter instead of the first that fits: make test PYTHON=python3.13.
PYTHON ?=
FUZZ_SECONDS ?= 300
# Files of tests run side by side: most of their time is waiting. One after another: TEST_WORKERS=0.
TEST_WORKERS ?= 2
# Debian keeps servers where users' PATH may not look.
export PATH := $(PATH):/usr/sbin:/sbin
# Else each of the hundreds of servers and clients that the tests start compiles the project's modules anew.
unexport PYTHONDONTWRITEBYTECODE

# Shell functions for recipes.
#
# install_debian PACKAGE...: as root, or with sudo. Three tries: mirrors fail at times, and on a
# fresh machine the nightly upgrade may hold dpkg's lock.
define install_debian
install_debian() {
    local sudo= try
    if [ "$$(id -u)" != 0 ]; then sudo=sudo; fi
    if ! command -v apt-get >/dev/null || ! command -v $${sudo:-env} >/dev/null; then
        echo "Missing, and only root (or sudo) can install it, on Debian or Ubuntu: $$*" >&2
        return 1
    fi
    echo "Installing the Debian packages $$*"
    for try in 1 2 3; do
        if $$sudo apt-get -qq update && $$sudo env DEBIAN_FRONTEND=noninteractive \
            apt-get -qq -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$$@"; then
            return
        fi >/dev/null
        sleep "$$try"
    done
    echo "Could not install the Debian packages $$*" >&2
    return 1
}
endef

# find_python: sets `python` to an interpreter that is new enough and can make a venv.
define find_python
find_python() {
    for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do
        if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            return
        fi
    done
    return 1
}
endef

# install_postgresql: Debian's package makes a cluster and starts it, on port 5432, unless it is told not to
# while it is installed. The tests start servers of their own.
define install_postgresql
install_postgresql() {
    local sudo= status=0 conf=/etc/postgresql-common/createcluster.d/gobbler.conf
    if [ "$$(id -u)" != 0 ]; then sudo=sudo; fi
    install_debian postgresql-common
    $$sudo mkdir -p "$${conf%/*}"
    $$sudo tee "$$conf" >/dev/null <<<'create_main_cluster = false'
    install_debian postgresql || status=$$?
    $$sudo rm "$$conf"
    return "$$status"
}
endef

# The README's tour uses curl, and a test runs the tour. The benchmark, which tests run too, compiles its
# driver (Debian's gcc comes without headers) and measures beside nats-server. One of the key-value stores
# is PostgreSQL, whose programs Debian keeps outside of PATH.
define install_tools
$(install_postgresql)
if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && ! command -v initdb >/dev/null; then
    install_postgresql
fi
missing=()
command -v curl >/dev/null || missing+=(curl ca-certificates)
command -v nats-server >/dev/null || missing+=(nats-server)
command -v wrk >/dev/null || missing+=(wrk)
gcc -fsyntax-only -x c - <<<'#include <stdio.h>' 2>/dev/null || missing+=(gcc libc6-dev)
if ! command -v chromium-headless-shell >/dev/null; then
    # Ubuntu has the browser only as a snap, which may not use the tests' folders: Playwright brings its own.
    if grep -qx ID=ubuntu /etc/os-release; then
        $(BIN)/playwright install --with-deps --only-shell chromium
    else
        missing+=(chromium-headless-shell)
    fi
fi
if [ "$${#missing[@]}" -gt 0 ]; then install_debian "$${missing[@]}"; fi
endef

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*  ## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

run: $(SERVER)  ## run the server; it keeps its data in ./var unless GOBBLER_STORAGE_PATH names another folder
	@export GOBBLER_STORAGE_PATH="$${GOBBLER_STORAGE_PATH:-$(CURDIR)/var}"
	export GOBBLER_LOG="$${GOBBLER_LOG:-info}"
	exec $(BIN)/gobbler $(ARGS)

test: check  ## run check, then all tests but the long ones; the last line says how many
	@$(install_debian)
	$(install_tools)
	$(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(DEV)  ## run the linters, the type checker and the tests of the architecture
	@$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/architecture

format: $(DEV)  ## put the code into the one format, and repair what the linter can
	@$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(DEV)  ## measure the server beside nats-server; ARGS are the options of `python -m bench`
	@$(install_debian)
	$(install_tools)
	$(BIN)/python -m bench $(ARGS)

bench-short: override ARGS += --short
bench-short: bench  ## the same with fewer and smaller runs

fuzz: $(DEV)  ## feed nonsense to the parsers for FUZZ_SECONDS (300)
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

long: $(DEV)  ## run the long tests
	@$(install_debian)
	$(install_tools)
	$(BIN)/python -m pytest -m long --timeout 3600 $(ARGS)

clean:  ## remove what make has made, but not ./var, where `make run` keeps messages
	@rm -rf $(VENV) build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(SERVER): requirements.txt pyproject.toml
	@$(install_debian)
	$(find_python)
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then
	    find_python || install_debian python3 python3-venv
	    # Where python3 is older (Ubuntu 22.04), a newer one has packages of its own.
	    find_python || install_debian python3.11 python3.11-venv
	    find_python || { echo "Python 3.11 or later with venv is needed" >&2; exit 1; }
	    "$$python" -m venv --clear $(VENV)
	fi
	echo "Installing the server's Python packages"
	$(BIN)/python -m pip install -qq --requirement requirements.txt
	$(BIN)/python -m pip install -qq --no-deps --editable .
	touch $@

$(DEV): $(SERVER) requirements-dev.txt
	@echo "Installing the Python packages of the checks and tests"
	# Compiled as they are used: most of their modules never are, and all of them took half a minute.
	$(BIN)/python -m pip install -qq --no-compile --requirement requirements-dev.txt
	touch $@
