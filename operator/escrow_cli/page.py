"""The gateway's page on this machine: a server on loopback adds token and trust, so that the browser needs neither.

It serves whoever knows its key. The browser gets the key in the fragment of the first address, which is sent to nobody,
and the page sends it as it sends a token to the gateway: kept for one tab and one port, unlike a cookie.
"""

from __future__ import annotations

import json
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import typer

from escrow_cli.errors import CliError

FILES, LISTS = ("/page/",), ("/v1/",)
"""What is served: ``/`` and files to anybody on this machine, lists for the key alone."""

ASKED = ("accept", "if-none-match")
ANSWERED = (
    "cache-control",
    "content-security-policy",
    "content-type",
    "cross-origin-opener-policy",
    "etag",
    "referrer-policy",
    "x-content-type-options",
)

SECONDS = 30
"""For a browser to send a request, or to take an answer."""


class Tokens:
    """Keeps a token for as long as the gateway accepts it."""

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._token = ""

    def get(self, *, instead_of: str = "") -> str:
        """A token; another one than the one that was refused. Raises CliError."""
        with self._lock:
            if self._token in ("", instead_of):
                self._token = self._make()
            return self._token


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, gateway: httpx.Client, tokens: Tokens) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.gateway, self.tokens = gateway, tokens
        self.key = secrets.token_urlsafe(32)

    @property
    def hosts(self) -> frozenset[str]:
        """What the Host header may say: another name that leads here is another site's (DNS rebinding)."""
        return frozenset(f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost"))

    def handle_error(self, *_: Any) -> None:
        """Nothing: a browser that goes away in the middle of an answer is no news."""

    def fetch(self, path: str, query: str, headers: dict[str, str]) -> httpx.Response:
        """The gateway's answer; with another token where one has expired. Raises CliError and httpx.HTTPError."""
        token = self.tokens.get()
        # Path and query alone: a whole address in a request leads nowhere else.
        url = self.gateway.base_url.copy_with(raw_path=(f"{path}?{query}" if query else path).encode())
        answer = self.gateway.get(url, headers={**headers, "authorization": f"Bearer {token}"})
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            token = self.tokens.get(instead_of=token)
            answer = self.gateway.get(url, headers={**headers, "authorization": f"Bearer {token}"})
        return answer


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SECONDS

    def do_GET(self) -> None:
        """Serve one request."""
        found = urlsplit(self.path)
        if self.headers.get("host") not in self.server.hosts:
            self._say(HTTPStatus.MISDIRECTED_REQUEST, "Not the address of this page.")
        elif found.scheme or found.netloc:
            self._say(HTTPStatus.BAD_REQUEST, "Nothing but this page is served.")
        elif found.path == "/" or found.path.startswith(FILES):
            self._forward(found.path, "")
        elif not found.path.startswith(LISTS):
            self._say(HTTPStatus.NOT_FOUND, "Nothing is served here.")
        elif not self._has_key():
            self._say(HTTPStatus.FORBIDDEN, "Open the address that kubectl escrow page printed.")
        else:
            self._forward(found.path, found.query)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Nothing: what is asked every few seconds is no news."""

    def _has_key(self) -> bool:
        given = (self.headers.get("authorization") or "").encode(errors="replace")
        return secrets.compare_digest(given, f"Bearer {self.server.key}".encode())

    def _forward(self, path: str, query: str) -> None:
        asked = {name: value for name in ASKED if (value := self.headers.get(name))}
        try:
            answer = self.server.fetch(path, query, asked)
        except (CliError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            self._say(HTTPStatus.BAD_GATEWAY, f"The gateway does not answer: {error}")
            return
        told = {name: value for name in ANSWERED if (value := answer.headers.get(name))}
        self._send(answer.status_code, answer.content, told)

    def _say(self, status: HTTPStatus, detail: str) -> None:
        """A problem, as the gateway tells its own."""
        body = json.dumps({"title": status.phrase, "status": status.value, "detail": detail}).encode()
        self._send(status, body, {"content-type": "application/problem+json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != HTTPStatus.NOT_MODIFIED:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def served(gateway: httpx.Client, tokens: Tokens, namespace: str) -> Iterator[str]:
    """Serve in the block; gives the address to open, which is a secret."""
    server = _Server(gateway, tokens)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/#key={server.key}&namespace={namespace}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def opened(address: str) -> Iterator[None]:
    """Open an address in a browser; it is in a file of the user's own, since everybody can read command lines."""
    with tempfile.TemporaryDirectory(prefix="xmr-escrow-") as folder:
        file = Path(folder) / "page.html"
        file.write_text(
            '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>Sessions</title>'
            f'<meta http-equiv="refresh" content="0; url={address.replace("&", "&amp;")}">'
        )
        typer.launch(str(file))
        yield
