# SPDX-License-Identifier: GPL-2.0-or-later
"""The layers of the bare guests: which file of images/bare may use which other one.

The compiler and nm decide: a file uses another one if its object file needs a symbol that the other one
defines.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from harness.build import tools
from harness.core.paths import CHECKOUT

BARE = CHECKOUT / "images" / "bare"
SOURCES = tools.bare_sources(BARE)
# Both folders that start a guest, and both widths; all four kinds would take twice as long.
COMPILED = ("pv64", "pvh32")
# From the lowest layer to the top. "." has main.c, which starts everything but the heads.
LAYERS = ("lib", "pv", "pvh", "domu", "tests", ".")


def layer(file: str) -> int:
    """A head is above main.c, which it calls; the rest of its folder is start-up code that main.c calls."""
    path = Path(file)
    return len(LAYERS) if path.name.startswith("head") else LAYERS.index(path.parent.as_posix())


def compile_one(kind: str, source: Path, folder: Path) -> Path:
    """Without optimisation, which is quicker and makes no difference to the symbols."""
    made = folder / f"{kind}-{source.parent.name}-{source.name}.o"
    flags = [*tools.bare_defines(kind), *tools.BARE_FLAGS, "-O0", "-g0"]
    subprocess.run(["gcc", *flags, "-c", "-o", made, source], cwd=BARE, check=True)
    return made


def symbols(made: Path) -> tuple[set[str], set[str]]:
    """What an object file defines for others, and what it needs of others."""
    out = subprocess.run(["nm", "-g", made], check=True, capture_output=True, text=True).stdout
    lines = [line.split() for line in out.splitlines()]
    return {w[-1] for w in lines if w[-2] != "U"}, {w[-1] for w in lines if w[-2] == "U"}


@pytest.fixture(scope="module")
def uses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, set[str]]]:
    """By kind: the files that each file uses."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    folder = tmp_path_factory.mktemp("objects")
    work = [(kind, source) for kind in COMPILED for source in SOURCES[kind]]
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda item: symbols(compile_one(*item, folder)), work))
    out: dict[str, dict[str, set[str]]] = {}
    for kind in COMPILED:
        files = {
            source.relative_to(BARE).as_posix(): found
            for (of, source), found in zip(work, made, strict=True)
            if of == kind
        }
        home = {symbol: file for file, (defined, _) in files.items() for symbol in defined}
        out[kind] = {
            # The linker complains about symbols that no file defines.
            file: {home[symbol] for symbol in needed & home.keys()}
            for file, (_, needed) in files.items()
        }
    return out


def test_each_kind_has_its_own_start() -> None:
    assert set(SOURCES) == {"pv64", "pv32", "pvh64", "pvh32"}
    names = {path.relative_to(BARE).as_posix() for path in SOURCES["pvh32"]}
    assert {"pvh/head32.S", "pvh/pvh.c", "lib/console.c", "domu/domu.c", "main.c"} <= names
    assert not {name for name in names if name.startswith("pv/") or "64.S" in name}


def test_no_file_includes_a_header_of_a_higher_layer() -> None:
    found = [
        (path.relative_to(BARE).as_posix(), header)
        for path in BARE.rglob("*.[chS]")
        for header in re.findall(r'^#include "(.+)"', path.read_text(), re.MULTILINE)
    ]
    assert found
    assert not [f"{file} -> {header}" for file, header in found if layer(header) > layer(file)]


@pytest.mark.parametrize("kind", COMPILED)
def test_no_file_uses_a_higher_layer(uses: dict[str, dict[str, set[str]]], kind: str) -> None:
    assert not [
        f"{file} -> {other}"
        for file, others in uses[kind].items()
        for other in others
        if layer(other) > layer(file)
    ]


@pytest.mark.parametrize("kind", COMPILED)
def test_no_files_use_each_other(uses: dict[str, dict[str, set[str]]], kind: str) -> None:
    try:
        TopologicalSorter(uses[kind]).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
