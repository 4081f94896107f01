"""A monero-wallet-rpc and a monerod that know no money, for thousands of wallets.

It runs as a pod of the cluster, from a ConfigMap and with the standard library alone, so it imports nothing of this
repository. Slots are told apart by the user of the digest login. Passwords are not checked; the challenge is sent once
per connection, as by the real server, whose nonces belong to a connection.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import secrets
from collections import Counter
from time import monotonic
from typing import Any, cast

WALLET_PORT = 18083
DAEMON_PORT = 18081
FLAPPING_PORT = 18082
"""Of a monerod that hangs up during every other second."""

SLOW = "slow"
"""How the names of files begin whose slot answers a byte each second, once it was told to open one."""

HEIGHT = 3_000_000
NO_WALLET = -13

_USER = re.compile(rb'username="([^"]+)"')
_NONCE = re.compile(rb'nonce="([^"]+)"')
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_CHALLENGE = b'WWW-authenticate: Digest qop="auth",algorithm=MD5,realm="monero-rpc",nonce="%s",stale=%s\r\n'

INFO = {
    "target_height": 0,
    "nettype": "fakechain",
    "synchronized": True,
    "offline": True,
    "busy_syncing": False,
    "tx_pool_size": 0,
    "version": "0.18.5.1-release",
    "status": "OK",
}
BALANCE = {
    "balance": 0,
    "unlocked_balance": 0,
    "blocks_to_unlock": 0,
    "time_to_unlock": 0,
    "multisig_import_needed": False,
}


class Wallets:
    """What is open in each slot, and what was asked. ``begin_open``: every slot holds the wallet from the start."""

    def __init__(self, address: str, *, begin_open: bool = False) -> None:
        self._address = address
        self._begin_open = begin_open
        self._is_open: dict[bytes, bool] = {}
        self._slow: set[bytes] = set()
        self._constant: dict[str, dict[str, Any]] = {
            "get_address": {"address": address, "addresses": []},
            "is_multisig": {"multisig": True, "ready": True, "threshold": 2, "total": 3},
            "refresh": {"blocks_fetched": 0, "received_money": False},
            "get_balance": BALANCE,
            "get_transfers": {},
            "incoming_transfers": {},
            "store": {},
        }
        self.height = HEIGHT
        self.calls: Counter[str] = Counter()
        self.tellers: set[bytes] = set()
        self.connections = 0

    def is_slow(self, user: bytes, request: dict[str, Any]) -> bool:
        """Whether this call, and all later ones of its slot, are answered a byte each second."""
        if request["method"] == "open_wallet" and request["params"]["filename"].rpartition("/")[2].startswith(SLOW):
            self._slow.add(user)
        if user in self._slow:
            self.calls[SLOW] += 1
        return user in self._slow

    def answer(self, user: bytes, method: str) -> dict[str, Any]:
        """The ``result`` or the ``error`` of one call."""
        self.calls[method] += 1
        if method == "get_height":
            self.tellers.add(user)
        if method == "get_version":
            return {"result": {"version": 65566}}
        if method == "open_wallet":
            self._is_open[user] = True
            return {"result": {}}
        if not self._is_open.get(user, self._begin_open):
            return {"error": {"code": NO_WALLET, "message": "No wallet file"}}
        if method == "close_wallet":
            self._is_open[user] = False
            return {"result": {}}
        result = {"height": self.height} if method == "get_height" else self._constant.get(method)
        return {"error": {"code": -32601, "message": "Method not found"}} if result is None else {"result": result}

    def report(self, *, reset: bool) -> dict[str, Any]:
        """Calls by method, slots that told a height, and open connections; ``reset`` begins to count anew."""
        report = {"calls": dict(self.calls), "tellers": len(self.tellers), "connections": self.connections}
        if reset:
            self.calls.clear()
            self.tellers.clear()
        return report


class _Http(asyncio.Protocol):
    """Just enough of HTTP/1.1 for clients that send Content-Length and wait for each answer."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every whole request that has arrived."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            found = _LENGTH.search(head)
            stop = end + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < stop:
                return
            body, self._buffer = self._buffer[end + 4 : stop], self._buffer[stop:]
            if self._transport is not None:
                self.write(self._transport, self.respond(head, body))

    def write(self, transport: asyncio.Transport, answer: bytes) -> None:
        """Send an answer."""
        transport.write(answer)

    def respond(self, head: bytes, body: bytes) -> bytes:
        """The whole answer."""
        raise NotImplementedError


def http(status: bytes, body: bytes, headers: bytes = b"") -> bytes:
    """An HTTP answer that keeps the connection."""
    return b"HTTP/1.1 %s\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        headers,
        len(body),
        body,
    )


class WalletHttp(_Http):
    """One connection of a slot's client."""

    def __init__(self, wallets: Wallets) -> None:
        super().__init__()
        self._wallets = wallets
        self._nonce = secrets.token_hex(8).encode()
        self._is_slow = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        super().connection_made(transport)
        self._wallets.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Count it no more."""
        self._wallets.connections -= 1

    def respond(self, head: bytes, body: bytes) -> bytes:
        """Challenge, or answer."""
        user, nonce = _USER.search(head), _NONCE.search(head)
        if user is None or nonce is None or nonce[1] != self._nonce:
            self._wallets.calls["challenge"] += 1
            return http(b"401 Unauthorized", b"", _CHALLENGE % (self._nonce, b"true" if nonce else b"false"))
        request = json.loads(body)
        self._is_slow = self._wallets.is_slow(user[1], request)
        answer = self._wallets.answer(user[1], request["method"])
        return http(b"200 Ok", json.dumps({"jsonrpc": "2.0", "id": "0", **answer}).encode())

    def write(self, transport: asyncio.Transport, answer: bytes) -> None:
        """Send it at once, or a byte each second until the client hangs up."""
        if not self._is_slow:
            transport.write(answer)
        elif answer and not transport.is_closing():
            transport.write(answer[:1])
            asyncio.get_running_loop().call_later(1.0, self.write, transport, answer[1:])


class DaemonHttp(_Http):
    """monerod's get_info, and for the benchmark /stats of this process and /block, which makes one."""

    def __init__(self, wallets: Wallets) -> None:
        super().__init__()
        self._wallets = wallets

    def respond(self, head: bytes, body: bytes) -> bytes:
        """Answer by the path."""
        path = head.split(b" ", 2)[1]
        if path.startswith(b"/stats"):
            return http(b"200 Ok", json.dumps(self._wallets.report(reset=path.endswith(b"reset"))).encode())
        if path == b"/block":
            self._wallets.height += 1
            return http(b"200 Ok", b"{}")
        if path == b"/json_rpc" and json.loads(body)["method"] == "get_info":
            height = self._wallets.height
            info = INFO | {"height": height, "top_block_hash": f"{height:064x}"}
            return http(b"200 Ok", json.dumps({"jsonrpc": "2.0", "id": "0", "result": info}).encode())
        return http(b"404 Not Found", b"{}")


class FlappingDaemonHttp(DaemonHttp):
    """The same, in every other second."""

    def data_received(self, data: bytes) -> None:
        """Answer, or hang up."""
        if int(monotonic()) % 2 and self._transport is not None:
            self._transport.abort()
        else:
            super().data_received(data)


async def serve(
    wallets: Wallets, host: str, wallet_port: int, daemon_port: int, flapping_port: int
) -> list[asyncio.Server]:
    """Listen on the ports."""
    loop = asyncio.get_running_loop()
    return [
        await loop.create_server(lambda: WalletHttp(wallets), host, wallet_port, backlog=4096),
        await loop.create_server(lambda: DaemonHttp(wallets), host, daemon_port, backlog=128),
        await loop.create_server(lambda: FlappingDaemonHttp(wallets), host, flapping_port, backlog=128),
    ]


async def _main() -> None:
    # One connection per slot: the usual soft limit of 1,024 files would end it early.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wallets = Wallets(os.environ["ADDRESS"], begin_open=os.environ.get("BEGIN_OPEN") == "yes")
    servers = await serve(wallets, "0.0.0.0", WALLET_PORT, DAEMON_PORT, FLAPPING_PORT)  # noqa: S104
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(_main())
