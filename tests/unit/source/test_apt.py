# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of apt's archives is Debian's."""

from __future__ import annotations

import pytest

from harness.core.errors import UserError
from harness.source import apt


@pytest.mark.parametrize(
    ("targets", "uri"),
    [
        ("http://a/debian/|Debian|Debian|main\nhttp://b/x|Other|Other|main", "http://a/debian/"),
        ("http://s/debian-security|Debian|Debian-Security|main\nhttp://a/d|Debian|Debian|main", "http://a/d"),
        ("http://u/ubuntu|Ubuntu|Ubuntu|main", None),
        # Before the first apt-get update, apt does not know the origin.
        ("http://a/debian|$(ORIGIN)|$(LABEL)|main", "http://a/debian"),
        ("http://a/debian|Debian|Debian|contrib", None),
        ("", None),
    ],
)
def test_which_mirror_is_debian(targets: str, uri: str | None) -> None:
    assert apt.pick_mirror(targets) == uri


def test_a_mirror_without_a_scheme_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(apt.MIRROR_VARIABLE, "mirror.example/debian")
    with pytest.raises(UserError) as error:
        apt.mirror()
    assert "mirror.example/debian is not a URI" in error.value.message and "http://" in error.value.hint
