# The two commands of a fresh Debian or Ubuntu machine: `make run`, `make test`.
# Each first installs what is missing and says so; the second time it costs nothing.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Arguments for evh run: make run ARGS="--suite limits"
ARGS   ?=
# Arguments for pytest: make unit ARGS="-k store"

# By what they are for: building Xen and Linux; images; the machine, and gdb on it; Python.
PACKAGES := \
	build-essential gcc libc6-dev gcc-i686-linux-gnu libc6-dev-i386-cross binutils make flex bison bc libelf-dev libssl-dev \
	ccache git rsync xz-utils cpio gzip \
	mmdebstrap uidmap e2fsprogs debian-archive-keyring ca-certificates util-linux \
	qemu-system-x86 qemu-utils seabios ipxe-qemu gdb \
	libvirt-daemon-driver-qemu libvirt-daemon-system libvirt-dev pkg-config \
	python3 python3-dev python3-venv

.PHONY: help run test unit system lint setup packages clean distclean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

run: setup ## build, boot, validate the limits, print the verdicts
	$(BIN)/evh run $(ARGS)

test: lint ## the project's own tests: lint, unit, then ones that boot nested Xen
	$(BIN)/pytest tests/unit
	$(BIN)/evh build
	$(BIN)/pytest -v tests/system

unit: setup ## the fast half of the tests
	$(BIN)/pytest tests/unit $(ARGS)

system: setup ## the half that boots nested Xen
	$(BIN)/pytest tests/system $(ARGS)

lint: $(VENV)/.lint ## ruff, mypy, and which room may import which
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

setup: $(VENV)/.installed ## system packages (apt) and .venv
	@:

# The stamp is as good as the list: a longer list, and it is checked again.
$(VENV)/.packages: Makefile setup/newer-qemu.sh
	@$(MAKE) --no-print-directory packages
	@mkdir -p $(VENV) && touch $@

packages: ## say which system packages are missing, and install them
	@set -eu; \
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then \
		echo "This is no Debian or Ubuntu: install these, or what they are called here:"; \
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
			echo "Neither root nor sudo here. Have them installed: apt-get install$$missing"; exit 1; \
		fi; \
		echo "Installing them with $${sudo:+sudo }apt-get."; \
		$$sudo apt-get -qq update; \
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $$missing >/dev/null; \
	fi; \
	sh setup/newer-qemu.sh $$sudo

$(VENV)/.installed: $(VENV)/.packages pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is older than 3.11: make PYTHON=python3.11 (or newer) uses another one."; exit 1; }
	@[ -x $(BIN)/python ] || { echo "Making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the Python packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.lint: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lint]'
	@touch $@

clean: ## what runs and tests left in this folder
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache build
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## clean, and .venv
	rm -rf $(VENV) *.egg-info
