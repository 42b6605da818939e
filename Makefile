# What a maintainer types. `make help` lists the targets; each one says what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The control host's interpreter: 3.11 where there is one (the lock is made for it), else a newer python3.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BUILD := build
UV_LOCK := $(VENV)/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help setup lock readmes lint unit rack-tests verify role-tests facility-tests test test-all release demo bench-quick bench bench-page clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | column -t -s $$'\t'

setup: $(VENV)/.complete ## Install the control host's Debian packages (as root, if any is missing) and its Python environment

# Stamps say what was installed from which input: an unchanged tree installs nothing.
$(VENV)/.packages: requirements/apt.txt requirements/install-packages
	requirements/install-packages requirements/apt.txt
	mkdir -p $(VENV)
	touch $@

$(VENV)/bin/pip: | $(VENV)/.packages
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: PYTHON=$(PYTHON) is older than 3.11; way out: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.requirements: requirements/control.lock | $(VENV)/bin/pip
	$(VENV)/bin/pip install -qq --disable-pip-version-check --require-hashes -r requirements/control.lock
	touch $@

$(VENV)/.complete: pyproject.toml $(VENV)/.packages $(VENV)/.requirements
	$(VENV)/bin/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
	touch $@

# Locks hold names, versions and hashes, never addresses: where packages come from is the site's own affair.
# The services share the analysis environment's versions wherever both hold a package.
lock: setup ## Resolve requirements/*.in and environments/**/*.in anew into their lock files
	$(UV_LOCK) -c requirements/versions.txt --python-version 3.11 --python-platform x86_64-manylinux_2_36 \
	  requirements/control.in -o requirements/control.lock
	$(UV_LOCK) -c requirements/versions.txt --python-version 3.13 --python-platform x86_64-manylinux_2_40 --only-binary :all: \
	  environments/analysis/requirements.in -o environments/analysis/requirements.lock
	$(UV_LOCK) -c requirements/versions.txt -c environments/analysis/requirements.lock \
	  --python-version 3.13 --python-platform x86_64-manylinux_2_40 --only-binary :all: \
	  environments/services/requirements.in -o environments/services/requirements.lock
	$(UV_LOCK) --python-version 3.13 --python-platform x86_64-manylinux_2_40 --only-binary :all: \
	  environments/build.in -o environments/build.lock

readmes: setup ## Make each role's README.md from its argument specs
	python -m appliance.roles.readme

lint: setup ## Check style and types of Python, YAML and Ansible (the hooks of .pre-commit-config.yaml)
	pre-commit run --all-files --show-diff-on-failure

# More of them than cores, since tests wait for processes and sockets a quarter of their time.
unit: setup ## Run the unit tests: seconds, no root, no network
	pytest tests/unit --numprocesses $$(( $$(nproc) * 3 / 2 )) --dist worksteal

rack-tests: setup ## Run the emulated rack's own life cycle tests (root)
	pytest tests/rack_lifecycle

# `make verify TESTS="tests/rack/test_storage.py -k osd"` runs some of them.
verify: setup ## Run the facility's tests on one that is brought back in a minute, or built and saved once (root)
	tests/verify $(TESTS)

role-tests: setup ## Test single roles, each on the smallest rack that holds it (root)
	for role in molecule/role_*; do MOLECULE_COMMAND_BORDERS=0 molecule test -s "$${role#molecule/}"; done

facility-tests: setup ## Build a facility on an emulated rack from bare machines, and test it (root)
	MOLECULE_COMMAND_BORDERS=0 molecule test -s default

test: lint unit rack-tests role-tests facility-tests ## What must hold before anything lands, in an hour (root)

test-all: export FACILITY_TESTS := long or not long
test-all: test ## The same, with what takes long: before a release, or where Ceph's or the machines' own parts change (root)

release: setup ## Make release VERSION=X.Y.Z of a clean checkout, in two commits (docs/releasing.md)
	@test -n "$(VERSION)" || { echo "error: which one? way out: make release VERSION=0.1.0" >&2; exit 1; }
	appliance release make "$(VERSION)" $(if $(DATE),--date "$(DATE)")

demo: setup ## Build the facility on an emulated rack and run a researcher's analysis in a browser (root)
	appliance demo run

# What is promised as a figure and not as a test. On the facility that `make demo` left, as root; a quiet machine's
# figures are worth more. All of them gather in build/bench/summary.json.
bench-quick: setup ## Measure the most important figures, in some ten minutes
	python tests/bench/placement.py
	python tests/bench/scheduler.py
	python tests/bench/locality.py --quick

bench: setup ## Measure every figure, in hours; what was measured of the table stands when it is called again
	python tests/bench/placement.py
	python tests/bench/read_path.py
	python tests/bench/scheduler.py --full --runs 5
	python tests/bench/worker_rate.py
	python tests/bench/forecast.py
	python tests/bench/commits.py
	python tests/bench/locality.py --continue

bench-page: setup ## Write docs/benchmark.md and its pictures from what was measured
	python tests/bench/page.py

clean: ## Remove what make built here; racks and caches stay (`appliance rack down`, `appliance depot down`)
	rm -rf $(VENV) $(BUILD) dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
