"""Keeps the operator's own exports out of signing rounds that clients of the gateway have under way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from escrow_operator.adapters.kube import SESSIONS
from escrow_operator.adapters.kube_errors import KubeError
from escrow_operator.core.signing import EXCHANGE, LONGEST_DEFERRAL, read_rounds
from escrow_operator.models.common import Label, format_time
from escrow_operator.models.session import Session
from escrow_operator.services.context import Context
from escrow_operator.services.writing import annotate_session

_LOG = logging.getLogger(__name__)

SURE_SECONDS = 15.0
"""By how much an exchange ends before clients of the gateway count on it, by their clocks."""


@dataclass(frozen=True, slots=True)
class _Deferred:
    """Kept of a session: since when (monotonic) an exchange of key images waits for rounds."""

    since: float


class SigningRounds:
    """Asked before an exchange of key images; nothing is noted where the release has no gateway."""

    def __init__(self, ctx: Context) -> None:
        self._ctx, self._kube, self._clock, self._memory = ctx, ctx.kube, ctx.clock, ctx.memory

    def forget(self, session: Session) -> None:
        """No exchange is due: what the last one waited for does not count for the next."""
        self._memory.drop(session.uid, _Deferred)

    @contextlib.asynccontextmanager
    async def exchange(self, session: Session) -> AsyncIterator[bool]:
        """Whether the session's wallets may export in the block. That is noted on the session before, for the gateway,
        and taken back afterwards.

        A round defers an exchange for ``LONGEST_DEFERRAL`` at most. Raises ConflictError when the session changed since
        it was read: a round may have begun. Cancels the block, with TimeoutError, when clients need not wait any more.
        """
        if not self._ctx.settings.logins_secret:
            yield True
            return
        now, begun = self._clock.now(), self._clock.monotonic()
        if read_rounds(session.signing, now=now):
            since = self._memory.find(session.uid, _Deferred) or _Deferred(begun)
            self._memory.put(session.uid, since)
            if begun - since.since < LONGEST_DEFERRAL.total_seconds():
                yield False
                return
        await annotate_session(self._ctx, session, Label.KEY_IMAGES, format_time(now))
        self.forget(session)
        left = EXCHANGE.total_seconds() - SURE_SECONDS - (self._clock.monotonic() - begun)
        try:
            async with asyncio.timeout(left):
                yield True
        finally:
            await self._take_back(session)

    async def _take_back(self, session: Session) -> None:
        """Clients may export again; if this fails they do so when ``EXCHANGE`` is over."""
        patch = session.annotating({Label.KEY_IMAGES: None}, as_seen=False)
        try:
            body = await self._kube.merge(SESSIONS, *session.key, patch)
        except KubeError as error:
            _LOG.warning("exports of %s wait for longer than they need: %s", session.key, error)
            return
        self._ctx.store.see_session(body)
