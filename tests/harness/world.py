"""Everything that tests and benchmarks on the real cluster share, brought up once; it stays up between runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed import images, progress, regtest
from testbed.cluster import Cluster
from testbed.settings import REPO_ROOT, TEST_CLUSTER

from .api import Api
from .chain import Chain
from .operator import OperatorUnderTest

KUBECONFIG = REPO_ROOT / ".state" / "kubeconfig"
"""The tests' own: the user's is neither read nor written."""

NODES = 2


@dataclass(frozen=True)
class World:
    """A cluster of two nodes with the operator of this checkout, monerod on regtest, and a customer with money."""

    cluster: Cluster
    api: Api
    operator: OperatorUnderTest
    chain: Chain
    images: images.Images


@asynccontextmanager
async def bring_up(kubeconfig: Path = KUBECONFIG) -> AsyncIterator[World]:
    """Minutes when nothing is there yet, seconds when all of it is: only what changed is done again."""
    cluster = Cluster(TEST_CLUSTER)
    await asyncio.to_thread(cluster.up, nodes=NODES, kubeconfig=kubeconfig)
    os.environ["KUBECONFIG"] = str(kubeconfig)
    built = await asyncio.to_thread(images.build_all, cluster.engine)
    await asyncio.to_thread(cluster.load, built.operator, built.wallet)
    await asyncio.to_thread(regtest.deploy, cluster, built.wallet)
    api = Api.connect(cluster.kubeconfig)
    operator, chain = OperatorUnderTest(cluster, api), Chain(cluster, api)
    try:
        await asyncio.to_thread(operator.install, built.operator)
        await operator.scale(1)
        with progress.step("mining what the customer pays with"):
            await chain.start(built.wallet)
        yield World(cluster, api, operator, chain, built)
    finally:
        await chain.aclose()
        await api.aclose()
