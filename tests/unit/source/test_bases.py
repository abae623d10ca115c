# SPDX-License-Identifier: GPL-2.0-or-later
"""Bases: strict parsing of base.toml, fragments and patches, and the project's own patch folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.build import kconfig
from harness.core.errors import UserError
from harness.source import bases

KNOWN = f"""\
[[debian.known]]
version = "4.20.2"
sha256 = "{"f" * 64}"
"""
GOOD = f"""\
component = "xen"
series = "4.20"
[debian]
package = "xen"
suites = ["trixie"]
{KNOWN}
[[upstream]]
version = "4.20.1"
url = "https://example.org/xen-4.20.1.tar.gz"
sha256 = "{"0" * 64}"
"""


def load(tmp_path: Path, text: str) -> bases.Base:
    (tmp_path / "base.toml").write_text(text)
    return bases.load(tmp_path)


def test_a_good_one(tmp_path: Path) -> None:
    base = load(tmp_path, GOOD)
    assert base.name == "xen-4.20"
    assert base.file.upstream[0].version == "4.20.1"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('package = "xen"', 'package = "xen"\nmirror = "x"', "unknown field `mirror`"),
        ('series = "4.20"', 'series = "4.20"\nserie = "x"', "unknown field `serie`"),
        ('series = "4.20"', "series = 4.20", r"Expected `str`, got `float` - at `\$\.series`"),
        ('suites = ["trixie"]', 'suites = "trixie"', r"at `\$\.debian\.suites`"),
        ('component = "xen"', 'component = "bsd"', r"at `\$\.component`"),
        ('package = "xen"\n', "", "missing required field `package`"),
        ('series = "4.20"', 'series = "unstable"', "series 'unstable' is not two numbers"),
        ("0" * 64, "0" * 63, "not 64 hex digits"),
        ('version = "4.20.1"', 'version = "4.21.1"', "is not in series 4.20"),
        (KNOWN, KNOWN.replace("4.20.2", "4.19.2"), r"debian\.known\.version 4\.19\.2 is not in series 4\.20"),
        (KNOWN, KNOWN.replace("f" * 64, "f" * 63), r"debian\.known\.sha256 of 4\.20\.2 is not 64 hex digits"),
        ('series = "4.20"', 'series = "4.20', "is not TOML"),
    ],
)
def test_a_wrong_one_names_file_and_key(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in GOOD
    with pytest.raises(UserError, match=says) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert str(tmp_path / "base.toml") in caught.value.message
    assert caught.value.hint


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*base\.toml"):
        bases.load(tmp_path)


OWN = [base for component in ("xen", "linux") for base in bases.every(component)]


@pytest.mark.parametrize("base", OWN, ids=[base.name for base in OWN])
def test_the_projects_own(base: bases.Base) -> None:
    assert base.folder.parent.name == bases.FOLDERS[base.file.component]
    assert base.fragments(flavour="release")
    assert all(patch.suffix == ".patch" for patch in base.patches())
    assert bases.named(base.file.component, base.folder.name) == base
    table = (bases.CHECKOUT / "docs/bases.md").read_text()
    assert f"| **{base.folder.name}** (" in table, "the table says how far it is tested"
    version = f"{base.file.series}.99"
    assert kconfig.merge(base.fragments(flavour="release"), version=version)


@pytest.mark.parametrize("component", ["xen", "linux"])
def test_the_default_has_the_series(component: str) -> None:
    assert bases.default(component).patches()


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with three bases of Xen; returns their folder."""
    for component in ("xen", "linux"):
        for series in ("4.9", "4.20", "4.22"):
            folder = tmp_path / bases.FOLDERS[component] / series
            folder.mkdir(parents=True)
            text = GOOD.replace("4.20", series).replace('"xen"', f'"{component}"')
            (folder / "base.toml").write_text("default = true\n" * (series == "4.20") + text)
    monkeypatch.setattr(bases, "CHECKOUT", tmp_path)
    return tmp_path / "xen-patches"


def test_bases_are_in_the_order_of_their_versions(three: Path) -> None:
    assert [base.file.series for base in bases.every("xen")] == ["4.9", "4.20", "4.22"]
    assert bases.default("xen").file.series == "4.20"


@pytest.mark.parametrize(
    ("version", "series"),
    [("4.8.1", "4.9"), ("4.20.3+127-gc42374a105", "4.20"), ("4.21-rc", "4.20"), ("4.23-unstable", "4.22")],
)
def test_a_tree_gets_the_newest_base_that_is_not_newer(three: Path, version: str, series: str) -> None:
    assert bases.fitting("xen", version).file.series == series


def test_a_name_that_no_base_has_and_a_default_that_two_have(three: Path) -> None:
    with pytest.raises(UserError, match=r"no base '4\.21' of xen") as caught:
        bases.named("xen", "4.21")
    assert "4.9, 4.20, 4.22" in caught.value.hint
    text = (three / "4.20/base.toml").read_text()
    (three / "4.22/base.toml").write_text(text.replace("4.20", "4.22"))
    with pytest.raises(UserError, match=r"2 bases in .* are the default"):
        bases.default("xen")


def test_a_base_may_use_the_fragments_of_another(three: Path) -> None:
    (three / "4.20/config/debug").mkdir(parents=True)
    (three / "4.20/config/a.config").touch()
    newer = three / "4.22/base.toml"
    newer.write_text('config = "4.20"\n' + newer.read_text())
    base = bases.named("xen", "4.22")
    assert base.fragments(flavour="release") == (three / "4.20/config/a.config",)
    assert base.has("debug")
    (three / "4.22/config").mkdir()
    with pytest.raises(UserError, match=r"uses the fragments of '4\.20', so nothing reads"):
        bases.named("xen", "4.22")
    newer.write_text(newer.read_text().replace('config = "4.20"', 'config = "4.9"'))
    with pytest.raises(UserError, match=r"config names '4\.9'"):
        bases.named("xen", "4.22")


def test_a_base_that_says_no_source(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not say where to get the tree"):
        load(tmp_path, 'component = "xen"\nseries = "4.20"\n')


def test_cover_letter_is_no_patch_and_order_is_by_number(tmp_path: Path) -> None:
    base = load(tmp_path, GOOD)
    for name in ("0010-c.patch", "0002-b.patch", "0001-a.patch", "0000-cover.patch", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in base.patches()] == ["0001-a.patch", "0002-b.patch", "0010-c.patch"]


@pytest.mark.parametrize("name", ["v2-0002-b.patch", "series.mbx", "notes.patch", "fix.diff"])
def test_a_patch_that_would_be_left_out_is_refused_by_name(tmp_path: Path, name: str) -> None:
    base = load(tmp_path, GOOD)
    for one in ("0001-a.patch", name):
        (tmp_path / one).touch()
    with pytest.raises(UserError, match=name):
        base.patches()


def test_a_flavour_adds_its_fragments(tmp_path: Path) -> None:
    base = load(tmp_path, GOOD)
    (tmp_path / "config/debug").mkdir(parents=True)
    for name in ("config/b.config", "config/a.config", "config/debug/lockdep.config"):
        (tmp_path / name).touch()
    assert [p.name for p in base.fragments(flavour="release")] == ["a.config", "b.config"]
    assert [p.name for p in base.fragments(flavour="debug")] == ["a.config", "b.config", "lockdep.config"]
    (tmp_path / "config/x86_64").mkdir()
    (tmp_path / "config/x86_64/wide.config").touch()
    names = [p.name for p in base.fragments(flavour="debug", arch="x86_64")]
    assert names == ["a.config", "b.config", "wide.config", "lockdep.config"]
    assert base.fragments(flavour="debug", arch="i386") == base.fragments(flavour="debug")
    assert base.has("debug") and not base.has("ubsan")


@pytest.mark.parametrize(
    ("version", "series", "is_in"),
    [
        ("6.12.107", "6.12", True),
        ("6.12", "6.12", True),
        ("6.120.1", "6.12", False),
        ("6.1.12", "6.12", False),
        ("4.20.3+127-gc42374a105", "4.20", True),
        ("4.20~rc1", "4.20", False),
    ],
)
def test_in_series(version: str, series: str, is_in: bool) -> None:
    assert bases.in_series(version, series) is is_in


@pytest.mark.parametrize("name", ["mine.cfg", "ubsan/mine.conf", "no-such-flavour/mine.config"])
def test_a_fragment_that_no_build_would_read_is_refused_by_name(tmp_path: Path, name: str) -> None:
    base = load(tmp_path, GOOD)
    file = base.folder / "config" / name
    (base.folder / "config").mkdir()
    (base.folder / "config/README").touch()
    base.fragments(flavour="release")
    file.parent.mkdir(exist_ok=True)
    file.touch()
    with pytest.raises(UserError) as error:
        base.fragments(flavour="release")
    assert (name.partition("/")[0] if "no-such" in name else name) in error.value.message
