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
    return kconfig.parse(text, name="f.config", version="6.12.107")


def test_granted_wishes_pass(config: Path, tree: Path) -> None:
    requested = parse(
        "# why\nCONFIG_XEN=y\nCONFIG_XEN_BLKDEV_BACKEND=m\nCONFIG_NR_CPUS=16\n"
        'CONFIG_DEFAULT_HOSTNAME="(none)"\nCONFIG_DEBUG=n\n# CONFIG_ABSENT is not set\n'
    )
    assert len(requested) == 6
    assert kconfig.check(config, requested, tree=tree, series=True) == ()


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
        kconfig.check(config, parse(line), tree=tree, series=False)
    assert f"f.config:1: {why}" in caught.value.message


def test_every_problem_is_told_at_once(config: Path, tree: Path) -> None:
    with pytest.raises(kconfig.Misconfigured) as caught:
        kconfig.check(
            config, parse("CONFIG_A=y\nCONFIG_SQUASHFS=y\nCONFIG_B=m\n"), tree=tree, series=False
        )
    assert [line.partition(" ")[0] for line in caught.value.problems] == [
        "f.config:1:",
        "f.config:2:",
        "f.config:3:",
    ]


def test_what_the_series_adds_is_required_with_it_and_wished_for_without(config: Path, tree: Path) -> None:
    requested = parse("CONFIG_EVTCHN_3LEVEL=y  # where it exists\nCONFIG_XEN=y\n")
    (wish,) = kconfig.check(config, requested, tree=tree, series=False)
    assert (wish.symbol, wish.value, wish.place) == ("CONFIG_EVTCHN_3LEVEL", "y", "f.config:1")
    assert wish.why == "this tree has no such symbol"
    with pytest.raises(UserError, match="EVTCHN_3LEVEL"):
        kconfig.check(config, requested, tree=tree, series=True)
    # A symbol that the stock tree defines, but Kconfig dropped, is not tolerated.
    with pytest.raises(UserError, match="SQUASHFS"):
        kconfig.check(config, parse("CONFIG_SQUASHFS=y # where it exists"), tree=tree, series=False)


def test_a_wish_that_is_not_fulfilled_is_told_and_no_error(config: Path, tree: Path, tmp_path: Path) -> None:
    requested = parse("CONFIG_SQUASHFS=y # wanted\nCONFIG_NO=y # wanted\nCONFIG_XEN=y # wanted\n")
    wishes = kconfig.check(config, requested, tree=tree, series=True)
    assert [(wish.symbol, wish.why.partition(" (")[0]) for wish in wishes] == [
        ("CONFIG_SQUASHFS", "Kconfig set it to n"),
        ("CONFIG_NO", "this tree has no such symbol"),
    ]
    assert kconfig.kept_wishes(tmp_path) == ()
    kconfig.keep_wishes(tmp_path, wishes)
    assert kconfig.kept_wishes(tmp_path) == wishes


@pytest.mark.parametrize(
    ("words", "versions"),
    [
        ("since 6.15", ["6.15", "7.0-rc1"]),
        ("until 6.14", ["6.12.107", "6.14.9"]),
        ("since 6.14 until 6.15", ["6.14.9", "6.15"]),
        ("wanted, since 7.0", ["7.0-rc1"]),
        ("where it exists until 6.12", ["6.12.107"]),
    ],
)
def test_a_line_is_for_some_versions_alone(words: str, versions: list[str]) -> None:
    every = ["6.12.107", "6.14.9", "6.15", "7.0-rc1"]
    text = f"CONFIG_A=y  # {words}\n"
    assert [one for one in every if kconfig.parse(text, name="f", version=one)] == versions


def test_one_symbol_may_have_a_line_for_each_version() -> None:
    text = "CONFIG_A=y # until 6.14\nCONFIG_A=m # since 6.15\n"
    assert kconfig.parse(text, name="f", version="6.12")["CONFIG_A"].value == "y"
    assert kconfig.parse(text, name="f", version="6.18")["CONFIG_A"].value == "m"


@pytest.mark.parametrize("words", ["why", "until", "since 7", "wanted maybe", "until 7.0 since 6.1"])
def test_other_words_after_a_value_are_refused(words: str) -> None:
    with pytest.raises(UserError, match=r"f\.config:1: unknown words after the value"):
        parse(f"CONFIG_A=y # {words}\n")


def test_a_transitional_symbol_takes_effect_as_its_successor(tree: Path, tmp_path: Path) -> None:
    """As CFI_CLANG, which became CFI in Linux 6.18, and is never written to a .config."""
    (tree / "Kconfig").write_text("config OLD\n\tbool\n\ttransitional\n\nconfig NEW\n\tbool\n\tdefault OLD\n")
    config = tmp_path / ".config"
    config.write_text("CONFIG_NEW=y\n")
    assert kconfig.check(config, parse("CONFIG_OLD=y"), tree=tree, series=False) == ()
    config.write_text("# CONFIG_NEW is not set\n")
    with pytest.raises(UserError, match="CONFIG_OLD=y: it is transitional in this tree, and CONFIG_NEW=n"):
        kconfig.check(config, parse("CONFIG_OLD=y"), tree=tree, series=False)


def test_later_fragments_override_and_render_as_kconfig_wants(tmp_path: Path) -> None:
    (tmp_path / "a.config").write_text("CONFIG_A=y\nCONFIG_B=y\n")
    (tmp_path / "b.config").write_text("CONFIG_B=n\n")
    merged = kconfig.merge(sorted(tmp_path.glob("*.config")), version="6.12")
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
    requested = kconfig.parse(f"# CONFIG_A is not set{why}\n", name="a.config", version="6.12")
    assert requested["CONFIG_A"].value == "n"
