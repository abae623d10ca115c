# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are on this host: the one place that knows the checkout and the XDG directories."""

from __future__ import annotations

from pathlib import Path

import platformdirs

# The checkout that this package was installed from: images, patch folders and suites lie beside the package.
CHECKOUT = Path(__file__).resolve().parents[2]
SUITES = CHECKOUT / "tests" / "suites"
# Run folders, below the current directory.
RUNS = Path("runs")


def cache() -> Path:
    """``$XDG_CACHE_HOME/evtchn-harness``, or below ``~/.cache`` where that is unset or relative."""
    return platformdirs.user_cache_path("evtchn-harness")
