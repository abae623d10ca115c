# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine's own apt: which mirror it uses, and a private root beside it.

No mirror is named anywhere in the project: what the machine's administrator
configured is what is used, with other suites of the same archive.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.core import process
from harness.core.errors import UserError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR_VARIABLE = "EVH_DEBIAN_MIRROR"


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A Debian archive: its URI and the keyring that vouches for its index."""

    uri: str
    keyring: Path

    def line(self, suite: str, *, kind: str = "deb") -> str:
        """A sources.list line for ``suite``; ``kind`` is deb or deb-src."""
        return f"{kind} [signed-by={self.keyring}] {self.uri} {suite} main"


def pick_mirror(targets: str) -> str | None:
    """The Debian archive among ``apt-get indextargets`` lines, None if there is none.

    Args:
        targets: lines of ``REPO_URI|ORIGIN|LABEL|COMPONENT``. Before the first
            ``apt-get update`` apt knows no origin and prints ``$(ORIGIN)`` as
            it stands; an archive whose path ends in ``/debian`` is taken then.
    """
    guess: str | None = None
    for line in targets.splitlines():
        fields = line.split("|")
        if len(fields) != 4:
            continue
        uri, origin, label, component = fields
        if component != "main":
            continue
        if origin == label == "Debian":
            return uri
        if origin == "$(ORIGIN)" and uri.rstrip("/").endswith("/debian"):
            guess = guess or uri
    return guess


def mirror() -> Mirror | None:
    """The Debian mirror of this machine; None where there is no apt or no Debian archive.

    ``EVH_DEBIAN_MIRROR`` (a URI) overrides what apt says.

    Raises:
        UserError: there is a mirror but no Debian keyring to check it with.
    """
    uri = os.environ.get(MIRROR_VARIABLE)
    if not uri:
        if shutil.which("apt-get") is None:
            return None
        uri = pick_mirror(
            process.run(
                ["apt-get", "indextargets", "--format",
                 "$(REPO_URI)|$(ORIGIN)|$(LABEL)|$(COMPONENT)", "Created-By: Packages"],
                what="ask apt for its mirrors",
            )
        )
    if uri is None:
        return None
    if not KEYRING.exists():
        raise UserError(
            f"there is no {KEYRING} to verify Debian's index with",
            hint="install the package debian-archive-keyring (`make setup` does).",
        )
    return Mirror(uri=uri, keyring=KEYRING)
