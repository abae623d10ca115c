# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixtures for tests on a nested Xen (docs/writing-tests.md lists them).

Under plain ``pytest`` there is no session, and a test that asks for a
machine fails with an error that says how to run it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness.core.deprecated import warn_renamed
from harness.core.errors import UserError
from harness.core.records import GuestSpec
from harness.guest import kmemleak
from harness.guest.leaks import Leaks
from harness.run.collection import abi_word, wants_clean
from harness.run.kunit import skip_if_skipped
from harness.run.record import Row
from harness.run.session import SESSION, running_of, session_of

if TYPE_CHECKING:
    from harness.guest.guest import Guest
    from harness.guest.load import Load
    from harness.guest.tools import ToolResult
    from harness.machine.bare import BareRun
    from harness.machine.machine import Machine
    from harness.machine.ssh import SSH
    from harness.monitor.ktap import Case

STORM_SECONDS = 8.0


@pytest.fixture
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A booted machine (Xen and a dom0 that answers) with the parameters of the test's ``machine`` marker.

    Tests that ask for equal machines share one, so a test must leave it as
    it found it, unless it asks for a ``clean`` one. After a crash or a hang the next test gets a new machine.
    """
    session = session_of(request)
    spec = session.spec(request.node)
    running = running_of(request)
    clean = wants_clean(request.node)
    if not session.machines.fits(spec, clean=clean):
        # Set before the boot, so that a crash while booting is looked for in this machine's consoles.
        running.result.machine = session.machines.next_number
    machine = session.machines.get(spec, clean=clean)
    running.result.machine = session.machines.number

    def start(spec: GuestSpec) -> Guest:
        warn_renamed("machine.start_guest()", "the fixture start_guest")
        return session.start_guest(machine, spec)

    if not hasattr(machine, "start_guest"):
        machine.start_guest = start  # type: ignore[attr-defined]
    yield machine
    if session.asks_kmemleak:
        kmemleak.ask(machine.dom0)
    if session.asks_consoles:
        machine.prove_consoles({"dom0": machine.dom0})


@pytest.fixture
def dom0(machine: Machine) -> SSH:
    """SSH into dom0."""
    return machine.dom0


@pytest.fixture
def start_guest(request: pytest.FixtureRequest, machine: Machine) -> Iterator[Callable[..., Guest]]:
    """A function that starts a guest and waits until it answers over SSH.

    It takes a ``GuestSpec``, or its fields as keywords. Guests are destroyed
    after the test, the last one first.
    """
    session = session_of(request)
    running = running_of(request)
    started: list[Guest] = []
    with ExitStack() as guests:

        def start(spec: GuestSpec | None = None, **words: Any) -> Guest:
            if words.get("abi") is not None:
                words["abi"] = abi_word(request.node, words["abi"])
            spec = GuestSpec(**words) if spec is None else replace(spec, **words)
            running.guests.append(spec.name)
            with session.recorder.doing(f"start guest {spec.name}"):
                guest = session.start_guest(machine, spec)
            guests.callback(guest.destroy)
            started.append(guest)
            return guest

        yield start
        for guest in filter(kmemleak.asked, started if session.asks_kmemleak else ()):
            kmemleak.ask(guest.ssh)
        alive = [guest for guest in started if session.asks_consoles and guest.spec.network and _alive(guest)]
        machine.prove_consoles({guest.layer: guest.ssh for guest in alive})
        kept = session.keep and running.went_wrong
        if kept or session.signals or session.machines.find_crash() is not None:
            # Leave the guests: either the user wants to inspect them, or the whole machine is torn down
            # next, which is faster, and a dead machine cannot destroy guests anyway.
            guests.pop_all()


def _alive(guest: Guest) -> bool:
    """Whether a guest that a test has started is still there, under the name that it was started with."""
    return not guest.watchdog.lost and guest.machine.guests.get(guest.spec.name) is guest


@pytest.fixture
def tool() -> Callable[..., ToolResult]:
    """Run an in-guest tool: ``tool(where, name, *args, timeout=seconds)``.

    ``where`` is a guest, or an SSH such as ``dom0``; the loss of a guest in ``beside`` ends the wait, too.
    """
    from harness.guest.tools import run_tool

    def run(
        where: Guest | SSH,
        name: str,
        *args: object,
        timeout: float = 600,
        stdin: bytes = b"",
        beside: Sequence[Guest] = (),
    ) -> ToolResult:
        ssh = where.ssh if hasattr(where, "ssh") else where
        words = (str(arg) for arg in args)
        return run_tool(ssh, name, *words, timeout=timeout, stdin=stdin, beside=beside)

    return run


@pytest.fixture
def lacks(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """What this Xen and this Linux lack, and why: a part of a test asks for what it needs.

    A test that needs an ability as a whole has the marker ``asks`` instead.
    """
    return session_of(request).lacks


@pytest.fixture
def bare(request: pytest.FixtureRequest) -> Callable[..., BareRun]:
    """Results of a bare guest: ``bare("bare-pv64", suite="race", seed=seed).case(name)``.

    The keywords are the fields of ``bare.BareSpec``. Equal specs are booted once per run.
    """
    session = session_of(request)
    running = running_of(request)

    def note(case: Case) -> None:
        skip_if_skipped(case)
        metrics = running.result.metrics
        for name, value in case.metrics.items():
            metrics[name] = metrics.get(name, 0) + value

    def run(kind: str, **words: Any) -> BareRun:
        if session.bare is None:
            raise UserError(f"{kind} is not built", hint="Run this test with `evh run`.")
        running.bare, running.result.boot = session.bare.get(kind, **words)
        return replace(running.bare, on_result=note)

    return run


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Callable[..., Row]:
    """Add a row to the limits table; its arguments are the fields of ``record.Row``.

    A row with lost or duplicated events makes the test fail.
    """
    session = session_of(request)
    running = running_of(request)

    def add(**words: Any) -> Row:
        if "doubled" in words:
            warn_renamed("row(doubled=)", "row(duplicated=)")
            words["duplicated"] = words.pop("doubled")
        line = Row(test=running.result.cell, **words)
        running.rows.append(line)
        session.recorder.record.rows.append(line)
        session.recorder.save()
        return line

    return add


@pytest.fixture
def load() -> Iterator[Callable[..., Load]]:
    """Continuous event load: ``load(a, b, ports=, seed=, late=)`` between two domains (guests or
    ``dom0``), ``load(a, ports=)`` inside one. See ``load.Load``; closed after the test."""
    from harness.guest.load import Load

    with ExitStack() as stack:

        def start(ping: Guest | SSH, echo: Guest | SSH | None = None, **words: Any) -> Load:
            return stack.enter_context(
                Load(
                    _ssh(ping),
                    None if echo is None else _ssh(echo),
                    ping_domid=getattr(ping, "domid", 0),
                    echo_domid=getattr(echo, "domid", 0),
                    **words,
                )
            )

        yield start


def _ssh(where: Guest | SSH) -> SSH:
    return where.ssh if hasattr(where, "ssh") else where


@pytest.fixture
def metric(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """Add a metric to the report: ``metric("p99 us", 12)``."""
    metrics = running_of(request).result.metrics

    def note(name: str, value: float) -> None:
        metrics[name] = round(value)

    return note


@pytest.fixture
def figure(metric: Callable[[str, float], None]) -> Callable[[str, float], None]:
    """The old name of ``metric``."""
    warn_renamed("the fixture figure", "metric")
    return metric


@pytest.fixture
def storm_seconds(request: pytest.FixtureRequest) -> float:
    """Duration of a storm in seconds: `--minutes`, or STORM_SECONDS without that option."""
    session = request.config.stash.get(SESSION, None)
    return (session.selection.minutes * 60 if session else 0) or STORM_SECONDS


@pytest.fixture
def leaks(dom0: SSH) -> Callable[[], Leaks]:
    """``since = leaks()`` measures free memory; ``since.leaked(xen_kib=, dom0_kib=)`` is the loss since."""
    return lambda: Leaks(dom0)

