# SPDX-License-Identifier: GPL-2.0-or-later
"""Leak checks by kmemleak: which guests are asked, and what an answer means."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.core.records import GuestSpec, Verdict
from harness.guest import kmemleak
from harness.monitor.waits import MachineCrashed, MachineDied, Watchdog

LEAK = "unreferenced object 0xffff888003a5c2a0 (size 96):\n  backtrace:\n    alloc_ports+0x10\n"


def kernel(says: str) -> Any:
    return SimpleNamespace(name="guest:a", run=lambda command, timeout: SimpleNamespace(out=says))


def guest(**words: Any) -> Any:
    """A guest that its machine knows."""
    its = SimpleNamespace(spec=GuestSpec(name="a", **{"kind": "pv64", **words}), watchdog=Watchdog())
    its.machine = SimpleNamespace(guests={"a": its})
    return its


def test_leak_is_a_crash_of_that_kernel_with_the_lines_that_name_it() -> None:
    with pytest.raises(MachineCrashed, match="guest:a leaks memory: unreferenced object") as caught:
        kmemleak.ask(kernel(LEAK))
    assert (caught.value.verdict, caught.value.layer) == (Verdict.CRASH, "guest:a")
    assert "alloc_ports" in caught.value.crash.excerpt


def test_long_answer_is_cut() -> None:
    with pytest.raises(MachineCrashed) as caught:
        kmemleak.ask(kernel(LEAK * 100))
    assert len(caught.value.hint.splitlines()) == kmemleak.MOST_LINES


def test_no_answer_is_no_leak() -> None:
    kmemleak.ask(kernel("\n"))


def test_guest_with_the_patched_kernel_is_asked_while_it_lives() -> None:
    its = guest()
    assert kmemleak.asked(its)
    its.watchdog.lose(lambda: MachineDied("it ended"))
    assert not kmemleak.asked(its)


@pytest.mark.parametrize("words", [{"kernel": "stock"}, {"kind": "pvh32"}, {"network": False}])
def test_guest_with_another_kernel_or_without_a_network_is_not_asked(words: dict[str, Any]) -> None:
    assert not kmemleak.asked(guest(**words))


def test_guest_that_another_one_has_replaced_is_not_asked() -> None:
    its = guest()
    its.machine.guests["a"] = guest()
    assert not kmemleak.asked(its)
