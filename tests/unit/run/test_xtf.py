# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite ``xtf`` against its baseline: a whole run, on a QEMU that prints what was prepared for it."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from fakes import fake_backends, fake_built

from harness.build.xtf import LIST
from harness.core.progress import Progress
from harness.core.records import XEN_BASE, Verdict
from harness.plan.selection import select
from harness.plan.xtf import XtfTest
from harness.run.record import RunRecord
from harness.run.request import RunRequest
from harness.run.run import run
from harness.store.artifacts import Artifact

# What "QEMU" prints is in the file of that name beside Xen: HYPERVISOR.d/KERNEL. With several boots the
# output of boot N is in KERNEL.N.
QEMU = """\
#!/bin/sh
[ "$1" = --version ] && { echo QEMU emulator version 1.0; exit; }
folder=$(readlink -f xen).d kernel=$(basename "$(readlink -f kernel)")
echo "$kernel" >> "$folder/boots"
n=$(grep -cx "$kernel" "$folder/boots")
cat "$folder/$kernel.$n" 2>/dev/null || cat "$folder/$kernel"
"""
END = "(XEN) Hardware Dom0 halted: halting machine\n"
TESTS = (
    XtfTest(name="pv64-a", category="xsa"),
    XtfTest(name="pv64-b", category="functional", unmet=("nestedhvm = 1",)),
)


def console(result: str, *said: str) -> str:
    return "\n".join(["(XEN) Xen", "--- Xen Test Framework ---", *said, f"Test result: {result}", END])


CRASH = "--- Xen Test Framework ---\nPANIC: a\n(XEN) Hardware Dom0 crashed: rebooting machine in 5 seconds.\n"
PANIC = "--- Xen Test Framework ---\n(XEN) Panic on CPU 0:\n(XEN) FATAL TRAP\n"


@dataclass
class Host:
    """A host whose QEMU boots a test on ``ours`` and ``base`` as ``says`` has it."""

    root: Path
    tests: tuple[XtfTest, ...] = TESTS

    def says(self, xen: str, kernel: str, text: str) -> None:
        folder = self.root / f"{xen}.d"
        folder.mkdir(exist_ok=True)
        (folder / kernel).write_text(text)

    def boots(self, xen: str) -> int:
        path = self.root / f"{xen}.d/boots"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def run(self, **words: object) -> tuple[Path, RunRecord, str]:
        kernels = self.root / "kernels"
        kernels.mkdir(exist_ok=True)
        (kernels / LIST).write_bytes(msgspec.json.encode(self.tests))
        for name in ("ours", "base", *(f"kernels/{test.kernel}" for test in self.tests)):
            (self.root / name).touch()
        built = replace(
            fake_built(),
            xen=self.root / "ours",
            xens={XEN_BASE: self.root / "base"},
            keys={"xen": "a" * 32, XEN_BASE: "b" * 32},
        )
        backends = replace(
            fake_backends([], build=lambda: built),
            xtf=lambda request, progress: Artifact(
                path=kernels,
                key="x" * 32,
                hit=True,
                reason="",
                files={test.kernel: "1" for test in self.tests},
            ),
        )
        request = RunRequest(selection=select(xtf=kernels, **words))  # type: ignore[arg-type]
        out = io.StringIO()
        with Progress(out) as progress:
            folder, record = run(request, progress=progress, backends=backends)
        return folder, record, out.getvalue()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/qemu-system-x86_64").write_text(QEMU)
    (tmp_path / "bin/qemu-system-x86_64").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    host = Host(tmp_path)
    for xen in ("ours", "base"):
        for test in TESTS:
            host.says(xen, test.kernel, console("SUCCESS"))
    return host


def verdicts(record: RunRecord) -> dict[str, Verdict | None]:
    return {test.test: test.verdict for test in record.tests}


A, B = "test_xtf[pv64-a]", "test_xtf[pv64-b]"


def test_success_on_both(host: Host) -> None:
    folder, record, _ = host.run()
    assert verdicts(record) == {A: Verdict.PASS, B: Verdict.PASS}
    assert [(test.baseline, test.reason) for test in record.tests] == [("success", "")] * 2
    assert {artifact.name: artifact.key[0] for artifact in record.artifacts} == {
        "xtf": "x", "xen": "a", XEN_BASE: "b",
    }  # fmt: skip
    assert record.notes == [
        "xtf: 2 as good as on the base: 2 success (the base: Xen 4.20.3 without the series)"
    ]
    assert [c.layer for c in record.consoles] == ["xtf-pv64-a", "xtf-pv64-b"]
    assert record.exit_code == 0 and (folder / "console-xtf-pv64-a.log").exists()


def test_the_base_is_booted_once(host: Host) -> None:
    host.says("ours", "test-pv64-b", console("FAILURE", "Fail: x"))
    host.says("base", "test-pv64-b", console("FAILURE", "Fail: x"))
    for _ in range(2):
        _, record, _ = host.run()
        assert verdicts(record) == {A: Verdict.PASS, B: Verdict.SKIP}
    assert host.boots("ours") == 4
    assert host.boots("base") == 3, "what is no success there is booted twice, to see that it is no chance"


def test_as_on_the_base_is_no_failure_but_told(host: Host) -> None:
    host.says("ours", "test-pv64-b", console("FAILURE", "Fail: x"))
    host.says("base", "test-pv64-b", console("FAILURE", "Fail: x"))
    folder, record, said = host.run()
    reason = "as on the base: failure: Fail: x (it asks for nestedhvm = 1, which a dom0 cannot have)"
    assert record.tests[1].reason == reason
    assert record.tests[1].baseline == "failure: Fail: x"
    assert reason in said
    assert "1 as good as on the base: 1 success; 1 as on the base: 1 failure" in record.notes[0]
    assert (record.verdict, record.exit_code) == (Verdict.PASS, 0)
    assert (folder / "console-xtf-pv64-b-base.log").read_text() == console("FAILURE", "Fail: x")


def test_a_fix_is_a_pass_that_says_so(host: Host) -> None:
    host.says("base", "test-pv64-a", CRASH)
    _, record, said = host.run()
    assert verdicts(record)[A] is Verdict.PASS
    assert record.tests[0].reason.startswith("better than on the base: success; there it was crash: ")
    assert "better than on the base" in said


# What a test says here and on the base, and the verdict that this makes.
WORSE = (
    (console("FAILURE", "Fail: x"), console("SUCCESS"), Verdict.FAIL, "xen"),
    (console("ERROR", "Error: x"), console("SUCCESS"), Verdict.FAIL, "xen"),
    (console("SKIP", "Skip: x"), console("SUCCESS"), Verdict.FAIL, "xen"),
    (console("FAILURE", "Fail: x"), console("FAILURE", "Fail: y"), Verdict.FAIL, "xen"),
    (CRASH, console("FAILURE", "Fail: x"), Verdict.CRASH, "dom0"),
    (PANIC, CRASH, Verdict.CRASH, "xen"),
    ("--- Xen Test Framework ---\n", console("SUCCESS"), Verdict.CRASH, "xtf"),
)


def test_worse_is_red(host: Host) -> None:
    host.tests = tuple(XtfTest(name=f"pv64-{number}", category="xsa") for number in range(len(WORSE)))
    for test, (ours, base, _, _) in zip(host.tests, WORSE, strict=True):
        host.says("ours", test.kernel, ours)
        host.says("base", test.kernel, base)
    _, record, _ = host.run()
    assert [(test.verdict, test.layer) for test in record.tests] == [case[2:] for case in WORSE]
    for test in record.tests:
        assert test.reason.startswith("worse than on the base: ")
        assert test.evidence
    assert record.verdict is Verdict.CRASH


def test_a_failure_by_chance_on_the_base_excuses_nothing(host: Host) -> None:
    host.says("ours", "test-pv64-a", console("FAILURE", "Fail: x"))
    host.says("base", "test-pv64-a.1", console("FAILURE", "Fail: x"))
    _, record, _ = host.run()
    assert verdicts(record)[A] is Verdict.FAIL
    assert record.tests[0].baseline == "success"


def test_a_kept_hang_of_the_base_excuses_nothing_once_it_is_gone(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.machine.xtf.DEADLINE", 0.5)
    monkeypatch.setattr("harness.machine.direct.PATIENCE", 0.0)
    qemu = host.root / "bin/qemu-system-x86_64"
    qemu.write_text(f'{QEMU}grep -q "hangs" "$folder/$kernel" && exec sleep 60\n')
    for xen in ("ours", "base"):
        host.says(xen, "test-pv64-a", "--- Xen Test Framework ---\nhangs\n")
    for _ in range(2):
        _, record, _ = host.run(keyword="pv64-a")
        assert verdicts(record) == {A: Verdict.SKIP}
    assert host.boots("base") == 3, "two boots that are kept, and one of today"
    host.says("base", "test-pv64-a", console("SUCCESS"))
    _, record, _ = host.run(keyword="pv64-a")
    assert verdicts(record) == {A: Verdict.HANG}
    assert record.tests[0].baseline == "success"


@pytest.mark.parametrize("xen", ["ours", "base"])
def test_a_qemu_that_fails_is_an_error_and_is_not_kept(host: Host, xen: str) -> None:
    qemu = host.root / "bin/qemu-system-x86_64"
    qemu.write_text(f'{QEMU}[ "$(basename $folder)" = {xen}.d ] && exit 1\n')
    host.says(xen, "test-pv64-a", "no KVM\n")
    _, record, _ = host.run(keyword="pv64-a")
    assert verdicts(record) == {A: Verdict.ERROR}
    assert "QEMU failed" in record.tests[0].reason
    host.says(xen, "test-pv64-a", console("SUCCESS"))
    assert verdicts(host.run(keyword="pv64-a")[1]) == {A: Verdict.PASS}


def test_another_qemu_is_another_baseline(host: Host) -> None:
    host.run()
    qemu = host.root / "bin/qemu-system-x86_64"
    qemu.write_text(QEMU.replace("version 1.0", "version 2.0"))
    host.run()
    assert host.boots("base") == 4


def test_categories_select(host: Host) -> None:
    assert list(verdicts(host.run(keyword="xsa")[1])) == [A]
    assert list(verdicts(host.run(keyword="functional")[1])) == [B]


@pytest.mark.parametrize("words", [{"keyword": "nothing"}, {"guests": ["pv64"]}, {"abis": ["3l"]}])
def test_xtf_without_a_test_is_an_error(host: Host, words: dict[str, object]) -> None:
    _, record, _ = host.run(**words)
    assert record.exit_code == 2 and record.error is not None
    assert record.error.message == "--xtf: none of its 2 tests is selected"


def test_xtf_without_a_test_beside_passes_is_an_error(host: Host) -> None:
    mine = host.root / "my_test.py"
    mine.write_text("def test_mine():\n    pass\n")
    _, record, _ = host.run(files=[str(mine)], keyword="mine")
    assert record.verdict is Verdict.ERROR and record.exit_code == 2
