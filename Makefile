# On a fresh Debian or Ubuntu machine, use `make run` and `make test`. Each first installs
# missing packages and prints their names; later calls skip that.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Arguments for evh run: make run ARGS="--suite limits"
ARGS   ?=
# Debian or Ubuntu suite for make host-check
SUITE  ?= trixie
# Arguments for pytest: make unit ARGS="-k store"

# Grouped by purpose: building Xen and Linux; images; the machine and gdb; Python.
PACKAGES := \
	build-essential gcc libc6-dev gcc-i686-linux-gnu libc6-dev-i386-cross binutils make flex bison bc libelf-dev libssl-dev \
	ccache git rsync xz-utils cpio gzip bubblewrap \
	mmdebstrap uidmap e2fsprogs debian-archive-keyring ca-certificates util-linux \
	qemu-system-x86 qemu-utils seabios ipxe-qemu gdb \
	libvirt-daemon-driver-qemu libvirt-daemon-system libvirt-dev pkg-config \
	python3 python3-dev python3-venv

.PHONY: help run test unit system faults mutate timing host-check lint setup packages clean distclean
.DEFAULT_GOAL := help

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

run: setup ## build, boot, test the limits, print the verdicts
	@echo "$(BIN)/evh run $(ARGS)"; $(BIN)/evh run $(ARGS) || { code=$$?; \
		echo "evh run ended with exit code $$code (docs/verdicts.md); make itself ends with 2."; exit $$code; }

test: setup lint ## run lint, the unit tests, then the system tests, which boot nested Xen
	$(BIN)/pytest tests/unit
	$(BIN)/evh build
	$(BIN)/pytest -v tests/system -m "not slow"
	$(BIN)/pytest -v tests/faults -m quick

unit: setup $(VENV)/.dev ## run the unit tests
	$(BIN)/pytest tests/unit $(ARGS)

system: setup $(VENV)/.dev ## run all system tests, with the slow ones that make test leaves out
	$(BIN)/pytest tests/system $(ARGS)

faults: $(VENV)/.dev ## inject faults of the host into runs, and write docs/faults.md
	$(BIN)/evh build
	$(BIN)/pytest -v tests/faults --faults-table docs/faults.md $(ARGS)

mutate: setup ## make deliberate bugs, and see which tests notice (docs/mutations.md)
	$(BIN)/evh mutate $(ARGS)

host-check: ## run the README's commands on a fresh host in a chroot: make host-check SUITE=trixie
	@setup/host-check.sh $(SUITE) $(ARGS)

timing: setup ## measure against BASE=COMMIT, row by row: ROWS="machine run" (docs/timing.md)
	$(BIN)/python tests/timing/timing.py $(if $(BASE),--base $(BASE)) $(ROWS) $(ARGS)

lint: $(VENV)/.dev ## run ruff, mypy and the import rules
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

setup: $(VENV)/.installed $(VENV)/.otava ## install system packages (apt) and .venv
	@:

# The package list is in the Makefile, so a change to it repeats the check.
$(VENV)/.packages: Makefile setup/newer-qemu.sh
	@$(MAKE) --no-print-directory packages
	@mkdir -p $(VENV) && touch $@

packages: ## list missing system packages and install them
	@set -eu; \
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then \
		echo "This is not Debian or Ubuntu. Install the equivalents of these packages:"; \
		echo "  $(PACKAGES)"; exit 0; \
	fi; \
	missing=; \
	for package in $(PACKAGES); do \
		case "$$(dpkg-query -W -f='$${db:Status-Status}' $$package 2>/dev/null || true)" in \
		installed*) ;; \
		*) missing="$$missing $$package" ;; \
		esac; \
	done; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	if [ -n "$$missing" ]; then \
		echo "Missing system packages:$$missing"; \
		if [ -n "$$sudo" ] && ! command -v sudo >/dev/null; then \
			echo "This needs root or sudo. As root, run: apt-get install$$missing"; exit 1; \
		fi; \
		echo "Installing them with $${sudo:+sudo }apt-get."; \
		$$sudo apt-get -qq update; \
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $$missing >/dev/null; \
	fi; \
	sh setup/newer-qemu.sh $$sudo

$(VENV)/.installed: $(VENV)/.packages pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is older than 3.11. Choose another with make PYTHON=python3.11 (or newer)."; exit 1; }
	@[ -x $(BIN)/python ] || { echo "Creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the Python packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.otava: $(VENV)/.installed setup/otava.txt
	@echo "Installing Otava, for evh trends, into $(VENV)/otava"
	@$(PYTHON) -m venv $(VENV)/otava
	@$(VENV)/otava/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r setup/otava.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean: ## remove what runs and tests left in this folder
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache build
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## clean, and remove .venv
	rm -rf $(VENV) *.egg-info
