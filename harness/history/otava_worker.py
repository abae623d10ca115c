# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds changes in series of numbers, with Apache Otava. Run by path, in the environment that has it.

Standard input: {"series": [[numbers], ...], "pvalue": P, "magnitude": M}. Standard output: for each series
the positions at which another level begins. The numbers must have no gaps: one NaN makes Otava 0.8.0
compare nothing, and find nothing.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Read a request, write the answer."""
    from otava.analysis import compute_change_points

    asked = json.load(sys.stdin)
    found = []
    for series in asked["series"]:
        changes, _ = compute_change_points(
            series, window_len=50, max_pvalue=asked["pvalue"], min_magnitude=asked["magnitude"]
        )
        found.append([int(change.index) for change in changes])
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
