from __future__ import annotations

import json
from typing import Any

import httpx

from escrow_cli.api import METADATA_ONLY
from escrow_operator.models.common import ROLES, Label
from unit.cli.bench import Bench

Body = dict[str, Any]


def deed(session: str, role: str, **annotations: str) -> Body:
    labels = {Label.SESSION: session, Label.ROLE: role}
    name = f"{session}-{role}-wallet"
    return {"metadata": {"namespace": "shop", "name": name, "labels": labels, "annotations": annotations}}


def claims(cli: Bench) -> None:
    """Of the pool of ``session_body``."""
    for role in ROLES:
        meta = {"namespace": "shop", "name": f"default-{role}-wallets", "labels": {Label.ROLE: role.value}}
        status = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
        cli.put("persistentvolumeclaims", {"metadata": meta, "status": status})


def listed(cli: Bench) -> dict[str, Body]:
    return {part["name"]: part for part in json.loads(cli.run("backup", "list", "-o", "json").output)}


def test_it_names_deeds_and_volumes_and_reads_no_secret(cli: Bench) -> None:
    cli.session(address="4abc")
    cli.put("secrets", *(deed("demo", role.value) for role in ROLES))
    claims(cli)
    found = listed(cli)
    assert found["demo-buyer-wallet"]["state"] == "in use"
    assert found["default-buyer-wallets"]["state"].startswith("Bound, 1Gi")
    assert cli.code("backup", "list") == 0
    secrets = [request for request in cli.asked if request.url.path.endswith("/secrets")]
    assert secrets
    assert all(request.headers["accept"] == METADATA_ONLY for request in secrets)


def test_a_list_of_nothing_may_be_null(cli: Bench) -> None:
    nothing = httpx.Response(200, json={"items": None, "metadata": {}})
    cli.answers["GET", "/api/v1/namespaces/shop/secrets"] = lambda _: nothing
    assert "Nothing to back up." in cli.run("backup", "list").output


def test_a_deed_that_is_missing_is_an_error(cli: Bench) -> None:
    cli.session(address="4abc")
    claims(cli)
    cli.put("secrets", deed("demo", "buyer"), deed("demo", "vendor"))
    assert cli.code("backup", "list") == 1
    assert [name for name, part in listed(cli).items() if part["is_missing"]] == ["demo-arbiter-wallet"]


def test_a_session_without_an_address_misses_nothing(cli: Bench) -> None:
    cli.session()
    assert cli.code("backup", "list") == 0


def test_so_is_one_of_a_session_that_was_applied_again_and_has_not_opened(cli: Bench) -> None:
    cli.session()
    cli.put("secrets", deed("demo", "buyer"), deed("demo", "vendor"))
    assert [name for name, part in listed(cli).items() if part["is_missing"]] == ["demo-arbiter-wallet"]


def test_a_volume_that_is_missing_or_lost_is_an_error(cli: Bench) -> None:
    cli.session(address="4abc")
    cli.put("secrets", *(deed("demo", role.value) for role in ROLES))
    claims(cli)
    gone, lost, _ = cli.objects["persistentvolumeclaims"]
    cli.objects["persistentvolumeclaims"].remove(gone)
    lost["status"]["phase"] = "Lost"
    missing = {name for name, part in listed(cli).items() if part["is_missing"]}
    assert missing == {gone["metadata"]["name"], lost["metadata"]["name"]}


def test_a_deed_outlives_its_session(cli: Bench) -> None:
    cli.put("secrets", deed("gone", "buyer"), deed("over", "buyer", **{Label.SETTLED: "Completed by 12ab"}))
    found = listed(cli)
    assert "may hold money" in found["gone-buyer-wallet"]["state"]
    assert found["over-buyer-wallet"]["state"] == "trade over: Completed by 12ab"


def test_password_secrets_of_existing_wallets_belong_into_it(cli: Bench) -> None:
    body = cli.session(address="4abc")
    wallets = {role.value: {"file": f"w-{role}", "secretRef": {"name": f"pw-{role}"}} for role in ROLES}
    body["spec"] |= {"setup": "Open", "wallets": wallets}
    claims(cli)
    cli.put("secrets", {"metadata": {"namespace": "shop", "name": "pw-buyer"}})
    found = listed(cli)
    assert found["pw-buyer"]["state"] == "password of w-buyer"
    assert found["pw-vendor"]["is_missing"]
    assert "demo-buyer-wallet" not in found
