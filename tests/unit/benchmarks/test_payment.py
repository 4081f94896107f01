"""What counts as shown, and what is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import pytest

from benchmarks import payment
from benchmarks.payment import Client, counts
from harness.api import Body
from harness.escrow import Escrow

TXID = "ab" * 32


@pytest.mark.parametrize(
    ("funding", "shown"),
    [
        ({"txid": TXID, "confirmations": 1}, True),
        ({"txid": TXID, "confirmations": 0}, False),
        ({"txid": TXID}, False),
        ({"txid": "cd" * 32, "confirmations": 1}, False),
        ({}, False),
    ],
)
def test_only_this_payments_first_confirmation_counts(funding: Body, shown: bool) -> None:
    assert payment._in_a_block(TXID)({"funding": funding}) is shown


def test_the_sum_of_all_payments_is_what_shows_the_newest_one() -> None:
    assert payment._received(3)({"funding": {"received": "0.03"}})
    assert not payment._received(3)({"funding": {"received": "0.02"}})


def test_requests_are_counted_where_the_operator_tells_them() -> None:
    rates = {"paying": 1.02, "idle": 1.0}
    assert counts({"unseen": 1, "requests_per_second": rates})["daemon_requests_per_second"] == 1.02
    assert counts({"unseen": 1, "requests_per_second": dict.fromkeys(rates)}) == {"payments_unseen": 1.0}


async def test_a_client_waits_for_the_status_and_gives_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    versions: asyncio.Queue[Body] = asyncio.Queue()

    async def watch(*_: object) -> AsyncIterator[Body]:
        while True:
            yield await versions.get()

    escrow = cast(
        "Escrow", SimpleNamespace(name="x", place=SimpleNamespace(namespace="n", api=SimpleNamespace(watch=watch)))
    )
    async with payment.watching(escrow) as client:
        assert isinstance(client, Client)
        waiting = asyncio.create_task(client.sees(lambda status: status.get("phase") == "Active"))
        for phase in ("Opening", "Active"):
            versions.put_nowait({"status": {"phase": phase}})
        assert await waiting is not None
        monkeypatch.setattr(payment, "SHOWN_SECONDS", 0.01)
        assert await client.sees(lambda status: status.get("phase") == "Completed") is None
