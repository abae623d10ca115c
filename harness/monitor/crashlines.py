# SPDX-License-Identifier: GPL-2.0-or-later
"""Recognize the console lines that report a crash, and attribute each to a layer.

The strings are those of Xen 4.20 (common/bug.c, common/shutdown.c,
common/spinlock.c, drivers/char/console.c, arch/x86/{traps,nmi}.c) and of Linux
6.12 (kernel/panic.c, kernel/locking/lockdep.c, kernel/watchdog.c, kernel/rcu,
mm/oom_kill.c, mm/kmemleak.c, mm/slub.c, lib/ubsan.c, arch/x86/kernel/dumpstack.c),
and of later versions where a comment says so.
"""

from __future__ import annotations

import re

# Matched anywhere in the line: a crash message often begins in the middle of a
# line that another CPU was printing.
_XEN = re.compile(
    r"""
      \bPanic\ on\ CPU\ \d+:
    | \bAssertion\ '.*'\ failed\ at\b
    | \bXen\ (?:BUG|WARN)\ at\b
    | \bFATAL\ (?:TRAP|PAGE\ FAULT)\b
    | \bGENERAL\ PROTECTION\ FAULT\b
    | \bDOUBLE\ FAULT\b
    | \bEarly\ fatal\ page\ fault\ at\b
    | \bCHECKLOCK\ (?:FAILURE:|max\ lock\ depth|released\ lock)
    | \bUBSAN:\ Undefined\ behaviour\ in\b
    | \bWatchdog\ timer\ detects\ that\ CPU\d+\ is\ stuck!
    """,
    re.VERBOSE,
)

# Xen's messages about a domain; the group is the domain's number.
_XEN_ABOUT_DOMAIN = re.compile(
    r"""
      \bDomain\ (\d+)\ \(vcpu\#\d+\)\ crashed\ on\b
    | \bDomain\ (\d+)\ reported\ crashed\ by\b
    | \bHardware\ Dom(\d+)\ crashed:
    | \bHardware\ Dom(\d+)\ shutdown:\ watchdog\ rebooting\b
    | \bWatchdog\ timer\ fired\ for\ domain\ (\d+)              # until Xen 4.20
    | \bWatchdog\ timer\ \d+\ fired\ for\ d(\d+)\b            # since 4.21
    | \bd(\d+)v\d+\ Triple\ fault\b
    """,
    re.VERBOSE,
)

_LINUX = re.compile(
    r"""
      \bKernel\ panic\ -\ not\ syncing\b
    | \bkernel\ BUG\ at\b
    | \bBUG:\ \S
    | \bBUG\ \S+\ \(.*\):\                       # SLUB's own checks
    | \bOops:\ \S
    | :\ [0-9a-f]{4}\ \[\#\d+\]                 # "invalid opcode: 0000 [#1] SMP"
    | \bWARNING:\ CPU:\ \d+\ PID:\ \d+\ at\b                   # WARN() until Linux 6.18
    | \bWARNING:\ (?:\S+:\d+\ )?at\ .+,\ CPU\#\d+:              # since 6.19
    | \bWARNING:\ (?:
          possible\ (?:circular|recursive|irq\ lock)
        | \S+-safe\ ->\ \S+-unsafe\ lock\ order
        | inconsistent\ lock\ state
        | chain_key\ collision
        | Nested\ lock\ was\ not\ taken
        | bad\ (?:unlock\ balance|contention)
        | held\ lock\ freed
        | lock\ held\ when\ returning
        | .*\ still\ has\ locks\ held!
        | suspicious\ RCU\ usage )
    | \bINFO:\ (?:
          trying\ to\ register\ non-static\ key
        | task\ .+\ blocked\ (?:in\ I/O\ wait\ )?for\ more\ than\ \d+\ seconds
        | rcu_\w+\ (?:self-)?detected\ (?:expedited\ )?stall )
    | \bWatchdog\ detected\ hard\ LOCKUP\ on\ cpu\b
    | \bUBSAN:\ [a-z-]+\ in\b
    | \bUnable\ to\ handle\ kernel\b
    | \bOut\ of\ memory:\ Killed\ process\b
    | \bunreferenced\ object\ 0x
    | \bkmemleak:\ \d+\ new\ suspected\ memory\ leaks\b
    """,
    re.VERBOSE,
)

_XEN_PREFIX = "(XEN) "


def blame(layer: str, line: str) -> str | None:
    """Attribute a crash line to the layer that crashed.

    Args:
        layer: the console that the line is from: ``xen``, ``dom0``, ``guest:<name>``.
        line: one line, without its line end.
    Returns: None for an ordinary line; ``dom<number>`` if Xen reports a crash
        of that domain; otherwise `layer`.
    """
    if layer == "qemu":
        return None  # QEMU's exit is detected otherwise, and its log contains harmless warnings
    if layer == "xen":
        about = _XEN_ABOUT_DOMAIN.search(line)
        if about:
            return f"dom{next(group for group in about.groups() if group)}"
        return "xen" if _XEN.search(line) else None
    if _LINUX.search(line):
        return layer
    return None


def is_xen(line: str) -> bool:
    """Whether a line of the shared serial console was printed by Xen."""
    return line.startswith(_XEN_PREFIX)
