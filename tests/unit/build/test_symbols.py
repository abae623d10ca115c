# SPDX-License-Identifier: GPL-2.0-or-later
"""The symbols of a tree."""

from __future__ import annotations

from pathlib import Path

from harness.build.symbols import symbols_in


def test_symbols_of_x86_and_their_successors(tmp_path: Path) -> None:
    for name, text in {
        "Kconfig": "config XEN\n\tbool\n\nmenuconfig NET # a menu\n\tbool\n",
        "arch/x86/Kconfig": "config OLD\n\tbool\n\ttransitional\n",
        "arch/x86/Kconfig.cpu": "config NEW\n\tbool \"New\"\n\tdefault OLD\n\tdefault y if OLD\n",
        "arch/arm/Kconfig": "config ARM\n\tbool\n",
        "scripts/kconfig/tests/transitional/Kconfig": "config NO\n\tbool\n",
        "drivers/arch/Kconfig": "config DRIVER\n\tdef_tristate XEN\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    symbols = symbols_in(tmp_path)
    assert symbols.names == {f"CONFIG_{name}" for name in ("XEN", "NET", "OLD", "NEW", "DRIVER")}
    assert symbols.successors == {"CONFIG_OLD": ("CONFIG_NEW",)}
