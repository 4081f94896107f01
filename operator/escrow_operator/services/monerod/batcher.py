"""Asks monerod about many transactions and key images in few requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from escrow_operator.adapters.monerod import Daemon
from escrow_operator.errors import DaemonError, DaemonProtocolError, DaemonUnreachable
from escrow_operator.models.monero import ChainFacts, ChainTransaction, DaemonInfo

_LOG = logging.getLogger(__name__)

SECONDS_BETWEEN = 0.5
"""Between two batches. What is asked meanwhile goes with the next one; what was too much for one follows at once."""

AT_ONCE = 100
"""Transactions per request: what a restricted RPC port allows. Of key images it allows 5,000, of which no session has
more than of transactions."""

ATTEMPTS = 3
"""At one batch. Blocks are two minutes apart, and a batch takes milliseconds."""


@dataclass(frozen=True)
class Question:
    """What one session asks of monerod; at most AT_ONCE of each kind."""

    txids: frozenset[str]
    key_images: frozenset[str]
    answer: asyncio.Future[ChainFacts] = field(compare=False)

    def fail(self, error: DaemonError) -> None:
        """No answer."""
        if not self.answer.done():
            self.answer.set_exception(error)


class ChainBatcher:
    """Gathers the questions of all sessions of one monerod.

    All that one answer says holds at one top block: monerod's own hash of it is the same before and after. ``before``
    is what it said last, ``heard`` is told of what it said afterwards.
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
        """What monerod knows of transactions, in a block or in the pool, and which key images are spent.

        At most AT_ONCE of each. Raises DaemonError.
        """
        question = Question(frozenset(txids), frozenset(key_images), asyncio.get_running_loop().create_future())
        if max(len(question.txids), len(question.key_images)) > AT_ONCE:
            raise ValueError(f"at most {AT_ONCE} at once")
        self._questions.append(question)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._answer_all())
        return await question.answer

    async def close(self) -> None:
        """Ask no more; whoever waits gets DaemonUnreachable, and asks again by the next connection."""
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
                # Whatever it is, nobody may wait for it for ever.
                _LOG.exception("monerod's answer could not be used")
                _fail(batch, DaemonProtocolError("its answer could not be used"))
            if not self._questions:
                await asyncio.sleep(SECONDS_BETWEEN)

    def _next_batch(self) -> list[Question]:
        """The oldest questions whose transactions together fit into one request; whoever gave up is left out."""
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
