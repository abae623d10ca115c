# SPDX-License-Identifier: GPL-2.0-or-later
"""This project's C: inputs of its store keys, and what is compiled from which files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.build import tools
from harness.core.errors import InfraError, UserError
from harness.core.paths import CHECKOUT
from harness.plan.guests import BARE_GUESTS


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.c").write_text(text)
    return folder


PROGRAM = "int main(void) { return 7; }\n"


def test_key_has_sources_headers_scripts_and_flags_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a.c", "sub/b.h", "sub/c.S", "d.lds", "README.md", "a.o"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    inputs = tools.inputs_of(tmp_path, flags=("-O2", "-s"))
    assert list(inputs) == ["a.c", "d.lds", "sub/b.h", "sub/c.S", "flags"]
    assert inputs["flags"] == "-O2 -s"
    (tmp_path / "sub/b.h").write_text("#define B\n")
    assert tools.inputs_of(tmp_path, flags=("-O2", "-s"))["sub/b.h"] != inputs["sub/b.h"]


def test_each_source_is_a_program_unless_others_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "tools", one=PROGRAM, two=PROGRAM)
    for dest, only in ((tmp_path / "all", ()), (tmp_path / "some", ("two",))):
        dest.mkdir()
        tools.build_tools(folder, dest, only=only)
    assert {path.name for path in (tmp_path / "all").iterdir()} == {"build.log", "one", "two"}
    assert {path.name for path in (tmp_path / "some").iterdir()} == {"build.log", "two"}
    assert subprocess.run([tmp_path / "some/two"]).returncode == 7


def test_tool_that_does_not_compile_is_named_with_the_compilers_words(tmp_path: Path) -> None:
    folder = write(tmp_path / "tools", broken="int main(void) { int unused; return 0; }\n")
    with pytest.raises(UserError, match=r"build the tool broken\.c[^$]*unused variable") as caught:
        tools.build_tools(folder, tmp_path)
    assert caught.value.hint == "correct images/tools/broken.c."


def test_cross_compiler_that_is_missing_names_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InfraError, match="i686-linux-gnu-gcc is not installed") as caught:
        tools.compiler_of("i686-linux-gnu-gcc")
    assert "gcc-i686-linux-gnu" in caught.value.hint


def test_head_makes_a_kind_out_of_its_folder_and_the_common_files(tmp_path: Path) -> None:
    for name in ("pv/head64.S", "pvh/head32.S", "pvh/head64.S", "pvh/start32.S", "pvh/x.c", "lib/y.c", "z.c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {
        kind: [str(path.relative_to(tmp_path)) for path in files]
        for kind, files in tools.bare_sources(tmp_path).items()
    }
    assert found == {
        "pv64": ["pv/head64.S", "lib/y.c", "z.c"],
        "pvh32": ["pvh/head32.S", "pvh/start32.S", "pvh/x.c", "lib/y.c", "z.c"],
        "pvh64": ["pvh/head64.S", "pvh/x.c", "lib/y.c", "z.c"],
    }


def test_kinds_are_the_bare_guests_of_the_plan() -> None:
    assert {f"bare-{kind}" for kind in tools.bare_sources(CHECKOUT / "images/bare")} == set(BARE_GUESTS)
    assert tools.bare_defines("pvh32") == ("-DPVH", "-m32")
    assert tools.bare_defines("pv64") == ("-DPV", "-m64")
