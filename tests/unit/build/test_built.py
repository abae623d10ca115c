# SPDX-License-Identifier: GPL-2.0-or-later
"""From artifacts to the paths that a machine boots."""

from __future__ import annotations

import io
from dataclasses import fields
from pathlib import Path

from harness.build.built import PLACES, built_of, recorded
from harness.core.progress import Progress
from harness.core.records import Built, Source
from harness.store.artifacts import Artifact, Store

PLAIN = ("xen", "linux", "dom0", "guest", "tools", "bare", "keys")


def artifacts(*kinds: str) -> dict[str, Artifact]:
    return {
        kind: Artifact(path=Path("/s") / kind, key=f"key of {kind}", hit=kind == "xen", reason="", files={})
        for kind in kinds
    }


def test_each_path_of_a_machine_is_in_one_of_the_plain_artifacts() -> None:
    built = built_of(artifacts(*PLAIN), {})
    assert (built.xen, built.xen_syms) == (Path("/s/xen/xen"), Path("/s/xen/xen-syms"))
    assert (built.tools, built.host_key) == (Path("/s/tools"), Path("/s/keys/host_key.pub"))
    assert {kind for kind, _ in PLACES.values()} == set(PLAIN)
    assert set(PLACES) == {f.name for f in fields(Built) if f.type == "Path"}
    assert built.keys["dom0"] == "key of dom0"
    assert [kind for kind, hit in built.hits.items() if hit] == ["xen"]
    assert built.images == built.dom0_images == built.xens == {}


def test_paths_of_what_was_not_built_are_empty() -> None:
    built = built_of(artifacts("xen", "bare"), {})
    assert built.bare == Path("/s/bare")
    assert built.kernel == built.dom0_image == Path()


def test_components_are_those_that_are_whole() -> None:
    built = built_of(artifacts(*PLAIN, "dom0-hvm", "xen-without-3l", "guest-i386"), {})
    assert built.dom0_images == {"hvm": Path("/s/dom0-hvm/dom0.ext4")}
    assert built.xens == {"xen-without-3l": Path("/s/xen-without-3l/xen")}
    assert built.images == {}, "the kernel of i386 is missing"
    built = built_of(artifacts(*PLAIN, "guest-i386", "linux-i386"), {})
    assert set(built.images) == {"i386", "i386-hvm"}
    assert built.images["i386"].initrd is None
    assert built.images["i386-hvm"].initrd == Path("/s/guest-i386/guest.cpio.gz")


def test_build_of_an_earlier_run_is_there_as_long_as_the_store_has_all_of_it(tmp_path: Path) -> None:
    store, progress = Store(tmp_path), Progress(io.StringIO())
    xen = store.get("xen", {"a": "1"}, lambda dest: (dest / "xen").touch(), progress)
    built = recorded({"xen": xen.key}, {}, store=store, progress=progress)
    assert built is not None and built.xen == xen.path / "xen"
    assert recorded({"xen": xen.key, "bare": "0" * 32}, {}, store=store, progress=progress) is None
    assert recorded({}, {}, store=store, progress=progress) is None


def test_toolstack_is_debians_package_or_out_of_the_tree(tmp_path: Path) -> None:
    listed = "xen-utils-4.20 4.20.4+63-g7abfd2bce2-0+deb13u1\nxen-utils-common 4.20.4\n"
    (tmp_path / "packages.txt").write_text(listed)
    rootfs = Artifact(path=tmp_path, key="k", hit=True, reason="", files={"packages.txt": "x"})
    sources = {"xen": Source(name="xen", version="4.22.0", origin="x")}
    said = "Debian's xen-utils-4.20 4.20.4+63-g7abfd2bce2-0+deb13u1"
    assert built_of({"rootfs": rootfs}, sources).toolstack == said
    own = {"rootfs": rootfs, **artifacts("toolstack")}
    assert built_of(own, sources).toolstack == "built out of the tree of Xen 4.22.0"
    assert built_of(artifacts("xen"), sources).toolstack == ""
