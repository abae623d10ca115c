# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutations are made, judged and undone: with real git, make and pytest on small trees."""

from __future__ import annotations

import difflib
import io
import subprocess
from pathlib import Path

import msgspec
import pytest

from harness.core.errors import EvhError, InfraError, UserError
from harness.core.progress import Progress
from harness.core.records import Verdict
from harness.dev.mutate import (
    Trees,
    case_of,
    is_known,
    judged_report,
    judged_run,
    key_of,
    message_of,
    mutate,
    try_one,
)
from harness.dev.mutations import SECTIONS, Finding, Mutation, Results, read
from harness.run.record import BootRecord, ErrorRecord, RunRecord, TestResult
from harness.store.artifacts import Store

ADD = "def add(a, b):\n    return a + b\n"
ADD_C = "int add(int a, int b)\n{\n    return a + b;\n}\n"
TESTS = """import pytest
from harness.add import add

@pytest.mark.parametrize("n", [1, 2])
def test_sum(n):
    assert add(n, 1) == n + 1

def test_zero():
    assert add(0, 0) == 0
"""
UNIT_TEST = """#include <stdio.h>
#include "add.c"
int main(void)
{
    if (add(1, 1) != 2) {
        printf("test_add:7: got %d\\n", add(1, 1));
        return 1;
    }
    puts("all tests passed");
    return 0;
}
"""
MAKEFILE = "t: t.c add.c\n\tcc -o t t.c\nrun: t\n\t./t\nclean:\n\trm -f t\n"


def git_tree(path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    git = ["git", "-C", str(path), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "all"], check=True)
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    files = {
        "harness/__init__.py": "",
        "harness/add.py": ADD,
        "tests/unit/test_add.py": TESTS,
        "pyproject.toml": "[tool.pytest.ini_options]\n",
    }
    return git_tree(tmp_path / "checkout", files)


@pytest.fixture
def xen(tmp_path: Path) -> Path:
    files = {
        "t/Makefile": MAKEFILE, "t/t.c": UNIT_TEST, "t/add.c": ADD_C, ".gitignore": "/t/t\n",
    }  # fmt: skip
    return git_tree(tmp_path / "xen", files)


@pytest.fixture
def trees(tmp_path: Path, checkout: Path, xen: Path, monkeypatch: pytest.MonkeyPatch) -> Trees:
    made = Trees(
        store=Store(tmp_path / "store"), progress=Progress(io.StringIO()), checkout=checkout
    )

    def cloned(where: str) -> None:
        subprocess.run(["git", "clone", "-q", xen, made.path(where)], check=True)

    monkeypatch.setattr(made, "digest", lambda where: f"the {where} tree")
    monkeypatch.setattr(made, "_patch", cloned)
    return made


def mutation(tmp_path: Path, *, file: str, before: str, new: str, run: str, where: str) -> Mutation:
    after = before.replace("a + b", new)
    diff = "".join(
        difflib.unified_diff(before.splitlines(True), after.splitlines(True), f"a/{file}", f"b/{file}")
    )
    path = tmp_path / "broken.patch"
    path.write_text(f"What: it is broken\nIn: {where}\nRun: {run}\n\n{diff}")
    return read(path)


def in_harness(tmp_path: Path, new: str = "a - b", run: str = "pytest tests/unit") -> Mutation:
    return mutation(tmp_path, file="harness/add.py", before=ADD, new=new, run=run, where="harness")


def in_xen(tmp_path: Path, new: str = "a - b") -> Mutation:
    return mutation(tmp_path, file="t/add.c", before=ADD_C, new=new, run="make -C t run", where="xen")


def attempt(one: Mutation, trees: Trees, results: Results | None = None) -> list[str]:
    results = results or Results()
    return [f.test for f in try_one(one, trees, results, progress=Progress(io.StringIO())).findings]


def test_the_tests_that_fail_have_seen_it_and_the_tree_is_whole_again(
    tmp_path: Path, trees: Trees, checkout: Path
) -> None:
    results = Results()
    one = in_harness(tmp_path)
    assert not is_known(one, trees, results)
    assert attempt(one, trees, results) == ["test_sum"]
    assert results.green[one.command].passed == 3
    assert (trees.path("harness") / "harness/add.py").read_text() == ADD
    assert (checkout / "harness/add.py").read_text() == ADD
    assert is_known(one, trees, results)


def test_another_test_or_another_patch_makes_a_result_unknown(
    tmp_path: Path, trees: Trees, checkout: Path
) -> None:
    results = Results()
    one = in_harness(tmp_path)
    attempt(one, trees, results)
    assert not is_known(in_harness(tmp_path, new="b"), trees, results)
    with (checkout / "tests/unit/test_add.py").open("a") as file:
        file.write("\n# more\n")
    assert not is_known(one, trees, results)


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("tests/suites/test_race.py", True),
        ("images/bare/lib/test.c", True),
        ("tests/suites/test_abuse.py", False),
        ("images/tools/load.c", False),
        ("harness/add.py", False),
    ],
)
def test_what_a_suite_uses_decides_and_nothing_else(
    tmp_path: Path, trees: Trees, checkout: Path, file: str, counts: bool
) -> None:
    for name in ("test_race.py", "test_abuse.py"):
        (checkout / "tests/suites" / name).parent.mkdir(exist_ok=True)
        (checkout / "tests/suites" / name).write_text("")
    one = mutation(
        tmp_path, file="t/add.c", before=ADD_C, new="a - b", run="evh run --suite race", where="xen"
    )
    before = key_of(one, trees)
    (checkout / file).parent.mkdir(parents=True, exist_ok=True)
    (checkout / file).write_text("changed")
    assert (key_of(one, trees) != before) is counts


def test_a_mutation_that_makes_no_difference_is_not_seen(tmp_path: Path, trees: Trees) -> None:
    assert attempt(in_harness(tmp_path, new="b + a"), trees) == []


def test_a_command_that_is_red_anyway_sees_nothing(tmp_path: Path, trees: Trees, checkout: Path) -> None:
    (checkout / "tests/unit/test_add.py").write_text(TESTS.replace("== 0", "== 1"))
    with pytest.raises(InfraError, match="does not pass without a mutation: test_zero"):
        attempt(in_harness(tmp_path), trees)


@pytest.mark.parametrize(
    ("new", "run", "message"),
    [
        ("(", "pytest tests/unit", "pytest did not come to run its tests"),
        ("a - b", "pytest tests/unit -k nothing", "did not come to run its tests"),
    ],
)
def test_an_error_is_no_finding(tmp_path: Path, trees: Trees, new: str, run: str, message: str) -> None:
    with pytest.raises(InfraError, match=message):
        attempt(in_harness(tmp_path, new=new, run=run), trees)
    assert (trees.path("harness") / "harness/add.py").read_text() == ADD


def test_a_mutation_that_does_not_apply_is_an_error(tmp_path: Path, trees: Trees, checkout: Path) -> None:
    one = in_harness(tmp_path)
    (checkout / "harness/add.py").write_text("def add(a, b): return a + b\n")
    with pytest.raises(UserError, match="could not apply the mutation broken"):
        attempt(one, trees)


def test_a_unit_test_of_the_tree_gives_its_message(tmp_path: Path, trees: Trees) -> None:
    assert attempt(in_xen(tmp_path), trees) == ["test_add: got 0"]
    assert "a + b" in (trees.path("xen") / "t/add.c").read_text()


def test_a_unit_test_that_does_not_compile_is_an_error(tmp_path: Path, trees: Trees) -> None:
    with pytest.raises(EvhError, match=r"add\.c:3"):
        attempt(in_xen(tmp_path, new="a - c"), trees)


def test_what_a_killed_run_left_is_undone(tmp_path: Path, trees: Trees) -> None:
    trees.make("xen")
    (trees.path("xen") / "t/add.c").write_text("rubbish")
    (trees.path("xen") / "t/new.c").write_text("rubbish")
    assert attempt(in_xen(tmp_path), trees) == ["test_add: got 0"]
    assert not (trees.path("xen") / "t/new.c").exists()


PAGE = "".join(f"<!-- evh mutate: {name} -->\n<!-- end -->\n" for name in SECTIONS.values())


def test_each_result_is_recorded_and_on_the_page_and_the_code_tells_the_worst(
    tmp_path: Path, checkout: Path
) -> None:
    folder = checkout / "tests/mutations"
    folder.mkdir()
    (checkout / "docs").mkdir()
    page = checkout / "docs/mutations.md"
    page.write_text(f"# By hand\n{PAGE}")
    said: list[str] = []

    def run(*names: str, again: bool = False) -> int:
        said.clear()
        return mutate(
            names, again=again, store=Store(tmp_path / "store"), progress=Progress(io.StringIO()),
            say=said.append, checkout=checkout,
        )  # fmt: skip

    for name, new in (("seen", "a - b"), ("same", "b + a")):
        (folder / f"{name}.patch").write_text(in_harness(tmp_path, new=new).text)
    assert run("seen") == 0
    assert said == ["seen      seen: `test_sum`", "1 seen"]
    assert "not tried yet" in page.read_text()
    assert run() == 1
    assert said == ["NOT SEEN  same: ", "seen      seen (tried before): `test_sum`", "1 NOT SEEN, 1 seen"]
    assert page.read_text().startswith("# By hand\n")
    assert page.read_text().endswith("<!-- end -->\n")
    assert "| `test_sum` |" in page.read_text()

    text = in_harness(tmp_path, new="b + a").text
    (folder / "same.patch").write_text(text.replace("\n\n", "\nUnseen: it is the same\n\n", 1))
    assert run() == 0
    assert said[0] == "not seen, as expected same (tried before): it is the same"

    (folder / "same.patch").write_text(in_harness(tmp_path, new="(").text)
    assert run("same") == 4
    assert said[0].startswith("ERROR     same: pytest did not come to run its tests")
    assert "not tried yet" in page.read_text()
    assert run("seen", again=True) == 0
    assert said[0] == "seen      seen: `test_sum`"
    with pytest.raises(UserError, match="no mutation 'nope'"):
        run("nope")


def record(*tests: tuple[str, Verdict, str], state: str = "finished") -> RunRecord:
    return RunRecord(
        id="r", command=[], reproduce="", started="", state=state,
        tests=[
            TestResult(cell="c", test=f"race::test_bare[bare-pv64-{name}-1]", suite="race", guest="bare-pv64",
                       abi="3l", verdict=verdict, layer=layer)
            for name, verdict, layer in tests
        ],
    )  # fmt: skip


def test_a_run_sees_by_fail_crash_and_hang_and_not_by_error_or_skip(tmp_path: Path) -> None:
    got = judged_run(
        tmp_path,
        record(
            ("a", Verdict.PASS, ""), ("b", Verdict.FAIL, ""), ("c", Verdict.CRASH, "xen"),
            ("d", Verdict.HANG, "bare"), ("e", Verdict.SKIP, ""), ("f", Verdict.ERROR, ""),
        )
    )  # fmt: skip
    assert got.passed == 1
    assert got.findings == (
        Finding(test="b", guest="bare-pv64"),
        Finding(test="c", guest="bare-pv64", verdict="crash", layer="xen"),
        Finding(test="d", guest="bare-pv64", verdict="hang", layer="bare"),
    )


def test_a_boot_that_was_lost_is_judged_by_its_console(tmp_path: Path) -> None:
    """All cells of such a boot hang, also those of tests that had passed."""
    (tmp_path / "console.log").write_text(
        "KTAP version 1\n1..4\nok 1 a\n# line 7: x\nnot ok 2 b\nok 3 c\n(XEN) hello\n"
    )
    got = record(*((name, Verdict.HANG, "bare") for name in "dcba"), ("other", Verdict.FAIL, ""))
    for test in got.tests[:4]:
        test.boot = 3
    got.tests[4].boot = 4
    words = {
        "kind": "bare-pv64", "args": "", "seed": None, "deterministic": False, "vcpus": 2, "memory_mib": 1,
        "xen_args": "", "reason": "", "seconds": 1.0, "console": "console.log",
    }  # fmt: skip
    verdicts = {3: Verdict.HANG, 4: Verdict.FAIL}
    got.boots = [BootRecord(number=number, verdict=verdict, **words) for number, verdict in verdicts.items()]
    lost = Finding(test="c", guest="bare-pv64", verdict="hang", layer="bare", after=True)
    failed = [Finding(test=name, guest="bare-pv64") for name in ("b", "other")]
    assert judged_run(tmp_path, got).findings == (failed[0], lost, failed[1])
    (tmp_path / "console.log").write_text("(XEN) hello\n")
    assert judged_run(tmp_path, got).findings[0] == msgspec.structs.replace(lost, test="")


def test_a_run_that_ends_in_an_error_sees_nothing(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="1 tests ended in an error"):
        judged_run(tmp_path, record(("a", Verdict.PASS, ""), ("b", Verdict.ERROR, "")))
    with pytest.raises(InfraError, match="did not come to its end: killed"):
        judged_run(tmp_path, record(("a", Verdict.FAIL, ""), state="killed"))
    failed = record(("a", Verdict.FAIL, ""))
    failed.error = ErrorRecord(kind="UserError", message="does not compile")
    with pytest.raises(InfraError, match="does not compile"):
        judged_run(tmp_path, failed)


def test_names_of_tests() -> None:
    assert case_of("race::test_bare[bare-pv64-open_against_open-1]", "bare-pv64") == "open_against_open"
    assert case_of("conformance::test_bare[bare-pv32-a_case]", "bare-pv32") == "a_case"
    assert case_of("smoke::test_few[pv64-3l]", "pv64") == "test_few[pv64-3l]"


def test_the_first_message_of_a_unit_test_counts() -> None:
    assert message_of(["./t\n", "check:12: 3 retired\n", "make: *** Error 1\n"]) == "check: 3 retired"
    assert message_of(["make: *** [Makefile:4: run]  Segmentation fault\n"]).endswith("Segmentation fault")


def test_pytests_report_without_a_test_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="no such option"):
        judged_report(tmp_path / "none.xml", "no such option")
