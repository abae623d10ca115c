# SPDX-License-Identifier: GPL-2.0-or-later
"""What the system tests boot: built once, out of the user's store."""

import pytest

from harness.build.graph import build
from harness.core.progress import Progress
from harness.core.records import Built
from harness.store.artifacts import Store


@pytest.fixture(scope="session")
def built() -> Built:
    """Our Xen, our Linux and our images; minutes if the store has none of them."""
    return build(store=Store(), progress=Progress())
