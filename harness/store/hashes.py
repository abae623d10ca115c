# SPDX-License-Identifier: GPL-2.0-or-later
"""Content-addressed store: a directory for each thing that was made, found by what went in.

    ROOT/KIND/KEY/             one artifact: its files and manifest.json
    ROOT/KIND/.make-KEY-XXXX   being made; renamed to KEY when whole
    ROOT/KIND/.corrupt-KEY     moved aside because it no longer is what was made
    ROOT/locks/KIND-KEY        held (flock) while one run makes KEY, others wait
    ROOT/logs/                 logs of builds that failed

Whatever stands at ROOT/KIND/KEY is whole: it was synced, then renamed. A kill
at any moment leaves only a .make- directory, which the next maker of the same
key removes (it holds the lock, so nobody else can be using it).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

FORMAT = 1


def key_of(kind: str, inputs: Mapping[str, str]) -> str:
    """Hash of ``kind`` and ``inputs``, 32 hex digits; independent of the order of inputs."""
    text = json.dumps([FORMAT, kind, sorted(inputs.items())], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(text: str) -> str:
    """SHA-256 of a text, in hex: for inputs too long to be read in a manifest."""
    return hashlib.sha256(text.encode()).hexdigest()


def short(value: str) -> str:
    """A hash by its first digits; anything else as it is."""
    is_hash = len(value) >= 32 and all(c in "0123456789abcdef" for c in value)
    return value[:12] if is_hash else value

