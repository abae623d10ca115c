# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration for xl, with special characters."""

from __future__ import annotations

import pytest

from harness.core.errors import UserError
from harness.core.records import GuestSpec
from harness.guest.xlconfig import render_config, xl_string


def test_guest_config() -> None:
    spec = GuestSpec(
        name="a-1", kind="pvh64", max_event_channels=131073, extra_args='x="a\\b" y'
    )
    lines = dict(
        line.split(" = ", 1)
        for line in render_config(spec, address="192.168.77.10/24").splitlines()
        if " = " in line
    )
    assert lines["name"] == '"a-1"'
    assert lines["type"] == '"pvh"'
    assert lines["max_event_channels"] == "131073"
    assert lines["extra"] == (
        '"console=hvc0 panic=-1 evh.ip=192.168.77.10/24 evh.name=a-1'
        ' xen.3l_events=1 x=\\"a\\\\b\\" y"'
    )
    assert lines["vif"].startswith('[ "bridge=xenbr0')


def test_guest_config_leaves_xls_default() -> None:
    config = render_config(GuestSpec(name="a", kind="pv64"), address="192.168.77.10/24")
    assert "max_event_channels" not in config
    assert 'type = "pv"\n' in config


@pytest.mark.parametrize(
    ("kind", "emulated", "off", "shadow"),
    [
        ("pv64", True, False, False),
        ("pvh64", True, True, False),
        ("hvm64", True, True, False),
        ("pvh32", True, True, True),
        ("pvh64", False, False, False),
        ("pvh32", False, False, False),
    ],
)
def test_guests_avoid_bugs_of_the_emulation(kind: str, emulated: bool, off: bool, shadow: bool) -> None:
    lines = render_config(
        GuestSpec(name="a", kind=kind), address="192.168.77.10/24", emulated=emulated
    ).splitlines()
    assert ('cpus = "all,^0"' in lines, "hap = 0" in lines) == (off, shadow)


def test_guest_without_a_network() -> None:
    config = render_config(GuestSpec(name="a", kind="pv64", network=False), address="192.168.77.10/24")
    assert "vif" not in config and "evh.ip" not in config
    assert 'extra = "console=hvc0 panic=-1 evh.name=a xen.3l_events=1"' in config


def test_guest_without_an_abi() -> None:
    config = render_config(GuestSpec(name="a", kind="pv64", abi=None), address="192.168.77.10/24")
    assert "xen." not in config.split("extra")[1].splitlines()[0]


@pytest.mark.parametrize("name", ["", "7", "a b", "../a", "a;b", "-a", "a" * 62])
def test_invalid_guest_name(name: str) -> None:
    with pytest.raises(UserError, match="cannot be"):
        render_config(GuestSpec(name=name, kind="pv64"), address="192.168.77.10/24")


def test_unknown_guest_kind() -> None:
    with pytest.raises(UserError, match="'vax' is not known"):
        render_config(GuestSpec(name="a", kind="vax"), address="192.168.77.10/24")


def test_xl_string() -> None:
    assert xl_string('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'
    with pytest.raises(UserError):
        xl_string("\x1b[2J")
