# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths and addresses inside dom0 and the guests; images/dom0/init and images/guest/init use them too."""

from __future__ import annotations

import ipaddress
import shlex

TOOLS_DIR = "/opt/evh/tools"
# In dom0: the kernel and initramfs that its guests boot.
GUEST_KERNEL = "/opt/evh/bzImage"
GUEST_RAMDISK = "/opt/evh/guest.cpio.gz"
# In dom0: store files that are not part of its image are copied here when first used.
COPIED = "/var/lib/evh"
CONSOLE_LOGS = "/var/log/xen/console"
XL_LOGS = "/var/log/xen"
BRIDGE = "xenbr0"
# The bridge's network; dom0 has its first host address.
NETWORK = ipaddress.ip_network("192.168.77.0/24")
DOM0_ADDRESS = str(next(NETWORK.hosts()))


def tool_command(tool: str, *args: str) -> str:
    """The shell command that runs an in-guest tool."""
    return shlex.join([f"{TOOLS_DIR}/{tool}", *args])
