# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine before its boot. Its boot, its consoles and its end are in tests/system/test_machine.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import fake_built

from harness.build.images import make_keys
from harness.core.errors import InfraError, UserError
from harness.core.records import Accelerator, Built, MachineSpec
from harness.machine.machine import Machine


@pytest.fixture
def built(tmp_path: Path) -> Built:
    make_keys(tmp_path)
    return replace(fake_built(), ssh_key=tmp_path / "id_key", host_key=tmp_path / "host_key.pub")


def machine(built: Built, **words: int) -> Machine:
    return Machine(
        built,
        MachineSpec(**words),
        run_dir=Path("run"),
        accelerator=Accelerator(kind="tcg", reason="TCG: a test"),
        progress=SimpleNamespace(say=print),
    )


def test_xen_and_the_guests_need_memory_besides_dom0(built: Built) -> None:
    machine(built, memory_mib=1024, dom0_mib=768)
    with pytest.raises(UserError, match="dom0 of 769 MiB does not fit a machine of 1024 MiB"):
        machine(built, memory_mib=1024, dom0_mib=769)


def test_keys_that_are_gone_are_an_error_before_qemu_runs(built: Built) -> None:
    built.ssh_key.unlink()
    with pytest.raises(InfraError, match="cannot read the images' SSH keys") as caught:
        machine(built)
    assert "evh build" in caught.value.hint


@pytest.mark.parametrize(
    "use",
    [lambda m: m.consoles, lambda m: m.dom0, lambda m: m.xen_keys("q")],
    ids=["consoles", "dom0", "keys"],
)
def test_what_a_boot_gives_is_not_there_before(built: Built, use: Callable[[Machine], object]) -> None:
    with pytest.raises(UserError):
        use(machine(built))


def test_machines_of_one_process_have_names_of_their_own(built: Built) -> None:
    assert machine(built).name != machine(built).name
