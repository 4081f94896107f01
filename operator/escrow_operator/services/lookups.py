"""Asks monerod about many transactions in few requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from escrow_operator.adapters.monerod import Daemon
from escrow_operator.errors import DaemonError, DaemonProtocolError, DaemonUnreachable
from escrow_operator.models.monero import ChainTransaction

_LOG = logging.getLogger(__name__)

SECONDS_BETWEEN = 1.0
"""Between two requests. What is asked for meanwhile goes with the next one."""

AT_ONCE = 100
"""Transactions per request: what a restricted RPC port allows."""


class Lookups:
    """Gathers the questions of all sessions that follow a payout."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._wanted: dict[str, asyncio.Future[ChainTransaction | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def transaction(self, txid: str) -> ChainTransaction | None:
        """A transaction in a block or in the pool; None when monerod knows neither. Raises DaemonError."""
        wanted = self._wanted.get(txid)
        if wanted is None:
            wanted = self._wanted[txid] = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._answer_all())
        # One who gives up leaves the question to the others.
        return await asyncio.shield(wanted)

    async def close(self) -> None:
        """Ask no more; whoever waits gets DaemonUnreachable, and asks again by the next connection."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        _fail(self._wanted, DaemonUnreachable("it is no longer asked"))
        self._wanted.clear()

    async def _answer_all(self) -> None:
        while self._wanted:
            asked = {txid: self._wanted.pop(txid) for txid in list(self._wanted)[:AT_ONCE]}
            try:
                found = await self._daemon.transactions(list(asked))
            except DaemonError as error:
                _fail(asked, error)
            except asyncio.CancelledError:
                _fail(asked, DaemonUnreachable("it is no longer asked"))
                raise
            except Exception:
                # Whatever went wrong with one answer: nobody is to wait for it, and the next is to be asked for.
                _LOG.exception("an answer about transactions could not be read")
                _fail(asked, DaemonProtocolError("its answer could not be read"))
            else:
                for txid, future in asked.items():
                    if not future.done():
                        future.set_result(found.get(txid))
            await asyncio.sleep(SECONDS_BETWEEN)


def _fail(questions: Mapping[str, asyncio.Future[ChainTransaction | None]], error: DaemonError) -> None:
    for future in questions.values():
        if not future.done():
            future.set_exception(error)
