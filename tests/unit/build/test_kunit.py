# SPDX-License-Identifier: GPL-2.0-or-later
"""The KUnit kernels: their configuration."""

from __future__ import annotations

import pytest

from harness.build.kunit import ARCH, fragments
from harness.source import bases


@pytest.mark.parametrize("arch", ARCH.values())
def test_fragments_of_each_width(arch: str) -> None:
    base = bases.default("linux").config
    assert [path.parent.name for path in fragments(base, arch)] == ["kunit", arch]
    debug = fragments(base, arch, flavour="linux-debug")
    assert [path.parent.name for path in debug] == ["kunit", arch, "linux-debug"]
