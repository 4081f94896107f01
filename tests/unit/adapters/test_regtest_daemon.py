"""What tests pay is in the block that they mine next."""

from __future__ import annotations

import pytest
from aiohttp import web

from escrow_operator.errors import DaemonTimeout
from regtest import daemon
from regtest.daemon import RegtestDaemon
from unit.adapters.fake_server import Serve


class FakeMonerod:
    """Relays what is in its pool after some looks at it."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.mined_early = False

    async def handle(self, request: web.Request) -> web.Response:
        if request.path == "/get_transaction_pool":
            self.looks -= 1
            held_back = {"id_hash": "b" * 64, "relayed": False, "do_not_relay": True}
            pool = [{"id_hash": "a" * 64, "relayed": self.looks < 0, "do_not_relay": False}, held_back]
            return web.json_response({"status": "OK", "transactions": pool})
        self.mined_early = self.looks >= 0
        return web.json_response({"jsonrpc": "2.0", "id": "0", "result": {"height": 7}})


async def test_blocks_are_mined_when_monerod_has_relayed_what_is_in_its_pool(serve: Serve) -> None:
    monerod = FakeMonerod(looks=3)
    client = RegtestDaemon(await serve(monerod.handle))
    assert await client.generate_blocks("4customer", 1) == 8
    assert not monerod.mined_early
    await client.aclose()


async def test_what_is_never_relayed_is_said(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "RELAY_SECONDS", 0.1)
    client = RegtestDaemon(await serve(FakeMonerod(looks=10**9).handle))
    with pytest.raises(DaemonTimeout, match="has not relayed aaaa"):
        await client.generate_blocks("4customer", 1)
    await client.aclose()
