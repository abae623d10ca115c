# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run shares with its tests; a test that no run has started."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]


def test_fixtures_without_evh_run_say_what_to_do(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_mine(dom0): pass")
    out = pytester.runpytest("-p", "no:evh", "-p", "harness.run.plugin")
    out.assert_outcomes(errors=1)
    out.stdout.fnmatch_lines(["*this test needs a nested Xen*"])
