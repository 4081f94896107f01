"""What a slot's pod is: it tells no secret, and has no right to more than its wallet."""

from __future__ import annotations

import json
from typing import Any

import pytest

from escrow_operator.core.login import key_id
from escrow_operator.core.manifests import slot as manifests
from escrow_operator.core.manifests.pool import deployment, volume_claim
from escrow_operator.core.manifests.slot import SlotOptions
from escrow_operator.core.wallet_tls import FORMAT
from escrow_operator.models.common import ROLES, Label, Role
from escrow_operator.models.pool import Network, Pool
from escrow_operator.models.slot import TLS_FORMAT
from unit.factories import pool

DAEMON = {"address": "monerod:18081", "network": "regtest"}
SECURED = DAEMON | {
    "tls": {"enabled": True, "caSecretRef": {"name": "ca"}, "clientSecretRef": {"name": "client"}},
    "loginSecretRef": {"name": "login-of-monerod"},
}
KEY = "the-login-key-itself"


def template(subject: Pool | None = None, role: Role = Role.BUYER, **how: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"replicas": 1, "login_key": key_id(KEY), "daemon_secrets": "", "login_image": "operator"}
    found: dict[str, Any] = deployment(subject or pool(), role, **options | how)["spec"]["template"]
    return found


def pod_spec(subject: Pool | None = None, **how: Any) -> dict[str, Any]:
    spec: dict[str, Any] = template(subject, **how)["spec"]
    return spec


def args(daemon: dict[str, Any]) -> list[str]:
    return manifests.wallet_rpc_args(pool(daemon=daemon), tls=True)


def test_wallets_are_served_over_tls_unless_the_release_says_otherwise() -> None:
    found, off = template(), template(options=SlotOptions(tls=False))
    (wallet,), (login,) = found["spec"]["containers"], found["spec"]["initContainers"]
    env = {variable["name"]: variable.get("value") for variable in login["env"]}
    assert env[TLS_FORMAT] == FORMAT
    assert env["TLS_HOSTS"] == "*.default-wallets.shop.svc *.default-wallets.shop.svc.cluster.local"
    assert "--rpc-ssl=enabled" in wallet["args"]
    for option, variable in (("certificate", "TLS_CERTIFICATE"), ("private-key", "TLS_PRIVATE_KEY")):
        assert f"--rpc-ssl-{option}={env[variable]}" in wallet["args"]
        assert env[variable].startswith(login["volumeMounts"][0]["mountPath"])
    assert [arg for arg in off["spec"]["containers"][0]["args"] if "rpc-ssl" in arg] == ["--rpc-ssl=disabled"]
    assert not any("TLS" in variable["name"] for variable in off["spec"]["initContainers"][0]["env"])


def test_each_role_has_its_own_volume_and_no_other() -> None:
    """Two roles' wallets in one pod would be two of three keys in one process."""
    for role in ROLES:
        volumes = pod_spec(role=role)["volumes"]
        claims = [v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v]
        assert claims == [volume_claim(pool(), role)["metadata"]["name"]]


def test_i9_neither_arguments_nor_the_template_tell_a_secret() -> None:
    text = json.dumps(template(pool(daemon=SECURED)))
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


def test_slots_of_a_role_are_spread_over_nodes_or_as_the_pool_says() -> None:
    (over_nodes,) = pod_spec()["topologySpreadConstraints"]
    assert (over_nodes["topologyKey"], over_nodes["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    said = {"maxSkew": 2, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
    for role in ROLES:
        (asked,) = pod_spec(pool(topologySpreadConstraints=[said]), role=role)["topologySpreadConstraints"]
        selector = asked.pop("labelSelector")["matchLabels"]
        assert asked == said
        assert selector == {Label.POOL: "default", Label.ROLE: role}, "adopted ones of the role count as well"


def test_nobody_is_named_where_the_cluster_says_who_a_pod_runs_as() -> None:
    named = pod_spec()["securityContext"]
    assert {named[key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {manifests.SLOT_UID}
    left = pod_spec(options=SlotOptions(None, None, None))["securityContext"]
    assert named.items() >= left.items()
    assert named.keys() - left.keys() == {"runAsUser", "runAsGroup", "fsGroup"}
    assert left["runAsNonRoot"] is True
    some = pod_spec(options=SlotOptions(1000650000, 0, None))["securityContext"]
    assert (some["runAsUser"], some["runAsGroup"], "fsGroup" in some) == (1000650000, 0, False)


def test_the_releases_annotations_are_beside_the_operators_and_never_in_their_place() -> None:
    own = template()["metadata"]["annotations"]
    given = {"linkerd.io/inject": "enabled", Label.DAEMON: "forged", Label.LOGIN_KEY: "forged"}
    found = template(annotations=given)["metadata"]["annotations"]
    assert found["linkerd.io/inject"] == "enabled"
    for label in (Label.DAEMON, Label.LOGIN_KEY):
        assert found[label] == own[label]
    assert found[Label.TEMPLATE] != own[Label.TEMPLATE], "free slots are replaced"
