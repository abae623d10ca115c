# SPDX-License-Identifier: GPL-2.0-or-later
"""Each module has one file of unit tests, which has its name and lies in the folder of its room."""

from __future__ import annotations

from pathlib import Path

from harness.core.paths import CHECKOUT

HERE = Path(__file__).parent

# Modules without unit tests, each for a reason.
UNTESTED = {
    "__main__": "calls cli/app.py",
    "core/errors": "classes without behaviour",
    "monitor/crashtable": "a table: test_crashlines.py has its lines, tests/system its statements",
}
# Folders whose tests belong to no module: images/ is C and shell, ci/ shell and pipelines; tests/timing is no
# part of the package.
OTHERS = {"ci", "images", "timing"}


def names(root: Path, prefix: str = "") -> set[str]:
    """``ROOM/NAME`` of each Python file whose name begins with ``prefix``."""
    found = (path.relative_to(root) for path in root.rglob(f"{prefix}*.py") if path.stem != "__init__")
    return {str(path.with_name(path.stem.removeprefix(prefix))) for path in found}


def with_tests() -> set[str]:
    return {name for name in names(HERE, "test_") if Path(name).parts[0] not in OTHERS} - {"one_file_each"}


def test_each_module_has_a_file_of_tests() -> None:
    missing = names(CHECKOUT / "harness") - with_tests() - set(UNTESTED)
    assert not missing, "add tests/unit/ROOM/test_MODULE.py, or a reason to UNTESTED"


def test_each_file_of_tests_has_a_module() -> None:
    left_over = with_tests() - names(CHECKOUT / "harness")
    assert not left_over, "rename the file after the module that it tests, or move its tests"


def test_exceptions_are_modules_without_tests() -> None:
    assert set(UNTESTED) <= names(CHECKOUT / "harness") - with_tests()
