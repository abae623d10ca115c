# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths on this host. No other module works out where the checkout and the XDG directories are."""

from __future__ import annotations

from pathlib import Path

import platformdirs

# The checkout that this package was installed from; images, patch folders and suites are beside the package.
CHECKOUT = Path(__file__).resolve().parents[2]
SUITES = CHECKOUT / "tests" / "suites"
# Run folders, relative to the current directory.
RUNS = Path("runs")


def cache() -> Path:
    """``$XDG_CACHE_HOME/evtchn-harness``; in ``~/.cache`` if the variable is unset or relative."""
    return platformdirs.user_cache_path("evtchn-harness")
