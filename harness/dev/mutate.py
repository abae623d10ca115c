# SPDX-License-Identifier: GPL-2.0-or-later
"""`evh mutate`: make each deliberate bug, build it, run the tests that must notice it, and say which did.

    ROOT/mutations/xen, linux       the patched trees as git work trees of their own
    ROOT/mutations/harness          a copy of this checkout
    ROOT/mutations/runs, logs       run folder and output of the last try of each mutation

The trees are kept, so that make compiles only what a mutation changes. Before a
command judges a mutation it has to pass on the tree without one: a test that is
red anyway notices nothing.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

from harness.build.recipes import recipes, source_of
from harness.core import process
from harness.core.errors import EvhError, InfraError, UserError
from harness.core.paths import CHECKOUT
from harness.core.progress import Progress
from harness.core.records import Source, Verdict
from harness.dev.mutations import (
    FOLDER,
    PAGE,
    Finding,
    Green,
    Mutation,
    Result,
    Results,
    filled_in,
    load_results,
    names_of,
    read_all,
    save_results,
)
from harness.monitor import ktap
from harness.plan.suites import SUITES
from harness.run.record import RUN_JSON, BootRecord, RunRecord, load
from harness.source.series import digest_of, export, git, prepared
from harness.store.artifacts import Store
from harness.store.hashes import digest, sha256_of

# Folders of this checkout that decide a result besides the mutation, the series and the suites that its
# command names, by the table it belongs to. The harness counts only where it is mutated; elsewhere every
# change of it would mean hours.
DECIDES = {
    "hypervisor": ("images/bare",),
    "guest": ("images",),
    "unit": (),
    "harness": ("harness", "tests/unit"),
}
NOTICED = (Verdict.FAIL, Verdict.CRASH, Verdict.HANG)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a command's tests said: how many passed, and which did not."""

    passed: int
    findings: tuple[Finding, ...]


class Trees:
    """The work trees in which mutations are made; each is made when it is first needed."""

    def __init__(self, *, store: Store, progress: Progress, checkout: Path = CHECKOUT) -> None:
        self.root = store.root / "mutations"
        self.checkout = checkout
        self._store = store
        self._progress = progress
        self._made: set[str] = set()

    def path(self, where: str) -> Path:
        """The work tree of ``xen``, ``linux`` or ``harness``."""
        return self.root / where

    def log(self, mutation: Mutation) -> Path:
        """The file that gets the output of the commands that try a mutation."""
        return self.root / "logs" / f"{mutation.name}.log"

    def digest(self, where: str) -> str:
        """Hash of the source and the series; empty for ``harness``, of which DECIDES has what matters.

        Raises:
            UserError, InfraError: the source cannot be fetched.
        """
        return "" if where == "harness" else digest_of(*self._series(where))

    def _series(self, where: str) -> tuple[Source, tuple[Path, ...]]:
        recipe = recipes()[where]
        return source_of(recipe, store=self._store, progress=self._progress), recipe.patches

    def make(self, where: str) -> Path:
        """Make the tree without a mutation, or bring it up to date; once for each object.

        Raises:
            UserError, InfraError: the source cannot be fetched, or the series does not apply.
        """
        path = self.path(where)
        if where not in self._made:
            (self.root / "logs").mkdir(parents=True, exist_ok=True)
            if where != "harness":
                self._patch(where)
            self._made.add(where)
        self.clean(where)
        return path

    def _patch(self, where: str) -> None:
        source, patches = self._series(where)
        wanted = digest_of(source, patches)
        path, stamp = self.path(where), self.root / f"{where}.digest"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        with prepared(source, patches, store=self._store, progress=self._progress) as tree:
            if not (path / ".git").is_dir():
                git(self.root, "clone", "--quiet", "--shared", "--no-checkout", tree.path, path,
                    what=f"make the work tree {path}")  # fmt: skip
            git(path, "fetch", "--quiet", tree.path, "HEAD", what=f"update {path}")
            git(path, "checkout", "--quiet", "--force", "--detach", "FETCH_HEAD", what=f"update {path}")
        stamp.write_text(wanted)

    def clean(self, where: str) -> None:
        """Undo a mutation, of this or of an earlier, killed run; objects stay."""
        path = self.path(where)
        if where == "harness":
            export(self.checkout, path)
            return
        (path / ".git/index.lock").unlink(missing_ok=True)
        git(path, "checkout", "--quiet", "--force", "HEAD", "--", ".", what=f"clean {path}")
        git(path, "clean", "--quiet", "-fd", what=f"clean {path}")

    @contextmanager
    def mutated(self, mutation: Mutation) -> Iterator[Path]:
        """The tree with a mutation in it, for the duration of the context.

        Raises:
            UserError: the mutation does not apply.
        """
        path = self.make(mutation.where)
        patch = self.root / "applied.patch"
        patch.write_text(mutation.text)
        try:
            process.run(
                ["git", "-C", path, "apply", patch],
                what=f"apply the mutation {mutation.name}",
                error=UserError,
                hint=f"Make it again for the tree {path}.",
            )
            yield path
        finally:
            self.clean(mutation.where)


def key_of(mutation: Mutation, trees: Trees) -> str:
    """Hash of everything that decides a mutation's result: the tree, the tests, the command, the patch."""
    return digest("\n".join([_key_of_green(mutation, trees), mutation.patch_digest]))


def _key_of_green(mutation: Mutation, trees: Trees) -> str:
    parts = [mutation.command, trees.digest(mutation.where)]
    parts += [f"{path.relative_to(trees.checkout)} {sha256_of(path)}" for path in _deciding(mutation, trees)]
    return digest("\n".join(parts))


def _deciding(mutation: Mutation, trees: Trees) -> list[Path]:
    """The files of this checkout that decide the result."""
    folders = [trees.checkout / folder for folder in DECIDES[mutation.section]]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    named = [word for option, word in pairwise(mutation.run) if option == "--suite" and word in SUITES]
    files += [trees.checkout / "tests/suites" / SUITES[suite].file for suite in named]
    return sorted(path for path in files if "__pycache__" not in path.parts)


def by_evh(mutation: Mutation, tree: Path, trees: Trees) -> Judged:
    """Run suites on Xen or Linux as it is in ``tree``.

    Raises:
        InfraError: it does not compile, or the run did not come to its end.
    """
    folder = trees.root / "runs" / mutation.name
    shutil.rmtree(folder, ignore_errors=True)
    option = f"--{mutation.where}-tree"
    said = ""
    try:
        _logged(
            [sys.executable, "-m", "harness", *mutation.run[1:], option, tree, "--run-dir", folder],
            trees.log(mutation), cwd=trees.checkout,
        )  # fmt: skip
    except InfraError as error:  # as for every run that is not green
        said = error.message
    if not (folder / RUN_JSON).exists():
        raise InfraError(f"`{mutation.command}` made no run: {said}", hint="Correct the line Run:.")
    return judged_run(*load(folder))


def judged_run(folder: Path, record: RunRecord) -> Judged:
    """What a run says of a mutation.

    Raises:
        InfraError: the run ended early, or its tests could not say anything.
    """
    if record.state != "finished" or record.error is not None:
        why = record.error.message if record.error else record.state
        raise InfraError(f"the run did not come to its end: {why}", hint="Look at its log.")
    findings: list[Finding] = []
    counted: list[BootRecord] = []
    lost = {boot.number: boot for boot in record.boots if boot.verdict in (Verdict.CRASH, Verdict.HANG)}
    for one in record.tests:
        if one.verdict not in NOTICED:
            continue
        if (boot := lost.get(one.boot or 0)) is None:
            name = case_of(one.test, one.guest)
            findings.append(Finding(test=name, guest=one.guest, verdict=one.verdict, layer=one.layer))
        elif boot not in counted:
            counted.append(boot)
            findings += of_lost_boot(folder, boot, layer=one.layer)
    errors = [one for one in record.tests if one.verdict not in (*NOTICED, Verdict.PASS, Verdict.SKIP)]
    if errors and not findings:
        raise InfraError(
            f"{len(errors)} tests ended in an error, the first is {errors[0].test}: {errors[0].reason}",
            hint="An error says nothing about the mutation.",
        )
    passed = sum(one.verdict is Verdict.PASS for one in record.tests)
    return Judged(passed=passed, findings=tuple(findings))


def of_lost_boot(folder: Path, boot: BootRecord, *, layer: str) -> list[Finding]:
    """The findings of a bare guest that crashed or hung: what failed before, and the last test that ended.

    All tests of such a boot have its verdict, also those that ended before, so the console is asked.
    """
    cases = ktap.parse((folder / boot.console).read_text(errors="replace").splitlines()).cases
    last = cases[-1].name if cases else ""
    return [
        *(Finding(test=case.name, guest=boot.kind) for case in cases if not case.ok),
        Finding(test=last, guest=boot.kind, verdict=boot.verdict, layer=layer, after=True),
    ]


def case_of(test: str, guest: str) -> str:
    """Name of a test for a table.

    Of a bare guest's, ``race::test_bare[bare-pv64-open_against_open-1]``, it is ``open_against_open``.
    """
    name, _, parameters = test.rpartition("::")[2].partition("[")
    if name != "test_bare":
        return test.rpartition("::")[2]
    return re.sub(r"-\d+$", "", parameters.rstrip("]").removeprefix(f"{guest}-"))


def by_make(mutation: Mutation, tree: Path, trees: Trees) -> Judged:
    """Run a unit test that is a make target of the tree, and ends at the first failure.

    Raises:
        UserError: it does not compile.
    """
    _, *words = mutation.run
    folder = words[: words.index("-C") + 2] if "-C" in words else []
    log = trees.log(mutation)
    _logged(["make", *folder, "clean"], log, cwd=tree)
    # First without the last word, the target that runs it: an error of the compiler is no finding.
    _logged(["make", *words[:-1]], log, cwd=tree, error=UserError, hint="The mutation has to compile.")
    said: list[str] = []
    try:
        _logged(["make", *words], log, cwd=tree, on_line=said.append)
    except InfraError:
        return Judged(passed=0, findings=(Finding(test=message_of(said)),))
    return Judged(passed=1, findings=())


def message_of(lines: Sequence[str]) -> str:
    """The message of a unit test that failed: ``function: message``, without the number of the line."""
    for line in lines:
        if match := re.fullmatch(r"(\w+):\d+: (.+)", line.strip()):
            return f"{match[1]}: {match[2]}"
    return " ".join(lines[-1].split()) if lines else "no output"


def by_pytest(mutation: Mutation, tree: Path, trees: Trees) -> Judged:
    """Run unit tests of the harness in a copy of this checkout.

    Raises:
        InfraError: pytest did not come to run them.
    """
    report = trees.root / "junit.xml"
    report.unlink(missing_ok=True)
    said = ""
    try:
        _logged(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}",
             *mutation.run[1:]],
            trees.log(mutation), cwd=tree,
            # Before this checkout, which is installed.
            env={"PYTHONPATH": str(tree), "PYTEST_ADDOPTS": "", "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    except InfraError as error:
        said = error.message
    return judged_report(report, said)


def judged_report(report: Path, said: str) -> Judged:
    """What pytest's report in JUnit's format says of a mutation.

    Args:
        said: pytest's last lines if it failed.

    Raises:
        InfraError: it holds no test, or one that could not be collected.
    """
    cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    broken = [case.get("name", "") for case in cases if not case.get("classname")]
    if not cases or broken:
        raise InfraError(f"pytest did not come to run its tests: {said}", hint="Correct the mutation.")
    red = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    green = [case for case in cases if case not in red and case.find("skipped") is None]
    # A test of many parameters is one test.
    names = dict.fromkeys(case.get("name", "").partition("[")[0] for case in red)
    return Judged(passed=len(green), findings=tuple(Finding(test=name) for name in names))


def _logged(
    command: Sequence[str | Path],
    log: Path,
    *,
    cwd: Path,
    env: dict[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    error: type[EvhError] = InfraError,
    hint: str = "",
) -> None:
    process.run(
        command, what=f"run {Path(command[0]).name}", cwd=cwd, env=env, log=log,
        on_line=on_line, error=error, hint=hint,
    )  # fmt: skip


JUDGES = {"evh": by_evh, "make": by_make, "pytest": by_pytest}


def try_one(mutation: Mutation, trees: Trees, results: Results, *, progress: Progress) -> Result:
    """Try a mutation, and put what happened into ``results``.

    Raises:
        EvhError: it does not apply or compile, or its tests are not green without it.
    """
    judge = JUDGES[mutation.run[0]]
    trees.log(mutation).unlink(missing_ok=True)
    green, key = results.green.get(mutation.command), _key_of_green(mutation, trees)
    if green is None or green.key != key:
        with progress.step(f"without a mutation: {mutation.command}"):
            judged = judge(mutation, trees.make(mutation.where), trees)
        if judged.findings or not judged.passed:
            red = ", ".join(one.test for one in judged.findings[:4]) or "no test ran"
            raise InfraError(
                f"`{mutation.command}` does not pass without a mutation: {red}",
                hint="Correct that first: what is red anyway notices nothing.",
            )
        results.green[mutation.command] = Green(key=key, passed=judged.passed)
    with (
        progress.step(f"{mutation.name}: {mutation.command}", announce_end=False),
        trees.mutated(mutation) as tree,
    ):
        judged = judge(mutation, tree, trees)
    result = Result(
        patch=mutation.patch_digest, key=key_of(mutation, trees), findings=list(judged.findings)
    )
    results.mutations[mutation.name] = result
    return result


def is_known(mutation: Mutation, trees: Trees, results: Results) -> bool:
    """Whether ``results`` has this mutation, tried on this tree with these tests."""
    known = results.mutations.get(mutation.name)
    return known is not None and known.key == key_of(mutation, trees)


def mutate(
    names: Sequence[str],
    *,
    again: bool,
    store: Store,
    progress: Progress,
    say: Callable[[str], None],
    checkout: Path = CHECKOUT,
) -> int:
    """Try mutations, record each at once, and write the page.

    Args:
        names: of mutations; empty: all.
        again: also those that ``results.json`` has for this tree and these tests.
        say: prints a line of the result.
        checkout: holds the mutations, their results and the page.

    Returns:
        The exit code: 0, 1 if a mutation that must be seen was not, 4 if one could not be tried.

    Raises:
        UserError: a name is unknown, or a mutation is not as described.
    """
    folder, page = checkout / FOLDER, checkout / PAGE
    everything = read_all(folder)
    unknown = [name for name in names if name not in {one.name for one in everything}]
    if unknown:
        raise UserError(
            f"there is no mutation {unknown[0]!r}",
            hint=f"{FOLDER} has: {', '.join(one.name for one in everything)}.",
        )
    trees = Trees(store=store, progress=progress, checkout=checkout)
    counts: Counter[str] = Counter()
    with (
        store.in_use(say=progress.say),
        store.lock("mutations", what="mutations: another run is trying them", say=progress.say),
    ):
        results = load_results(folder)
        for gone in results.mutations.keys() - {one.name for one in everything}:
            del results.mutations[gone]
        for one in everything:
            if names and one.name not in names:
                continue
            note, seen = " (tried before)", ""
            try:
                if again or not is_known(one, trees, results):
                    note = ""
                    try_one(one, trees, results, progress=progress)
                findings = results.mutations[one.name].findings
                seen = names_of(findings) or one.unseen
                outcome = "seen" if findings else "not seen, as expected" if one.unseen else "NOT SEEN"
            except EvhError as error:
                results.mutations.pop(one.name, None)  # what it has is out of date
                outcome, seen = "ERROR", f"{error.message}\n    log: {trees.log(one)}"
            counts[outcome] += 1
            say(f"{outcome:<9} {one.name}{note}: {seen}")
            save_results(results, folder)
            page.write_text(filled_in(page.read_text(), everything, results.mutations))
    say(", ".join(f"{number} {outcome}" for outcome, number in counts.items()) or "no mutation")
    return 4 if counts["ERROR"] else 1 if counts["NOT SEEN"] else 0
