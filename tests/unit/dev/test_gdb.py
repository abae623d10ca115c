# SPDX-License-Identifier: GPL-2.0-or-later
"""The script for gdb."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.dev import gdb


@pytest.mark.parametrize("commands", [(), ("break f", "continue")])
def test_script_for_gdb(commands: tuple[str, ...]) -> None:
    script = gdb.render(
        xen_syms=Path("/s/xen-syms"), kernel=Path("/s/k"), console="c.log", qemu=["qemu", "a b"],
        recorded=True, commands=commands,
    )  # fmt: skip
    assert 'QEMU = r"""qemu \'a b\'"""' in script
    assert "file /s/xen-syms\n" in script and "add-symbol-file /s/k\n" in script
    assert script.endswith("break f\ncontinue\npython end()\nquit\n") is bool(commands)
    assert ("reverse-stepi" in script) is not bool(commands), "only an interactive session gets the hint"
