"""evtchn-harness: 3-level event channels for Xen, built, booted and judged.

The modules follow the way data goes (docs/architecture.md):
plan, sources, series, build, machine, guests, exercise, judge, report.
"""

__version__ = "0.1.0"
