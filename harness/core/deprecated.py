# SPDX-License-Identifier: GPL-2.0-or-later
"""Old names of public things: they work for one release, with a warning."""

from __future__ import annotations

import warnings
from typing import Any


class RenamedWarning(DeprecationWarning):
    """An old name was used; the message gives the new one."""


def warn_renamed(old: str, new: str, *, stacklevel: int = 3) -> None:
    """Warn that ``old`` is called ``new`` now and goes away with the next release."""
    warnings.warn(f"{old} is now {new}; the old name goes with the next release", RenamedWarning, stacklevel)


def renamed(old: str, new: str) -> Any:
    """A property that answers for the attribute ``new`` under its ``old`` name."""

    def get(self: object) -> Any:
        warn_renamed(f"{type(self).__name__}.{old}", new)
        return getattr(self, new)

    return property(get)
