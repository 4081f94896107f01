"""Names that take for ever to look up delay nobody else."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from escrow_operator.adapters.monerod import Daemon
from escrow_operator.errors import DaemonTimeout, DaemonUnreachable
from unit.adapters.fake_server import FakeServer, Serve

INFO = {
    "height": 1,
    "target_height": 0,
    "nettype": "fakechain",
    "synchronized": True,
    "offline": False,
    "busy_syncing": False,
    "top_block_hash": "a" * 64,
    "tx_pool_size": 0,
    "version": "0.18",
    "status": "OK",
}
SLOW = 50
"""More than an event loop has threads for look-ups."""


async def test_i10_names_that_are_not_answered_leave_others_theirs(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = (await serve(FakeServer(results={"get_info": INFO}).handle)).rpartition(":")[2]
    over = threading.Event()
    real = socket.getaddrinfo

    def look_up(host: str, *args: Any, **options: Any) -> Any:
        if host.startswith("slow"):
            over.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real("127.0.0.1" if host == "good.test" else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    slow = [Daemon(f"http://slow-{number}.test:18081") for number in range(SLOW)]
    good = Daemon(f"http://good.test:{port}")
    try:
        waiting = [asyncio.create_task(daemon.info(deadline=2.0)) for daemon in slow]
        await asyncio.sleep(0.2)
        assert (await good.info(deadline=1.0)).height == 1
        for ended in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(ended, DaemonTimeout)
    finally:
        over.set()
        for daemon in [*slow, good]:
            await daemon.aclose()


@pytest.mark.parametrize("host", ["there-is-none.invalid", f"{'a' * 70}.test"])
async def test_a_name_that_is_none_is_unreachable(host: str) -> None:
    daemon = Daemon(f"http://{host}:18081")
    with pytest.raises(DaemonUnreachable):
        await daemon.info(deadline=5.0)
    await daemon.aclose()
