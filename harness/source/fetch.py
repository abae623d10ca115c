# SPDX-License-Identifier: GPL-2.0-or-later
"""Get a base's pristine tarball: from the store, else from Debian, else from upstream.

The tarball is an artifact in the store, with the resolved version and origin
beside it in ``source.json``, so that later runs use the same one without network.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from harness.core.errors import InfraError
from harness.core.progress import Progress
from harness.core.records import Source
from harness.source import apt
from harness.source.bases import Base
from harness.source.debian import from_debian, from_pool
from harness.source.download import Unavailable
from harness.source.upstream import from_git, from_upstream
from harness.store.artifacts import Store
from harness.store.hashes import digest

RECORD = "source.json"


def fetch(base: Base, *, store: Store, progress: Progress) -> Source:
    """The pristine tarball of ``base``, from the store or the network.

    Raises:
        InfraError: it cannot be downloaded; the message lists each location and its answer.
    """
    inputs = {"base": base.name, "base.toml": digest(base.text)}
    name = base.file.component

    def make(dest: Path) -> None:
        with progress.step(f"download {base.name}"):
            source = download(base, dest, say=progress.say)
        record = asdict(source) | {"tarball": source.tarball.name if source.tarball else ""}
        (dest / RECORD).write_text(json.dumps(record, indent=1) + "\n")

    artifact = store.get(f"source-{name}", inputs, make, progress)
    record = json.loads((artifact.path / RECORD).read_text())
    record["tarball"] = artifact.path / record["tarball"]
    return Source(**record)


def download(base: Base, dest: Path, *, say: Callable[[str], None]) -> Source:
    """Download and verify the tarball of ``base`` into ``dest``, from the first location that has it.

    Args:
        say: called with a line about each location that cannot provide it.

    Raises:
        InfraError: no location has it.
    """
    refused: list[str] = []
    places: list[tuple[str, Callable[[], Source]]] = []
    mirror = apt.mirror()
    debian = base.file.debian
    if debian is None:
        pass
    elif mirror is None:
        refused.append("Debian: apt has no Debian archive in its sources")
    else:
        for known in debian.known:
            place = functools.partial(from_pool, base, known, mirror, dest)
            places.append((f"Debian's pool, {known.version}", place))
        for suite in debian.suites:
            place = functools.partial(from_debian, base, suite, mirror, dest, say=say)
            places.append((f"Debian {suite}", place))
    for upstream in base.file.upstream:
        take_from = from_git if upstream.commit else from_upstream
        place = functools.partial(take_from, base, upstream, dest)
        places.append((upstream.url, place))
    for where, take in places:
        try:
            source = take()
        except Unavailable as error:
            refused.append(f"{where}: {error.message}")
            say(f"{base.name}: {refused[-1]}")
            continue
        note = "; ".join(filter(None, [*refused, source.note]))
        return Source(**{**source.__dict__, "note": note})
    raise InfraError(
        f"the source of {base.name} cannot be downloaded:\n" + "\n".join(refused),
        hint=f"check the network, set {apt.MIRROR_VARIABLE} to a Debian mirror, "
        f"or use your own tree: --{base.file.component}-tree PATH.",
    )

