# SPDX-License-Identifier: GPL-2.0-or-later
"""From artifacts to the paths that a machine boots (:class:`Built`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from harness.build.abilities import lacking
from harness.build.components import COMPONENTS
from harness.build.kconfig import kept_wishes
from harness.core.progress import Progress
from harness.core.records import Built, GuestImage, Source
from harness.store.artifacts import Artifact, Store


def recorded(
    keys: Mapping[str, str], sources: Mapping[str, Source], *, store: Store, progress: Progress
) -> Built | None:
    """What an earlier run booted; None if the store no longer has all of it.

    Args:
        keys: store key of each of its artifacts, by kind.
        sources: the sources that they were made from, for run.json.
    """
    found = {kind: store.find(kind, key, progress) for kind, key in keys.items()}
    artifacts = {kind: artifact for kind, artifact in found.items() if artifact is not None}
    return built_of(artifacts, sources) if artifacts and len(artifacts) == len(found) else None


# For each field of Built: kind of the artifact, and file inside it.
PLACES = {
    "xen": ("xen", "xen"),
    "xen_syms": ("xen", "xen-syms"),
    "kernel": ("linux", "bzImage"),
    "vmlinux": ("linux", "vmlinux"),
    "dom0_image": ("dom0", "dom0.ext4"),
    "guest_initrd": ("guest", "guest.cpio.gz"),
    "tools": ("tools", ""),
    "bare": ("bare", ""),
    "ssh_key": ("keys", "id_key"),
    "host_key": ("keys", "host_key.pub"),
}


def built_of(artifacts: Mapping[str, Artifact], sources: Mapping[str, Source]) -> Built:
    """The paths in ``artifacts``; the path of a missing artifact is empty."""
    paths = {
        name: artifacts[kind].path / file if kind in artifacts else Path()
        for name, (kind, file) in PLACES.items()
    }
    whole = {name: one for name, one in COMPONENTS.items() if one.whole(artifacts)}
    return Built(
        **paths,
        images={
            name: GuestImage(
                **{key: artifacts[kind].path / file for key, (kind, file) in one.image.items()}, args=one.args
            )
            for name, one in whole.items()
            if one.image
        },
        dom0_images={
            name: artifacts[one.dom0].path / "dom0.ext4" for name, one in whole.items() if one.dom0
        },
        xens={name: artifacts[one.xen].path / "xen" for name, one in whole.items() if one.xen},
        keys={kind: artifact.key for kind, artifact in artifacts.items()},
        hits={kind: artifact.hit for kind, artifact in artifacts.items()},
        sources=dict(sources),
        wishes={kind: kept for kind, one in artifacts.items() if (kept := kept_wishes(one.path))},
        lacks=lacking(artifacts, sources),
        toolstack=toolstack_of(artifacts, sources),
    )


def toolstack_of(artifacts: Mapping[str, Artifact], sources: Mapping[str, Source]) -> str:
    """Which xl and which daemons dom0 has; empty if no dom0 was built."""
    if "toolstack" in artifacts:
        return f"built out of the tree of Xen {sources['xen'].version}"
    if "rootfs" not in artifacts or "packages.txt" not in artifacts["rootfs"].files:
        return ""
    listed = (artifacts["rootfs"].path / "packages.txt").read_text().splitlines()
    return ", ".join(f"Debian's {line}" for line in listed if re.match(r"xen-utils-\d", line))

