# SPDX-License-Identifier: GPL-2.0-or-later
"""Store keys and the hashes that they are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

FORMAT = 1


def key_of(kind: str, inputs: Mapping[str, str]) -> str:
    """Store key: 32 hex digits that depend on ``kind`` and ``inputs``, but not on the order of the inputs."""
    text = json.dumps([FORMAT, kind, sorted(inputs.items())], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(text: str) -> str:
    """SHA-256 of a text, in hex; for inputs that are too long to show in a manifest."""
    return hashlib.sha256(text.encode()).hexdigest()


def short(value: str) -> str:
    """The first 12 digits of a hash; any other value unchanged."""
    is_hash = len(value) >= 32 and all(c in "0123456789abcdef" for c in value)
    return value[:12] if is_hash else value

