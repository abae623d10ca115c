# SPDX-License-Identifier: GPL-2.0-or-later
"""An exchange between a guest and dom0: its order, and how it ends when one side breaks off."""

from __future__ import annotations

import pytest
from fakes import DEV_START, PORTS, FakeSSH, FakeStream

from harness.guest.exchange import Peer, Server, exchange
from harness.guest.protocol import Ports, ProtocolError, ToolError

SERVED = (
    '{"ev":"result","mode":"serve","opened":100,"refused":null,"seen":99,"lost":1,"duplicated":0,"unknown":0,'
    '"early":0,"mem_free_before_kib":222560,"mem_free_open_kib":222340,"seconds":3.456}'
)
PEER_START = '{"ev":"start","tool":"evtchn-peer","seed":7}'
PEER_END = '{"ev":"result","bound":100,"sent":99,"send_failed":0,"send_ns":1585,"seconds":3.598}'


def test_an_exchange_is_led_in_order() -> None:
    served = FakeStream(
        [
            DEV_START,
            PORTS,
            '{"ev":"drained","early":0}',
            '{"ev":"arrived","total":99}',
            SERVED,
        ]
    )
    peered = FakeStream(
        [
            PEER_START,
            '{"ev":"bound","bound":100,"bind_ns":9}',
            '{"ev":"sent","sent":99,"send_failed":0}',
            PEER_END,
        ]
    )
    guest, dom0 = FakeSSH(served, name="guest:g", time_scale=2.0), FakeSSH(peered)
    seen: list[Ports] = []
    x = exchange(
        guest,
        dom0,
        receiver_domid=3,
        count=None,
        seed=7,
        timeout=10,
        when_open=seen.append,
    )  # type: ignore[arg-type]
    assert (x.sent.sent, x.served.seen, x.served.lost) == (99, 99, 1)
    assert [p.opened for p in seen] == [100]
    assert peered.told == ["bind 17-113,115-117\n", "send\n", "close\n"]
    # time_scale lengthens waits on a slower machine.
    assert served.told == ["drain\n", "await 99 20000\n", "count 600\n"]
    assert guest.commands == ["/opt/evh/tools/evtchn-dev serve --remote=0 --count=max"]
    assert dom0.commands == ["/opt/evh/tools/evtchn-peer --remote=3 --seed=7 --break=none"]
    assert served.closed and peered.closed


def test_a_conversation_that_breaks_off_is_closed_on_both_sides() -> None:
    served, peered = (
        FakeStream([DEV_START, PORTS]),
        FakeStream([PEER_START, '{"ev":"error","what":"x","errno":null,"hint":null}']),
    )
    with pytest.raises(ToolError, match="evtchn-peer in dom0: x"):
        exchange(FakeSSH(served), FakeSSH(peered), receiver_domid=3, count=1, timeout=10)  # type: ignore[arg-type]
    assert served.closed and peered.closed


def test_the_talkers_refuse_a_line_out_of_turn() -> None:
    server = Server(
        FakeSSH(FakeStream([DEV_START, '{"ev":"drained","early":0}'])),
        remote=0,
        count=1,
        timeout=1,
    )  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="expected a line 'ports'"):
        server.ports()
    peer = Peer(FakeSSH(FakeStream([PEER_START, PEER_END])), remote=1, seed=1, timeout=1)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="expected a line 'sent'"):
        peer.send()
