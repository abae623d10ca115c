# SPDX-License-Identifier: GPL-2.0-or-later
"""The interface versions of a Xen tree, and whether dom0's packaged toolstack speaks them.

Xen refuses every domctl and sysctl of another version than its own (EACCES), so that
libxl, xenstored and xenconsoled do not work with it.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from harness.core.errors import UserError, reason_of

PUBLIC = "xen/include/public"
# In images/dom0, beside the list of dom0's packages.
PACKAGED = "toolstack.toml"


class Interfaces(msgspec.Struct, frozen=True, kw_only=True):
    """The interfaces of one Xen.

    Attributes:
        version: the first two numbers of its version, e.g. ``4.22``.
        domctl, sysctl: versions of these interfaces.
    """

    version: str
    domctl: int
    sysctl: int

    @property
    def words(self) -> str:
        """The interface versions, for a message."""
        return f"domctl {self.domctl:#x}, sysctl {self.sysctl:#x}"


class Packaged(Interfaces, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The toolstack of a Debian package, and the interfaces that it speaks."""

    package: str


def interfaces_of(tree: Path) -> Interfaces:
    """Read the versions out of a Xen tree's Makefile and public headers.

    Raises:
        UserError: a file is missing, or does not give the version.
    """
    makefile = tree / "xen/Makefile"
    version = [
        _found(makefile, rf"^(?:export )?{name}\s*[:?]?=\s*(\d+)", what=name)
        for name in ("XEN_VERSION", "XEN_SUBVERSION")
    ]
    domctl, sysctl = (
        int(_found(tree / PUBLIC / f"{name}.h", rf"^#define {macro}\s+(\w+)", what=macro), 0)
        for name, macro in (
            ("domctl", "XEN_DOMCTL_INTERFACE_VERSION"),
            ("sysctl", "XEN_SYSCTL_INTERFACE_VERSION"),
        )
    )
    return Interfaces(version=".".join(version), domctl=domctl, sysctl=sysctl)


def _found(path: Path, pattern: str, *, what: str) -> str:
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {reason_of(error)}",
            hint="a Xen tree has it; is this one complete (a sparse checkout)?",
        ) from error
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise UserError(f"{path} does not define {what}", hint="is this a Xen tree?")
    return found[1]


def packaged(images: Path) -> Packaged:
    """The toolstack of dom0's packages.

    Args:
        images: the project's ``images``.

    Raises:
        UserError: its description has an error.
    """
    path = images / "dom0" / PACKAGED
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Packaged)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {reason_of(error)}", hint="correct the line that it names.") from error


def misfit(toolstack: Packaged, xen: Interfaces) -> str:
    """Why a packaged toolstack does not work with a hypervisor, in one line; empty if it does."""
    if (toolstack.version, toolstack.domctl, toolstack.sysctl) == (xen.version, xen.domctl, xen.sysctl):
        return ""
    return f"dom0's {toolstack.package} speaks {toolstack.words}, and this Xen {xen.version} {xen.words}"
