# SPDX-License-Identifier: GPL-2.0-or-later
"""Which files belong to an XTF checkout, and which tests its build made, with the settings of each."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from fakes import Held, beside

from harness.build.xtf import build, files_of, instances, list_of_tests, settings
from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.store.artifacts import Artifact, Store

# As XTF's build/mkcfg.py writes them.
CONFIG = """\
name="test-pv64-a"

vcpus=1

type="pv"
loader="generic" # Legacy for before Xen 4.10

memory=128
kernel="/x/tests/a/test-pv64-a"
"""


def built_test(
    folder: Path, name: str, *, environments: list[str], variations: list[str], extra: str = ""
) -> None:
    home = folder / name
    home.mkdir(parents=True)
    info = {"name": name, "category": "xsa", "environments": environments, "variations": variations}
    (home / "info.json").write_text(json.dumps(info))
    for environment in environments:
        (home / f"test-{environment}-{name}").write_text("a kernel")
        for variation in variations or [""]:
            words = {"": "", "shadow": "hap=0\n", "hap": "hap=1\n", "hypercall": 'cmdline="hypercall"\n'}
            suffix = f"~{variation}" if variation else ""
            (home / f"test-{environment}-{name}{suffix}.cfg").write_text(CONFIG + extra + words[variation])


def test_other_folder_is_not_accepted_as_a_checkout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a checkout of XTF"):
        files_of(tmp_path)


def test_build_products_are_not_part_of_a_checkout(tmp_path: Path) -> None:
    for name in ("xtf-runner", "tests/a/main.c", "tests/a/main-pv64.o", "tests/a/test-pv64-a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files_of(tmp_path) == [Path("tests/a/main.c"), Path("xtf-runner")]


def test_each_environment_and_variation_is_a_test(tmp_path: Path) -> None:
    built_test(tmp_path, "b", environments=["pv64", "hvm32"], variations=[])
    built_test(tmp_path, "a", environments=["hvm64"], variations=["hap", "shadow"])
    built_test(tmp_path, "c", environments=["pv64"], variations=["hypercall"])
    (tmp_path / "notes").mkdir()
    found = {test.name: test for test in instances(tmp_path)}
    assert list(found) == ["hvm32-b", "hvm64-a~hap", "hvm64-a~shadow", "pv64-b", "pv64-c~hypercall"]
    assert {test.category for test in found.values()} == {"xsa"}
    assert (found["pv64-b"].kernel, found["pv64-b"].paging) == ("test-pv64-b", "")
    assert found["pv64-c~hypercall"].kernel == "test-pv64-c"
    assert found["pv64-c~hypercall"].args == "hypercall"
    assert [found[f"hvm64-a~{paging}"].paging for paging in ("hap", "shadow")] == ["hap", "shadow"]


def test_settings_that_a_dom0_cannot_have_are_named(tmp_path: Path) -> None:
    extra = '# Extra:\nviridian = [ "base",\n  "stimer" ]\nvcpus = 3\nmax_event_channels=4096\n'
    built_test(tmp_path, "a", environments=["hvm64"], variations=[], extra=extra)
    (test,) = instances(tmp_path)
    assert test.unmet == ("viridian = ['base', 'stimer']",)
    assert test.vcpus == 3, "the last one wins, as in xl"


def test_configuration_that_is_no_list_of_settings(tmp_path: Path) -> None:
    assert settings("a = 1 # one\nb = 'x # y'\n") == {"a": 1, "b": "x # y"}
    with pytest.raises(ValueError, match="line 2"):
        settings("a = 1\nprint(a)\n")
    built_test(tmp_path, "a", environments=["pv64"], variations=[], extra="vcpus = lots\n")
    with pytest.raises(UserError, match="/a is not a test as XTF's build describes it"):
        instances(tmp_path)
    shutil.rmtree(tmp_path / "a")
    built_test(tmp_path, "a", environments=["pv64"], variations=[])
    (tmp_path / "a/test-pv64-a.cfg").unlink()
    with pytest.raises(UserError, match=r"test-pv64-a\.cfg"):
        instances(tmp_path)


INFO = '{"name": "a", "category": "xsa", "environments": ["pv64"], "variations": []}'


def checkout(folder: Path, *commands: str) -> Path:
    """A checkout whose makefile has these commands."""
    (folder / "tests").mkdir(parents=True)
    (folder / "xtf-runner").touch()
    (folder / "Makefile").write_text("all:\n" + "".join(f"\t{command}\n" for command in commands))
    return folder


def test_a_checkout_of_xtf_that_is_edited_while_its_build_waits(tmp_path: Path) -> None:
    store, said = Store(tmp_path / "store"), io.StringIO()
    makes = ("mkdir -p tests/a", f"echo '{INFO}' > tests/a/info.json", "cp text tests/a/test-pv64-a")
    tree = checkout(tmp_path / "xtf", *makes, "echo vcpus=2 > tests/a/test-pv64-a.cfg")
    (tree / "text").write_text("first")
    progress = Progress(said)
    first = build(tree, store=store, progress=progress)
    assert (first.path / "test-pv64-a").read_text() == "first"
    (tree / "text").write_text("second")
    locks = {path.name for path in (store.root / "locks").iterdir()}
    built: list[Artifact] = []

    def again() -> None:
        built.append(build(tree, store=store, progress=progress))

    # The key of what is asked for, found by asking for it in a store of another place.
    key = build(tree, store=Store(tmp_path / "other"), progress=progress).key
    assert f"xtf-{key}" not in locks
    held = Held(store, f"xtf-{key}")

    def go_on() -> None:
        (tree / "text").write_text("third")
        held.close()

    beside(again, until=lambda: "waiting" in said.getvalue(), then=go_on)
    assert (built[0].path / "test-pv64-a").read_text() == "third" and built[0].key != key
    assert not (store.root / "xtf" / key).exists()


def test_build_keeps_kernels_and_their_list(tmp_path: Path) -> None:
    makes = ("mkdir -p tests/a", f"echo '{INFO}' > tests/a/info.json", "echo kernel > tests/a/test-pv64-a")
    tree = checkout(tmp_path / "xtf", *makes, "echo vcpus=2 > tests/a/test-pv64-a.cfg")
    store = Store(tmp_path / "store")
    artifact = build(tree, store=store, progress=Progress())
    assert set(artifact.files) == {"build.log", "test-pv64-a", "tests.json"}
    assert [(test.name, test.vcpus) for test in list_of_tests(artifact.path)] == [("pv64-a", 2)]
    assert build(tree, store=store, progress=Progress()).hit
    assert list((tree / "tests").iterdir()) == [], "it builds a copy"


def test_build_that_makes_no_tests_is_an_error(tmp_path: Path) -> None:
    tree = checkout(tmp_path / "xtf", "true")
    with pytest.raises(UserError, match="its build made no tests"):
        build(tree, store=Store(tmp_path / "store"), progress=Progress())
