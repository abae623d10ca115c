# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths and addresses inside dom0 and the guests, which the images' shell scripts use too."""

from __future__ import annotations

import shlex

from harness.core import layout
from harness.core.paths import CHECKOUT


def test_dom0s_init_uses_the_same_address_bridge_and_folder() -> None:
    init = (CHECKOUT / "images/dom0/init").read_text()
    assert f"ip addr add {layout.DOM0_ADDRESS}/{layout.NETWORK.prefixlen} dev {layout.BRIDGE}" in init
    assert f"--log-dir={layout.CONSOLE_LOGS}" in init


def test_arguments_of_a_tool_reach_it_whole() -> None:
    command = layout.tool_command("evtchn-dev", "serve", "a b", "$HOME;")
    assert shlex.split(command) == [f"{layout.TOOLS_DIR}/evtchn-dev", "serve", "a b", "$HOME;"]
