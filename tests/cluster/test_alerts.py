"""Alerts and dashboards before a real Prometheus: every query has an answer, and alerts fire for what they name."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest_asyncio
import yaml

import dashboards
from harness.api import Body
from harness.gateway import account, gateway_of, token
from harness.operator import NAMESPACE
from harness.place import Place
from harness.prometheus import Prometheus, prometheus_of
from harness.waiting import wait_for
from harness.world import World
from testbed import images
from unit.packaging.helm import CHART, render

from .alert_cases import CASES, promtool_tests

ALERTS: Body = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text().replace("RELEASE_NAMESPACE", NAMESPACE))

NOT_HERE = {
    # Of kubelet, and not for volumes of the test cluster, which are folders of its nodes.
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
    # Where nothing was stolen it has no values.
    "xmr_escrow_session_longest_unknown_payout_seconds",
}

UNREADY_SECONDS = 5
"""Instead of the 15 minutes of the alert."""


def rules() -> Iterator[Body]:
    for group in ALERTS["groups"]:
        yield from group["rules"]


def hurried() -> Body:
    """The alerts, which fire at once here instead of after minutes."""
    found: Body = json.loads(json.dumps(ALERTS))
    for group in found["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)
            rule.pop("keep_firing_for", None)
            if rule["alert"] == "XmrEscrowSessionNotReady":
                assert "> 900" in rule["expr"]
                rule["expr"] = rule["expr"].replace("> 900", f"> {UNREADY_SECONDS}")
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def prometheus(world: World) -> AsyncIterator[Prometheus]:
    objects = render({"metrics": {"podMonitor": {"enabled": True}}})
    monitors = [body for body in objects if body["kind"] == "PodMonitor"]
    async with prometheus_of(world, monitors, hurried()) as found:
        await found.until_scraped(len(monitors))
        yield found


async def test_promtool_accepts_the_alerts_and_each_fires_in_time(world: World) -> None:
    image = await asyncio.to_thread(images.build_prometheus, world.cluster.engine)
    (rendered,) = [
        body for body in render({"metrics": {"rules": {"enabled": True}}}) if body["kind"] == "PrometheusRule"
    ]
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), {"rules.json": rendered["spec"], "tests.json": promtool_tests("rules.json")})
        args = ["run", "--rm", "--network=none", "--volume", f"{folder}:/rules:ro", image, "promtool"]
        await asyncio.to_thread(world.cluster.engine.capture, *args, "check", "rules", "/rules/rules.json")
        await asyncio.to_thread(world.cluster.engine.capture, *args, "test", "rules", "/rules/tests.json")
    assert CASES.keys() == {rule["alert"] for rule in rules()}


def _write(folder: Path, files: dict[str, Body]) -> None:
    # promtool is another user.
    folder.chmod(0o755)
    for name, body in files.items():
        (folder / name).write_text(json.dumps(body))


async def test_every_query_finds_the_metrics_that_it_names(world: World, place: Place, prometheus: Prometheus) -> None:
    """Those of all panels and alerts. What a healthy system has none of, such as alerts, is an empty answer."""
    await place.active("seen")
    await account(place, "caller", cluster_role="xmr-escrow-buyer")
    caller = await token(place, "caller")
    async with gateway_of(world) as gateway:
        # A call that is served, and one that is not.
        assert (await gateway.call(place, "seen", "buyer", "get_address", token=caller)).status_code == 200
        assert (await gateway.call(place, "seen", "vendor", "get_address", token=caller)).status_code == 403
    waits = place.escrow("waits-too")
    await waits.apply(poolRef={"name": "no-such-pool"})
    ended = place.escrow("ended")
    await place.active("ended", ttl="10s")
    await ended.until_phase("Expired")

    queries = [rule["expr"] for rule in rules()]
    for board in dashboards.BOARDS:
        queries += dashboards.queries(board)
    resolved = [_resolved(query) for query in queries]
    names = {name for query in resolved for name in re.findall(r"\b(?:xmr_escrow|kubelet|process)_\w+", query)}

    async def missing() -> set[str]:
        return {name for name in names if not await prometheus.query(f"count({name})")} - NOT_HERE

    async def all_there() -> bool:
        return not await missing()

    async def explain() -> str:
        return f"not there: {await missing()}"

    await wait_for(all_there, what="every metric", explain=explain)
    for query in resolved:
        await prometheus.query(query)
    # Each label that a selector or a grouping names is one of the metric's.
    for board in dashboards.BOARDS:
        for number in board.stats:
            assert await prometheus.query(_resolved(number.query)), number.title
    labels = {
        name: set().union(*(sample["metric"] for sample in await prometheus.query(name))) for name in names - NOT_HERE
    }
    for query in resolved:
        for name, matchers in re.findall(r"(xmr_escrow_\w+)\{([^}]*)\}", query):
            wanted = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            assert name in NOT_HERE or wanted <= labels[name], (query, wanted - labels[name])
    await waits.delete()


def _resolved(query: str) -> str:
    """With values in the place of Grafana's variables."""
    return query.replace("$namespace", ".*").replace("$__rate_interval", "1m")


async def test_alerts_fire_for_what_they_name(place: Place, prometheus: Prometheus) -> None:
    """With real causes; those that need a lost deed, a stolen escrow or a broken node are played by promtool alone."""
    await place.make_pool("cut-off", daemon={"address": "nowhere.invalid:18081", "network": "regtest"})
    failed = place.escrow("failed")
    made = await place.active("made")
    wallets = {role: wallet | {"file": "no-such-file"} for role, wallet in (await made.deeds_as_wallets()).items()}
    await failed.apply(setup="Open", wallets=wallets)
    waits = place.escrow("waits")
    await waits.apply(poolRef={"name": "no-such-pool"})

    def told(found: dict[str, list[Body]], name: str, **labels: str) -> bool:
        mine = {"namespace": place.namespace, **labels}
        return any(mine.items() <= alert["labels"].items() for alert in found.get(name, ()))

    wanted: dict[str, dict[str, Any]] = {
        "XmrEscrowDaemonDown": {"pool": "cut-off", "reason": "DaemonUnreachable"},
        "XmrEscrowPoolNotReady": {"pool": "cut-off"},
        "XmrEscrowSessionFailed": {},
        "XmrEscrowSessionNotReady": {},
    }

    async def all_fire() -> bool:
        found = await prometheus.firing()
        return all(told(found, name, **labels) for name, labels in wanted.items())

    async def explain() -> str:
        return json.dumps(await prometheus.firing(), indent=1)

    await wait_for(all_fire, what="the alerts to fire", explain=explain)
    for alerts in (await prometheus.firing()).values():
        for alert in alerts:
            assert "<no value>" not in json.dumps(alert["annotations"]), alert
    await failed.delete()
    await waits.delete()

    async def quiet() -> bool:
        found = await prometheus.firing()
        return not told(found, "XmrEscrowSessionFailed") and not told(found, "XmrEscrowSessionNotReady")

    await wait_for(quiet, what="the alerts to end", explain=explain)
