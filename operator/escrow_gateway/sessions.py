"""Finds the wallet of a session and role: reads the session, notes its use, and wakes one that was closed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from opentelemetry.trace import Span, SpanKind
from prometheus_client import Counter
from pydantic import ValidationError

from escrow_gateway.background import Background
from escrow_gateway.cache import Recent
from escrow_gateway.problems import Kind, Problem
from escrow_operator.adapters import tracing
from escrow_operator.adapters.kube import SESSIONS, Kube
from escrow_operator.adapters.kube_errors import ConflictError, KubeError, NotFoundError
from escrow_operator.core.expiry import is_too_old, read_touch
from escrow_operator.models.common import Label, Role, is_name, printable
from escrow_operator.models.session import OPEN_PHASES, RESUMABLE_PHASES, Phase, Session, SessionKey

_LOG = logging.getLogger(__name__)

FRESH_SECONDS = 5.0
"""For which a session is used as it was read. What it says of pods is checked by the call: a login is a pod's own."""

CACHED = 4_096
"""Sessions kept; each takes about 10 kB."""

TOUCH_SECONDS = 60.0
"""At most one touch of a session in this time: its ttl is hours."""

TOUCHED = 16_384
"""Sessions of which it is remembered when they were touched; a forgotten one costs one write."""

LOOK_SECONDS = 0.25
"""Between two looks at a session that is being opened."""

TRIES = 3
"""Of a touch that meets other writes."""

OVER = frozenset({Phase.COMPLETED, Phase.REFUNDED})

LONGEST_MESSAGE = 500


class OpenWallet(NamedTuple):
    """Where a session's wallet is open."""

    session: Session
    role: Role
    pod_uid: str
    ip: str
    tls: bool


class Sessions:
    """The EscrowSessions that are called for. What is kept of them is bounded, however many there are.

    ``touches`` counts the writes that note the use of a session.
    """

    def __init__(self, kube: Kube, touches: Counter) -> None:
        self._kube = kube
        self._touches = touches
        self._seen: Recent[SessionKey, Session] = Recent(CACHED, FRESH_SECONDS)
        self._touched: Recent[str, None] = Recent(TOUCHED, TOUCH_SECONDS)
        self._background = Background()

    async def read(self, key: SessionKey, *, within: float | None = None) -> Session:
        """The session as it was within the last seconds. Raises Problem."""
        if not is_name(key.namespace) or not is_name(key.name):
            raise not_found(key)
        return await self._seen.get(key, lambda: self._fetch(key), within=within)

    def forget(self, key: SessionKey) -> None:
        """Read it anew next time."""
        self._seen.drop(key)

    async def wallet(self, key: SessionKey, role: Role, *, patience: float) -> OpenWallet:
        """The open wallet; waits ``patience`` seconds for a session that is being opened, and wakes a closed one.

        Raises Problem.
        """
        found = open_wallet(await self.read(key), role)
        if found is not None:
            return found
        with tracing.leaf("wait for session", {}, kind=SpanKind.INTERNAL) as span:
            return await self._opened(key, role, time.monotonic() + patience, span)

    async def _opened(self, key: SessionKey, role: Role, deadline: float, span: Span) -> OpenWallet:
        asked_at: str | None = ""
        while True:
            session = await self.read(key, within=LOOK_SECONDS)
            found = open_wallet(session, role)
            if found is not None:
                return found
            must_be_useful(session)
            if session.phase in RESUMABLE_PHASES and session.touch != asked_at:
                asked_at = await self._wake(session)
                span.set_attribute(tracing.WOKEN, True)
            if time.monotonic() + LOOK_SECONDS > deadline:
                raise not_ready(session)
            await asyncio.sleep(LOOK_SECONDS)

    async def use(self, key: SessionKey) -> None:
        """Count as activity what is no call; wakes a closed session, and waits for nothing. Raises Problem."""
        session = await self.read(key)
        if session.spec.suspend:
            return
        if session.phase in RESUMABLE_PHASES and not session.deleting:
            await self._wake(session)
        else:
            self.note_use(session)

    def note_use(self, session: Session) -> None:
        """Count a call as activity of the session: one write at most in a minute, which no caller waits for."""
        if self._touched.fresh(session.uid) or _is_fresh(session.touch):
            return
        self._touched.put(session.uid, None)
        self._background.start(self._note(session))

    async def settle(self) -> None:
        """Wait for the writes that are under way."""
        await self._background.settle()

    async def annotate(self, session: Session, annotations: Mapping[str, str | None]) -> None:
        """Write annotations of a session as it was seen: of several replicas one writes. Raises KubeError."""
        body = await self._kube.merge(SESSIONS, *session.key, session.annotating(annotations))
        self._seen.put(session.key, Session.parse(body))

    async def _fetch(self, key: SessionKey) -> Session:
        try:
            return Session.parse(await self._kube.get(SESSIONS, key.namespace, key.name))
        except NotFoundError:
            raise not_found(key) from None
        except KubeError as error:
            # A namespace that this release does not serve.
            raise (not_found(key) if error.is_forbidden else away()) from None
        except ValidationError:
            raise Problem(Kind.FAILED, f"EscrowSession {key} does not follow its schema; apply it anew.") from None

    async def _note(self, session: Session) -> None:
        try:
            for _ in range(TRIES):
                with suppress(ConflictError):
                    await self._touch(session)
                    return
                # Its status changed meanwhile, or another replica was first.
                session = await self._fetch(session.key)
                if _is_fresh(session.touch):
                    return
        except NotFoundError:
            self.forget(session.key)
        except (KubeError, Problem) as error:
            _LOG.warning("the use of %s was not noted: %s", session.key, error)
        self._touched.drop(session.uid)

    async def _wake(self, session: Session) -> str | None:
        """Touch a closed session; returns the touch. One that was touched since it closed is on its way already."""
        touched = session.touch is not None and read_touch(session.touch) is not None
        if touched and session.touch != session.status.get("lastTouch"):
            return session.touch
        try:
            return await self._touch(session)
        except (ConflictError, NotFoundError):
            return ""
        except KubeError:
            raise away() from None

    async def _touch(self, session: Session) -> str:
        text = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._touches.inc()
        await self.annotate(session, {Label.TOUCH: text})
        self._touched.put(session.uid, None)
        return text


def open_wallet(session: Session, role: Role) -> OpenWallet | None:
    """Where the wallet is open, by the operator's word; None when it is not, or about to be closed."""
    if session.phase not in OPEN_PHASES or session.deleting or session.spec.suspend:
        return None
    told = (session.status.get("wallets") or {}).get(role.value) or {}
    uid, ip = told.get("podUID"), told.get("podIP")
    # Pods that an older operator started have no certificate.
    tls = str(told.get("endpoint")).startswith("https:")
    return OpenWallet(session, role, uid, ip, tls) if told.get("opened") and uid and ip else None


def must_be_useful(session: Session) -> None:
    """Raises Problem for a session whose wallets will not open, whoever waits."""
    name = session.key
    if session.deleting:
        raise Problem(Kind.NOT_READY, f"EscrowSession {name} is being deleted.", retry_after=5)
    if session.phase in OVER:
        raise Problem(
            Kind.ENDED, f"The trade of EscrowSession {name} is over ({session.phase}): its wallets are closed."
        )
    if session.spec.suspend:
        raise Problem(
            Kind.SUSPENDED, f"EscrowSession {name} is suspended: set its spec.suspend to false to open the wallets."
        )
    if is_too_old(session, now=datetime.now(UTC)):
        raise Problem(
            Kind.ENDED, f"The spec.maxAge of EscrowSession {name} is over: raise it to open the wallets again."
        )
    if session.phase is Phase.FAILED:
        ready = session.condition("Ready") or {}
        raise Problem(
            Kind.FAILED,
            f"EscrowSession {name} has failed: {_text(ready.get('message'))}",
            reason=_text(ready.get("reason")),
        )


def not_ready(session: Session) -> Problem:
    """The session was not open in time."""
    ready = session.condition("Ready") or {}
    why = _text(ready.get("message") or "its wallets are being opened.")
    return Problem(
        Kind.NOT_READY,
        f"EscrowSession {session.key} is {session.phase}: {why}"
        " Try again; the header Prefer: wait=SECONDS makes a call wait longer.",
        retry_after=2,
        reason=_text(ready.get("reason")) or None,
    )


def not_found(key: SessionKey) -> Problem:
    """There is no such session."""
    return Problem(
        Kind.NOT_FOUND,
        f"There is no EscrowSession {printable(key.name, 80)} in namespace {printable(key.namespace, 80)}. Create it"
        " with kubectl apply, or with PUT of its spec.",
    )


def away() -> Problem:
    """The API server does not answer."""
    return Problem(Kind.KUBERNETES_AWAY, "The API server did not answer. Try again in a moment.", retry_after=2)


def _is_fresh(touch: str | None) -> bool:
    """Whether a touch is of the last minute; one in the future is none."""
    moment = read_touch(touch) if touch else None
    if moment is None:
        return False
    return 0 <= (datetime.now(UTC) - moment).total_seconds() < TOUCH_SECONDS


def _text(found: Any) -> str:
    return printable(str(found or ""), LONGEST_MESSAGE)
