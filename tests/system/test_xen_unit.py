# SPDX-License-Identifier: GPL-2.0-or-later
"""The unit test in the Xen series itself, compiled from the patched tree."""

import os
import subprocess

from harness.build.recipes import recipes, source_of
from harness.core.progress import Progress
from harness.source.series import prepared
from harness.store.artifacts import Store


def test_of_the_series_itself() -> None:
    recipe, store, progress = recipes()["xen"], Store(), Progress()
    source = source_of(recipe, store=store, progress=progress)
    with prepared(source, recipe.patches, store=store, progress=progress) as tree:
        folder = tree.path / "tools" / "tests" / "evtchn"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        done = subprocess.run(
            ["make", "-C", folder, "run"], env=clean, capture_output=True, text=True, timeout=120
        )
        subprocess.run(["make", "-C", folder, "clean"], env=clean, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test-evtchn" in done.stdout
