"""The Lease by which several processes agree on who leads.

Plain objects through ``Kube``, and not the Kubernetes client's LeaseLock: that one counts no leaderships, cannot
release a lease, writes local time as if it were UTC, and takes an API server that does not answer for a lost race.
"""

from __future__ import annotations

from typing import Any

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube import LEASES, JsonPatch, Kube
from escrow_operator.adapters.kube_errors import NotFoundError
from escrow_operator.core.leadership import Holding

RELEASED_SECONDS = 1
"""The duration of a lease that was released: no other client of the Lease waits for it longer either."""


class Lease:
    """The Lease ``name`` of a namespace, for a candidate called ``identity`` who wants it left alone for ``seconds``.

    Renewals and the release test holder and term, so that one which arrives late changes nothing of a successor's.
    """

    def __init__(self, kube: Kube, clock: Clock, *, namespace: str, name: str, identity: str, seconds: float) -> None:
        self._kube = kube
        self._clock = clock
        self._namespace, self._name = namespace, name
        self.identity = identity
        self._seconds = round(seconds)

    async def read(self) -> Holding | None:
        """What it says; None when there is no such Lease. Raises KubeError."""
        try:
            body = await self._kube.get(LEASES, self._namespace, self._name)
        except NotFoundError:
            return None
        spec = body.get("spec") or {}
        return Holding(
            holder=spec.get("holderIdentity") or "",
            term=spec.get("leaseTransitions") or 0,
            seconds=float(spec.get("leaseDurationSeconds") or self._seconds),
            version=body["metadata"]["resourceVersion"],
        )

    async def take(self, seen: Holding | None, term: int) -> None:
        """Become the holder of the term, in place of what was seen. Raises ConflictError when it changed since."""
        now = self._now()
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._seconds,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": term,
        }
        if seen is None:
            body = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": spec,
            }
            await self._kube.create(LEASES, self._namespace, body)
            return
        ops: JsonPatch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": seen.version},
            {"op": "add", "path": "/spec", "value": spec},
        ]
        await self._kube.patch(LEASES, self._namespace, self._name, ops)

    async def renew(self, term: int) -> None:
        """Go on as the holder. Raises ConflictError or NotFoundError when it is somebody else's, or gone."""
        await self._change(term, {"renewTime": self._now()})

    async def release(self, term: int) -> None:
        """Let others take it at once. Raises ConflictError or NotFoundError like ``renew``."""
        await self._change(
            term, {"holderIdentity": "", "leaseDurationSeconds": RELEASED_SECONDS, "renewTime": self._now()}
        )

    async def _change(self, term: int, fields: dict[str, Any]) -> None:
        ops: JsonPatch = [
            {"op": "test", "path": "/spec/holderIdentity", "value": self.identity},
            {"op": "test", "path": "/spec/leaseTransitions", "value": term},
        ]
        ops += [{"op": "add", "path": f"/spec/{name}", "value": value} for name, value in fields.items()]
        await self._kube.patch(LEASES, self._namespace, self._name, ops)

    def _now(self) -> str:
        """As Kubernetes writes a MicroTime. Nobody decides by it, but each renewal must differ from the last one."""
        return self._clock.exactly_now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
