"""Many sessions that follow money make few requests, and what they hear holds at one top block."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest

from escrow_operator.adapters.monerod import Daemon
from escrow_operator.errors import DaemonProtocolError, DaemonUnreachable
from escrow_operator.models.monero import ChainTransaction, DaemonInfo
from escrow_operator.services.monerod import batcher as lookups
from escrow_operator.services.monerod.batcher import AT_ONCE, ATTEMPTS, ChainBatcher
from unit.factories import daemon_info

MINED = ChainTransaction(block_height=7, double_spend_seen=False, unlock_time=0, fee=0, key_images=frozenset())


class FakeDaemon:
    """At height 10; ``tops`` are its next top blocks, one for each time it is asked for it."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.images: list[list[str]] = []
        self.tops: list[str] = []
        self.found = MINED
        self.heard: list[DaemonInfo] = []
        self.error: Exception | None = None
        self.hangs = False
        self.called = asyncio.Event()

    async def info(self) -> DaemonInfo:
        return dataclasses.replace(daemon_info(), top_block_hash=self.tops.pop(0) if self.tops else "top")

    async def transactions(self, txids: Sequence[str]) -> dict[str, ChainTransaction]:
        self.asked.append(list(txids))
        self.called.set()
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return {txid: self.found for txid in txids if txid.startswith("mined")}

    async def spent(self, key_images: Sequence[str]) -> dict[str, bool]:
        self.images.append(list(key_images))
        return {image: True for image in key_images if image.startswith("spent")}


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> FakeDaemon:
    monkeypatch.setattr(lookups, "SECONDS_BETWEEN", 0.0)
    return FakeDaemon()


@pytest.fixture
async def found(daemon: FakeDaemon) -> AsyncIterator[ChainBatcher]:
    asking = ChainBatcher(cast("Daemon", daemon), before=lambda: None, heard=daemon.heard.append)
    yield asking
    await asking.close()


async def test_what_is_asked_together_goes_together_and_each_hears_of_its_own(
    daemon: FakeDaemon, found: ChainBatcher
) -> None:
    one, two, three = await asyncio.gather(
        found.facts(["mined-1", "unknown"], ["spent-1"]),
        found.facts(["mined-1"], ["spent-1", "unspent"]),
        found.facts([], ["spent-2"]),
    )
    assert daemon.asked == [["mined-1", "unknown"]]
    assert daemon.images == [["spent-1", "spent-2", "unspent"]]
    assert (one.height, one.top) == (10, "top")
    assert one.transactions == two.transactions == {"mined-1": MINED}
    assert one.spent == two.spent == {"spent-1": True}
    assert not three.transactions
    assert three.spent == {"spent-2": True}
    assert one.confirmations("mined-1") == 3
    assert one.confirmations("unknown") == 0
    assert len(daemon.heard) == 1


async def test_all_of_an_answer_holds_at_one_top_block(daemon: FakeDaemon, found: ChainBatcher) -> None:
    daemon.tops = ["old", "new", "new"]
    assert (await found.facts(["mined-1"], [])).top == "new"
    assert len(daemon.asked) == 2


async def test_a_chain_that_does_not_hold_still_tells_nothing(daemon: FakeDaemon, found: ChainBatcher) -> None:
    daemon.tops = [str(number) for number in range(ATTEMPTS + 1)]
    with pytest.raises(DaemonUnreachable, match="another top block"):
        await found.facts(["mined-1"], [])


async def test_a_transaction_above_the_top_block_is_no_answer(daemon: FakeDaemon, found: ChainBatcher) -> None:
    daemon.found = dataclasses.replace(MINED, block_height=10)
    with pytest.raises(DaemonProtocolError, match="above the top"):
        await found.facts(["mined-1"], [])


async def test_more_than_a_restricted_port_allows_go_in_turns_and_no_session_is_torn(
    daemon: FakeDaemon, found: ChainBatcher
) -> None:
    size = AT_ONCE * 2 // 3
    asked = [[f"mined-{session}-{n}" for n in range(size)] for session in range(2)]
    facts = await asyncio.gather(*(found.facts(txids, []) for txids in asked))
    assert [len(txids) for txids in daemon.asked] == [size, size]
    assert [len(each.transactions) for each in facts] == [size, size]
    with pytest.raises(ValueError, match="at most"):
        await found.facts([str(n) for n in range(AT_ONCE + 1)], [])


@pytest.mark.parametrize("error", [DaemonUnreachable("down"), RecursionError(), KeyError("x")])
async def test_who_asked_hears_of_any_failure_and_the_next_question_is_asked_again(
    daemon: FakeDaemon, found: ChainBatcher, error: Exception
) -> None:
    daemon.error = error
    with pytest.raises((DaemonUnreachable, DaemonProtocolError)):
        await found.facts(["mined-1"], [])
    daemon.error = None
    assert (await found.facts(["mined-1"], [])).transactions == {"mined-1": MINED}


async def test_who_gives_up_leaves_the_others_their_answer(found: ChainBatcher) -> None:
    gone = asyncio.create_task(found.facts(["mined-1"], []))
    stays = asyncio.create_task(found.facts(["mined-2"], []))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).transactions == {"mined-2": MINED}


async def test_nobody_waits_for_a_connection_that_was_closed(daemon: FakeDaemon, found: ChainBatcher) -> None:
    daemon.hangs = True
    asked = asyncio.create_task(found.facts(["mined-1"], []))
    await daemon.called.wait()
    waits = asyncio.create_task(found.facts(["mined-2"], []))
    await asyncio.sleep(0)
    await found.close()
    for question in (asked, waits):
        with pytest.raises(DaemonUnreachable):
            await question
