# SPDX-License-Identifier: GPL-2.0-or-later
"""The artifacts that the system tests boot, from the user's store."""

import pytest

from harness.build.graph import build
from harness.core.progress import Progress
from harness.core.records import Built
from harness.store.artifacts import Store


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: not part of `make test`; `make system` runs it, too")


@pytest.fixture(scope="session")
def built() -> Built:
    """Xen, Linux and the images; building them takes minutes if they are not in the store."""
    return build(store=Store(), progress=Progress())
