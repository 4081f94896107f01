"""What a pool consists of: nothing in it tells a secret, opens a door, or takes money along when it goes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from escrow_operator.core.login import key_id
from escrow_operator.core.manifests import pool as manifests
from escrow_operator.core.manifests.common import RPC_PORT, SLOT_LABELS
from escrow_operator.core.manifests.session import adoption
from escrow_operator.models.common import ROLES, Label, Role
from escrow_operator.models.pool import Network, Pool
from escrow_operator.models.slot import Slot
from simulation.jsonpatch import applied
from unit.factories import pool, session, slot_body

DAEMON = {"address": "monerod:18081", "network": "regtest"}
SECURED = DAEMON | {
    "tls": {"enabled": True, "caSecretRef": {"name": "ca"}, "clientSecretRef": {"name": "client"}},
    "loginSecretRef": {"name": "login-of-monerod"},
}
KEY = "the-login-key-itself"


def deployment(subject: Pool | None = None, role: Role = Role.BUYER, **how: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"replicas": 1, "login_key": key_id(KEY), "daemon_secrets": "", "login_image": "operator"}
    return manifests.deployment(subject or pool(), role, **options | how)


def pod_spec(subject: Pool | None = None, **how: Any) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(subject, **how)["spec"]["template"]["spec"]
    return spec


def args(daemon: dict[str, Any]) -> list[str]:
    return manifests.wallet_rpc_args(pool(daemon=daemon))


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


def test_each_role_has_its_own_volume_and_no_other() -> None:
    """Two roles' wallets in one pod would be two of three keys in one process."""
    for role in ROLES:
        volumes = pod_spec(role=role)["volumes"]
        claims = [v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v]
        assert claims == [manifests.volume_claim(pool(), role)["metadata"]["name"]]


def test_i9_neither_arguments_nor_the_template_tell_a_secret() -> None:
    text = json.dumps(deployment(pool(daemon=SECURED)))
    assert KEY not in text
    assert not any("login" in arg or "password" in arg for arg in args(SECURED))
    (container,) = pod_spec(pool(daemon=SECURED))["containers"]
    assert all("valueFrom" not in variable for variable in container["env"]), "wallet-rpc sees no key at all"


def test_the_key_is_given_to_the_init_container_alone_and_its_file_to_wallet_rpc_read_only() -> None:
    spec = pod_spec()
    (login,), (wallet,) = spec["initContainers"], spec["containers"]
    keys = [v["valueFrom"]["secretKeyRef"]["name"] for v in login["env"] if "secretKeyRef" in v.get("valueFrom", {})]
    assert keys == ["default-slot-login"]
    assert {"name": "config", "mountPath": manifests.CONFIG_DIR, "readOnly": True} in wallet["volumeMounts"]
    (config,) = [volume for volume in spec["volumes"] if volume["name"] == "config"]
    assert config["emptyDir"]["medium"] == "Memory"
    assert [mount["name"] for mount in login["volumeMounts"]] == ["config"], "it has nothing to do with wallets"


def test_no_container_may_become_more_than_it_is() -> None:
    spec = pod_spec(pool(daemon=SECURED))
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"]
    for container in (*spec["initContainers"], *spec["containers"]):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"]
        assert security["capabilities"] == {"drop": ["ALL"]}


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
    adopted = applied(made, adoption(slot, session(), "file"))
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


@pytest.mark.parametrize("network", Network)
def test_wallets_are_told_the_network(network: Network) -> None:
    """Without a word wallet-rpc is on mainnet, and regtest has mainnet's addresses."""
    flags = {"--stagenet", "--testnet", "--mainnet", "--regtest"} & set(args(DAEMON | {"network": network.value}))
    assert flags == ({f"--{network.value}"} if network in (Network.STAGENET, Network.TESTNET) else set())


@pytest.mark.parametrize("trusted", [True, False])
def test_monerod_is_trusted_where_the_pool_says_so(trusted: bool) -> None:
    given = args(DAEMON | {"trusted": trusted})
    assert ("--trusted-daemon" in given, "--untrusted-daemon" in given) == (trusted, not trusted)


def test_whatever_an_address_says_it_is_one_argument() -> None:
    (given,) = [arg for arg in args(DAEMON | {"address": "a:1 --tx-notify=/bin/sh\n--x"}) if "tx-notify" in arg]
    assert given.startswith("--daemon-address=")


@pytest.mark.parametrize("tls", [True, False])
def test_tls_is_verified_with_what_the_pool_names(tls: bool) -> None:
    given = args(SECURED if tls else DAEMON)
    assert f"--daemon-ssl={'enabled' if tls else 'disabled'}" in given
    assert any("ca-certificates" in arg for arg in given) is tls
    assert not any("allow-any-cert" in arg for arg in given)
    spec = pod_spec(pool(daemon=SECURED if tls else DAEMON))
    mounts = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    for directory in (manifests.DAEMON_CA_DIR, manifests.DAEMON_CLIENT_DIR):
        assert (directory in mounts) is tls
        assert any(directory in arg for arg in given) is tls
    (env,) = [spec["containers"][0]["env"]]
    assert any(variable["name"] == "SSL_CERT_FILE" for variable in env) is not tls, "of authorities it needs them then"


def test_of_monerods_secrets_a_pod_gets_the_keys_that_it_needs() -> None:
    spec = pod_spec(pool(daemon=SECURED))
    files = {
        v["secret"]["secretName"]: [i["key"] for i in v["secret"]["items"]] for v in spec["volumes"] if "secret" in v
    }
    assert files == {"ca": ["ca.crt"], "client": ["tls.crt", "tls.key"]}


def test_what_the_pool_says_of_its_pods_is_what_they_have() -> None:
    said: dict[str, Any] = {
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "wallets"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "imagePullSecrets": [{"name": "registry"}],
    }
    asked = pod_spec(pool(**said))
    assert {name: asked[name] for name in said} == said
    assert not said.keys() & pod_spec().keys()
    assert pod_spec()["containers"][0]["resources"] == manifests.DEFAULT_RESOURCES
    own = {"limits": {"memory": "2Gi"}}
    assert pod_spec(pool(resources=own))["containers"][0]["resources"] == own


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
