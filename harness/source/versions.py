# SPDX-License-Identifier: GPL-2.0-or-later
"""Versions of Xen and Linux: read out of a tree's own Makefile, and compared by their series."""

from __future__ import annotations

import re
from pathlib import Path

from harness.core.errors import UserError, reason_of

# Where each tree says its version, and the variables that make it up (both for decades).
PLACES = {
    "xen": ("xen/Makefile", ("XEN_VERSION", "XEN_SUBVERSION", "XEN_EXTRAVERSION")),
    "linux": ("Makefile", ("VERSION", "PATCHLEVEL", "SUBLEVEL", "EXTRAVERSION")),
}


def version_in(component: str, tree: Path) -> str:
    """The version that a tree's Makefile gives, e.g. ``4.22.0``, ``4.23-unstable`` or ``7.2.8-rc1``.

    Args:
        component: ``xen`` or ``linux``.

    Raises:
        UserError: the Makefile cannot be read, or gives no version.
    """
    path = tree / PLACES[component][0]
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise UserError(
            f"cannot read the version of {tree}: {path}: {reason_of(error)}",
            hint=f"name the top directory of a complete {component} tree.",
        ) from error
    return version_of(component, text, where=str(path))


def version_of(component: str, text: str, *, where: str) -> str:
    """The version that the text of a tree's Makefile gives.

    Args:
        where: the Makefile, for the message.

    Raises:
        UserError: it gives no version.
    """
    variables = PLACES[component][1]
    found = [_value(text, variable) for variable in variables]
    if not all(part.isdecimal() for part in found[:2]):
        raise UserError(
            f"{where} gives no version: {variables[0]} and {variables[1]} are not two numbers",
            hint=f"name the top directory of a {component} tree.",
        )
    version = ".".join(found[:2])
    for part in found[2:]:
        version += f".{part}" if part.isdecimal() else part
    return version


def _value(text: str, variable: str) -> str:
    """The value of a make variable, without references to others (a vendor's suffix)."""
    found = re.search(rf"^(?:export\s+)?{variable}\s*[:?]?=[ \t]*(.*)$", text, re.MULTILINE)
    return re.sub(r"\$\([^)]*\)|\$\{[^}]*\}", "", found[1]).strip() if found else ""


def series_of(version: str) -> tuple[int, int]:
    """The first two numbers of a version, by which releases are ordered: (4, 22) of ``4.22.0``.

    Raises:
        UserError: it does not begin with two numbers.
    """
    found = re.match(r"(\d+)\.(\d+)(?!\d)", version)
    if found is None:
        raise UserError(f"{version!r} is not a version", hint="a version begins like 4.22 or 6.12.107.")
    return int(found[1]), int(found[2])
