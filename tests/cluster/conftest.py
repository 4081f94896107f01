"""Fixtures of the tests on a real cluster. It stays up between runs; ``make clean`` removes it."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from harness.api import Api
from harness.chain import Chain
from harness.operator import OperatorUnderTest
from harness.place import Place, World, remove_places
from testbed import diagnostics, images, progress, regtest
from testbed.cluster import Cluster
from testbed.settings import REPO_ROOT, TEST_CLUSTER

KUBECONFIG = REPO_ROOT / ".state" / "kubeconfig"
"""The tests' own: the user's is neither read nor written."""

LOGS = REPO_ROOT / "logs"
MAX_COLLECTIONS = 5
"""Failed tests of one run whose logs are collected: with more, the first ones tell."""

TEST_SECONDS = 300
NODES = 2

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here is a cluster test, on the session's event loop, with a deadline that starts with its body.

    Bringing up the cluster belongs to no test: built from nothing it takes many minutes, and has deadlines of its own.
    """
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(TEST_SECONDS, func_only=True))
            if pytest_asyncio.is_async_test(item):
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Collect the cluster's logs at a failure, while they are there."""
    report = yield
    if report.failed and _HERE in item.path.parents:
        cluster = Cluster(TEST_CLUSTER)
        done = item.config.stash.setdefault(_COLLECTED, [])
        if len(done) < MAX_COLLECTIONS and cluster.api_ready():
            target = LOGS / re.sub(r"[^A-Za-z0-9]+", "-", item.nodeid.removeprefix("tests/cluster/")).strip("-")
            with _visible(item.config):
                diagnostics.collect(cluster, target)
            done.append(target)
            report.sections.append(("cluster logs", str(target)))
    return report


_COLLECTED = pytest.StashKey[list[Path]]()


@contextmanager
def _visible(config: pytest.Config) -> Iterator[None]:
    """What the tooling says goes to the terminal, not into pytest's capture: long steps show that they go on."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        yield
        return
    with capture.global_and_fixture_disabled():
        print()
        yield


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Two nodes, up."""
    found = Cluster(TEST_CLUSTER)
    with _visible(request.config):
        found.up(nodes=NODES, kubeconfig=KUBECONFIG)
    os.environ["KUBECONFIG"] = str(KUBECONFIG)
    return found


@pytest.fixture(scope="session")
def built(request: pytest.FixtureRequest, cluster: Cluster) -> images.Images:
    """Both images, on every node."""
    with _visible(request.config):
        found = images.build_all(cluster.engine)
        cluster.load(found.operator, found.wallet)
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def api(cluster: Cluster) -> AsyncIterator[Api]:
    """The cluster's API."""
    found = Api.connect(cluster.kubeconfig)
    yield found
    await found.aclose()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def operator(
    request: pytest.FixtureRequest, cluster: Cluster, api: Api, built: images.Images
) -> OperatorUnderTest:
    """The operator of this checkout, installed by its chart; nothing of an earlier run is left."""
    found = OperatorUnderTest(cluster, api)
    with _visible(request.config):
        found.install(built.operator)
        await found.scale(1)
        with progress.step("removing what an earlier run left"):
            await remove_places(api)
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chain(
    request: pytest.FixtureRequest, cluster: Cluster, api: Api, built: images.Images
) -> AsyncIterator[Chain]:
    """monerod on regtest, and a customer with money."""
    found = Chain(cluster, api)
    with _visible(request.config):
        regtest.deploy(cluster, built.wallet)
        with progress.step("mining what the customer pays with"):
            await found.start(built.wallet)
    yield found
    await found.aclose()


@pytest.fixture(scope="session")
def world(cluster: Cluster, api: Api, operator: OperatorUnderTest, chain: Chain, built: images.Images) -> World:
    """All of it."""
    return World(cluster, api, operator, chain, built)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(request: pytest.FixtureRequest, world: World) -> AsyncIterator[Place]:
    """A namespace and a warm pool for the module; ``WARM_SLOTS`` of the module sets how warm (None: no pool)."""
    found = Place(world, Path(request.node.name).stem.removeprefix("test_"))
    await found.open(warm_slots=getattr(request.module, "WARM_SLOTS", 1))
    yield found
    await found.close()
