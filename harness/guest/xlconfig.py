# SPDX-License-Identifier: GPL-2.0-or-later
"""Generates xl's configuration file for a guest, from ``templates/guest.cfg.j2``."""

from __future__ import annotations

import functools
import re

import jinja2

from harness.core.errors import UserError
from harness.core.layout import BRIDGE, GUEST_KERNEL, GUEST_RAMDISK
from harness.core.records import GuestSpec
from harness.plan.guests import KINDS

VIF_SCRIPT = "/run/evh-vif"
# Xen's vif-bridge script also handles every kind of bridge, firewall and MTU; it is bash and
# starts some forty processes, which are slow under emulation. netback continues once
# hotplug-status is written (drivers/net/xen-netback/xenbus.c).
VIF_SCRIPT_TEXT = f"""\
#!/bin/sh
if [ "$1" = online ]; then
    ip link set dev "$vif" master {BRIDGE} up || exit 1
    exec xenstore-write "$XENBUS_PATH/hotplug-status" connected
fi
"""


def xl_string(text: str) -> str:
    """Quote a string for xl's configuration language (libxlu_cfg.c:xlu__cfgl_dequote).

    Raises:
        UserError: the text has a control character other than newline and tab.
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n").replace("\t", "\\t")
    if not escaped.isprintable():
        raise UserError(f"xl's configuration cannot hold unprintable characters: {text!r}")
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
    """Render xl's configuration of a guest.

    Args:
        address: IPv4 address with prefix length for the guest's eth0.
        kernel, ramdisk: paths in dom0; an empty one is omitted.
        args: additional kernel parameters.
        emulated: QEMU emulates the machine's CPUs, so the configuration must avoid its bugs.

    Raises:
        UserError: the kind is unknown or the name is invalid.
    """
    if spec.kind not in KINDS:
        raise UserError(
            f"guest kind {spec.kind!r} is not known", hint=f"Known kinds: {', '.join(KINDS)}."
        )
    # The name becomes a file name in dom0, and xl would read a plain number as a domid.
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,60}", spec.name):
        raise UserError(
            f"guest name {spec.name!r} cannot be used",
            hint="Use a letter, then letters, digits, dots, dashes and underscores.",
        )
    words = [
        f"console=hvc0 panic=-1{f' evh.ip={address}' if spec.network else ''} evh.name={spec.name}",
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
        # When an emulated CPU restores FPU state it rewrites flags of the first CPU (QEMU's
        # cpu_clear_ignne()), which undoes a VMRUN or #VMEXIT in progress there: docs/troubleshooting.md.
        off_cpu0=emulated and kind.type != "pv",
        extra=" ".join(word for word in words if word),
        vif=("type=vif," if kind.type == "hvm" else "") + f"bridge={BRIDGE},script={VIF_SCRIPT}",
    )


@functools.cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.guest"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # the output is not markup; the filter below quotes strings
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["xl"] = xl_string
    return environment

