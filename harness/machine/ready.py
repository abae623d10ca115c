# SPDX-License-Identifier: GPL-2.0-or-later
"""Wait until dom0 is ready: its init says so on the console, or over SSH where the console is silent.

A console may stop while its machine goes on (machine/console_proof.py), so that
dom0's line need not arrive. That is then told, and is no hang of dom0.
"""

from __future__ import annotations

from harness.machine.ssh import SSH
from harness.monitor.consoles import Consoles
from harness.monitor.waits import MachineLost, TimedOut, Watchdog, no_answer

READY = "evh: dom0 ready"
# Written by images/dom0/init, whatever the console does.
_ENDED = r"evh: dom0 (?:not )?ready"
_HEALTH = "/run/evh"
_ASK = f"test -e {_HEALTH}/done || exit 3; cat {_HEALTH}/failures"

# Seconds at reference speed: for dom0's whole boot; without a new line on a console before dom0 is asked over
# SSH (a boot takes 10 in all); and for one such question.
TOTAL = 180.0
QUIET = 15.0
QUESTION = 10.0


class Unhealthy(MachineLost):
    """dom0 runs, but its init could not start what the tests need."""

    layer = "dom0"


def wait_dom0(consoles: Consoles, dom0: SSH, *, watchdog: Watchdog, hint: str = "") -> str:
    """Wait until dom0's init has ended well and dom0 answers over SSH.

    Returns:
        Why the console is not recorded any more; empty if dom0's line arrived on it.

    Raises:
        Unhealthy: a step of its init failed. MachineLost: as ``waits.wait``.
    """
    end = watchdog.clock() + TOTAL * watchdog.time_scale
    since = 0
    while True:
        left = (end - watchdog.clock()) / watchdog.time_scale
        if left <= 0:
            raise no_answer(f'dom0\'s "{READY}"', watchdog=watchdog, total=TOTAL, hint=hint)
        next_line = consoles.next_number
        try:
            consoles.wait_line(
                _ENDED, watchdog=watchdog, what=f'dom0\'s "{READY}"',
                total=left, silence=min(QUIET, left), since=since,
            )  # fmt: skip
        except TimedOut:
            since = next_line
            if not answers(dom0):
                continue
            why = f'dom0 answers over SSH, but its "{READY}" did not arrive'
        else:
            why = ""
        dom0.connect(timeout=60)
        failures = dom0.run(_ASK, timeout=60).out.strip()
        if failures:
            raise Unhealthy(
                f"dom0's init failed: {'; '.join(failures.splitlines())}",
                hint=hint or "images/dom0/init starts what the tests need.",
            )
        return why


def answers(dom0: SSH) -> bool:
    """Whether dom0 answers over SSH, soon, and its init has ended.

    Raises:
        MachineLost.
    """
    try:
        dom0.connect(timeout=QUESTION)
        return dom0.run(_ASK, timeout=QUESTION, check=False).rc == 0
    except TimedOut:
        return False

