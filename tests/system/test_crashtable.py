# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of crash lines agrees with the source trees that print them.

The trees are those that the store has unpacked, which ``make test`` builds
before these tests.
"""

import re
from pathlib import Path

import pytest

from harness.monitor.crashlines import recognize
from harness.monitor.crashtable import DOM0_ENDED, LINUX, XEN, CrashLine
from harness.source import bases
from harness.store.artifacts import Store


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def trees(component: str) -> list[tuple[Path, str]]:
    """The unpacked trees of a component's bases, each with the version that its base names."""
    home = bases.project_root() / bases.FOLDERS[component]
    found = []
    for file in sorted(home.glob("*/base.toml")):
        series = bases.load(file.parent).file.series
        pattern = rf"{component}-{re.escape(series)}[.+-].*-[0-9a-f]{{12}}"
        found += [
            (tree, series)
            for tree in sorted((Store().root / "trees").glob(f"{component}-{series}*"))
            if re.fullmatch(pattern, tree.name)
        ]
    return found


def absent(rows: tuple[CrashLine, ...], tree: Path, version: str) -> list[str]:
    """The rows of this version whose statement the tree does not have where the table says."""
    at = numbers(version)
    out = []
    for row in rows:
        if (row.since and at < numbers(row.since)) or (row.until and at > numbers(row.until)):
            continue
        file = tree / row.file
        if not file.is_file() or row.statement not in file.read_text(errors="replace"):
            out.append(f"{row.file}: {row.statement}")
    return out


@pytest.mark.parametrize(("component", "rows"), [("xen", XEN + DOM0_ENDED), ("linux", LINUX)])
def test_each_statement_is_in_the_trees(component: str, rows: tuple[CrashLine, ...]) -> None:
    found = trees(component)
    assert found, f"no {component} tree in the store: evh build"
    for tree, version in found:
        assert absent(rows, tree, version) == [], tree


def test_every_warning_of_lockdep_is_recognized() -> None:
    for tree, _ in trees("linux"):
        source = (tree / "kernel/locking/lockdep.c").read_text()
        said = re.findall(r'(?:pr_warn|printk)\("((?:WARNING:|\[ BUG:|INFO: trying) [^"]*?)(?:\\n)?"', source)
        assert len(said) > 10
        for text in said:
            line = text.replace("%s", "some").replace("%d", "7")
            assert recognize("dom0", line) is not None, text
