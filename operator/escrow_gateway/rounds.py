"""Signing rounds: while one is under way nobody else's export erases its nonces.

A round is of one wallet: it begins with an export, belongs to who exported, and ends when a transaction of the escrow
is submitted, or after ten minutes. It is noted on the session, so that all replicas and the operator know of it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from escrow_gateway.background import Background
from escrow_gateway.problems import Kind, Problem
from escrow_gateway.sessions import Sessions, away, must_be_useful
from escrow_operator.adapters.kube_errors import ConflictError, KubeError, NotFoundError
from escrow_operator.core.signing import LONGEST_NAME, ROUND, Round, is_exchanging, read_rounds, write_rounds
from escrow_operator.models.common import Label, Role, printable
from escrow_operator.models.session import Session, SessionKey

_LOG = logging.getLogger(__name__)

EXPORTS = frozenset({"export_multisig_info"})
SUBMITS = frozenset({"submit_multisig"})

RENEWED = timedelta(minutes=1)
"""A round that was begun or prolonged this lately is not written again: who exports in a loop costs no writes."""

TRIES = 4

EXCHANGE_SECONDS = 5
"""After which a caller is told to come back: an exchange usually takes one, and says when it has ended."""


class Rounds:
    """Begins rounds before exports are forwarded, and ends them after a transaction was submitted."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._background = Background()

    async def begin(self, key: SessionKey, role: Role, user: str) -> bool:
        """Note that a user exports; returns whether a round began with it.

        Raises Problem while another's round is under way, or the operator exchanges, and for a session whose wallets
        will not open.
        """
        user = user[:LONGEST_NAME]
        for _ in range(TRIES):
            # Of this moment: the write below fails if it is not.
            session = await self._sessions.read(key, within=0.0)
            # Nothing is noted on one that will not answer.
            must_be_useful(session)
            now = datetime.now(UTC)
            rounds = read_rounds(session.signing, now=now)
            held = rounds.get(role)
            if held is not None and held.by != user:
                raise Problem(
                    Kind.ROUND_UNDER_WAY,
                    f"{printable(held.by, 253)} has exported from the {role} wallet and may be about to sign: another"
                    " export would make that fail. It ends when a transaction is submitted, or in"
                    f" {math.ceil((held.until - now).total_seconds())} s.",
                    retry_after=math.ceil((held.until - now).total_seconds()),
                )
            if is_exchanging(session.key_images_at, now=now):
                raise Problem(
                    Kind.ROUND_UNDER_WAY,
                    "The operator is exchanging the wallets' key images, after a payment. Try again in some seconds.",
                    retry_after=EXCHANGE_SECONDS,
                )
            if held is not None and held.until - now > ROUND - RENEWED:
                return False
            try:
                await self._write(session, rounds | {role: Round(user, now + ROUND)})
            except (ConflictError, NotFoundError):
                continue
            except KubeError:
                raise away() from None
            return held is None
        raise Problem(Kind.KUBERNETES_AWAY, "The session changes too often to note a round. Try again.", retry_after=1)

    def end(self, key: SessionKey) -> None:
        """A transaction was submitted: all rounds are over. No caller waits for the write."""
        self._background.start(self._end(key, lambda _: {}))

    def give_back(self, key: SessionKey, role: Role, user: str) -> None:
        """The export that began a user's round failed: others need not wait."""

        def without(rounds: Mapping[Role, Round]) -> Mapping[Role, Round]:
            return {r: one for r, one in rounds.items() if r is not role or one.by != user[:LONGEST_NAME]}

        self._background.start(self._end(key, without))

    async def settle(self) -> None:
        """Wait for the writes that are under way."""
        await self._background.settle()

    async def _end(self, key: SessionKey, left: Callable[[Mapping[Role, Round]], Mapping[Role, Round]]) -> None:
        for _ in range(TRIES):
            try:
                session = await self._sessions.read(key, within=0.0)
                rounds = read_rounds(session.signing, now=datetime.now(UTC))
                if session.signing and left(rounds) != rounds:
                    await self._write(session, left(rounds))
            except ConflictError:
                continue
            except (KubeError, Problem) as error:
                _LOG.warning("the signing rounds of %s end by themselves: %s", key, error)
            return

    async def _write(self, session: Session, rounds: Mapping[Role, Round]) -> None:
        await self._sessions.annotate(session, {Label.SIGNING_ROUND: write_rounds(rounds) if rounds else None})
