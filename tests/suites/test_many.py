# SPDX-License-Identifier: GPL-2.0-or-later
"""dom0 with the back ends of many guests, the use case for which the 3-level ABI was proposed.

Each guest has a disk and a network device, so with its console and xenstore
dom0 holds five ports for it, plus those of an event load: in total more than
the 2-level ABI offers.
"""

from __future__ import annotations

import posixpath
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.core.layout import DOM0_ADDRESS
from harness.core.records import Abi
from harness.guest import lifecycle
from harness.guest.load import Load
from harness.guest.tools import LIMITS, abi_of

GUESTS = 64
MEMORY = 80
PORTS = 64
DISK_MIB = 2
SENT_KIB = 192
# Memory for dom0, and for each guest its own memory plus Xen's overhead.
pytestmark = pytest.mark.machine(abi="3l", memory_mib=2304 + GUESTS * (MEMORY + 4), dom0_mib=1792)

# Xen's own block script also handles every kind of file and driver and starts dozens of processes,
# which are slow under emulation. blkback continues once physical-device is written.
DISK_SCRIPT = """\
#!/bin/sh
if [ "$1" = add ]; then
    device=$(losetup -f --show "$(xenstore-read "$XENBUS_PATH/params")") || exit 1
    xenstore-write "$XENBUS_PATH/node" "$device"
    xenstore-write "$XENBUS_PATH/physical-device" "$(stat -c %t:%T "$device")"
    xenstore-write "$XENBUS_PATH/hotplug-status" connected
else
    losetup -d "$(xenstore-read "$XENBUS_PATH/node")"
fi
"""

# CGI script in dom0: reads all of a guest's bytes, sends them back, and logs the guest's address.
ECHO = "/cgi-bin/evh-echo"
HEARD = "/run/evh-heard"
ECHO_SCRIPT = f"""\
#!/bin/sh
body=$(mktemp /tmp/echo.XXXXXX)
head -c "$CONTENT_LENGTH" > "$body"
printf 'Content-Type: application/octet-stream\\r\\nContent-Length: %d\\r\\n\\r\\n' "$(stat -c %s "$body")"
cat "$body"
rm "$body"
echo "$REMOTE_ADDR" >> {HEARD}
"""

# Background work of each guest, while the file GO exists in dom0: write the disk and read it back; send
# bytes to dom0 and get them back. By TCP, because packets may come late or get lost when 64 guests share
# two emulated CPUs, whereas a ring whose event is lost stalls forever. Start and end are signalled by HTTP,
# because otherwise each guest would need a new SSH session through a busy dom0. dom0 may be too busy to
# answer, so only an explicit 404 ends the work. Its web server queues ten requests; a refused request is
# repeated and counted.
GO = "/run/evh-go"
WEB = f"http://{DOM0_ADDRESS}:{lifecycle.PORT}"
ASK = f"wget -q -O /dev/null {WEB}{GO}"
WORK = f"""\
until {ASK}; do sleep 5; done
rounds=0 again=0
until {ASK} 2>&1 | grep -q ' 404 '; do
    text="$(hostname) $rounds"
    yes "$text" | dd of=/dev/xvda bs=64k count={DISK_MIB * 16} iflag=fullblock conv=fsync || exit
    sync; echo 3 > /proc/sys/vm/drop_caches
    dd if=/dev/xvda bs=64k | md5sum > /tmp/sum
    head -c {SENT_KIB}k /dev/urandom | base64 > /tmp/sent  # as wget sends text only
    until wget -q -O /tmp/back --post-file /tmp/sent {WEB}{ECHO}; do again=$((again + 1)); sleep 1; done
    cmp /tmp/sent /tmp/back || exit
    rounds=$((rounds + 1))
    echo "$rounds $again" > /tmp/rounds
done
mv /tmp/rounds /tmp/done
"""


def image(number):
    return f"/var/tmp/disk-{number}"


def open_ports(tool, dom0):
    return tool(dom0, "evtchn-status").result.open


@pytest.mark.cell(guest="pv64", abi="3l")
def test_back_ends_of_many_guests(machine, dom0, start_guest, load, tool, row, metric, storm_seconds):
    lifecycle.serve(dom0)
    dom0.put(DISK_SCRIPT.encode(), "/etc/xen/scripts/evh-disk", mode=0o755)
    dom0.run(f"mkdir -p {posixpath.dirname(ECHO)}", timeout=30)
    dom0.put(ECHO_SCRIPT.encode(), ECHO, mode=0o755)
    before = open_ports(tool, dom0)
    guests = []
    for number in range(GUESTS):
        dom0.run(f"truncate -s {DISK_MIB}M {image(number)}", timeout=30)
        disk = f"format=raw, vdev=xvda, access=rw, script=evh-disk, target={image(number)}"
        guests.append(
            start_guest(name=f"g{number}", kind="pv64", memory_mib=MEMORY, vcpus=1, disk=disk)
        )
        guests[-1].ssh.run("test -b /dev/xvda", timeout=60)
    assert {abi_of(g.ssh) for g in guests} == {"3l"}
    idle = open_ports(tool, dom0)
    metric("guests", len(guests))
    metric("dom0's ports before", before)
    metric("dom0's ports with all guests", idle)
    assert idle - before >= 4 * GUESTS, "console, xenstore, disk and network of each"

    loads = [load(dom0, g, ports=PORTS) for g in guests]
    busy = open_ports(tool, dom0)
    metric("dom0's ports with all loads", busy)
    assert busy == idle + GUESTS * PORTS > LIMITS[Abi.L2]
    for g in guests:
        g.ssh.run(f"({WORK}) </dev/null >/tmp/log 2>&1 &", timeout=120)
    dom0.run(f"touch {GO}", timeout=30)
    for one in loads:
        one.go()
    began = time.monotonic()
    # Wait until dom0 has received data from every guest since the load started.
    heard = f'[ "$(sort -u {HEARD} 2>/dev/null | wc -l)" = {GUESTS} ]'
    dom0.run(f"rm -f {HEARD}; {lifecycle.polling(dom0, heard, seconds=300, every=1)}", timeout=600)
    machine.pause(storm_seconds)
    metric("seconds of all guests' events at once", time.monotonic() - began)
    # In parallel, because one by one the first would wait while the others still run.
    with ThreadPoolExecutor(len(loads)) as pool:
        tallies = list(pool.map(Load.pause, loads))
    dom0.run(f"rm {GO}", timeout=120)
    row(
        abi="3l", guest="pv64", path="load", opened=sum(t.ports for t in tallies),
        sent=sum(t.sent for t in tallies), seen=sum(t.seen for t in tallies),
        lost=sum(t.lost for t in tallies), duplicated=sum(t.duplicated for t in tallies),
        seconds=max(t.seconds for t in tallies), note=f"{GUESTS} guests with disk and network, and dom0",
    )  # fmt: skip
    assert all(t.exact for t in tallies)
    # How evenly the guests were served.
    metric("events of the least served guest", min(t.sent for t in tallies))
    metric("events of the most served guest", max(t.sent for t in tallies))

    rounds, repeated = [], 0
    for number, g in enumerate(guests):
        finished = lifecycle.polling(g.ssh, "[ -e /tmp/done ]", seconds=300, every=0.2, late="break")
        ended = g.ssh.run(
            f"{finished}; cat /tmp/log >&2; cat /tmp/done && cut -d' ' -f1 /tmp/sum",
            timeout=600,
        )
        done, again, checksum = ended.out.split()
        rounds.append(int(done))
        repeated += int(again)
        # The guest read the same data that dom0 has in the disk's file, and it is this guest's data.
        in_dom0 = dom0.run(
            f"md5sum < {image(number)} | cut -d' ' -f1; head -c 100 {image(number)} | head -n 1", timeout=60
        )
        assert in_dom0.out.split() == [checksum, g.spec.name, str(int(done) - 1)]
    metric("rounds of disk and network, least", min(rounds))
    metric("requests that were repeated", repeated)

    for one in loads:
        one.close()
    for g in guests:
        g.destroy()
    assert lifecycle.until_open(dom0, before) == before
    assert not dom0.run("losetup -a", timeout=30).out
