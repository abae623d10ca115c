# SPDX-License-Identifier: GPL-2.0-or-later
"""The console lines that report a crash, and where each is printed.

Each row names the statement that prints its line, so that
``tests/system/test_crashtable.py`` can check the table against the source trees:
a statement that has gone, or has changed, fails that test. The yardsticks are
the lists of syzkaller (pkg/report/linux.go) and of 0-day. Lines that come only
together with another row's, such as "INFO: lockdep is turned off", have no row.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass


class Severity(enum.IntEnum):
    """What the layer does after it has printed the line."""

    WARNING = 1  # it goes on
    OOPS = 2  # a task or an allocation is lost, the rest goes on
    PANIC = 3  # it has stopped


class Printer(enum.Enum):
    """Whose source prints the line."""

    XEN = "xen"
    LINUX = "linux"


# The last line of a report by a Linux kernel: of WARN() and oopses, of a panic, and of UBSAN.
_END_TRACE = r"---\[ end "
# Lockdep, RCU and the hung-task detector end with a stack.
_END_STACK = r"</TASK>|---\[ end "
_END_KASAN = r"={60}"
# Xen's WARN() and domain crashes end with an empty line after the stack.
_END_XEN = r"^\(XEN\)(?: \[[^]]*\])?\s*$"
_SAME_LINE = r""


@dataclass(frozen=True, kw_only=True)
class CrashLine:
    """One kind of crash line.

    Attributes:
        pattern: regular expression, searched anywhere in a line: the message often begins in the
            middle of a line that another CPU was printing. A group ``domain`` is the number of the
            domain that Xen reports.
        printer: whose source prints it.
        severity: what follows.
        file: where it is printed, relative to the tree.
        statement: the text of the printing statement as it stands in ``file``.
        since, until: first and last version whose ``file`` has ``statement``; empty: no limit known
            (the oldest versions looked at are Xen 4.17 and Linux 6.1).
        end: regular expression for the last line of the report; empty: the report is this line.
        follows: the line may be part of a report that has begun already, as "Oops:" after "BUG:";
            a PANIC always may.
        leads: it announces an oops, so that a line that ``follows`` says more about the same crash.
        layer: the layer that it is about, if that is not its printer; empty: see ``pattern``.
        meaning: what happened, where the line alone does not say it.
    """

    pattern: re.Pattern[str]
    printer: Printer
    severity: Severity
    file: str
    statement: str
    since: str = ""
    until: str = ""
    end: str = ""
    follows: bool = False
    leads: bool = False
    layer: str = ""
    meaning: str = ""


def _xen(
    pattern: str, file: str, statement: str, *, severity: Severity = Severity.PANIC, since: str = "",
    until: str = "", end: str = _SAME_LINE, layer: str = "", meaning: str = "",
) -> CrashLine:  # fmt: skip
    return CrashLine(
        pattern=re.compile(pattern), printer=Printer.XEN, severity=severity, file=f"xen/{file}",
        statement=statement, since=since, until=until, end=end, layer=layer, meaning=meaning,
    )  # fmt: skip


def _linux(
    pattern: str, file: str, statement: str, *, severity: Severity = Severity.WARNING, since: str = "",
    until: str = "", end: str = _END_STACK, follows: bool = False, leads: bool = False,
) -> CrashLine:  # fmt: skip
    return CrashLine(
        pattern=re.compile(pattern), printer=Printer.LINUX, severity=severity, file=file,
        statement=statement, since=since, until=until, end=end, follows=follows, leads=leads,
    )  # fmt: skip


_WARNING, _OOPS, _PANIC = Severity.WARNING, Severity.OOPS, Severity.PANIC
_DOMAIN = r"(?P<domain>\d+)"

XEN = (
    _xen(r"\bPanic on CPU \d+:", "drivers/char/console.c", "Panic on CPU %d:"),
    _xen(r"\bAssertion '.*' failed at\b", "common/bug.c", "Assertion '%s' failed at %s%s:%d", since="4.18"),
    _xen(r"\bXen BUG at\b", "common/bug.c", "Xen BUG at %s%s:%d", since="4.18"),
    _xen(r"\bXen WARN at\b", "common/bug.c", "Xen WARN at %s%s:%d", since="4.18",
         severity=_WARNING, end=_END_XEN),
    _xen(r"\bFATAL TRAP\b", "arch/x86/traps.c", "FATAL TRAP: vec %u, %s[%04x]%s"),
    _xen(r"\bFATAL PAGE FAULT\b", "arch/x86/traps.c", "FATAL PAGE FAULT"),
    _xen(r"\bGENERAL PROTECTION FAULT\b", "arch/x86/traps.c", "GENERAL PROTECTION FAULT", until="4.20"),
    _xen(r"\bCONTROL-FLOW PROTECTION FAULT\b", "arch/x86/traps.c",
         "CONTROL-FLOW PROTECTION FAULT: #CP[%04x] %s"),
    # In arch/x86/traps.c since 4.21, with the same words.
    _xen(r"\bDOUBLE FAULT\b", "arch/x86/x86_64/traps.c", "*** DOUBLE FAULT ***", until="4.20"),
    _xen(r"\bEarly fatal page fault at\b", "arch/x86/traps.c", "Early fatal page fault at %04x:%p"),
    _xen(r"\bCHECKLOCK FAILURE:", "common/spinlock.c", "CHECKLOCK FAILURE: prev irqsafe: %d"),
    _xen(r"\bCHECKLOCK max lock depth\b", "common/spinlock.c", "CHECKLOCK max lock depth %u reached!",
         since="4.18"),
    _xen(r"\bCHECKLOCK released lock\b", "common/spinlock.c", "CHECKLOCK released lock at %p not recorded!",
         since="4.18"),
    _xen(r"\bUBSAN: Undefined behaviour in\b", "common/ubsan/ubsan.c", "UBSAN: Undefined behaviour in",
         severity=_WARNING, end=r"={60}"),
    _xen(r"\bWatchdog timer detects that CPU\d+ is stuck!", "arch/x86/nmi.c",
         "Watchdog timer detects that CPU%d is stuck!"),
    # About a domain.
    _xen(rf"\bDomain {_DOMAIN} \(vcpu#\d+\) crashed on\b", "common/domain.c",
         "Domain %d (vcpu#%d) crashed on cpu#%d:", end=_END_XEN),
    _xen(rf"\bDomain {_DOMAIN} reported crashed by\b", "common/domain.c",
         "Domain %d reported crashed by domain %d on cpu#%d:"),
    _xen(rf"\bHardware Dom{_DOMAIN} crashed:", "common/shutdown.c", "Hardware Dom%u crashed: "),
    _xen(rf"\bHardware Dom{_DOMAIN} shutdown: watchdog rebooting\b", "common/shutdown.c",
         "Hardware Dom%u shutdown: watchdog rebooting machine"),
    _xen(rf"\bHardware domain {_DOMAIN} did unsupported soft reset\b", "common/shutdown.c",
         "Hardware domain %d did unsupported soft reset, rebooting."),
    _xen(rf"\bHardware Dom{_DOMAIN} shutdown \(unknown reason", "common/shutdown.c",
         "Hardware Dom%u shutdown (unknown reason %u): "),
    _xen(rf"\bWatchdog timer fired for domain {_DOMAIN}\b", "common/sched/core.c",
         "Watchdog timer fired for domain %u", until="4.20"),
    _xen(rf"\bWatchdog timer \d+ fired for d{_DOMAIN}\b", "common/sched/core.c",
         "Watchdog timer %u fired for %pd", since="4.21"),
    _xen(rf"\bd{_DOMAIN}v\d+ Triple fault\b", "arch/x86/hvm/hvm.c",
         "Triple fault - invoking HVM shutdown action %d"),
)  # fmt: skip

# Xen ends the machine at dom0's wish. Under a Linux dom0 nobody has asked for that; a bare guest or an
# XTF test ends its machine so.
DOM0_ENDED = (
    _xen(rf"\bHardware Dom{_DOMAIN} halted:", "common/shutdown.c", "Hardware Dom%u halted: halting machine",
         meaning="dom0 halted the machine"),
    _xen(rf"\bHardware Dom{_DOMAIN} shutdown: rebooting\b", "common/shutdown.c",
         "Hardware Dom%u shutdown: rebooting machine", meaning="dom0 rebooted the machine"),
    _xen(r"\bEntering ACPI S5 state\b", "arch/x86/acpi/power.c", "Entering ACPI S%d state.",
         layer="dom0", meaning="dom0 powered the machine off"),
)  # fmt: skip

_LOCKDEP = "kernel/locking/lockdep.c"

LINUX = (
    _linux(r"\bKernel panic - not syncing\b", "kernel/panic.c", "Kernel panic - not syncing: %s",
           severity=_PANIC, end=_END_TRACE),
    _linux(r"\bkernel BUG at\b", "lib/bug.c", "kernel BUG at %s:%u!", severity=_OOPS, end=_END_TRACE,
           leads=True),
    # Before the row for every other "BUG: ": these reports have an end of their own.
    _linux(r"\bBUG: K(?:ASAN|CSAN|FENCE|MSAN): ", "mm/kasan/report.c", "BUG: KASAN: %s in %pS",
           severity=_OOPS, end=_END_KASAN),
    _linux(r"\bBUG: (?:kernel NULL pointer|unable to handle) ", "arch/x86/mm/fault.c",
           "BUG: unable to handle page fault for address: %px", severity=_OOPS, end=_END_TRACE, leads=True),
    _linux(r"\bPANIC: double fault\b", "arch/x86/kernel/traps.c", "PANIC: double fault, error_code: 0x%lx",
           severity=_OOPS, end=_END_TRACE, leads=True),
    _linux(r"\bBUG: soft lockup\b", "kernel/watchdog.c", "BUG: soft lockup - CPU#%d stuck for %us! [%s:%d]"),
    _linux(r"\bBUG: \S", "kernel/sched/core.c", "BUG: scheduling while atomic: %s/%d/0x%08x"),
    _linux(r"\bBUG \S+ \(.*\): ", "mm/slub.c", "BUG %s (%s): %pV", severity=_OOPS),  # SLUB's own checks
    _linux(r"\bOops: \S", "arch/x86/kernel/dumpstack.c", "%s: %04lx [#%d]%s%s%s%s",
           severity=_OOPS, end=_END_TRACE, follows=True),
    # "invalid opcode: 0000 [#1] SMP": an oops without "Oops:" until Linux 6.10.
    _linux(r": [0-9a-f]{4} \[#\d+\]", "arch/x86/kernel/dumpstack.c", "%s: %04lx [#%d]%s%s%s%s",
           severity=_OOPS, end=_END_TRACE, follows=True),
    _linux(r"\bUnable to handle kernel\b", "arch/arm64/mm/fault.c", "Unable to handle kernel %s at virtual",
           severity=_OOPS, end=_END_TRACE, leads=True),
    _linux(r"\bWARNING: CPU: \d+ PID: \d+ at\b", "kernel/panic.c", "WARNING: CPU: %d PID: %d at %s:%d %pS",
           until="6.18", end=_END_TRACE),
    _linux(r"\bWARNING: (?:.*:\d+ )?at .+, CPU#\d+:", "kernel/panic.c", "at %pS, CPU#%d: %s/%d",
           since="6.19", end=_END_TRACE),
    _linux(r"\bWARNING: possible (?:circular|recursive|irq lock)", _LOCKDEP,
           "WARNING: possible circular locking dependency detected"),
    _linux(r"\bWARNING: \S+-safe -> \S+-unsafe lock order", _LOCKDEP,
           "WARNING: %s-safe -> %s-unsafe lock order detected"),
    _linux(r"\bWARNING: inconsistent lock state", _LOCKDEP, "WARNING: inconsistent lock state"),
    _linux(r"\bWARNING: chain_key collision", _LOCKDEP, "WARNING: chain_key collision"),
    _linux(r"\bWARNING: Nested lock was not taken", _LOCKDEP, "WARNING: Nested lock was not taken"),
    _linux(r"\bWARNING: bad unlock balance", _LOCKDEP, "WARNING: bad unlock balance detected!"),
    _linux(r"\bWARNING: bad contention", _LOCKDEP, "WARNING: bad contention detected!"),
    _linux(r"\bWARNING: held lock freed", _LOCKDEP, "WARNING: held lock freed!"),
    _linux(r"\bWARNING: .* still has locks held!", _LOCKDEP, "WARNING: %s/%d still has locks held!"),
    _linux(r"\bWARNING: lock held when returning", _LOCKDEP,
           "WARNING: lock held when returning to user space!"),
    _linux(r"\bWARNING: suspicious RCU usage", _LOCKDEP, "WARNING: suspicious RCU usage"),
    _linux(r"\bINFO: trying to register non-static key", _LOCKDEP, "INFO: trying to register non-static key"),
    _linux(r"\bINFO: task .+ blocked (?:in I/O wait )?for more than \d+ seconds", "kernel/hung_task.c",
           "INFO: task %s:%d blocked"),
    _linux(r"\bINFO: rcu\w* (?:self-)?detected (?:expedited )?stall", "kernel/rcu/tree_stall.h",
           "INFO: %s self-detected stall on CPU"),
    _linux(r"\bWatchdog detected hard LOCKUP on cpu\b", "kernel/watchdog.c",
           "Watchdog detected hard LOCKUP on cpu %", since="6.5", severity=_OOPS, end=_END_STACK),
    _linux(r"\bUBSAN: [a-z-]+ in\b", "lib/ubsan.c", "UBSAN: %s in %s:%d:%d", end=_END_TRACE),
    _linux(r"\birq \d+: nobody cared\b", "kernel/irq/spurious.c", "irq %d: nobody cared",
           end=r"Disabling IRQ #"),
    _linux(r"\bunregister_netdevice: waiting for .+ to become free", "net/core/dev.c",
           "waiting for %s to become free. Usage count = %d", end=_SAME_LINE),
    _linux(r"\bOut of memory(?: \(\w+\))?: Killed process\b", "mm/oom_kill.c", "%s: Killed process %d (%s)",
           end=_SAME_LINE),
    # Newer kernels name the memory: "unreferenced object (percpu) 0x".
    _linux(r"\bunreferenced object (?:\(\w+\) )?0x", "mm/kmemleak.c", " 0x%08lx (size %zu):",
           end=_SAME_LINE),
    _linux(r"\bkmemleak: \d+ new suspected memory leaks\b", "mm/kmemleak.c", "%d new suspected memory leaks",
           end=_SAME_LINE),
)  # fmt: skip
