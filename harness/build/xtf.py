# SPDX-License-Identifier: GPL-2.0-or-later
"""Build XTF's tests (the Xen Test Framework, xenbits' xtf.git) from a given checkout.

Its PV kernels are booted as dom0, like the bare guests, so they need no
toolstack, and a test takes a second or two. Its HVM tests need one and are left out.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from harness.build.compilers import compiler, cores
from harness.core import process
from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.store.artifacts import Inputs, InputsChanged, Store
from harness.store.hashes import digest, sha256_of

ENVIRONMENTS = ("pv64", "pv32pae")


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


def build(checkout: Path, *, store: Store, progress: Progress, jobs: int | None = None) -> Path:
    """Build a copy of a checkout; return the folder of its kernels, ``test-ENVIRONMENT-NAME``.

    Raises:
        UserError: it is not a checkout, or it does not compile.
    """
    known: dict[str, str] = {}

    def inputs() -> Inputs:
        names = files_of(checkout)
        known.update(checkout=_content_of(checkout, names), compiler=compiler(), kinds=" ".join(ENVIRONMENTS))
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
            for environment in ENVIRONMENTS:
                for kernel in copy.glob(f"tests/*/test-{environment}-*"):
                    if kernel.suffix != ".cfg":
                        shutil.copyfile(kernel, dest / kernel.name)

    return store.get("xtf", inputs, make, progress, taken=("checkout",)).path


def _content_of(folder: Path, names: Iterable[Path]) -> str:
    return digest("".join(f"{name} {sha256_of(folder / name)}\n" for name in names))


def tests_in(kernels: Path) -> list[str]:
    """Names of the tests in a folder of built kernels, e.g. ``pv64-xsa-317``."""
    return sorted(path.name.removeprefix("test-") for path in kernels.glob("test-*"))

