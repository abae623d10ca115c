# SPDX-License-Identifier: GPL-2.0-or-later
"""What a build lacks, found in its configuration and its symbols."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.build.abilities import lacking
from harness.build.kconfig import keep_wishes
from harness.core.records import ABILITIES, LINUX_3L, LINUX_EVENTS, LINUX_TEST, PV32, XEN_3L, Source, Wish
from harness.store.artifacts import Artifact

SOURCES = {
    "xen": Source(name="xen", version="4.22.0", origin="x"),
    "linux": Source(name="linux", version="7.2.8", origin="x"),
}


@pytest.fixture
def artifacts(tmp_path: Path) -> dict[str, Artifact]:
    """A Xen and a Linux that have all of it."""
    (tmp_path / "xen").mkdir()
    (tmp_path / "xen/xen.config").write_text(
        "CONFIG_EVTCHN_3LEVEL=y\nCONFIG_PV32=y\nCONFIG_SHADOW_PAGING=y\n"
    )
    (tmp_path / "linux").mkdir()
    (tmp_path / "linux/linux.config").write_text("CONFIG_XEN_EVTCHN_TEST=y\n")
    (tmp_path / "linux/vmlinux").write_bytes(b"\x7fELF\0xen_evtchn_3l_init\0xen_events_debugfs_init\0")
    return {
        name: Artifact(path=tmp_path / name, key="k", hit=True, reason="", files={f"{name}.config": "x"})
        for name in SOURCES
    }


def test_what_has_all_of_it_lacks_nothing(artifacts: dict[str, Artifact]) -> None:
    assert lacking(artifacts, SOURCES) == {}
    assert lacking({}, {}) == {}


def test_what_lacks_all_of_it_says_why(artifacts: dict[str, Artifact]) -> None:
    (artifacts["xen"].path / "xen.config").write_text("# CONFIG_PV32 is not set\n")
    (artifacts["linux"].path / "linux.config").write_text("")
    (artifacts["linux"].path / "vmlinux").write_bytes(b"\x7fELF\0not_xen_evtchn_3l_init\0")
    wish = Wish(symbol="CONFIG_EVTCHN_3LEVEL", value="y", place="f:1", why="this tree has no such symbol")
    keep_wishes(artifacts["xen"].path, [wish])
    lacks = lacking(artifacts, SOURCES)
    assert set(lacks) == set(ABILITIES)
    assert lacks[XEN_3L] == (
        "this Xen 4.22.0 has no 3-level ABI (CONFIG_EVTCHN_3LEVEL: this tree has no such symbol)"
    )
    assert lacks[PV32] == "this Xen 4.22.0 has no 32-bit PV guests (CONFIG_PV32: it is not set)"
    assert lacks[LINUX_3L] == "this Linux 7.2.8 has no 3-level ABI (no xen_evtchn_3l_init())"
    assert "xen_evtchn_test" in lacks[LINUX_TEST] and "xen/events" in lacks[LINUX_EVENTS]
