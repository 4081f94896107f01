"""What a client sees of sessions on their way to Ready, and when, by watches of a namespace.

Nobody but the operator knows when a wallet was made and when the keys were exchanged: the first of these cannot be
seen, and the second is the Event that it writes. All else is in the objects themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from enum import StrEnum

import httpx

from escrow_operator.adapters.kube import EVENTS, SECRETS, SESSIONS, Resource
from escrow_operator.core.manifests.session import CONNECTION_TYPE, DEED_TYPE
from escrow_operator.models.common import ROLES, Label
from harness.api import Api, Body, is_ready
from harness.escrow import condition


class Milestone(StrEnum):
    """In the order of the way; each is also the name of the stage that it ends."""

    DEEDS = "deeds stored"
    """The three of them, with the passwords and without an address."""
    CLAIMED = "slots claimed"
    """The status names the pods."""
    EXCHANGED = "wallets made, keys exchanged"
    """The Event of it; the wallets are closed again."""
    PROVEN = "opened again and proven"
    """The address is in the three deeds."""
    PUBLISHED = "connections published"
    """The three connection Secrets are there."""
    READY = "read, and Ready"
    """The session's condition."""


PREPARED_WAY = (Milestone.DEEDS, Milestone.PROVEN, Milestone.PUBLISHED, Milestone.READY)
"""Of a session that gets a prepared escrow: its status names the pods when it is Ready, and no keys are exchanged."""

EXCHANGED_EVENT = "KeysExchanged"

STORY = frozenset(
    {"SlotsClaimed", "PreparedEscrowClaimed", EXCHANGED_EVENT, "WalletsOpen", "AwaitingPayment", "WalletsClosed"}
)
"""What the Events of a session tell that was made, opened and deleted, and that nothing disturbed."""

AGAIN_SECONDS = 0.5
"""Until a watch that broke begins again."""


class Sight:
    """What was seen until now. Moments are time.monotonic, the first time each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._moments: defaultdict[str, dict[Milestone, float]] = defaultdict(dict)
        self._secrets: defaultdict[tuple[str, Milestone], set[str]] = defaultdict(set)
        self._reasons: dict[str, str] = {}
        self._again: set[str] = set()
        self._given: set[str] = set()
        self._troubles: dict[str, tuple[str, str]] = {}
        self._news = asyncio.Condition()

    def moments(self, session: str) -> Mapping[Milestone, float]:
        """When a session reached which milestone."""
        return self._moments.get(session, {})

    def reason(self, session: str) -> str:
        """Why it is not Ready, as its status said last."""
        return self._reasons.get(session, "nothing was said of it")

    def begun_again(self, sessions: Iterable[str]) -> int:
        """Of how many the key exchange was begun with other files: their deeds count the attempts."""
        return len(self._again.intersection(sessions))

    def troubles(self, sessions: Iterable[str]) -> dict[str, int]:
        """How many Events of each reason told of some sessions what is no part of an undisturbed way."""
        wanted = set(sessions)
        return dict(Counter(reason for name, reason in self._troubles.values() if name in wanted))

    def stages(self, session: str, begun: float) -> dict[str, float]:
        """Seconds between its milestones, the first since ``begun``; empty when it has not reached all of them.

        An Event is written beside the work: one that came after the next milestone took no time of anybody's.
        """
        moments = self.moments(session)
        way = PREPARED_WAY if session in self._given else tuple(Milestone)
        if set(way) - moments.keys():
            return {}
        seconds, last = {}, begun
        for milestone in way:
            seconds[milestone.value] = max(0.0, moments[milestone] - last)
            last = max(last, moments[milestone])
        return seconds

    def see_session(self, body: Body) -> None:
        """A version of an EscrowSession."""
        name, status = body["metadata"]["name"], body.get("status") or {}
        ready = condition(status, "Ready")
        self._reasons[name] = f"{status.get('phase', 'no phase')}, {ready.get('reason', 'no reason')}"
        if len(status.get("wallets") or {}) == len(ROLES):
            self._reached(name, Milestone.CLAIMED)
        if is_ready(body):
            self._reached(name, Milestone.READY)

    def see_secret(self, body: Body) -> None:
        """A version of a Secret: a deed, a connection, or neither."""
        labels = body["metadata"].get("labels") or {}
        if Label.SESSION not in labels or Label.ROLE not in labels:
            return
        if body.get("type") == DEED_TYPE:
            self._one_of_three(labels, Milestone.DEEDS)
            if "attempt" in body["data"]:
                self._again.add(labels[Label.SESSION])
            if "address" in body["data"]:
                self._one_of_three(labels, Milestone.PROVEN)
        elif body.get("type") == CONNECTION_TYPE:
            self._one_of_three(labels, Milestone.PUBLISHED)

    def see_event(self, body: Body) -> None:
        """An Event, which the operator writes once and never changes."""
        about = body["involvedObject"]
        if about["kind"] != "EscrowSession":
            return
        if body["reason"] == EXCHANGED_EVENT:
            self._reached(about["name"], Milestone.EXCHANGED)
        if body["reason"] == "PreparedEscrowClaimed":
            self._given.add(about["name"])
        if body["reason"] not in STORY:
            # A watch that begins again tells all of them again.
            self._troubles[body["metadata"]["uid"]] = (about["name"], body["reason"])

    async def until_ready(self, sessions: Iterable[str], *, within: float) -> None:
        """Wait until all are, so long at most: what ``moments`` lacks then was not reached."""
        wanted = set(sessions)
        with suppress(TimeoutError):
            async with asyncio.timeout(within), self._news:
                await self._news.wait_for(lambda: all(Milestone.READY in self.moments(name) for name in wanted))

    async def follow(self, api: Api, resource: Resource, namespace: str, see: Callable[[Body], None]) -> None:
        """Watch until cancelled; a watch that ends begins again."""
        while True:
            try:
                async for body in api.watch(resource, namespace):
                    see(body)
                    async with self._news:
                        self._news.notify_all()
            except httpx.TransportError:
                await asyncio.sleep(AGAIN_SECONDS)

    def _one_of_three(self, labels: Mapping[str, str], milestone: Milestone) -> None:
        session = labels[Label.SESSION]
        roles = self._secrets[session, milestone]
        roles.add(labels[Label.ROLE])
        if len(roles) == len(ROLES):
            self._reached(session, milestone)

    def _reached(self, session: str, milestone: Milestone) -> None:
        self._moments[session].setdefault(milestone, self._clock())


@asynccontextmanager
async def watching(api: Api, namespace: str) -> AsyncIterator[Sight]:
    """All that is seen in a namespace for as long as the block lasts."""
    sight = Sight()
    watches = ((SESSIONS, sight.see_session), (SECRETS, sight.see_secret), (EVENTS, sight.see_event))
    tasks = [asyncio.create_task(sight.follow(api, resource, namespace, see)) for resource, see in watches]
    try:
        yield sight
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    # Who does not look sees nobody fail.
    for end in ends:
        if isinstance(end, Exception):
            raise end
