"""What the page shows: sessions and pools of a namespace, and the Events of one session. Nothing is changed here."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from escrow_gateway.cache import Recent
from escrow_gateway.problems import Kind, Problem
from escrow_gateway.sessions import away, not_found
from escrow_operator.adapters.kube import EVENTS, POOLS, SESSIONS, Kube, Resource
from escrow_operator.adapters.kube_errors import KubeError, NotFoundError
from escrow_operator.models.common import is_name, parse_time, printable
from escrow_operator.models.session import SessionKey

Body = Mapping[str, Any]

FRESH_SECONDS = 2.0
"""For which a list is used for all who look: the API server is asked once in that time, not by each viewer."""

REST = 10.0
"""A list that took long is used for so many times as long: looking at many objects takes a tenth of a core at most."""

CACHED = 24
"""Lists kept, in all; each is at most ``MOST`` objects, of about 600 bytes."""

AT_ONCE = 2
"""Lists that are read at a time: a page of objects that a tenant filled up takes 80 MB for a moment."""

PAGE = 100
"""Objects read at a time: no call waits for long while a page is parsed."""

LIST_SECONDS = 20.0
"""For one list, its wait for others included."""

MOST = 1_000
"""Objects in an answer: those that need a look first. A list that has more says so."""

MOST_EVENTS = 200
"""Events in an answer: the newest."""

LONGEST_TEXT = 500

PHASES = ("Failed", "Pending", "Opening", "Settling", "Active")
"""Those that need a look come first."""


class Told(NamedTuple):
    """An answer as JSON, its entity tag (RFC 9110: who has it is sent nothing), and the seconds it took to make."""

    data: bytes
    tag: str
    seconds: float


class _Shown(NamedTuple):
    """What is shown of a kind: which part of an object, the ``most`` with the smallest ``rank``, and in which order."""

    resource: Resource
    shape: Callable[[Body], dict[str, Any]]
    most: int
    rank: Callable[[dict[str, Any]], Any]
    is_reversed: bool = False


class Overview:
    """Lists what callers may list. ``namespace`` None means all of the cluster's. Every method raises Problem."""

    def __init__(self, kube: Kube, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube, self._clock = kube, clock
        self._places = asyncio.Semaphore(AT_ONCE)
        self._lists: Recent[tuple[str, str | None, str], Told] = Recent(CACHED, FRESH_SECONDS, clock)
        self._took: Recent[tuple[str, str | None, str], float] = Recent(CACHED, math.inf, clock)

    async def sessions(self, namespace: str | None) -> Told:
        """``{"items": [...], "more": bool}``: sessions, those that need a look first."""
        return await self._list(_Shown(SESSIONS, _session, MOST, _need), namespace)

    async def pools(self, namespace: str | None) -> Told:
        """The same of pools, those that are not Ready first."""
        return await self._list(_Shown(POOLS, _pool, MOST, _trouble), namespace)

    async def events(self, key: SessionKey) -> Told:
        """The same of the Events of a session, the oldest of those that are told first."""
        if not is_name(key.namespace) or not is_name(key.name):
            raise not_found(key)
        try:
            # Events can be made about what never was.
            await self._kube.get(SESSIONS, key.namespace, key.name)
        except NotFoundError:
            raise not_found(key) from None
        except KubeError as error:
            raise (_not_served(key.namespace) if error.is_forbidden else away()) from None
        return await self._list(_Shown(EVENTS, _event, MOST_EVENTS, _age, is_reversed=True), key.namespace, key.name)

    async def _list(self, shown: _Shown, namespace: str | None, name: str = "") -> Told:
        if namespace is not None and not is_name(namespace):
            raise _not_served(namespace)
        key = (shown.resource.plural, namespace, name)
        took = await self._took.get(key, _never)
        found = await self._lists.get(
            key, lambda: self._fetch(shown, namespace, name), within=max(FRESH_SECONDS, REST * took)
        )
        self._took.put(key, found.seconds)
        return found

    async def _fetch(self, shown: _Shown, namespace: str | None, name: str) -> Told:
        try:
            async with asyncio.timeout(LIST_SECONDS), self._places:
                begun = self._clock()
                found, number = await self._read(shown, namespace, name)
        except TimeoutError:
            raise away() from None
        except NotFoundError:
            raise Problem(
                Kind.NOT_FOUND, "The kinds of xmr-escrow.dev are not installed in this cluster: apply the CRDs."
            ) from None
        except KubeError as error:
            raise (_not_served(namespace) if error.is_forbidden else away()) from None
        if shown.is_reversed:
            found.reverse()
        data = json.dumps({"items": found, "more": number > len(found)}).encode()
        return Told(data, f'"{hashlib.sha256(data).hexdigest()[:32]}"', self._clock() - begun)

    async def _read(self, shown: _Shown, namespace: str | None, name: str) -> tuple[list[dict[str, Any]], int]:
        """The objects to show, and how many there are. Of all others nothing is kept."""
        fields = {"involvedObject.kind": "EscrowSession", "involvedObject.name": name} if name else None
        found: list[dict[str, Any]] = []
        number = 0
        async for page in self._kube.pages(shown.resource, namespace, fields=fields, size=PAGE):
            number += len(page.items)
            found = heapq.nsmallest(shown.most, [*found, *map(shown.shape, page.items)], key=shown.rank)
            page.items.clear()
        return found, number


async def _never() -> float:
    return 0.0


def _need(session: dict[str, Any]) -> tuple[bool, int, str, str]:
    phase = session["phase"]
    rank = PHASES.index(phase) if phase in PHASES else len(PHASES)
    return not session["moneyMovedAt"], rank, session["namespace"], session["name"]


def _trouble(pool: dict[str, Any]) -> tuple[bool, str, str]:
    return pool["ready"] == "True", pool["namespace"], pool["name"]


def _age(event: dict[str, Any]) -> float:
    try:
        return -parse_time(event["at"]).timestamp()
    except (ValueError, TypeError, OverflowError):
        return math.inf


def _not_served(namespace: str | None) -> Problem:
    if namespace is None:
        text = "This gateway serves single namespaces: choose one of them."
    else:
        text = f"This gateway does not serve namespace {printable(namespace, 80)}."
    return Problem(Kind.NOT_FOUND, text)


def _session(body: Body) -> dict[str, Any]:
    status, spec, meta = body.get("status") or {}, body["spec"], body["metadata"]
    ready, funded = condition(body, "Ready"), condition(body, "Funded")
    return {
        "namespace": meta["namespace"],
        "name": meta["name"],
        "createdAt": meta["creationTimestamp"],
        "deleting": "deletionTimestamp" in meta,
        "phase": status.get("phase", "Pending"),
        "ready": ready.get("status", "Unknown"),
        "reason": _text(ready.get("reason")),
        "message": _text(ready.get("message")),
        "funded": funded.get("status", "Unknown"),
        "fundedReason": _text(funded.get("reason")),
        "amount": spec.get("amount"),
        "balance": (status.get("balance") or {}).get("total"),
        "balanceAsOf": (status.get("balance") or {}).get("asOf"),
        "expiresAt": status.get("expiresAt"),
        "moneyMovedAt": status.get("moneyMovedAt"),
    }


def _pool(body: Body) -> dict[str, Any]:
    status, meta = body.get("status") or {}, body["metadata"]
    ready, summary = condition(body, "Ready"), status.get("summary") or {}
    return {
        "namespace": meta["namespace"],
        "name": meta["name"],
        "ready": ready.get("status", "Unknown"),
        "reason": _text(ready.get("reason")),
        "message": _text(ready.get("message")),
        **{count: summary.get(count) for count in ("free", "adopted", "starting")},
        "prepared": status.get("preparedEscrows", 0),
        "sessions": status.get("activeSessions"),
        "waiting": status.get("waitingSessions"),
        "utilisation": status.get("utilisation"),
        "height": (status.get("daemon") or {}).get("height"),
    }


def _event(body: Body) -> dict[str, Any]:
    return {
        "at": body.get("lastTimestamp") or body.get("eventTime") or body["metadata"].get("creationTimestamp"),
        "type": _text(body.get("type")),
        "reason": _text(body.get("reason")),
        "message": _text(body.get("message")),
        "of": (body.get("involvedObject") or {}).get("uid"),
    }


def condition(body: Body, kind: str) -> Body:
    """A condition of an object; empty without it."""
    found = (body.get("status") or {}).get("conditions") or ()
    return next((one for one in found if one.get("type") == kind), {})


def _text(found: Any) -> str:
    """Foreign text, shortened; the page shows it as text, never as markup."""
    return printable(str(found or ""), LONGEST_TEXT)
