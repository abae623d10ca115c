# SPDX-License-Identifier: GPL-2.0-or-later
"""Torn downloads, damaged artifacts, and two runs at once on a store that lacks them."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from faults import Fault

BARE = ("run", "--suite", "conformance", "--guest", "bare-pv64")


class Torn(BaseHTTPRequestHandler):
    """Announces a megabyte and sends half of it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 20))
        self.end_headers()
        self.wfile.write(b"\0" * (1 << 19))

    def log_message(self, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def torn_mirror() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Torn)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/debian"
    server.shutdown()


def test_torn_download(fault: Fault, own_cache: Path, torn_mirror: str) -> None:
    fault.cache = own_cache
    # git and urllib find no way to any other place.
    fault.env |= {
        "XDG_CACHE_HOME": str(own_cache), "EVH_DEBIAN_MIRROR": torn_mirror,
        "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1",
    }  # fmt: skip
    for kind in ("source-xen", "xen"):
        shutil.rmtree(own_cache / "evtchn-harness" / kind)
    fault.injected()
    child = fault.run(*BARE)
    assert child.returncode == 4
    fault.expect("a download is torn off", verdict="error", words="cut short", within=120)


@pytest.mark.quick
@pytest.mark.parametrize("kind", ["bare"])
def test_damaged_artifact(fault: Fault, own_cache: Path, kind: str) -> None:
    fault.cache = own_cache
    fault.env["XDG_CACHE_HOME"] = str(own_cache)
    (artifact,) = list((own_cache / "evtchn-harness" / kind).glob("[!.]*"))[:1]
    files = [path for path in artifact.iterdir() if path.name != "manifest.json"]
    victim = max(files, key=lambda path: path.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 0xFF
    victim.unlink()  # the link is shared with the user's store
    victim.write_bytes(data)
    fault.injected()
    child = fault.run(*BARE)
    assert child.returncode == 0, fault.text()
    why = next(line for _, line in fault.said if f"{kind}: the stored artifact is damaged" in line)
    assert fault.add(f"an artifact is damaged ({kind})", "pass, after it was made anew", why) == ""


def test_two_runs_at_once_make_each_artifact_once(fault: Fault, own_cache: Path) -> None:
    fault.cache = own_cache
    fault.env["XDG_CACHE_HOME"] = str(own_cache)
    for kind in ("tools", "bare"):
        shutil.rmtree(own_cache / "evtchn-harness" / kind)
    fault.injected()
    one, two = fault.start(*BARE, "--run-dir", "one"), fault.start(*BARE, "--run-dir", "two")
    fault.wait(one)
    fault.wait(two)
    assert (one.returncode, two.returncode) == (0, 0), fault.text()
    made = [line for _, line in fault.said if "bare: building" in line]
    fault_name = "two runs at once on a store that lacks artifacts"
    left = fault.add(fault_name, "pass, pass", f"each artifact was made {len(made)} times")
    assert len(made) == 1 and left == ""
