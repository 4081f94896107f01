"""Who reaches whom, where the cluster's network enforces NetworkPolicies, as that of the test cluster does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest_asyncio
import yaml

from escrow_operator.adapters.kube import NETWORK_POLICIES, PODS
from escrow_operator.core.manifests.common import RPC_PORT
from harness.api import NODES, Body
from harness.bystander import LISTENS_AT, Bystander, bystanders, connects
from harness.chain import CUSTOMER_NAMESPACE, Chain
from harness.escrow import AMOUNT, Escrow, condition
from harness.gateway import LABELS as GATEWAY_LABELS
from harness.operator import NAMESPACE
from harness.place import FIRST_PATIENCE, Place
from harness.world import World
from testbed import regtest
from testbed.settings import REPO_ROOT

WARM_SLOTS = None

KUBELET_PORT = 10250
PROBE_PORT = 8080

EXAMPLE = REPO_ROOT / "deploy" / "examples" / "monerod-network-policy.yaml"


@dataclass(frozen=True)
class Scene:
    """A trade in a pool that names one client, that client, and one that nobody named."""

    trade: Escrow
    named: Bystander
    stranger: Bystander

    async def wallets(self) -> list[str]:
        """Addresses of the trade's wallets."""
        return [wallet["podIP"] for wallet in (await self.trade.status())["wallets"].values()]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(place: Place) -> Scene:
    client = {"podSelector": {"matchLabels": {"app": "named"}}}
    await place.make_pool(networkPolicy={"enabled": True, "clients": [client]})
    named, stranger = await bystanders(place, "named", "stranger")
    await place.until_warm(within=FIRST_PATIENCE)
    return Scene(await place.active("trade"), named, stranger)


async def reaches(world: World, pod: Body, ip: str, port: int) -> bool:
    """Whether a pod of the release can connect."""
    return await connects(world, NAMESPACE, pod["metadata"]["name"], ip, port)


async def monerod(world: World) -> str:
    """The address of its pod."""
    (pod,) = await world.api.list(PODS, regtest.NAMESPACE, labels="app.kubernetes.io/name=monerod")
    ip: str = pod["status"]["podIP"]
    return ip


async def test_named_clients_reach_a_wallet_and_others_do_not(scene: Scene) -> None:
    await scene.stranger.until_reaches(scene.named.ip, LISTENS_AT)
    for ip in await scene.wallets():
        await scene.named.until_reaches(ip, RPC_PORT)
        await scene.stranger.until_kept_from(ip, RPC_PORT)


async def test_the_operator_reaches_wallets_and_monerod_and_nothing_else(world: World, scene: Scene) -> None:
    operator = await world.operator.until_ready()
    (gateway, *_) = await world.api.list(PODS, NAMESPACE, labels=GATEWAY_LABELS)
    nodes = await world.api.list(NODES)
    other_node = next(node for node in nodes if node["metadata"]["name"] != operator["spec"]["nodeName"])
    kubelet = next(a["address"] for a in other_node["status"]["addresses"] if a["type"] == "InternalIP")
    (wallet, *_), daemon = await scene.wallets(), await monerod(world)

    assert await reaches(world, operator, wallet, RPC_PORT)
    assert await reaches(world, operator, daemon, regtest.RPC_PORT)
    for ip, port in (
        (scene.stranger.ip, LISTENS_AT),
        (gateway["status"]["podIP"], PROBE_PORT),
        (kubelet, KUBELET_PORT),
        (daemon, regtest.ZMQ_PORT),
    ):
        assert await scene.named.reaches(ip, port), f"{ip}:{port} is reached by nobody: this proves nothing"
        assert not await reaches(world, operator, ip, port), f"{ip}:{port}"


async def test_the_gateway_reaches_wallets_and_not_monerod(world: World, scene: Scene) -> None:
    (gateway, *_) = await world.api.list(PODS, NAMESPACE, labels=GATEWAY_LABELS)
    (wallet, *_), daemon = await scene.wallets(), await monerod(world)
    assert await reaches(world, gateway, wallet, RPC_PORT)
    assert not await reaches(world, gateway, daemon, regtest.RPC_PORT)
    assert not await reaches(world, gateway, scene.stranger.ip, LISTENS_AT)


@asynccontextmanager
async def guarded(world: World) -> AsyncIterator[None]:
    """monerod behind the policy of the examples, which lets in the customer of these tests besides."""
    policy = yaml.safe_load(EXAMPLE.read_text())
    customer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": CUSTOMER_NAMESPACE}}}
    policy["spec"]["ingress"][0]["from"].append(customer)
    await world.api.apply(NETWORK_POLICIES, regtest.NAMESPACE, policy)
    try:
        yield
    finally:
        await world.api.delete(NETWORK_POLICIES, regtest.NAMESPACE, policy["metadata"]["name"])


async def test_wallets_and_operator_reach_a_guarded_monerod_and_others_do_not(
    world: World, chain: Chain, place: Place, scene: Scene
) -> None:
    daemon = await monerod(world)
    await scene.stranger.until_reaches(daemon, regtest.RPC_PORT)
    async with guarded(world):
        await scene.stranger.until_kept_from(daemon, regtest.RPC_PORT)
        # A connection of its own: one that it had would go on.
        assert await reaches(world, await world.operator.until_ready(), daemon, regtest.RPC_PORT)
        later = await place.active("later", confirmations=1)
        await chain.pay((await later.status())["address"], AMOUNT)
        await chain.mine(1)
        await later.until(lambda s: condition(s, "Funded").get("status") == "True", "funded")
