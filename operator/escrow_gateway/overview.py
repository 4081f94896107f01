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
from escrow_operator.models.common import find_condition, is_name, parse_time, printable
from escrow_operator.models.session import SessionKey, need_of_a_look

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


def entity_tag(data: bytes) -> str:
    """The tag of an answer (RFC 9110): who has it already is sent nothing."""
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


class Told(NamedTuple):
    """An answer as JSON, its entity tag, and the seconds it took to make."""

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
        former = self._lists.last(key)
        within = max(FRESH_SECONDS, REST * former.seconds) if former else FRESH_SECONDS
        return await self._lists.get(key, lambda: self._fetch(shown, namespace, name), within=within)

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
        return Told(data, entity_tag(data), self._clock() - begun)

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


def _need(session: dict[str, Any]) -> tuple[bool, int, str, str]:
    return not session["moneyMovedAt"], need_of_a_look(session["phase"]), session["namespace"], session["name"]


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
    ready, funded = find_condition(status, "Ready") or {}, find_condition(status, "Funded") or {}
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
    ready, summary = find_condition(status, "Ready") or {}, status.get("summary") or {}
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


def _text(found: Any) -> str:
    """Foreign text, shortened; the page shows it as text, never as markup."""
    return printable(str(found or ""), LONGEST_TEXT)
