"""``kubectl escrow`` against a real API server and a real gateway."""

from __future__ import annotations

import asyncio
import json
import tarfile
from pathlib import Path
from typing import NamedTuple

import yaml

from escrow_operator.models.common import ROLES, Label
from harness.gateway import account
from harness.place import Place
from testbed import plugin


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


async def escrow(place: Place, *args: str) -> Done:
    """Run a command as a user does, in the place's namespace."""
    process = await asyncio.create_subprocess_exec(
        *(*plugin.COMMAND, "-n", place.namespace, *args),
        env=plugin.environment(place.world.cluster, COLUMNS="200"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Done(process.returncode or 0, out.decode(), err.decode())


async def test_a_trade_from_the_command_line(place: Place, tmp_path: Path) -> None:
    manifest = {
        "apiVersion": "xmr-escrow.dev/v1alpha1",
        "kind": "EscrowSession",
        "metadata": {"name": "typed"},
        "spec": {"poolRef": {"name": place.pool_name}, "amount": "0.35"},
    }
    file = tmp_path / "session.yaml"
    file.write_text(yaml.safe_dump(manifest))
    made = await escrow(place, "apply-and-wait", "-f", str(file), "-o", "json")
    assert made.code == 0, made.err
    address = json.loads(made.out)["status"]["address"]
    shown = await escrow(place, "status", "typed")
    assert address in shown.out
    assert all(role.value in shown.out for role in ROLES)
    assert "typed" in (await escrow(place, "status")).out
    assert "typed" in (await escrow(place, "top", "--rounds", "1")).out
    assert "SlotsClaimed" in (await escrow(place, "events", "typed")).out
    assert (await escrow(place, "touch", "typed")).code == 0
    assert Label.TOUCH in (await place.escrow("typed").get())["metadata"]["annotations"]

    await account(place, "backend", cluster_role="xmr-escrow-vendor")
    called = await escrow(place, "call", "typed", "vendor", "get_address", "--as", "backend")
    assert called.code == 0, called.err
    assert json.loads(called.out)["address"] == address
    refused = await escrow(place, "call", "typed", "buyer", "get_address", "--as", "backend")
    assert (refused.code, "escrowsessions/buyer" in refused.err) == (4, True)

    assert (await escrow(place, "close", "typed", "--yes")).code == 0
    await place.escrow("typed").until_gone()
    assert (await escrow(place, "status", "typed")).code == 3


async def test_doctor_and_report_look_at_the_whole_cluster(place: Place, tmp_path: Path) -> None:
    checked = await escrow(place, "doctor", "-o", "json")
    found = json.loads(checked.out)
    assert {one["check"] for one in found} >= {"custom resources", "operator", "gateway", "pools", "storage", "monerod"}
    for one in found:
        if one["check"] in ("custom resources", "gateway"):
            assert one["level"] == "ok", one
        if one["check"] == "operator":
            assert one["level"] == "warning", one
            assert "--replicas=2" in one["mend"], "tests have one"
    file = tmp_path / "report.tar.gz"
    written = await escrow(place, "report", "-f", str(file))
    assert written.code == 0, written.err
    with tarfile.open(file) as tar:
        names = tar.getnames()
    assert "xmr-escrow-report/pools.yaml" in names
    assert any(name.startswith("xmr-escrow-report/logs/xmr-escrow-operator-") for name in names)
    assert not any(name.endswith(".error") for name in names)
