"""Fixtures of the tests on a real cluster. It stays up between runs; ``make clean`` removes it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import pytest_asyncio

from harness.chain import Chain
from harness.operator import OperatorUnderTest
from harness.place import Place, remove_places
from harness.world import World, bring_up
from testbed import diagnostics, progress
from testbed.cluster import Cluster
from testbed.settings import REPO_ROOT, TEST_CLUSTER

LOGS = REPO_ROOT / "logs"
MAX_COLLECTIONS = 5
"""Failed tests of one run whose logs are collected: with more, the first ones tell."""

TEST_SECONDS = 300

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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """All that the tests share. Nothing of an earlier run is left in it."""
    with _visible(request.config):
        stack = AsyncExitStack()
        found = await stack.enter_async_context(bring_up())
        with progress.step("removing what an earlier run left"):
            await remove_places(found.api)
    yield found
    await stack.aclose()


@pytest.fixture(scope="session")
def operator(world: World) -> OperatorUnderTest:
    """The operator."""
    return world.operator


@pytest.fixture(scope="session")
def chain(world: World) -> Chain:
    """monerod and the customer."""
    return world.chain


class Places:
    """A place for each module; while one is played in, the next is being made ready: volumes and pods take seconds."""

    def __init__(self, world: World, modules: list[ModuleType]) -> None:
        self._world = world
        self._modules = modules
        self._opening: dict[ModuleType, asyncio.Task[Place]] = {}

    async def take(self, module: ModuleType) -> Place:
        """The module's place, ready; the next one is begun, unless the module is ``ALONE``. Once for each module."""
        opening = self._begin(module)
        index = self._modules.index(module) + 1
        # What would be made ready while pods run as another user leaves files that only this user may read.
        if index < len(self._modules) and not getattr(module, "ALONE", False):
            self._begin(self._modules[index])
        place = await opening
        del self._opening[module]
        return place

    async def close(self) -> None:
        """Remove those that were begun and not taken."""
        for task in self._opening.values():
            task.cancel()
        for result in await asyncio.gather(*self._opening.values(), return_exceptions=True):
            if isinstance(result, Place):
                await result.close()

    def _begin(self, module: ModuleType) -> asyncio.Task[Place]:
        if module not in self._opening:
            self._opening[module] = asyncio.create_task(self._open(module))
        return self._opening[module]

    async def _open(self, module: ModuleType) -> Place:
        place = Place(self._world, Path(module.__file__ or "").stem.removeprefix("test_"))
        await place.open(warm_slots=getattr(module, "WARM_SLOTS", 1))
        return place


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def places(request: pytest.FixtureRequest, world: World) -> AsyncIterator[Places]:
    """The places of all modules that will run."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    modules = {item.module: None for item in items if "place" in item.fixturenames}
    found = Places(world, list(modules))
    yield found
    await found.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(request: pytest.FixtureRequest, places: Places) -> AsyncIterator[Place]:
    """A namespace and a warm pool for the module; ``WARM_SLOTS`` of the module sets how warm (None: no pool)."""
    found = await places.take(request.module)
    yield found
    await found.close()
