# SPDX-License-Identifier: GPL-2.0-or-later
"""Build XTF's tests (the Xen Test Framework, xenbits' xtf.git) from a given checkout.

XTF's own build writes down what there is: for each test an ``info.json``
(category, environments, variations), and for each instance a configuration for
xl, from which the settings that matter to a boot as dom0 are taken.
"""

from __future__ import annotations

import ast
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from harness.build.compilers import compiler, cores
from harness.build.recipes import recipe_of
from harness.core import process
from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.plan import xtf as plan
from harness.plan.xtf import XtfTest
from harness.store.artifacts import Artifact, Inputs, InputsChanged, Store
from harness.store.hashes import digest, sha256_of

LIST = "tests.json"
# xl's settings that a boot as dom0 follows, or that say the same of every test.
_KNOWN = {
    "name", "vcpus", "type", "builder", "loader", "memory", "kernel", "firmware_override", "on_reboot",
    "cmdline", "hap", "max_event_channels",
}  # fmt: skip


def files_of(checkout: Path) -> list[Path]:
    """The files of a checkout, without build products; relative paths.

    Raises:
        UserError: it is not a checkout of XTF.
    """
    if not (checkout / "xtf-runner").is_file() or not (checkout / "tests").is_dir():
        raise UserError(
            f"--xtf {checkout}: this is not a checkout of XTF",
            hint="A checkout contains tests/ and xtf-runner; clone xtf.git from xenbits.xenproject.org.",
        )
    if (checkout / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = process.run(command, cwd=checkout, what="list XTF's files").split("\0")
        return sorted(Path(name) for name in names if name and (checkout / name).is_file())
    built = {".o", ".d", ".cfg", ".lds"}
    return sorted(
        path.relative_to(checkout)
        for path in checkout.rglob("*")
        if path.is_file() and path.suffix not in built and not path.name.startswith("test-")
    )


def build(checkout: Path, *, store: Store, progress: Progress, jobs: int | None = None) -> Artifact:
    """Build a copy of a checkout: kernels ``test-ENVIRONMENT-NAME``, and the list of their tests.

    Raises:
        UserError: it is not a checkout, it does not compile, or it has no tests.
    """
    known: dict[str, str] = {}

    def inputs() -> Inputs:
        names = files_of(checkout)
        known.update(
            checkout=_content_of(checkout, names),
            compiler=compiler(),
            recipe=recipe_of(sys.modules[__name__], plan),
        )
        return dict(known)

    def make(dest: Path) -> None:
        with progress.step("build XTF"), tempfile.TemporaryDirectory(prefix="evh-xtf-") as folder:
            copy = Path(folder) / "xtf"
            names = files_of(checkout)
            for name in names:
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(checkout / name, copy / name)
            if _content_of(copy, names) != known["checkout"]:
                raise InputsChanged(f"{checkout} was edited while this waited for it")
            process.run(
                ["make", "-C", copy, f"-j{jobs or cores()}"],
                what="build XTF", log=dest / "build.log", error=UserError,
                hint="Check whether `make` succeeds in the checkout itself.",
            )  # fmt: skip
            tests = instances(copy / "tests")
            if not tests:
                raise UserError(
                    f"--xtf {checkout}: its build made no tests",
                    hint="Each test is a folder in tests/ whose build leaves info.json and kernels.",
                )
            for kernel in {test.kernel for test in tests}:
                (found,) = copy.glob(f"tests/*/{kernel}")
                shutil.copyfile(found, dest / kernel)
            (dest / LIST).write_bytes(msgspec.json.format(msgspec.json.encode(tests)))

    return store.get("xtf", inputs, make, progress, taken=("checkout",))


def _content_of(folder: Path, names: Iterable[Path]) -> str:
    return digest("".join(f"{name} {sha256_of(folder / name)}\n" for name in names))


def instances(folder: Path) -> list[XtfTest]:
    """The tests below a built ``tests/``, one for each environment and variation, sorted by name.

    Raises:
        UserError: a test's description or configuration is not as XTF's build writes it.
    """
    found = []
    for described in sorted(folder.glob("*/info.json")):
        try:
            info = json.loads(described.read_text())
            for environment in info["environments"]:
                for variation in info["variations"] or [""]:
                    name = f"{environment}-{info['name']}" + (f"~{variation}" if variation else "")
                    config = described.parent / f"test-{name}.cfg"
                    found.append(_instance(name, info["category"], settings(config.read_text())))
        except (OSError, ValueError, KeyError, TypeError, SyntaxError) as e:
            raise UserError(
                f"{described.parent} is not a test as XTF's build describes it: {type(e).__name__}: {e}",
                hint="The harness knows XTF as of August 2025 (453490df6f65).",
            ) from e
    return sorted(found, key=lambda test: test.name)


def _instance(name: str, category: str, config: dict[str, Any]) -> XtfTest:
    return XtfTest(
        name=name,
        category=category,
        vcpus=int(config.get("vcpus", 1)),
        args=str(config.get("cmdline", "")),
        paging={0: "shadow", 1: "hap"}.get(config.get("hap", -1), ""),
        unmet=tuple(f"{key} = {value!r}" for key, value in config.items() if key not in _KNOWN),
    )


def settings(config: str) -> dict[str, Any]:
    """The settings of a configuration file for xl; the last of several with one name wins.

    Such a file is a list of assignments whose values are Python's literals.

    Raises:
        ValueError, SyntaxError: it is something else.
    """
    found: dict[str, Any] = {}
    for statement in ast.parse(config).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = ast.literal_eval(value)
            case _:
                raise ValueError(f"line {statement.lineno} is not `name = value`")
    return found


def list_of_tests(built: Path) -> tuple[XtfTest, ...]:
    """The tests of an artifact that ``build`` made."""
    return msgspec.json.decode((built / LIST).read_bytes(), type=tuple[XtfTest, ...])
