# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of the store: damage, atomic writes, removal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.store import files
from harness.store.hashes import FORMAT, sha256_of


def artifact(root: Path) -> tuple[Path, dict[str, Any]]:
    """An intact artifact, and its manifest."""
    home = root / "abc"
    (home / "sub").mkdir(parents=True)
    (home / "sub/file").write_text("content")
    entry = {"size": 7, "sha256": sha256_of(home / "sub/file")}
    return home, {"format": FORMAT, "key": "abc", "files": {"sub/file": entry}}


def test_intact_artifact_has_no_damage(tmp_path: Path) -> None:
    assert files.damage(*artifact(tmp_path), {}) == ""


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "sub/file is missing"), ("con", "has 3 bytes, not 7"), ("cOntent", "SHA-256 of sub/file")],
)
def test_damage_names_the_file(tmp_path: Path, content: str | None, says: str) -> None:
    home, manifest = artifact(tmp_path)
    if content is None:
        (home / "sub/file").unlink()
    else:
        (home / "sub/file").write_text(content)
    assert says in files.damage(home, manifest, {})


@pytest.mark.parametrize("other", [{"format": FORMAT + 1}, {"key": "xyz"}])
def test_manifest_of_another_artifact_is_damage(tmp_path: Path, other: dict[str, Any]) -> None:
    home, manifest = artifact(tmp_path)
    assert "another artifact" in files.damage(home, manifest | other, {})


def test_file_that_was_not_written_since_is_not_hashed_again(tmp_path: Path) -> None:
    home, manifest = artifact(tmp_path)
    stamp = {"sub/file": files.stat_stamp(home / "sub/file")}
    manifest["files"]["sub/file"]["sha256"] = "0" * 64
    assert files.damage(home, manifest, stamp) == ""
    assert files.damage(home, manifest, {}) != ""


def test_files_are_listed_in_order_without_manifest_and_links(tmp_path: Path) -> None:
    for name in ("b", "a", files.MANIFEST, "sub/c", f"sub/{files.MANIFEST}"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("a")
    found = [str(path.relative_to(tmp_path)) for path in files.files_in(tmp_path)]
    assert found == ["a", "b", "sub/c", f"sub/{files.MANIFEST}"]
    files.sync_tree(tmp_path)  # also with a link that leads nowhere


def test_atomic_write_replaces_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text in ("old", "new"):
        files.write_atomic(path, text)
        assert path.read_text() == text
    with pytest.raises(UnicodeEncodeError):
        files.write_atomic(path, "\udcff")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_discarded_folder_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    files.discard(tmp_path / "a")
    files.discard(tmp_path / "never there")
    assert list(tmp_path.iterdir()) == []
