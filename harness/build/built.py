# SPDX-License-Identifier: GPL-2.0-or-later
"""What was built, as the paths that a machine boots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.build.components import COMPONENTS
from harness.core.progress import Progress
from harness.core.records import Built, GuestImage, Source
from harness.store.artifacts import Artifact, Store


def recorded(
    keys: Mapping[str, str], sources: Mapping[str, Source], *, store: Store, progress: Progress
) -> Built | None:
    """What an earlier run had, if all of it is still in the store.

    Args:
        keys: of its artifacts, by kind.
        sources: what they were made from, for the record.
    """
    found = {kind: store.find(kind, key, progress) for kind, key in keys.items()}
    artifacts = {kind: artifact for kind, artifact in found.items() if artifact is not None}
    return built_of(artifacts, sources) if artifacts and len(artifacts) == len(found) else None


# Where each artifact has what a machine boots.
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
    """The paths in ``artifacts``; those of what is not among them lead nowhere."""
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
    )

