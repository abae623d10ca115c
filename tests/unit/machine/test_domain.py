# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration for libvirt, with special characters."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from harness.core.errors import UserError
from harness.core.records import Abi, Accelerator, MachineSpec
from harness.machine.domain import render_domain

TCG = Accelerator(kind="tcg", reason="TCG: asked for")


def domain(**changes: Any) -> ElementTree.Element:
    values: dict[str, Any] = {
        "name": "evh-1",
        "spec": MachineSpec(),
        "accelerator": TCG,
        "xen": "/r/xen",
        "kernel": "/r/kernel",
        "disk": "/runs/a b/<&>'\".qcow2",
        "serial": "/r/serial",
    }
    return ElementTree.fromstring(render_domain(**(values | changes)))


def test_under_a_daemon_qemu_runs_as_the_user() -> None:
    labels = domain(secmodels=["dac", "apparmor"]).findall("seclabel")
    assert [(x.get("model"), x.get("type")) for x in labels] == [("dac", "static"), ("apparmor", "none")]
    assert labels[0].findtext("label") == f"+{os.getuid()}:+{os.getgid()}"
    assert domain().find("seclabel") is None


def test_xen_is_the_kernel_and_dom0_its_module_with_arguments() -> None:
    spec = MachineSpec(abi=Abi.FIFO, memory_mib=8192, dom0_mib=6144, vcpus=3)
    tree = domain(spec=spec)
    assert tree.findtext("os/kernel") == "/r/xen"
    assert tree.findtext("os/initrd") == (
        "/r/kernel console=hvc0 root=/dev/vda rw panic=-1 xen.fifo_events=1"
    )
    cmdline = (tree.findtext("os/cmdline") or "").split()
    assert {"console=com1", "noreboot", "dom0_mem=6144M,max:6144M", "dom0_max_vcpus=3"} <= set(cmdline)
    # The packaged toolstack does not know the flag for it.
    assert "evtchn-3l=domu" in cmdline
    assert tree.findtext("memory") == "8192"
    assert tree.findtext("on_reboot") == tree.findtext("on_crash") == "destroy"


@pytest.mark.parametrize(("accelerator", "want"), [("tcg", "4"), ("kvm", "3")])
def test_an_emulated_machine_has_one_more_cpu(accelerator: str, want: str) -> None:
    tree = domain(spec=MachineSpec(vcpus=3), accelerator=Accelerator(kind=accelerator, reason="asked for"))
    assert tree.findtext("vcpu") == want
    assert "dom0_max_vcpus=3" in (tree.findtext("os/cmdline") or "")


def test_special_characters_survive() -> None:
    spec = MachineSpec(xen_args="a=<b>&\"c'", dom0_args="x=\"1 2\" y=1,2 z=<&>")
    tree = domain(spec=spec)
    disk = tree.find("devices/disk/source")
    assert disk is not None and disk.get("file") == "/runs/a b/<&>'\".qcow2"
    assert (tree.findtext("os/cmdline") or "").endswith("a=<b>&\"c'")
    # To QEMU a single comma ends a module, and a doubled one is a literal comma.
    assert (tree.findtext("os/initrd") or "").endswith('x="1 2" y=1,,2 z=<&>')


@pytest.mark.parametrize("kernel", ["/a b/kernel", "/a,b/kernel"])
def test_path_that_qemu_would_split_is_rejected(kernel: str) -> None:
    with pytest.raises(UserError, match="cannot boot from a path with a space or a comma"):
        domain(kernel=kernel)


def test_tcg_gets_svm_and_kvm_the_hosts_cpu() -> None:
    tcg, kvm = domain(), domain(accelerator=Accelerator(kind="kvm", reason="KVM"))
    assert (tcg.get("type"), kvm.get("type")) == ("qemu", "kvm")
    assert tcg.findtext("cpu/model") == "qemu64"
    assert {f.get("name") for f in tcg.findall("cpu/feature")} == {"svm", "npt", "rdrand"}
    cpu = kvm.find("cpu")
    assert cpu is not None and cpu.get("mode") == "host-passthrough"


def test_restored_machine_waits_for_its_memory() -> None:
    qemu = "{http://libvirt.org/schemas/domain/qemu/1.0}"
    words = [one.get("value") for one in domain(incoming=True).iterfind(f"{qemu}commandline/{qemu}arg")]
    assert words == ["-incoming", "defer"]
    assert domain().find(f"{qemu}commandline") is None
