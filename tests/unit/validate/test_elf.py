# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs made by the real compiler."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.core.errors import InfraError
from harness.validate.elf import changed, sections, struct_sizes, summary, text_size

SOURCE = """\
struct evtchn { int a; char b[60]; };
struct evtchn one;
static const char name[] = "x";
int twice(int n)
{
    asm volatile(".pushsection .altinstructions,\\"a\\"; .byte 1; .popsection");
    return n * 2;
}
int main(void) { return twice(one.a) + name[0]; }
"""


def compiled(folder: Path, text: str, *flags: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "x.c").write_text(text)
    out = folder / "x"
    subprocess.run(["gcc", "-g", "-O1", *flags, "-o", out, "x.c"], cwd=folder, check=True)
    return out


STATIC = ("-static", "-Wl,--build-id=sha1")


def test_a_comment_changes_nothing_but_the_build_id(tmp_path: Path) -> None:
    one = compiled(tmp_path / "a", SOURCE, *STATIC)
    two = compiled(tmp_path / "b", f"/* why */\n{SOURCE}", *STATIC)
    assert one.read_bytes() != two.read_bytes()
    assert not changed(sections(one), sections(two))
    assert summary(sections(one)) == summary(sections(two))


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("n * 2", "n * 3", ".text"),
        ('"x"', '"y"', ".text"),  # the compiler folds it into main()
        (".byte 1", ".byte 2", ".altinstructions"),
    ],
)
def test_a_change_of_code_or_of_an_alternative_alone(tmp_path: Path, old: str, new: str, where: str) -> None:
    one = compiled(tmp_path / "a", SOURCE, "-c")
    two = compiled(tmp_path / "b", SOURCE.replace(old, new), "-c")
    assert changed(sections(one), sections(two)) == [where]


def test_a_relocation_alone(tmp_path: Path) -> None:
    text = "extern int a, b;\nint get(void) { return a; }\nint other(void) { return b; }\n"
    one = compiled(tmp_path / "a", text, "-c")
    two = compiled(tmp_path / "b", text.replace("return a", "return b"), "-c")
    assert changed(sections(one), sections(two)) == [".rela.text"]


def test_sizes(tmp_path: Path) -> None:
    one = compiled(tmp_path / "a", SOURCE)
    two = compiled(tmp_path / "b", SOURCE.replace("return n * 2", "for ( int i = 0; i < n; i++ ) one.a ^= i;"
                                                  " return n * 2").replace("b[60]", "b[61]"))  # fmt: skip
    assert text_size(two) > text_size(one) > 100
    assert struct_sizes(one, ["evtchn", "absent"]) == {"evtchn": 64}
    assert struct_sizes(two, ["evtchn"]) == {"evtchn": 68}
    assert struct_sizes(tmp_path / "a/x.c", ["evtchn"]) == {}


def test_what_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("words")
    with pytest.raises(InfraError, match="is not an ELF file"):
        sections(tmp_path / "x")
