"""What a pool consists of: nothing in it tells a secret, opens a door, or takes money along when it goes."""

from __future__ import annotations

from typing import Any

import pytest

from escrow_operator.core.login import key_id
from escrow_operator.core.manifests import pool as manifests
from escrow_operator.core.manifests.common import RPC_PORT, SLOT_LABELS
from escrow_operator.core.manifests.session import adoption
from escrow_operator.models.common import ROLES, Label, Role
from escrow_operator.models.pool import Pool
from escrow_operator.models.slot import Slot
from simulation.jsonpatch import applied
from unit.factories import pool, session, slot_body

DAEMON = {"address": "monerod:18081", "network": "regtest"}
KEY = "the-login-key-itself"


def deployment(subject: Pool | None = None, role: Role = Role.BUYER, **how: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"replicas": 1, "login_key": key_id(KEY), "daemon_secrets": "", "login_image": "operator"}
    return manifests.deployment(subject or pool(), role, **options | how)


def matches(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def test_i4_volume_claims_go_with_nobody() -> None:
    claim = manifests.volume_claim(pool(), Role.BUYER)
    assert "ownerReferences" not in claim["metadata"]


@pytest.mark.parametrize(
    "made",
    [
        deployment(),
        manifests.service(pool()),
        manifests.network_policy(pool(), "operators"),
        manifests.login_key_secret(pool(), KEY),
    ],
    ids=lambda made: made["kind"],
)
def test_all_else_goes_with_the_pool(made: dict[str, Any]) -> None:
    (owner,) = made["metadata"]["ownerReferences"]
    assert owner["uid"] == pool().uid


@pytest.mark.parametrize("role", ROLES)
def test_a_deployment_makes_free_slots_of_its_role_and_keeps_those_alone(role: Role) -> None:
    body = deployment(role=role)
    template, selector = body["spec"]["template"]["metadata"], body["spec"]["selector"]["matchLabels"]
    assert matches(selector, template["labels"])
    for other in ROLES:
        others = deployment(role=other)["spec"]["template"]["metadata"]["labels"]
        assert matches(selector, others) is (other is role)
    made = slot_body("p") | {"spec": body["spec"]["template"]["spec"]}
    made["metadata"] |= {"labels": template["labels"], "annotations": template["annotations"]}
    made["metadata"]["ownerReferences"] = [{"uid": "replicaset", "controller": True}]
    slot = Slot.parse(made)
    assert (slot.role, slot.claimable, slot.gate) == (role, True, 0)
    assert slot.daemon == pool().spec.daemon.digest
    adopted = applied(made, adoption(slot, session(), "file", "1"))
    assert not matches(selector, adopted["metadata"]["labels"])


def test_adopted_slots_stay_behind_the_policy_and_other_pools_are_not_behind_it() -> None:
    policy = manifests.network_policy(pool(), "operators")["spec"]
    selector = policy["podSelector"]["matchLabels"]
    template = deployment()["spec"]["template"]["metadata"]["labels"]
    assert matches(selector, template | {Label.SLOT: "adopted"})
    assert not matches(selector, deployment(pool("other"))["spec"]["template"]["metadata"]["labels"])
    assert matches(SLOT_LABELS, template), "else the operator would not see it"


def test_only_operator_gateway_and_who_is_named_reach_wallets_and_only_their_port() -> None:
    client = {"podSelector": {"matchLabels": {"app": "checkout"}}}
    policy = manifests.network_policy(pool(networkPolicy={"enabled": True, "clients": [client]}), "operators")["spec"]
    (rule,) = policy["ingress"]
    ours, *clients = rule["from"]
    assert clients == [client]
    assert ours["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "operators"}
    (named,) = ours["podSelector"]["matchExpressions"]
    assert named == {
        "key": "app.kubernetes.io/name",
        "operator": "In",
        "values": ["xmr-escrow-operator", "xmr-escrow-gateway"],
    }
    assert rule["ports"] == [{"port": RPC_PORT, "protocol": "TCP"}]
    assert policy["policyTypes"] == ["Ingress"]


def test_another_key_other_secrets_and_another_daemon_make_another_template_and_more_slots_do_not() -> None:
    """A Deployment replaces its free slots when the template changes."""
    before = deployment()["spec"]["template"]
    assert deployment(replicas=5)["spec"]["template"] == before
    for changed in (
        deployment(login_key=key_id("another")),
        deployment(daemon_secrets="7/8"),
        deployment(pool(daemon=DAEMON | {"trusted": True})),
        deployment(pool(daemon=DAEMON | {"address": "other:18081"})),
    ):
        assert changed["spec"]["template"] != before


def test_a_class_that_is_not_named_is_the_clusters_own() -> None:
    assert "storageClassName" not in manifests.volume_claim(pool(), Role.BUYER)["spec"]
    named = manifests.volume_claim(pool(storage={"storageClassName": "fast"}), Role.BUYER)
    assert named["spec"]["storageClassName"] == "fast"


@pytest.mark.parametrize("others", [[], ["theirs.dev/a"], ["theirs.dev/a", "theirs.dev/b"]])
def test_of_a_pods_gates_only_the_operators_is_taken_away(others: list[str]) -> None:
    body = slot_body("p")
    body["spec"]["schedulingGates"] = [{"name": name} for name in [*others, Label.WARM_UP]]
    left = applied(body, manifests.ungate(Slot.parse(body)))
    assert [gate["name"] for gate in left["spec"]["schedulingGates"]] == others


def test_a_gate_that_moved_since_takes_nobody_elses_place() -> None:
    body = slot_body("p")
    body["spec"]["schedulingGates"] = [{"name": Label.WARM_UP}]
    seen = Slot.parse(body)
    body["spec"]["schedulingGates"].insert(0, {"name": "theirs.dev/a"})
    with pytest.raises(Exception, match="testing path"):
        applied(body, manifests.ungate(seen))
