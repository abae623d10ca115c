# SPDX-License-Identifier: GPL-2.0-or-later
"""evtchn-harness: 3-level event channels for Xen, built, booted and judged.

The packages follow the way data goes (docs/architecture.md): core, plan,
store, source, build, monitor, machine, guest, run, report, dev, cli.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """Modules under their old names, for tests that users wrote before the modules moved."""
    if name != "life":
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    from harness.core.deprecated import warn_renamed
    from harness.guest import lifecycle

    warn_renamed("harness.life", "harness.guest.lifecycle")
    return lifecycle
