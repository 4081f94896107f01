"""What the gateway adds to a call, and how many calls a core of it forwards."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from escrow_operator.adapters.kube import PODS, SECRETS
from escrow_operator.models.common import ROLES
from harness.api import is_ready
from harness.gateway import GATEWAY, LABELS, account, token
from harness.operator import NAMESPACE
from harness.place import Place, remove_places
from harness.world import World, bring_up
from testbed import progress

from . import gateway_client
from .measuring import percentile

ROUNDS, QUICK_ROUNDS = 2_000, 100
SECONDS, QUICK_SECONDS = 20.0, 3.0
WORKERS = 4
"""For each wallet, so that its one connection never rests."""

METHOD = "get_version"
"""The shortest: what the wallet takes itself hides nothing."""

CLIENT = Path(gateway_client.__file__).read_text()
"""A program of its own."""

PERCENTILES = (50, 90, 99)

AIM_P50, AIM_P99 = 1.5e-3, 5e-3
AIM_PER_CORE = 1_000.0


async def measure(*, quick: bool) -> dict[str, Any]:
    """``direct`` and ``gateway``: ``seconds`` and ``percentiles`` of a call, in turns; ``added`` between these.

    ``load``: ``requests``, ``seconds``, ``cpu_seconds`` and ``memory`` (bytes) of the gateway, all wallets at once, and
    ``per_core``, requests in a second of its CPU.
    """
    async with bring_up() as world:
        await remove_places(world.api)
        place = Place(world, "bench-gateway")
        await place.open()
        try:
            with progress.step("a session, and who may call it"):
                job = await _job(world, place, quick=quick)
            with progress.step("calls"):
                said = json.loads(await _play(world, job))
        finally:
            await place.close()
    sides = {
        side: {"seconds": said[side], "percentiles": {f"p{p}": percentile(said[side], p) for p in PERCENTILES}}
        for side in ("direct", "gateway")
    }
    load = said["load"]
    return {
        **sides,
        "added": {
            key: sides["gateway"]["percentiles"][key] - sides["direct"]["percentiles"][key]
            for key in sides["direct"]["percentiles"]
        },
        "load": load | {"per_core": load["requests"] / load["cpu_seconds"]},
        "method": METHOD,
        "aims": {"p50": AIM_P50, "p99": AIM_P99, "per_core": AIM_PER_CORE},
    }


def as_text(figures: Mapping[str, Any]) -> str:
    """A table for people."""
    lines = [f"{'ms':10}" + "".join(f"{f'p{p}':>9}" for p in PERCENTILES)]
    rows = {side: figures[side]["percentiles"] for side in ("direct", "gateway")} | {"added": figures["added"]}
    lines += [f"{title:10}" + "".join(f"{1e3 * s:9.2f}" for s in found.values()) for title, found in rows.items()]
    load = figures["load"]
    lines.append(
        f"{load['requests'] / load['seconds']:.0f} requests/s with {load['cpu_seconds'] / load['seconds']:.2f} cores:"
        f" {load['per_core']:.0f} a core; {load['memory'] / 1e6:.0f} MB"
    )
    return "\n".join(lines)


def counts(_: Mapping[str, Any]) -> dict[str, float]:
    """None: all that is measured here are seconds."""
    return {}


async def _job(world: World, place: Place, *, quick: bool) -> dict[str, Any]:
    escrow = await place.active("measured")
    for role in ROLES:
        await account(place, role.value, cluster_role=f"xmr-escrow-{role}")
    await account(place, "all", cluster_role="xmr-escrow-wallet-view")
    connections = [await place.read_secret(f"{escrow.name}-{role}-rpc") for role in ROLES]
    secret = await world.api.get(SECRETS, NAMESPACE, f"{GATEWAY}-tls")
    host = f"https://{GATEWAY}.{NAMESPACE}.svc"
    pods = [pod for pod in await world.api.list(PODS, NAMESPACE, labels=LABELS) if is_ready(pod)]
    return {
        "method": METHOD,
        "authority": base64.b64decode(secret["data"]["ca.crt"]).decode(),
        "token": await token(place, "all"),
        "direct": [
            {
                "url": found["url"],
                "user": found["username"],
                "password": found["password"],
                "authority": found.get("ca.crt"),
            }
            for found in connections
        ],
        "gateway": [
            f"{host}/v1/namespaces/{place.namespace}/escrowsessions/{escrow.name}/wallets/{role}/json_rpc"
            for role in ROLES
        ],
        "pods": [f"http://{pod['status']['podIP']}:8080/metrics" for pod in pods],
        "warm_up": 20,
        "rounds": QUICK_ROUNDS if quick else ROUNDS,
        "seconds": QUICK_SECONDS if quick else SECONDS,
        "workers": WORKERS,
    }


async def _play(world: World, job: Mapping[str, Any]) -> str:
    operator = await world.operator.until_ready()
    # Logins go through stdin, and not among arguments that everybody on the machine can read.
    return await asyncio.to_thread(
        world.cluster.kubectl,
        *("exec", "-i", "--namespace", NAMESPACE, operator["metadata"]["name"]),
        *("--", "python", "-c", CLIENT),
        stdin=json.dumps(job),
        timeout=300.0,
    )
