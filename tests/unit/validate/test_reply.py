# SPDX-License-Identifier: GPL-2.0-or-later
"""The mail to answer with, and JUnit."""

from __future__ import annotations

import email
import email.policy
from xml.etree import ElementTree

from fakes import git
from validate.conftest import edit


def test_a_reply_to_the_cover_letter(planted, whole, mails) -> None:
    _, folder, _ = whole
    text = (folder / "validate.txt").read_text()
    mail = email.message_from_string(text, policy=email.policy.default)
    cover = email.message_from_string(mails[0].read_text(), policy=email.policy.default)
    assert mail["In-Reply-To"] == cover["Message-ID"] == mail["References"]
    assert mail["Subject"] == "Re: [PATCH v2 0/8] some faults"
    body = " ".join(mail.get_content().split())
    assert f"Tested 8 patches for xen on {planted.path} at {planted.base[:12]}" in body
    assert "patch 3: regression: bare-pv64/3l/conformance::bound/1: crash (was: pass) bound is wrong" in body
    assert "patch 4 does not build: " in body
    assert "as the base, same binary" in body and "bytes: the same structs" in body
    assert "crash: 8 patches; red: 3, 4, 8" in body
    lines = text.partition("\n\n")[2].splitlines()
    assert max(len(line) for line in lines if "/" not in line) <= 100  # paths are not broken
    assert git(planted.path, "status", "--porcelain") == ""


def test_structs_that_grow_are_told(small, validated) -> None:
    edit(small, "int a[4]", "int a[5]", "xen: grow")
    _, folder, _ = validated()
    assert "bytes: struct evtchn 16 -> 20" in (folder / "validate.txt").read_text()


def test_junit_has_a_case_for_each_patch_and_check(whole) -> None:
    record, folder, _ = whole
    root = ElementTree.parse(folder / "junit.xml").getroot()
    cases = {(case.get("classname")[:4], case.get("name")): case for case in root.iter("testcase")}
    assert cases["0001", "applies"].find("failure") is None
    assert cases["0004", "builds"].find("failure") is not None
    assert cases["0003", "conformance"].find("failure").get("type") == "crash"
    assert ("0005", "conformance") not in cases
    assert root.find("testsuite").get("failures") == "5"  # a build, and two suites of two patches
    assert record.exit_code == 3
