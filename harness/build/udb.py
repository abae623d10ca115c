# SPDX-License-Identifier: GPL-2.0-or-later
"""Xen marks its bug frames by UDB (D6h) since 4.22, at which some versions of QEMU's emulation do not trap.

They execute SALC (seen with 10.0.2): BUG(), ASSERT() and WARN() of such a Xen do nothing, so no
test could see them, and its 16550 driver stops for good once it polls. A tree that
uses UDB is therefore built with UD2 (xen-patches/emulation), for every host alike.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.core import process
from harness.core.errors import EvhError, UserError
from harness.core.records import Source, Tree
from harness.source import bases
from harness.source.series import BASE_REF, git, tree_path
from harness.store.artifacts import Store

PATCH = Path("xen-patches/emulation/x86-mark-bug-frames-by-UD2.patch")
_MARK = "xen/arch/x86/include/asm/bug.h"
_UDB = ".byte 0xd6"
# What the patch changes, so that these files of a developer's tree keep their times between builds.
_CHANGED = (_MARK, "xen/arch/x86/traps.c")
NOTE = f"this Xen marks bug frames by UDB, which QEMU may not trap: built with UD2 ({PATCH})"


def patch() -> Path:
    """The patch to apply to a tree that uses UDB."""
    return bases.project_root() / PATCH


def used_by(source: Source, *, store: Store) -> bool:
    """Whether a Xen tree marks its bug frames by UDB; the series changes nothing about it.

    Raises:
        InfraError: the tarball cannot be read.
    """
    if source.tree is not None:
        mark = source.tree / _MARK
        return mark.is_file() and _UDB in mark.read_text(errors="replace")
    path = tree_path(store, source)
    if (path / ".git").is_dir():
        what = "see how Xen marks bug frames"
        return bool(git(path, "ls-tree", BASE_REF, _MARK, what=what)) and _UDB in git(
            path, "show", f"{BASE_REF}:{_MARK}", what=what
        )
    assert source.tarball is not None
    extract: list[str | Path] = ["tar", "-xOf", source.tarball, "--wildcards", f"*/{_MARK}"]
    try:
        return _UDB in process.run(extract, what="see how Xen marks bug frames")
    except EvhError as error:
        if "Not found in archive" in error.message:
            return False
        raise


def avoid(tree: Tree) -> None:
    """Apply the patch to a work tree that uses UDB.

    Raises:
        UserError: it does not apply.
    """
    apply = ["git", "apply", "--whitespace=nowarn", str(patch())]
    process.run(
        apply, what=f"apply {PATCH.name}", cwd=tree.path, error=UserError,
        hint=f"this tree differs in {' or '.join(_CHANGED)}: revert 1f3dd605eab1 in it, or adapt {PATCH}.",
    )  # fmt: skip
    for name in _CHANGED:
        file, kept = tree.path / name, tree.path.with_name(f"{tree.path.name}.udb") / name
        if kept.exists() and kept.read_bytes() == file.read_bytes():
            shutil.copystat(kept, file)
        else:
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, kept)
