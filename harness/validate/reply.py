# SPDX-License-Identifier: GPL-2.0-or-later
"""What a validation leaves to answer with: ``validate.txt``, a mail to paste, and ``junit.xml``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from harness.core.records import Verdict
from harness.core.text import printable
from harness.validate.judge import Change
from harness.validate.page import write_page
from harness.validate.patches import Series
from harness.validate.record import PatchRecord, SeriesRecord, SuiteRecord, ValidateRecord
from harness.validate.table import count, told_lines, verdict_line

REPLY, JUNIT = "validate.txt", "junit.xml"
WIDTH = 72


def write_outputs(folder: Path, record: ValidateRecord, series: Sequence[Series]) -> None:
    """Write the reply, the page and the JUnit file.

    Raises:
        OSError: they cannot be written.
    """
    (folder / REPLY).write_text("\n".join(reply(record, series)) + "\n")
    write_page(folder, record, series)
    document = junit(record)
    document.write(str(folder / JUNIT), pretty=True)


def reply(record: ValidateRecord, series: Sequence[Series]) -> Iterator[str]:
    """The reply, line by line: headers, what was tested on what, a table, and what is to be said."""
    first = series[0]
    subject = (first.cover.subject if first.cover else "") or (
        first.patches[0].mail.subject if first.patches[0].mail else first.title or first.source
    )
    yield f"Subject: Re: {' '.join(subject.split())}"
    if first.message_id:
        yield f"In-Reply-To: {first.message_id}"
        yield f"References: {first.message_id}"
    yield ""
    for one in record.series:
        count_of = len([step for step in one.steps if step.number])
        yield from _filled(f"Tested {count_of} patches for {one.kind} on {one.base} "
                           f"({one.base_commit[:12]}; {one.how}).")  # fmt: skip
    machine = {"tcg": "QEMU without KVM", "kvm": "QEMU with KVM"}.get(record.accelerator, "no machine")
    version = record.harness.get("commit") or record.harness.get("version", "")
    yield from _filled(
        f"Level {record.level}, on {machine}, by evtchn-harness {version}. Each patch was applied, built "
        "(release) and, where anything but the build id changed, run; a test counts against a patch only "
        "if it passed before it."
    )
    for one in record.series:
        yield ""
        yield f"  {'patch':<5} {'builds':<6} {'tests':<22} {'code':>7}  subject"
        before = 0
        for step in one.steps:
            size = step.build.text if step.build else 0
            change = f"{size - before:+}" if before and size else f"{size}" if size else ""
            yield f"  {_number(step):<5} {_built(step):<6} {_tests(step):<22} {change:>7}  {step.subject}"[
                :100
            ]
            before = size or before
        yield from _structs(one)
    wrong = [text for text, _ in told_lines(record)]
    if wrong:
        yield ""
        for text in wrong:
            yield from _filled(printable(text), indent="  " if not text.startswith(" ") else "    ")
    yield ""
    yield from _filled(verdict_line(record))


def _filled(text: str, *, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text.strip(),
        WIDTH,
        initial_indent=indent.removesuffix("  "),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _number(step: PatchRecord) -> str:
    return str(step.number) if step.number else "base"


def _built(step: PatchRecord) -> str:
    if step.misfit:
        return "-"
    return "" if step.build is None else "NO" if step.build.error else "yes"


def _tests(step: PatchRecord) -> str:
    if step.misfit:
        return "does not apply"
    if step.build is not None and step.build.same_as is not None:
        return f"as {'the base' if step.build.same_as == 0 else f'patch {step.build.same_as}'}, same binary"
    if not step.suites:
        return ""
    broken = sum(count(suite, Change.BROKEN, Change.GONE) for suite in step.suites)
    mended = sum(count(suite, Change.MENDED) for suite in step.suites)
    passed, cells = (sum(getattr(suite, name) for suite in step.suites) for name in ("passed", "cells"))
    more = [f"{broken} BROKEN"] if broken else []
    more += [f"{mended} fixed"] if mended else []
    return ", ".join([f"{passed}/{cells}", *more])


def _structs(series: SeriesRecord) -> Iterator[str]:
    """The structs whose size the series changes."""
    built = [step.build.structs for step in series.steps if step.build and step.build.structs]
    if not built:
        return
    first, last = built[0], built[-1]
    changed = [f"struct {name} {first[name]} -> {last[name]}" for name in first
               if name in last and first[name] != last[name]]  # fmt: skip
    yield f"  bytes: {', '.join(changed) if changed else 'the same structs'}"


def junit(record: ValidateRecord) -> JUnitXml:
    """One case for each patch and check: applies, builds, and each suite."""
    document = JUnitXml("evh validate")
    for series in record.series:
        suite = TestSuite(f"{series.kind}: {series.title or series.source}")
        suite.timestamp = record.started
        suite.add_property("base", f"{series.base} {series.base_commit}")
        for step in series.steps:
            if step.number:
                suite.add_testcases(list(_cases(step)))
        document.add_testsuite(suite)
    if record.error:
        case = TestCase(name="the validation itself", classname="evh validate")
        case.result = Error(message=printable(record.error), type_=record.state)
        last = TestSuite("evh validate")
        last.add_testcase(case)
        document.add_testsuite(last)
    document.update_statistics()
    return document


def _cases(step: PatchRecord) -> Iterator[TestCase]:
    name = f"{step.number:04} {printable(step.subject)}"
    applies = TestCase(name="applies", classname=name)
    if step.misfit:
        applies.result = Failure(message=printable(step.misfit), type_="fail")
        applies.system_out = printable(step.proof)
    elif not step.commit:
        applies.result = Skipped(message="an earlier patch does not apply", type_="skip")
    yield applies
    if step.build is not None:
        builds = TestCase(name="builds", classname=name, time=step.build.seconds)
        if step.build.error:
            builds.result = Failure(message=printable(step.build.error), type_="fail")
            builds.system_out = printable(step.build.said)
        yield builds
    for suite in step.suites:
        yield _suite_case(name, suite)


def _suite_case(name: str, suite: SuiteRecord) -> TestCase:
    case = TestCase(name=suite.suite, classname=name, time=suite.seconds)
    broken = [one for one in suite.told if one.change in (Change.BROKEN, Change.GONE)]
    if broken:
        worst = max((one.verdict for one in broken), key=list(Verdict).index)
        case.result = Failure(message=f"{len(broken)} broken: {printable(broken[0].cell)}", type_=str(worst))
        case.system_out = printable("\n".join(f"{one.cell}: {one.verdict}: {one.reason}\n{one.reproduce}"
                                              for one in broken))  # fmt: skip
    return case
