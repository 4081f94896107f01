"""Machines that wait for objects (Flux by kstatus, Argo CD by our Lua) see sessions as they are."""

from __future__ import annotations

from typing import Any

import lupa.lua51 as lua
import pytest
import yaml

from escrow_operator.adapters.kube import SESSIONS
from testbed.settings import REPO_ROOT
from unit.kstatus import CURRENT, FAILED, IN_PROGRESS, TERMINATING, kstatus
from unit.world.place import World

HEALTH = yaml.safe_load((REPO_ROOT / "deploy" / "examples" / "argocd-health.yaml").read_text())["data"]


def argo(kind: str, body: dict[str, Any]) -> str:
    """What Argo CD shows, by the health check in deploy/examples."""
    runtime = lua.LuaRuntime(unpack_returned_tuples=True)
    check = runtime.eval(f"function(obj) {HEALTH[f'resource.customizations.health.xmr-escrow.dev_{kind}']} end")
    return str(check(runtime.table_from(body, recursive=True))["status"])


def seen(world: World, name: str = "trade") -> tuple[str, str]:
    """What both say of a session."""
    body = world.session(name)
    return kstatus(body), argo("EscrowSession", body)


async def test_open_closed_reopened_and_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    await world.start()
    world.apply()
    await world.settle()
    assert world.condition("Ready") == ("False", "PoolEmpty")
    assert seen(world) == (IN_PROGRESS, "Progressing")
    world.warm()
    await world.settle()
    assert seen(world) == (CURRENT, "Healthy")
    world.apply(ttl="1h")
    assert seen(world) == (IN_PROGRESS, "Progressing"), "before the change is observed"
    await world.settle()
    assert seen(world) == (CURRENT, "Healthy")
    world.clock.seconds += 2 * 3600
    await world.settle(until=lambda s: s["phase"] == "Expired" and not world.wallets.open_files())
    assert seen(world) == (CURRENT, "Suspended")
    world.touch()
    await world.look()
    assert seen(world) == (IN_PROGRESS, "Progressing")
    world.warm()
    await world.settle()
    assert seen(world) == (CURRENT, "Healthy")
    world.kube.remove(SESSIONS, "trade")
    assert seen(world)[0] == TERMINATING


async def test_settled_is_done_and_edits_of_it_are_observed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    await world.start()
    world.warm()
    world.apply()
    await world.settle()
    world.pay(world.status()["address"], "0.35", confirmations=10)
    world.chain.height += 1
    await world.settle()
    txid = "e" * 64
    world.pay_out(world.status()["address"], txid, confirmations=20)
    world.apply(settlement={"outcome": "Refund", "txid": txid})
    await world.settle(until=lambda s: s["phase"] == "Refunded")
    assert seen(world) == (CURRENT, "Healthy")
    world.apply(settlement={"outcome": "Refund", "txid": txid}, eviction="Never")
    assert seen(world)[0] == IN_PROGRESS
    await world.settle()
    assert seen(world) == (CURRENT, "Healthy")


async def test_what_only_a_person_can_mend_is_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    await world.start()
    world.warm()
    wallets = world.made_elsewhere("nowhere")
    world.apply(setup="Open", wallets=wallets)
    await world.settle(until=lambda s: s.get("phase") == "Failed")
    assert seen(world) == (FAILED, "Degraded")
    assert world.condition("Stalled") == ("True", "WalletFileNotFound")


async def test_monerod_away_is_in_progress_with_its_wallets_open(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    await world.start()
    world.warm()
    world.apply()
    await world.settle()
    world.daemons.down = True
    await world.settle()
    assert seen(world) == (IN_PROGRESS, "Progressing")
    assert world.condition("WalletsOpen")[0] == "True"


@pytest.mark.parametrize(
    ("conditions", "flux", "shown"),
    [
        ({"Ready": "True"}, CURRENT, "Healthy"),
        ({"Ready": "False", "Reconciling": "True"}, IN_PROGRESS, "Progressing"),
        ({"Ready": "False", "Stalled": "True"}, FAILED, "Degraded"),
        ({"Ready": "True", "Stalled": "True"}, FAILED, "Degraded"),
        ({"Ready": "Unknown", "Reconciling": "True"}, IN_PROGRESS, "Progressing"),
    ],
)
def test_pools_are_read_by_the_same_rules(conditions: dict[str, str], flux: str, shown: str) -> None:
    """Which conditions a pool has is decided, and tested, in core/poolstatus."""
    listed = [{"type": kind, "status": status, "message": ""} for kind, status in conditions.items()]
    body = {"metadata": {"generation": 3}, "status": {"observedGeneration": 3, "conditions": listed}}
    assert (kstatus(body), argo("WalletPool", body)) == (flux, shown)
