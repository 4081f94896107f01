"""Queries monerod for many transactions and key images in few requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from escrow_operator.adapters.monerod import Daemon
from escrow_operator.adapters.tracing import outside
from escrow_operator.errors import DaemonError, DaemonProtocolError, DaemonUnreachable
from escrow_operator.models.monero import ChainFacts, ChainTransaction, DaemonInfo

_LOG = logging.getLogger(__name__)

SECONDS_BETWEEN = 0.5
"""Seconds between two batches, to collect questions. Those that did not fit into one batch follow at once."""

AT_ONCE = 100
"""Transactions per request that a restricted RPC port allows. It allows 5,000 key images, of which no session has more
than transactions."""

ATTEMPTS = 3
"""Tries of one batch until the top block stays the same. Blocks are two minutes apart, a batch takes milliseconds."""


@dataclass(frozen=True)
class Question:
    """The query of one session: txids and key images, at most AT_ONCE of each."""

    txids: frozenset[str]
    key_images: frozenset[str]
    answer: asyncio.Future[ChainFacts] = field(compare=False)

    def fail(self, error: DaemonError) -> None:
        """End the query with an error, unless it has ended already."""
        if not self.answer.done():
            self.answer.set_exception(error)


class ChainBatcher:
    """Batches the questions of all sessions of one monerod.

    Each answer holds at one top block: monerod's hash of it is the same before and after. ``before`` returns monerod's
    last known state, ``heard`` is called with its state after a batch.
    """

    def __init__(
        self, daemon: Daemon, *, before: Callable[[], DaemonInfo | None], heard: Callable[[DaemonInfo], None]
    ) -> None:
        self._daemon = daemon
        self._before = before
        self._heard = heard
        self._questions: list[Question] = []
        self._task: asyncio.Task[None] | None = None

    async def facts(self, txids: Iterable[str], key_images: Iterable[str]) -> ChainFacts:
        """Query which transactions are in a block or in the pool, and which key images are spent.

        At most AT_ONCE of each, else raises ValueError. Raises DaemonError.
        """
        question = Question(frozenset(txids), frozenset(key_images), asyncio.get_running_loop().create_future())
        if max(len(question.txids), len(question.key_images)) > AT_ONCE:
            raise ValueError(f"at most {AT_ONCE} at once")
        self._questions.append(question)
        if self._task is None or self._task.done():
            # Of many sessions, and so in no span of the one that asked first.
            with outside():
                self._task = asyncio.create_task(self._answer_all())
        return await question.answer

    async def close(self) -> None:
        """Stop; pending questions fail with DaemonUnreachable, and their sessions query the next connection."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for question in self._questions:
            question.fail(DaemonUnreachable("it is no longer asked"))
        self._questions.clear()

    async def _answer_all(self) -> None:
        while self._questions:
            batch = self._next_batch()
            try:
                await self._answer(batch)
            except DaemonError as error:
                _fail(batch, error)
            except asyncio.CancelledError:
                _fail(batch, DaemonUnreachable("it is no longer asked"))
                raise
            except Exception:
                # Whatever went wrong, no question may stay pending for ever.
                _LOG.exception("monerod's answer could not be used")
                _fail(batch, DaemonProtocolError("its answer could not be used"))
            if not self._questions:
                await asyncio.sleep(SECONDS_BETWEEN)

    def _next_batch(self) -> list[Question]:
        """Take the oldest questions whose transactions fit into one request together; cancelled ones are dropped."""
        waiting = [question for question in self._questions if not question.answer.done()]
        batch: list[Question] = []
        txids: frozenset[str] = frozenset()
        for question in waiting:
            if len(txids | question.txids) > AT_ONCE:
                break
            txids |= question.txids
            batch.append(question)
        self._questions = waiting[len(batch) :]
        return batch

    async def _answer(self, batch: list[Question]) -> None:
        txids = sorted({txid for question in batch for txid in question.txids})
        images = sorted({image for question in batch for image in question.key_images})
        before = self._before() or await self._daemon.info()
        for _ in range(ATTEMPTS):
            found = await self._daemon.transactions(txids) if txids else {}
            spent = await self._daemon.spent(images) if images else {}
            after = await self._daemon.info()
            self._heard(after)
            if after.top_block_hash == before.top_block_hash:
                break
            before = after
        else:
            raise DaemonUnreachable("it had another top block each time it was asked")
        _must_be_possible(found, after)
        for question in batch:
            if not question.answer.done():
                question.answer.set_result(
                    ChainFacts(
                        top=after.top_block_hash,
                        height=after.height,
                        transactions={txid: found[txid] for txid in question.txids if txid in found},
                        spent={image: spent[image] for image in question.key_images if image in spent},
                    )
                )


def _must_be_possible(found: dict[str, ChainTransaction], info: DaemonInfo) -> None:
    """Raise DaemonProtocolError for a transaction above the top block."""
    for transaction in found.values():
        if transaction.block_height is not None and transaction.block_height >= info.height:
            raise DaemonProtocolError("/get_transactions: a transaction in a block above the top")


def _fail(questions: Iterable[Question], error: DaemonError) -> None:
    for question in questions:
        question.fail(error)
