# SPDX-License-Identifier: GPL-2.0-or-later
"""The serial line, split into Xen's output and dom0's."""

from __future__ import annotations

import pytest
from fakes import HANDED_OVER

from harness.monitor.serial import SerialSplitter


def split(*pieces: bytes) -> dict[str, bytes]:
    splitter = SerialSplitter()
    out = {"xen": b"", "dom0": b""}
    for piece in pieces:
        for layer, part in splitter.feed(piece):
            out[layer] = out.get(layer, b"") + part
    for layer, part in splitter.flush():
        out[layer] += part
    return out


def test_everything_is_xens_until_dom0_runs() -> None:
    got = split(b"\x1b[2J Xen 4.20\n(XEN) a\n", HANDED_OVER, b"from dom0\n")
    assert got == {
        "xen": b"\x1b[2J Xen 4.20\n(XEN) a\n" + HANDED_OVER,
        "dom0": b"from dom0\n",
    }


def test_xen_in_the_middle_of_dom0s_line() -> None:
    got = split(HANDED_OVER, b"[  1.0] half a li(XEN) d0v0 says\nne\n")
    assert got == {"xen": HANDED_OVER + b"(XEN) d0v0 says\n", "dom0": b"[  1.0] half a line\n"}


def test_lines_of_other_domains_are_theirs() -> None:
    pieces = b"(XEN) a\n(d1) [  0.0] Linux vers", b"ion\nfrom dom0 (d", b"12) early\n(d0) port e9\n(d x\n"
    got = split(*pieces)
    assert got == {
        "xen": b"(XEN) a\n",
        "dom1": b"(d1) [  0.0] Linux version\n",
        "dom12": b"(d12) early\n",
        "dom0": b"from dom0 (d0) port e9\n(d x\n",
    }


@pytest.mark.parametrize("said", [b"(XEN) *** Serial input to Xen (type ...)\n", b""])
def test_dom0_is_told_from_xen_without_the_message_that_hands_the_input_over(said: bytes) -> None:
    """With conswitch=ax Xen keeps the input; with loglvl=error it does not print the message."""
    got = split(b"Xen 4.20\n(XEN) Command line: conswitch=ax\n" + said + b"[ 0.0] Linux version 6\n")
    assert got["dom0"] == b"[ 0.0] Linux version 6\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16])
def test_pieces_of_any_size_give_the_same(size: int) -> None:
    stream = HANDED_OVER + b"a (XE) b\n(X(XEN) one\n(XEN) two\nEN) c\nlast (XE"
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert split(*pieces) == {
        "xen": HANDED_OVER + b"(XEN) one\n(XEN) two\n",
        "dom0": b"a (XE) b\n(XEN) c\nlast (XE",
    }
