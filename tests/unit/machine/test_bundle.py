# SPDX-License-Identifier: GPL-2.0-or-later
"""The archive of bare guests."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.machine import bundle


def test_bundle_is_readable_by_cpio_and_independent_of_the_host(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, order in ((one, ("bare-pvh64", "bare-pv64")), (two, ("bare-pv64", "bare-pvh64"))):
        folder.mkdir()
        for name in order:
            (folder / name).write_bytes(name.encode() * 3)
        (folder / "build.log").write_text("not a guest")
    first = bundle.write_bundle(tmp_path / "a", one).read_bytes()
    assert first == bundle.write_bundle(tmp_path / "b", two).read_bytes()
    assert len(first) % 4 == 0
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["cpio", "--quiet", "-i"], input=first, cwd=out, check=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        "bare-pv64": b"bare-pv64" * 3,
        "bare-pvh64": b"bare-pvh64" * 3,
    }
