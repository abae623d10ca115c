# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian mirror of this machine, taken from apt's configuration.

The project names no mirror: it uses the one that the administrator
configured, also for other suites of the same archive.
"""

from __future__ import annotations

import os
import shutil
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from harness.core import process
from harness.core.errors import UserError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR_VARIABLE = "EVH_DEBIAN_MIRROR"


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A Debian archive: its URI and the keyring that its index is verified with."""

    uri: str
    keyring: Path

    def line(self, suite: str, *, kind: str = "deb") -> str:
        """A sources.list line for ``suite``; ``kind`` is deb or deb-src."""
        return f"{kind} [signed-by={self.keyring}] {self.uri} {suite} main"


def pick_mirror(targets: str) -> str | None:
    """URI of the Debian archive in the output of ``apt-get indextargets``; None if there is none.

    Args:
        targets: lines of the form ``REPO_URI|ORIGIN|LABEL|COMPONENT``. Before the
            first ``apt-get update`` apt does not know the origin and prints
            ``$(ORIGIN)`` literally; then an archive whose path ends in ``/debian``
            is used.
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
    """The Debian mirror of this machine; None if it has no apt or no Debian archive.

    ``EVH_DEBIAN_MIRROR`` (a URI) overrides apt's configuration.

    Raises:
        UserError: there is a mirror, but no Debian keyring to verify it with; or the variable holds no URI.
    """
    uri = os.environ.get(MIRROR_VARIABLE)
    if uri and not urllib.parse.urlsplit(uri).scheme:
        raise UserError(
            f"{MIRROR_VARIABLE}={uri} is not a URI", hint=f"Name the scheme too, such as http://{uri}."
        )
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
            f"{KEYRING}, needed to verify Debian's index, does not exist",
            hint="install the package debian-archive-keyring (`make setup` does that).",
        )
    return Mirror(uri=uri, keyring=KEYRING)
