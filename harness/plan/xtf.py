# SPDX-License-Identifier: GPL-2.0-or-later
"""XTF's tests (the Xen Test Framework, xenbits' xtf.git), and how Xen boots each as its dom0.

Xen's own CI boots them this way, without a toolstack (automation/scripts/include/xtf-runner
in xen.git, since Xen 4.21): the PV kernels as PV dom0, the HVM kernels, all of which
have a PVH entry point, as PVH dom0.
"""

from __future__ import annotations

from dataclasses import dataclass

# As xtf-runner orders them; the first two are its default.
CATEGORIES = ("functional", "xsa", "special", "utility", "in-development")
PV_ENVIRONMENTS = ("pv64", "pv32pae")
HVM_ENVIRONMENTS = ("hvm64", "hvm32pae", "hvm32pse", "hvm32")
ENVIRONMENTS = PV_ENVIRONMENTS + HVM_ENVIRONMENTS

# Words of Xen's command line for one test, as in xtf-runner of xen.git.
XEN_ARGS = {"argo": "argo=1,mac-permissive=1"}
# hvm_fep: the forced emulation prefix, which many tests of the instruction emulator use or need. Xen has it
# with CONFIG_HVM_FEP, the default of a debug build.
PVH_ARGS = "dom0-iommu=none hvm_fep"


@dataclass(frozen=True, kw_only=True)
class XtfTest:
    """One test in one environment and variation, an "instance" in xtf-runner's words.

    Attributes:
        name: xtf-runner's name without ``test-``, e.g. ``pv64-pv-iopl~hypercall``.
        category: one of ``CATEGORIES``.
        vcpus: how many it wants.
        args: its command line.
        paging: ``hap`` or ``shadow`` if it wants one of them.
        unmet: settings of its xl configuration that a dom0 cannot have, e.g. ``nestedhvm = 1``.
    """

    name: str
    category: str
    vcpus: int = 1
    args: str = ""
    paging: str = ""
    unmet: tuple[str, ...] = ()

    @property
    def environment(self) -> str:
        """One of ``ENVIRONMENTS``."""
        return self.name.partition("-")[0]

    @property
    def kernel(self) -> str:
        """The file name of its kernel; variations share one."""
        return f"test-{self.name.partition('~')[0]}"

    def xen_args(self, *, accelerator: str) -> str:
        """Words of Xen's command line.

        Args:
            accelerator: ``kvm`` or ``tcg``.
        """
        mode = "pvh" if self.environment in HVM_ENVIRONMENTS else "pv"
        test = self.name.partition("~")[0].removeprefix(f"{self.environment}-")
        # 32-bit PAE guests hang under the nested paging that QEMU emulates (10.0: no exit ever comes back).
        hangs = self.environment == "hvm32pae" and accelerator == "tcg"
        paging = self.paging or ("shadow" if hangs else "")
        words = [
            f"dom0={mode},shadow" if paging == "shadow" else f"dom0={mode}",
            PVH_ARGS if mode == "pvh" else "",
            XEN_ARGS.get(test, ""),
        ]
        return " ".join(filter(None, words))
