# SPDX-License-Identifier: GPL-2.0-or-later
"""xl's configuration of a guest."""

from __future__ import annotations

import functools
import re

import jinja2

from harness.core.errors import UserError
from harness.core.layout import BRIDGE, GUEST_KERNEL, GUEST_RAMDISK
from harness.core.records import GuestSpec
from harness.plan.guests import KINDS

VIF_SCRIPT = "/run/evh-vif"
# Xen's vif-bridge does the same for every bridge, firewall and MTU there is, in
# bash, by some forty processes; each costs under emulation. netback goes on
# when it reads hotplug-status (drivers/net/xen-netback/xenbus.c).
VIF_SCRIPT_TEXT = f"""\
#!/bin/sh
if [ "$1" = online ]; then
    ip link set dev "$vif" master {BRIDGE} up || exit 1
    exec xenstore-write "$XENBUS_PATH/hotplug-status" connected
fi
"""


def xl_string(text: str) -> str:
    """A string in xl's configuration language (libxlu_cfg.c:xlu__cfgl_dequote).

    Raises: UserError: a control character other than newline and tab.
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n").replace("\t", "\\t")
    if not escaped.isprintable():
        raise UserError(f"not printable, so not for xl's configuration: {text!r}")
    return f'"{escaped}"'


def render_config(
    spec: GuestSpec,
    *,
    address: str,
    kernel: str = GUEST_KERNEL,
    ramdisk: str = GUEST_RAMDISK,
    args: str = "",
    emulated: bool = False,
) -> str:
    """xl's configuration of a guest.

    Args:
        address: IPv4 address with prefix length, for its eth0.
        kernel, ramdisk: paths in dom0; an empty one is left out.
        args: more words for its kernel.
        emulated: the machine's CPUs are QEMU's emulation, whose bugs it has to keep clear of.
    Raises: UserError: a kind or a name that cannot be.
    """
    if spec.kind not in KINDS:
        raise UserError(
            f"guest kind {spec.kind!r} is not known", hint=f"known: {', '.join(KINDS)}"
        )
    # It becomes a file name in dom0, and xl takes a bare number for a domid.
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,60}", spec.name):
        raise UserError(
            f"guest name {spec.name!r} cannot be",
            hint="a letter, then letters, digits, dots, dashes and underlines",
        )
    words = [
        f"console=hvc0 panic=-1 evh.ip={address} evh.name={spec.name}",
        spec.abi.kernel_args if spec.abi else "",
        args,
        spec.extra_args,
    ]
    kind = KINDS[spec.kind]
    return _templates().get_template("guest.cfg.j2").render(
        spec=spec,
        type=kind.type,
        kernel=kernel,
        ramdisk=ramdisk,
        # 32-bit PAE guests hang under nested paging: their CPUID exits never advance.
        hap=kind.wide or not emulated,
        # An emulated CPU that restores FPU state rewrites flags of the first one (QEMU's cpu_clear_ignne()),
        # and undoes a VMRUN or #VMEXIT in progress there: docs/troubleshooting.md.
        off_cpu0=emulated and kind.type != "pv",
        extra=" ".join(word for word in words if word),
        vif=("type=vif," if kind.type == "hvm" else "") + f"bridge={BRIDGE},script={VIF_SCRIPT}",
    )


@functools.cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.guest"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # not a markup language; the filter below quotes
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["xl"] = xl_string
    return environment

