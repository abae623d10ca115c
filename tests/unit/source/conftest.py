# SPDX-License-Identifier: GPL-2.0-or-later
"""A store, and a server that misbehaves on request."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fakes import CONTENT

from harness.core.progress import Progress
from harness.source import apt
from harness.store.artifacts import Store


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT complete, cut short or altered, depending on the requested name."""

    def do_GET(self) -> None:
        if "absent" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        body = CONTENT[:-1] + b"!" if "altered" in self.path else CONTENT
        self.wfile.write(body[:5000] if "short" in self.path else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def progress() -> Progress:
    return Progress(io.StringIO())


@pytest.fixture
def no_debian(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose apt has no Debian archive."""
    monkeypatch.setattr(apt, "mirror", lambda: None)
