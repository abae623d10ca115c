# SPDX-License-Identifier: GPL-2.0-or-later
"""Kconfig fragments: merging them, and detecting what Kconfig dropped."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.build import kconfig
from harness.core.errors import UserError

FINAL = """\
# Automatically generated file; DO NOT EDIT.
CONFIG_XEN=y
CONFIG_XEN_BLKDEV_BACKEND=m
CONFIG_NR_CPUS=16
CONFIG_DEFAULT_HOSTNAME="(none)"
# CONFIG_DEBUG is not set
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "drivers").mkdir()
    (tmp_path / "Kconfig").write_text("config XEN\n\tbool\n\nmenuconfig SQUASHFS\n\tbool\n")
    (tmp_path / "drivers/Kconfig.debug").write_text("config DEBUG\n\tbool\nconfig NR_CPUS\n\tint\n")
    return tmp_path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / ".config"
    path.write_text(FINAL)
    return path


def parse(text: str) -> dict[str, kconfig.Requested]:
    return kconfig.parse(text, name="f.config")


def test_granted_wishes_pass(config: Path, tree: Path) -> None:
    requested = parse(
        "# why\nCONFIG_XEN=y\nCONFIG_XEN_BLKDEV_BACKEND=m\nCONFIG_NR_CPUS=16\n"
        'CONFIG_DEFAULT_HOSTNAME="(none)"\nCONFIG_DEBUG=n\n# CONFIG_ABSENT is not set\n'
    )
    assert len(requested) == 6
    assert kconfig.check(config, requested, tree=tree) == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("CONFIG_SQUASHFS=y", "CONFIG_SQUASHFS=y: Kconfig set it to n"),
        ("CONFIG_XEN=n", "CONFIG_XEN=n: Kconfig set it to y"),
        ("# CONFIG_XEN is not set", "CONFIG_XEN=n: Kconfig set it to y"),
        ("CONFIG_NR_CPUS=8", "CONFIG_NR_CPUS=8: Kconfig set it to 16"),
        ("CONFIG_TYPO=y", "CONFIG_TYPO=y: this tree has no such symbol"),
    ],
)
def test_a_dropped_symbol_is_an_error_that_names_it(config: Path, tree: Path, line: str, why: str) -> None:
    with pytest.raises(UserError) as caught:
        kconfig.check(config, parse(line), tree=tree)
    assert f"f.config:1: {why}" in caught.value.message


def test_stock_tolerates_what_only_the_series_brings(config: Path, tree: Path) -> None:
    requested = parse("CONFIG_EVTCHN_3LEVEL=y\nCONFIG_XEN=y\n")
    assert kconfig.check(config, requested, tree=tree, stock=True) == ["CONFIG_EVTCHN_3LEVEL"]
    with pytest.raises(UserError, match="EVTCHN_3LEVEL"):
        kconfig.check(config, requested, tree=tree)
    # A symbol that the stock tree defines, but Kconfig dropped, is not tolerated.
    with pytest.raises(UserError, match="SQUASHFS"):
        kconfig.check(config, parse("CONFIG_SQUASHFS=y"), tree=tree, stock=True)


def test_later_fragments_override_and_render_as_kconfig_wants(tmp_path: Path) -> None:
    (tmp_path / "a.config").write_text("CONFIG_A=y\nCONFIG_B=y\n")
    (tmp_path / "b.config").write_text("CONFIG_B=n\n")
    merged = kconfig.merge(sorted(tmp_path.glob("*.config")))
    assert kconfig.render(merged) == "CONFIG_A=y\n# CONFIG_B is not set\n"
    assert merged["CONFIG_B"].place.endswith("b.config:1")


@pytest.mark.parametrize("line", ["XEN=y", "CONFIG_XEN y", "CONFIG_XEN=", "CONFIG_XEN=y z"])
def test_a_line_that_is_no_assignment_is_an_error(line: str) -> None:
    with pytest.raises(UserError, match=r"f\.config:2: not a Kconfig assignment"):
        parse(f"CONFIG_A=y\n{line}\n")


def test_a_symbol_given_twice_is_an_error() -> None:
    with pytest.raises(UserError, match=r"f\.config:2: CONFIG_A was already set at f\.config:1"):
        parse("CONFIG_A=y\nCONFIG_A=n\n")


@pytest.mark.parametrize("why", ["", " # why", "  why not"])
def test_a_reason_after_is_not_set_is_allowed_as_in_kconfig(why: str) -> None:
    requested = kconfig.parse(f"# CONFIG_A is not set{why}\n", name="a.config")
    assert requested["CONFIG_A"].value == "n"
