"""Many sessions that follow a payout make few requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from escrow_operator.adapters.monerod import Daemon
from escrow_operator.errors import DaemonProtocolError, DaemonUnreachable
from escrow_operator.models.monero import ChainTransaction
from escrow_operator.services import lookups
from escrow_operator.services.lookups import AT_ONCE, Lookups

MINED = ChainTransaction(in_pool=False, confirmations=3, double_spend_seen=False)


class FakeDaemon:
    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.down = False
        self.hangs = False
        self.broken: Exception | None = None
        self.called = asyncio.Event()

    async def transactions(self, txids: Sequence[str]) -> dict[str, ChainTransaction]:
        self.asked.append(list(txids))
        self.called.set()
        if self.hangs:
            await asyncio.Event().wait()
        if self.broken:
            raise self.broken
        if self.down:
            raise DaemonUnreachable("down")
        return {txid: MINED for txid in txids if txid.startswith("mined")}


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> FakeDaemon:
    monkeypatch.setattr(lookups, "SECONDS_BETWEEN", 0.0)
    return FakeDaemon()


async def test_what_is_asked_together_goes_together_and_each_only_once(daemon: FakeDaemon) -> None:
    found = Lookups(cast("Daemon", daemon))
    answers = await asyncio.gather(*(found.transaction(txid) for txid in ("mined-1", "unknown", "mined-1")))
    assert answers == [MINED, None, MINED]
    assert daemon.asked == [["mined-1", "unknown"]]
    await found.close()


async def test_more_than_a_restricted_port_allows_go_in_turns(daemon: FakeDaemon) -> None:
    found = Lookups(cast("Daemon", daemon))
    await asyncio.gather(*(found.transaction(f"mined-{n}") for n in range(AT_ONCE + 1)))
    assert [len(txids) for txids in daemon.asked] == [AT_ONCE, 1]
    await found.close()


async def test_who_asked_hears_that_monerod_is_down_and_the_next_question_is_asked_again(daemon: FakeDaemon) -> None:
    found = Lookups(cast("Daemon", daemon))
    daemon.down = True
    with pytest.raises(DaemonUnreachable):
        await found.transaction("mined-1")
    daemon.down = False
    assert await found.transaction("mined-1") == MINED
    await found.close()


async def test_nobody_waits_for_a_connection_that_was_closed(daemon: FakeDaemon) -> None:
    found = Lookups(cast("Daemon", daemon))
    daemon.hangs = True
    asked = asyncio.create_task(found.transaction("mined-1"))
    await daemon.called.wait()
    waits = asyncio.create_task(found.transaction("mined-2"))
    await asyncio.sleep(0)
    await found.close()
    for question in (asked, waits):
        with pytest.raises(DaemonUnreachable):
            await question


@pytest.mark.parametrize("error", [RecursionError("too deep"), ValueError("odd"), MemoryError()])
async def test_no_answer_leaves_anybody_waiting(daemon: FakeDaemon, error: Exception) -> None:
    found = Lookups(cast("Daemon", daemon))
    daemon.broken = error
    async with asyncio.timeout(5):
        with pytest.raises(DaemonProtocolError):
            await found.transaction("mined-1")
    daemon.broken = None
    assert await found.transaction("mined-1") == MINED
    await found.close()
