"""The baseline: three adoptions per session straight through the API, with nobody deciding anything."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.fleet.client import JSON_PATCH
from benchmarks.fleet.load import Load, offer
from benchmarks.fleet.numbers import percentiles
from benchmarks.fleet.place import Place
from escrow_operator.adapters.kube import PODS
from escrow_operator.core.manifests.session import adoption
from escrow_operator.models.common import ROLES
from escrow_operator.models.session import Session
from testbed import progress


async def adopt_raw(place: Place, load: Load, *, within: float) -> dict[str, Any]:
    """``claim_seconds`` (percentiles, seconds), ``per_second`` (sessions/s) and ``errors`` of one load.

    The patches are the operator's own, of the same size, and they are seen through the same watch. The operator must
    be stopped: it would take the pods for orphans.
    """
    client = place.world.client
    sessions = [Session.parse(await place.create()) for _ in range(load.number)]
    slots = await place.until_free(load.number)

    async def adopt(number: int) -> str:
        session = sessions[number]
        patches = {slots[role][number]: f"{session.key.name}-{role.value}" for role in ROLES}
        await asyncio.gather(
            *(
                client.request(
                    "PATCH",
                    PODS.path(place.namespace, slot.name),
                    adoption(slot, session, file, ""),
                    content_type=JSON_PATCH,
                )
                for slot, file in patches.items()
            )
        )
        return session.uid

    with progress.step(f"the same without the operator, {load.title}"):
        async with client.adoptions(place.namespace) as seen:
            sent = await offer(load, adopt)
            await seen.until(len(sent.at), within=within)
    latencies = sent.latencies(seen)
    return {
        "sessions": load.number,
        "claim_seconds": percentiles(latencies),
        "per_second": sent.per_second(seen),
        "errors": load.number - len(latencies),
    }
