"""Keeps a session's pods from being evicted while clients sign with them: a PodDisruptionBudget for as long as that.

A pod that a drain replaces in the middle of a signing round makes all parties begin again, and they sign by hand.
Nothing else needs it: what the operator itself does with wallets (a key exchange, an exchange of key images) takes
seconds, and the operator does it again.

One object for the time of a round instead of a label on pods: two writes for a round instead of six, none of which the
watch of pods hears, and between rounds nothing that a drain, or an alert on budgets without room, could meet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from escrow_operator.adapters.kube import DISRUPTION_BUDGETS
from escrow_operator.adapters.kube_errors import ConflictError, KubeError, UnavailableError
from escrow_operator.core.manifests.common import BASE_LABELS, disruption_budget_name
from escrow_operator.core.manifests.session import disruption_budget
from escrow_operator.core.signing import read_rounds
from escrow_operator.models.common import Label, parse_time
from escrow_operator.models.session import OPEN_PHASES, Session, SessionKey
from escrow_operator.services.context import Context

_LOG = logging.getLogger(__name__)

ALREADY_EXISTS = "AlreadyExists"

HOUR = timedelta(hours=1).total_seconds()
LONGEST = timedelta(minutes=30).total_seconds()
"""For which drains may be refused, of each hour that begins with a round; afterwards they are not for a whole hour. A
party can hold a round without end: it must not hold a node."""

PATIENCE = 3.0
"""Seconds for a budget to be made or deleted: the session's own work waits no longer for an admission webhook."""


@dataclass(slots=True)
class _Held:
    """Kept of a session that had a round: when (monotonic) its hour began, how long there was a budget before the
    present one, and since when there is one. ``uid`` is None while the name is somebody else's, or nothing was made.
    """

    hour: float
    spent: float = 0.0
    since: float | None = None
    uid: str | None = None


class DisruptionBudgets:
    """No error of a budget concerns its session: without one a drain makes the round begin again, as it always did."""

    def __init__(self, ctx: Context) -> None:
        self._kube, self._store, self._clock, self._memory = ctx.kube, ctx.store, ctx.clock, ctx.memory

    async def follow(self, session: Session) -> None:
        """Make the session's budget when a signing round is under way, delete it when none is, or it held too long."""
        held = self._memory.find(session.uid, _Held)
        if held is None and session.signing is None:
            return
        if not self._is_signing(session):
            await self.lift(session)
            return
        now = self._clock.monotonic()
        if held is None or (held.since is None and now - held.hour >= HOUR):
            held = _Held(now)
            self._memory.put(session.uid, held)
        spent = held.spent + (0.0 if held.since is None else now - held.since)
        if held.since is None and spent < LONGEST:
            await self._make(session, held)
        elif held.since is not None and spent >= LONGEST:
            # The next one is an hour away, wherever in its hour this one began.
            held.hour = now
            await self.lift(session)

    async def lift(self, session: Session) -> None:
        """Delete the session's budget, if this process knows of one; ``prune`` finds others."""
        await self._lift(session, self._memory.find(session.uid, _Held))

    @asynccontextmanager
    async def closing(self, session: Session) -> AsyncIterator[None]:
        """Around the closing of a session, which forgets what is known of it: its budget goes after its pods."""
        held, is_lifted = self._memory.find(session.uid, _Held), False
        try:
            yield
            is_lifted = await self._lift(session, held)
        finally:
            if held is not None and not is_lifted:
                # Tried again at the next look.
                self._memory.put(session.uid, held)

    async def _lift(self, session: Session, held: _Held | None) -> bool:
        """Whether there is no budget any more, as far as is known."""
        if held is None or held.since is None:
            return True
        try:
            if held.uid is not None:
                namespace, name = session.key.namespace, disruption_budget_name(session.key)
                async with asyncio.timeout(PATIENCE):
                    await self._kube.delete(DISRUPTION_BUDGETS, namespace, name, uid=held.uid)
        except (KubeError, TimeoutError) as error:
            _LOG.warning("drains still wait for session %s: %s", session.key, error)
            return False
        held.spent += self._clock.monotonic() - held.since
        held.since = held.uid = None
        return True

    async def prune(self, namespace: str | None) -> None:
        """Delete the budgets of a namespace (None: of the cluster) whose sessions do not sign: a crash left them.

        Raises UnavailableError.
        """
        try:
            async for page in self._kube.pages(DISRUPTION_BUDGETS, namespace, labels=BASE_LABELS):
                for body in page.items:
                    await self._prune(body)
        except UnavailableError:
            raise
        except KubeError as error:
            _LOG.warning("drains may wait for sessions that do not sign any more: %s", error)

    async def _prune(self, body: dict[str, Any]) -> None:
        meta = body["metadata"]
        session = self._store.sessions.get(SessionKey(meta["namespace"], meta["labels"].get(Label.SESSION, "")))
        if session is None or not _is_of(session, body):
            # Those of sessions that are gone are collected as garbage.
            return
        if not self._is_signing(session):
            try:
                await self._kube.delete(DISRUPTION_BUDGETS, meta["namespace"], meta["name"], uid=meta["uid"])
            except UnavailableError:
                raise
            except KubeError as error:
                _LOG.warning("drains still wait for session %s: %s", session.key, error)
            return
        held = self._memory.find(session.uid, _Held)
        if held is None:
            held = _Held(self._clock.monotonic())
            self._memory.put(session.uid, held)
        if held.uid is None:
            self._found(held, body)

    def _is_signing(self, session: Session) -> bool:
        open_now = session.phase in OPEN_PHASES and not session.deleting
        return open_now and bool(read_rounds(session.signing, now=self._clock.now()))

    async def _make(self, session: Session, held: _Held) -> None:
        body: dict[str, Any] | None
        try:
            async with asyncio.timeout(PATIENCE):
                try:
                    body = await self._kube.create(
                        DISRUPTION_BUDGETS, session.key.namespace, disruption_budget(session)
                    )
                    held.uid = body["metadata"]["uid"]
                except ConflictError as error:
                    if error.reason != ALREADY_EXISTS:
                        # A quota's count was changed by somebody else at this moment.
                        return
                    body = await self._find(session)
                    if body is not None:
                        self._found(held, body)
        except (UnavailableError, TimeoutError):
            # The next look tries again.
            return
        except KubeError as error:
            _LOG.warning("pods of session %s can be evicted while it signs: %s", session.key, error)
        if held.since is None:
            held.since = self._clock.monotonic()

    def _found(self, held: _Held, body: dict[str, Any]) -> None:
        """Remember a budget that a former operator made, and that has held for a while."""
        age = (self._clock.now() - parse_time(body["metadata"]["creationTimestamp"])).total_seconds()
        held.uid = body["metadata"]["uid"]
        held.since = self._clock.monotonic() - max(0.0, age)

    async def _find(self, session: Session) -> dict[str, Any] | None:
        """The session's own budget, by a list; None when the name is somebody else's."""
        labels = BASE_LABELS | {Label.SESSION: session.key.name}
        async for page in self._kube.pages(DISRUPTION_BUDGETS, session.key.namespace, labels=labels):
            for body in page.items:
                if _is_of(session, body):
                    return body
        _LOG.warning(
            "pods of session %s can be evicted while it signs: PodDisruptionBudget %s is somebody else's",
            session.key,
            disruption_budget_name(session.key),
        )
        return None


def _is_of(session: Session, body: dict[str, Any]) -> bool:
    meta = body["metadata"]
    owners = {owner["uid"] for owner in meta.get("ownerReferences") or ()}
    return meta["name"] == disruption_budget_name(session.key) and session.uid in owners
