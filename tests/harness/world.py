"""Everything that tests and benchmarks on the real cluster share, brought up once; it stays up between runs."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from testbed import images, progress, regtest
from testbed.cluster import Cluster
from testbed.errors import ToolingError
from testbed.settings import REPO_ROOT, TEST_CLUSTER, cache_dir

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
    async with alone(), _brought_up(kubeconfig) as world:
        yield world


@asynccontextmanager
async def alone(deadline: float = 3600.0) -> AsyncIterator[None]:
    """Keep other runs off the test cluster: two would replace each other's operator, and stop each other's monerod.

    The kernel frees the lock when its holder dies, however it dies.
    """
    path = cache_dir() / "clusters" / f"{TEST_CLUSTER}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        start = told = time.monotonic()
        while not _locked(handle):
            now = time.monotonic()
            if now - start > deadline:
                raise ToolingError(
                    f"process {path.read_text().strip()} has used the test cluster for more than {deadline:.0f} s",
                    "see what it does; end it if it hangs, then run this again",
                )
            if now >= told:
                progress.say(f"waiting for another run on the test cluster (process {path.read_text().strip()}) to end")
                told = now + progress.HEARTBEAT_SECONDS
            await asyncio.sleep(1.0)
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield


def _locked(handle: TextIO) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@asynccontextmanager
async def _brought_up(kubeconfig: Path) -> AsyncIterator[World]:
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
