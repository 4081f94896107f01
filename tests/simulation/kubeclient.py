"""The operator's way to the API server, at the interface of escrow_operator.adapters.kube.Kube."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from escrow_operator.adapters.kube import (
    EVENTS,
    PAGE_SIZE,
    REQUEST_SECONDS,
    WATCH_SECONDS,
    JsonPatch,
    Listing,
    Resource,
)
from escrow_operator.adapters.kube_errors import ConflictError, KubeError, NotFoundError, UnavailableError

from .apiserver import ApiServer, Body, Event
from .bodies import copied
from .process import Process

LATENCY = 0.004
"""Seconds for a request and its answer."""

T = TypeVar("T")

BOOKMARK_SECONDS = 60.0
POLL_SECONDS = 0.002
"""After which a watch sees what happened."""


@dataclass
class View:
    """How processes see the cluster through their watches."""

    delay: float = 0.0
    """Seconds by which every event is late."""
    lose_every: int = 0
    """Every n-th event is lost until the next list (0: none)."""
    swap_every: int = 0
    """Every n-th event comes after the one that follows it, of two versions of one object the older last (0: never)."""
    _told: int = 0
    _kept: Event | None = None

    def disturbed(self, events: Sequence[Event]) -> list[Event]:
        """What is told of what happened; with nothing new what was kept back."""
        told: list[Event] = []
        for event in events:
            self._told += 1
            if self.lose_every and self._told % self.lose_every == 0:
                continue
            if self.swap_every and self._told % self.swap_every == 0 and self._kept is None:
                self._kept = event
                continue
            told += [event] if self._kept is None else [event, self._kept]
            self._kept = None
        if not events and self._kept is not None:
            told, self._kept = [self._kept], None
        return told


class Fault(StrEnum):
    """What can become of a request."""

    BUSY = "429"
    BROKEN = "500"
    LOST_REQUEST = "a time-out whose write did not happen"
    LOST_ANSWER = "a time-out whose write happened"


class Faults:
    """What becomes of the next requests of all processes; ``writes_only`` lets those that read pass."""

    def __init__(self) -> None:
        self._next: deque[tuple[Fault, bool]] = deque()

    def strike(self, fault: Fault, times: int = 1, *, writes_only: bool = False) -> None:
        """So many requests fail in this way, after those that are to fail already."""
        self._next.extend([(fault, writes_only)] * times)

    def heal(self) -> None:
        """All is well again."""
        self._next.clear()

    def take(self, *, write: bool) -> Fault | None:
        """What becomes of a request."""
        if not self._next or (self._next[0][1] and not write):
            return None
        return self._next.popleft()[0]


class SimKube:
    """Requests of one process; ``rights`` tells whether it may do anything in a namespace (None: in all)."""

    def __init__(
        self,
        server: ApiServer,
        process: Process,
        view: View | None = None,
        faults: Faults | None = None,
        rights: Callable[[str | None], bool] | None = None,
    ) -> None:
        self._server = server
        self._process = process
        self._view = view or View()
        self._faults = faults or Faults()
        self._rights = rights or (lambda _: True)
        self.requests: Counter[tuple[str, str]] = Counter()

    async def close(self) -> None:
        """Nothing is open."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Body:
        """One object. Raises NotFoundError."""
        resource.path(namespace, name)
        await self._read("get", resource, namespace)
        return self._server.get(resource, namespace, name)

    async def pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        size: int = PAGE_SIZE,
    ) -> AsyncIterator[Listing]:
        """All objects as of one version, in parts; other requests happen in between. No ``fields`` are asked for."""
        assert fields is None
        await self._read("list", resource, namespace)
        found = Listing(self._server.select(resource, namespace, labels), str(self._server.version))
        for start in range(0, max(1, len(found.items)), size):
            if start:
                await self._read("list", resource, namespace)
            yield Listing(found.items[start : start + size], found.version)

    async def watch(
        self, resource: Resource, namespace: str | None, *, version: str, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[Body]:
        """What happens after a version, as late and as incomplete as the view says."""
        await self._read("watch", resource, namespace)
        loop = asyncio.get_running_loop()
        ends, marks = loop.time() + WATCH_SECONDS, loop.time() + BOOKMARK_SECONDS
        seen, changed = int(version), asyncio.Event()
        view = replace(self._view)

        def wake(_: object) -> None:
            changed.set()

        self._server.subscribers.append(wake)
        try:
            while loop.time() < ends:
                changed.clear()
                self._must_be_allowed(resource, namespace)
                events = self._server.since(seen, resource, namespace, labels)
                if events:
                    await asyncio.sleep(view.delay)
                for event in view.disturbed(events):
                    self._process.reads()
                    yield {"type": event.kind, "object": copied(event.body)}
                if events:
                    seen = events[-1].version
                    continue
                try:
                    async with asyncio.timeout(max(0.0, min(ends, marks) - loop.time())):
                        await changed.wait()
                        await asyncio.sleep(POLL_SECONDS)
                except TimeoutError:
                    marks = loop.time() + BOOKMARK_SECONDS
                    yield {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(seen)}}}
        finally:
            self._server.subscribers.remove(wake)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body:
        """A new object."""
        return await self._write(
            "create",
            resource,
            namespace,
            body["metadata"]["name"],
            lambda: self._server.create(resource, namespace, body),
        )

    async def apply(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body:
        """Server-side apply."""
        return await self._write(
            "apply",
            resource,
            namespace,
            body["metadata"]["name"],
            lambda: self._server.apply(resource, namespace, body),
        )

    async def patch(
        self, resource: Resource, namespace: str, name: str, ops: JsonPatch, *, subresource: str | None = None
    ) -> Body:
        """A JSON patch."""
        verb = f"patch {subresource} of" if subresource else "patch"
        return await self._write(
            verb,
            resource,
            namespace,
            name,
            lambda: self._server.patch(resource, namespace, name, ops, subresource=subresource),
        )

    async def merge(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> Body:
        """A JSON merge patch."""
        return await self._write(
            "merge", resource, namespace, name, lambda: self._server.merge(resource, namespace, name, body)
        )

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str | None = None, version: str | None = None
    ) -> None:
        """Delete, unless it is gone or another."""

        def delete() -> None:
            try:
                self._server.delete(resource, namespace, name, uid=uid, version=version)
            except (NotFoundError, ConflictError):
                return

        await self._write("delete", resource, namespace, name, delete)

    def _must_be_allowed(self, resource: Resource, namespace: str | None) -> None:
        if resource.namespaced and not self._rights(namespace):
            where = f"in the namespace {namespace}" if namespace else "at the cluster scope"
            raise KubeError(403, "Forbidden", f"{resource.plural} is forbidden: the operator cannot use it {where}")

    async def _read(self, verb: str, resource: Resource, namespace: str | None) -> None:
        self._process.reads()
        self.requests[verb, resource.plural] += 1
        await asyncio.sleep(LATENCY)
        self._process.reads()
        self._must_be_allowed(resource, namespace)
        if fault := self._faults.take(write=False):
            await _fail(fault)

    async def _write(self, verb: str, resource: Resource, namespace: str, name: str, write: Callable[[], T]) -> T:
        self.requests[verb.split(maxsplit=1)[0], resource.plural] += 1
        if resource is EVENTS:
            # Stories: losing one loses no state, and their names are random.
            self._process.reads()
            await asyncio.sleep(LATENCY)
            self._must_be_allowed(resource, namespace)
            return write()
        async with self._process.step(f"{verb} {resource.plural} {name}"):
            await asyncio.sleep(LATENCY / 2)
            self._process.reads()
            fault = self._faults.take(write=True)
            if fault and fault is not Fault.LOST_ANSWER:
                await _fail(fault)
            self._must_be_allowed(resource, namespace)
            answer = write()
            if fault:
                await _fail(fault)
        await asyncio.sleep(LATENCY / 2)
        self._process.reads()
        return answer


async def _fail(fault: Fault) -> NoReturn:
    """In the words of the adapter. Raises UnavailableError."""
    if fault is Fault.BUSY:
        raise UnavailableError(429, "TooManyRequests", "the server has received too many requests")
    if fault is Fault.BROKEN:
        raise UnavailableError(500, "InternalError", "etcdserver: leader changed")
    await asyncio.sleep(REQUEST_SECONDS)
    raise UnavailableError(0, "Unavailable", "the API server does not answer: TimeoutError()")
