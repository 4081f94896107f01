"""The chart renders what its values say, and refuses values that make no sense."""

import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pydantic import BaseModel

from escrow_gateway.server import DRAIN_SECONDS
from escrow_gateway.settings import Settings as GatewaySettings
from escrow_operator.adapters.health import ALIVE_PATH, READY_PATH
from escrow_operator.core.manifests.pool import network_policy
from escrow_operator.models.common import Label
from escrow_operator.models.pool import Pool
from escrow_operator.settings import LeaderElectionSettings, Settings
from testbed.settings import REPO_ROOT
from unit.packaging.helm import CHART, IMAGE, Object, container, is_gateways, of_kind, refusal, render, run

POOL_SPEC = {"image": "wallet:1", "daemon": {"address": "monerod:18081", "network": "regtest"}}

NOT_AN_OPTION = {"HOME": "/tmp", "OTEL_SDK_DISABLED": "true"}
"""Variables that are no setting of the operator's."""


def variables(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    """The environment variables of a settings model, with their defaults."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from variables(field.annotation, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}", field.default


def environment(objects: list[Object]) -> dict[str, Any]:
    """The operator's variables; those of the downward API as the path of their field."""
    return {
        entry["name"]: entry["value"] if "value" in entry else entry["valueFrom"]["fieldRef"]["fieldPath"]
        for entry in container(objects)["env"]
    }


def read_settings(objects: list[Object], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the operator makes of its environment."""
    for name, value in environment(objects).items():
        monkeypatch.setenv(name, "xmr-escrow-system" if value == "metadata.namespace" else value)
    return Settings()


def test_the_variables_are_those_that_the_settings_know() -> None:
    known = dict(variables(Settings, "XMR_ESCROW_"))

    assert environment(render()).keys() - NOT_AN_OPTION.keys() == known.keys()


def test_the_chart_has_the_operators_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = Settings(
        slot_login_image="registry.invalid/xmr-escrow/operator:0.1.0",
        logins_secret="xmr-escrow-operator-gateway-logins",
        pod_name="metadata.name",
        leader_election=LeaderElectionSettings(
            peers={"app.kubernetes.io/name": "xmr-escrow-operator", "app.kubernetes.io/instance": "xmr-escrow-operator"}
        ),
    )

    assert read_settings(render(), monkeypatch) == defaults


def test_values_reach_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "image": {"repository": "images.example.com/operator", "digest": f"sha256:{'a' * 64}"},
        "sessions": {"maxActive": 1_000_000, "idleTTL": "1h30m", "evictionPolicy": "Suspend"},
        "intervals": {"sweep": "5s", "monitor": "10s", "daemon": "3s"},
        "leaderElection": {"leaseDuration": "60s", "renewDeadline": "40s", "retryPeriod": "5s"},
        "fullnameOverride": "north",
        "logging": {"level": "DEBUG", "format": "plain"},
        "ports": {"probe": 8081, "metrics": 9091},
        "watchNamespaces": ["shop", "market"],
    }
    objects = render(values)
    settings = read_settings(objects, monkeypatch)

    assert settings.sessions.max_active == 1_000_000
    assert settings.sessions.idle_ttl.total_seconds() == 5400
    assert settings.sessions.eviction_policy == "Suspend"
    assert [
        settings.intervals.sweep.seconds,
        settings.intervals.monitor.seconds,
        settings.intervals.daemon.seconds,
    ] == [
        5,
        10,
        3,
    ]
    election = settings.leader_election
    assert [election.lease_duration.seconds, election.renew_deadline.seconds, election.retry_period.seconds] == [
        60,
        40,
        5,
    ]
    assert election.lease_name == "north"
    assert (settings.log_level, settings.log_format) == ("DEBUG", "plain")
    assert settings.namespaces == ("shop", "market")
    assert settings.slot_login_image == f"images.example.com/operator@sha256:{'a' * 64}"
    assert {port["name"]: port["containerPort"] for port in container(objects)["ports"]} == {
        "probe": settings.probe_port,
        "metrics": settings.metrics_port,
    }


def test_the_gateway_understands_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict(variables(GatewaySettings, "XMR_ESCROW_GATEWAY_"))
    objects = render({"gateway": {"limits": {"callDeadline": "90s", "longestWait": "5s", "callsPerWallet": 3}}})
    found = {
        entry["name"]: entry.get("value", "xmr-escrow-system")
        for entry in container(objects, gateway=True)["env"]
        if entry["name"] not in NOT_AN_OPTION
    }
    assert found.keys() <= known.keys()
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    settings = GatewaySettings()
    assert (settings.call_deadline.seconds, settings.longest_wait.seconds, settings.calls_per_wallet) == (90, 5, 3)
    assert settings.logins_secret == environment(objects)["XMR_ESCROW_LOGINS_SECRET"]


@pytest.mark.parametrize("gateway", [False, True])
def test_traces_reach_a_collector_by_the_standard_variables(gateway: bool) -> None:
    values: Object = {"enabled": True, "endpoint": "http://collector.monitoring.svc:4318", "ratio": 0.001}
    former = container(render({"tracing": values | {"enabled": False}}), gateway=gateway)["env"]
    assert former == container(render(), gateway=gateway)["env"], "off by default"
    assert {"name": "OTEL_SDK_DISABLED", "value": "true"} in former
    env = container(render({"tracing": values}), gateway=gateway)["env"]
    own = ["XMR_ESCROW_GATEWAY_TRUST_TRACEPARENT"] if gateway else []
    assert "OTEL_SDK_DISABLED" not in {entry["name"] for entry in env}
    added = {entry["name"]: entry["value"] for entry in env if entry not in former}
    assert {name: value for name, value in added.items() if name not in own} == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.monitoring.svc:4318",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.001",
        "OTEL_RESOURCE_ATTRIBUTES": "service.version=0.1.0,k8s.namespace.name=xmr-escrow-system",
    }
    assert [name for name in added if not name.startswith("OTEL_")] == own


def test_headers_for_the_collector_are_in_no_manifest() -> None:
    objects = render(
        {"tracing": {"enabled": True, "endpoint": "https://c", "headersSecretRef": {"name": "otlp", "key": "h"}}}
    )
    for gateway in (False, True):
        (entry,) = (
            entry
            for entry in container(objects, gateway=gateway)["env"]
            if entry["name"] == "OTEL_EXPORTER_OTLP_HEADERS"
        )
        assert entry["valueFrom"] == {"secretKeyRef": {"name": "otlp", "key": "h", "optional": True}}


@pytest.mark.parametrize("trusted", [False, True])
def test_callers_decide_of_traces_only_if_they_are_trusted(monkeypatch: pytest.MonkeyPatch, trusted: bool) -> None:
    objects = render({"tracing": {"enabled": True, "endpoint": "http://c", "trustCallers": trusted}})
    for entry in container(objects, gateway=True)["env"]:
        monkeypatch.setenv(entry["name"], entry.get("value", "xmr-escrow-system"))
    assert GatewaySettings().trust_traceparent is trusted


def test_without_a_gateway_the_operator_tells_nobody_the_logins() -> None:
    objects = render({"gateway": {"enabled": False}})
    assert environment(objects)["XMR_ESCROW_LOGINS_SECRET"] == ""
    assert not any(is_gateways(found) for found in objects)


def test_the_gateway_has_no_rights_on_its_node_and_outlives_a_drain() -> None:
    objects = render()
    (deployment,) = of_kind(objects, "Deployment", gateway=True)
    pod = deployment["spec"]["template"]["spec"]
    (only,) = pod["containers"]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    (budget,) = of_kind(objects, "PodDisruptionBudget", gateway=True)
    services = of_kind(objects, "Service", gateway=True)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (budget["spec"]["selector"]["matchLabels"], *(found["spec"]["selector"] for found in services)):
        assert selector.items() <= labels.items()
    longest = GatewaySettings.model_fields["call_deadline"].default.total_seconds() + DRAIN_SECONDS
    assert pod["terminationGracePeriodSeconds"] > longest + 10


@pytest.mark.parametrize(
    ("tls", "made", "used"),
    [
        ({}, "Secret", "xmr-escrow-operator-gateway-tls"),
        ({"secretName": "mine"}, None, "mine"),
        ({"certManager": {"issuer": "ca"}}, "Certificate", "xmr-escrow-operator-gateway-tls"),
    ],
)
def test_the_gateways_certificate(tls: Object, made: str | None, used: str) -> None:
    objects = render({"gateway": {"tls": tls}})
    found = [item["kind"] for item in objects if item["kind"] in ("Secret", "Certificate")]
    assert found == ([made] if made else [])
    (deployment,) = of_kind(objects, "Deployment", gateway=True)
    assert deployment["spec"]["template"]["spec"]["volumes"][0]["secret"]["secretName"] == used


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["shop", "xmr-escrow-system"]}])
def test_no_two_objects_are_one(values: Object) -> None:
    """The release's own namespace may be one of those that are served."""
    keys = [
        (found["kind"], found["metadata"].get("namespace", ""), found["metadata"]["name"]) for found in render(values)
    ]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("enabled", [True, False])
def test_a_chart_that_depends_on_it_switches_it_by_a_condition(tmp_path: Path, enabled: bool) -> None:
    name = "xmr-escrow-operator"
    dependency = {"name": name, "version": "0.1.0", "condition": f"{name}.enabled"}
    parent = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [dependency]}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(parent))
    shutil.copytree(CHART, tmp_path / "charts" / name)
    values = {name: {"enabled": enabled, "image": IMAGE}, "global": {"region": "x"}}
    done = run("template", "release", str(tmp_path), "--skip-tests", values=values)
    assert done.returncode == 0, done.stderr
    assert ("kind: Deployment" in done.stdout) is enabled


def test_slots_get_the_operators_own_image() -> None:
    objects = render({"image": {"repository": "a/b", "tag": "c"}})

    assert container(objects)["image"] == environment(objects)["XMR_ESCROW_SLOT_LOGIN_IMAGE"] == "a/b:c"


def test_of_two_operators_a_drain_takes_one_and_an_upgrade_ends_none_before_its_successor_is_ready() -> None:
    objects = render()
    (deployment,) = of_kind(objects, "Deployment")
    spec = deployment["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    (budget,) = of_kind(objects, "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
    pod = spec["template"]["spec"]
    apart = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    terms = [term["podAffinityTerm"] for term in apart]
    assert {term["topologyKey"] for term in terms} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    for selector in (budget["spec"]["selector"], *(term["labelSelector"] for term in terms)):
        assert selector["matchLabels"].items() <= labels.items()
    # Whoever has an affinity of his own knows better.
    (given,) = of_kind(render({"affinity": {"nodeAffinity": {}}, "replicas": 1}), "Deployment")
    assert given["spec"]["template"]["spec"]["affinity"] == {"nodeAffinity": {}}
    assert given["spec"]["replicas"] == 1


def test_the_operator_has_no_rights_on_its_node() -> None:
    (deployment,) = of_kind(render(), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (only,) = pod["containers"]

    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert only["resources"]["limits"]["memory"]
    assert [(mount["name"], mount["mountPath"]) for mount in only["volumeMounts"]] == [("tmp", "/tmp")]
    assert "emptyDir" in pod["volumes"][0]
    for probe, path in {"livenessProbe": ALIVE_PATH, "readinessProbe": READY_PATH}.items():
        assert only[probe]["httpGet"] == {"path": path, "port": "probe"}


@pytest.mark.parametrize(
    "user",
    [
        {"runAsUser": None, "runAsGroup": None, "fsGroup": None},
        {"runAsUser": 1000650000, "runAsGroup": 0, "fsGroup": 1000650000},
    ],
    ids=["the cluster's choice", "another"],
)
def test_no_pod_needs_a_user_of_its_own(user: Object, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenShift gives each namespace users of its own, and refuses others."""
    objects = render({"podSecurityContext": user, "walletPods": {"securityContext": user}}, tests=True)
    pods = [found["spec"]["template"]["spec"] for found in objects if found["kind"] == "Deployment"]
    pods += [found["spec"] for found in of_kind(objects, "Pod")]
    assert len(pods) == 3
    named = {key: value for key, value in user.items() if value is not None}
    for pod in pods:
        fixed = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert pod["securityContext"] == fixed | named
        for only in pod["containers"]:
            assert not only["securityContext"].keys() & user.keys()
    slots = read_settings(objects, monkeypatch).wallet_pods
    assert (slots.run_as_user, slots.run_as_group, slots.fs_group) == tuple(user.values())


def test_what_all_wallet_pods_are_to_have_reaches_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    annotations = {"linkerd.io/inject": "enabled", "quoted": 'a "b" c'}
    settings = read_settings(render({"walletPods": {"annotations": annotations}}), monkeypatch)
    assert settings.wallet_pods.annotations == annotations


def test_the_gateway_is_spread_over_nodes_or_as_the_values_say() -> None:
    zones = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
    theirs = zones | {"labelSelector": {"matchLabels": {"a": "b"}}}
    given: Object = {"topologySpreadConstraints": [zones]}
    for values, wanted in (({}, "kubernetes.io/hostname"), (given, zones["topologyKey"])):
        (deployment,) = of_kind(render({"gateway": values}), "Deployment", gateway=True)
        (found,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert found["topologyKey"] == wanted
        assert found["labelSelector"]["matchLabels"] == deployment["spec"]["selector"]["matchLabels"]
    objects = render({"gateway": {"topologySpreadConstraints": [theirs, zones]}})
    (deployment,) = of_kind(objects, "Deployment", gateway=True)
    found, other = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert found == theirs
    assert other["labelSelector"]["matchLabels"] == deployment["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize("release", ["xmr-escrow-operator", "other"])
def test_pools_let_the_operator_in(release: str) -> None:
    """The NetworkPolicy of a pool selects the operator's pod, whatever the release and its labels are."""
    objects = render({"podLabels": {"team": "payments"}, "fullnameOverride": "x"}, release=release)
    (deployment,) = of_kind(objects, "Deployment")
    meta = {"namespace": "shop", "name": "default", "uid": "u", "resourceVersion": "1"}
    policy = network_policy(Pool.parse({"metadata": meta, "spec": POOL_SPEC}), "xmr-escrow-system")
    (wanted,) = policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchExpressions"]
    (beside,) = of_kind(objects, "Deployment", gateway=True)

    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for found in (labels, beside["spec"]["template"]["metadata"]["labels"]):
        assert found[wanted["key"]] in wanted["values"]
    assert labels["team"] == "payments"
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("release", ["xmr-escrow-operator", "a-release-with-quite-a-long-name-that-still-fits-helm"])
def test_names_fit_and_belong_together(release: str) -> None:
    objects = render(release=release)
    (account,) = of_kind(objects, "ServiceAccount")
    (deployment,) = of_kind(objects, "Deployment")
    (binding,) = of_kind(objects, "ClusterRoleBinding")

    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": "xmr-escrow-system"}
    ]
    assert binding["roleRef"]["name"] in [role["metadata"]["name"] for role in of_kind(objects, "ClusterRole")]
    services = [found for found in objects if found["kind"] == "Service"]
    # Names of roles are as long as one likes.
    bounded = [found for found in objects if not found["kind"].startswith("Role") and found not in services]
    assert all(len(found["metadata"]["name"]) <= 52 for found in bounded if not is_gateways(found))
    assert all(len(service["metadata"]["name"]) <= 63 for service in services), "they are DNS labels"


def test_what_pods_may_have_reaches_the_pod() -> None:
    extras: Object = {
        "podAnnotations": {"a": "b"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "imagePullSecrets": [{"name": "pull"}],
        "terminationGracePeriodSeconds": 5,
    }
    (deployment,) = of_kind(render(extras), "Deployment")
    template = deployment["spec"]["template"]

    assert template["metadata"]["annotations"] == extras.pop("podAnnotations")
    assert extras.items() <= template["spec"].items()


@pytest.mark.parametrize("gateway", [False, True])
def test_variables_and_labels_of_ones_own_are_added_to_the_charts(gateway: bool) -> None:
    extras: Object = {"extraEnv": [{"name": "TZ", "value": "Europe/Berlin"}], "podLabels": {"team": "escrow"}}
    values = {"gateway": extras} if gateway else extras
    (plain,) = of_kind(render(), "Deployment", gateway=gateway)
    (deployment,) = of_kind(render(values), "Deployment", gateway=gateway)
    former, now = (body["spec"]["template"] for body in (plain, deployment))
    assert now["spec"]["containers"][0]["env"] == former["spec"]["containers"][0]["env"] + extras["extraEnv"]
    assert now["metadata"]["labels"] == former["metadata"]["labels"] | {"team": "escrow"}


def test_another_name_is_in_the_place_of_the_charts() -> None:
    names = {found["metadata"]["name"] for found in render({"nameOverride": "escrow"}, release="shop")}
    assert "shop-escrow" in names
    assert not any("xmr-escrow-operator" in name for name in names if name.startswith("shop"))


def test_helm_test_asks_at_the_services_that_there_are() -> None:
    (pod,) = of_kind(render(tests=True), "Pod")
    services = {
        found["metadata"]["name"]: found["spec"]["ports"][0]["port"] for found in render() if found["kind"] == "Service"
    }
    for argument in pod["spec"]["containers"][0]["command"][3:]:
        url = httpx.URL(argument.partition("|")[0])
        name, _, namespace = url.host.partition(".")
        assert namespace == "xmr-escrow-system.svc"
        assert services[name] == (url.port or 443)
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert (
        of_kind(render({"metrics": {"service": {"enabled": False}}, "gateway": {"enabled": False}}, tests=True), "Pod")
        == []
    )


def test_an_account_of_ones_own() -> None:
    objects = render(
        {
            "serviceAccount": {"create": False, "name": "mine"},
            "rbac": {"create": False, "userRoles": False},
            "gateway": {"enabled": False},
        }
    )

    (deployment,) = of_kind(objects, "Deployment")
    assert {found["kind"] for found in objects} == {"Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"}
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == "mine"
    assert "serviceAccount.name is needed" in refusal({"serviceAccount": {"create": False}})


def test_a_pool_with_the_release() -> None:
    values = {"walletPool": {"enabled": True, "name": "main", "namespace": "shop", "spec": POOL_SPEC}}
    (pool,) = of_kind(render(values), "WalletPool")

    assert (pool["metadata"]["name"], pool["metadata"]["namespace"]) == ("main", "shop")
    assert pool["spec"] == POOL_SPEC
    # Trades may be using its pods.
    assert pool["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert not of_kind(render(), "WalletPool")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"sessions": {"idleTTL": "2 hours"}}, "idleTTL"),
        ({"sessions": {"idleTTL": ""}}, "idleTTL"),
        ({"sessions": {"idleTTL": "0s"}}, "idleTTL"),
        ({"sessions": {"idleTTL": 7200}}, "idleTTL"),
        ({"sessions": {"maxActive": 0}}, "maxActive"),
        ({"sessions": {"maxActive": "10"}}, "maxActive"),
        ({"sessions": {"maxactive": 10}}, "maxactive"),
        ({"sessions": {"evictionPolicy": "Kill"}}, "evictionPolicy"),
        ({"logging": {"level": "debug"}}, "level"),
        ({"ports": {"probe": 80}}, "probe"),
        ({"image": {"repository": ""}}, r"image\.repository is required: .*--set image\.repository=REGISTRY"),
        ({"image": {"repository": "x", "tag": "a b"}}, "tag"),
        ({"tracing": {"enabled": True}}, "tracing.endpoint is needed"),
        ({"tracing": {"enabled": True, "endpoint": "collector:4318"}}, "endpoint"),
        ({"tracing": {"enabled": True, "endpoint": "http://user:secret@collector:4318"}}, "endpoint"),
        ({"tracing": {"ratio": 2}}, "ratio"),
        ({"watchNamespaces": "shop"}, "watchNamespaces"),
        ({"watchNamespaces": ["Shop"]}, "watchNamespaces"),
        ({"podLabels": {"app.kubernetes.io/name": "other"}}, "podLabels"),
        ({"nonsense": True}, "nonsense"),
        ({"podSecurityContext": {"runAsUser": 0}}, "runAsUser"),
        ({"podSecurityContext": {"privileged": True}}, "privileged"),
        ({"walletPods": {"securityContext": {"runAsUser": 0}}}, "runAsUser"),
        ({"walletPods": {"securityContext": {"runAsNonRoot": False}}}, "runAsNonRoot"),
        ({"walletPods": {"annotations": {"xmr-escrow.dev/daemon": "x"}}}, "daemon"),
        ({"walletPool": {"enabled": True}}, "missing properties? 'image'|image is required"),
        ({"walletPool": {"enabled": True, "spec": POOL_SPEC | {"warmslots": 1}}}, "warmslots"),
        ({"walletPool": {"enabled": True, "spec": POOL_SPEC | {"warmSlots": -1}}}, "warmSlots"),
        ({"walletPool": {"enabled": True, "name": "a" * 41, "spec": POOL_SPEC}}, "name"),
        (
            {"walletPool": {"enabled": True, "namespace": "shop", "spec": POOL_SPEC}, "watchNamespaces": ["market"]},
            "nobody would serve it",
        ),
    ],
)
def test_values_that_make_no_sense_are_refused(values: Object, complaint: str) -> None:
    assert re.search(complaint, refusal(values))


def test_variables_of_the_charts_own_cannot_be_set_twice() -> None:
    assert "extraEnv" in refusal({"extraEnv": [{"name": "XMR_ESCROW_LOG_LEVEL", "value": "DEBUG"}]})


def test_the_shortest_ttl_that_the_sweep_allows() -> None:
    render({"intervals": {"sweep": "30s"}, "sessions": {"idleTTL": "2m"}})
    render({"intervals": {"sweep": "1h"}, "sessions": {"idleTTL": "3h59m60s"}})


def test_every_value_is_explained() -> None:
    """A comment above each value, or above the group that it is in when it is one of a familiar group."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    familiar = {"requests", "limits", "cpu", "memory", "nodeSelector", "tolerations", "affinity", "priorityClassName"}
    groups = {"image", "sessions", "intervals", "logging", "ports", "rbac", "serviceAccount", "enabled"}
    for number, line in enumerate(lines):
        key = re.match(r" *([A-Za-z]+):", line)
        if key and key[1] not in familiar | groups:
            assert lines[number - 1].lstrip().startswith("#"), f"values.yaml:{number + 1}: {line}"


def test_the_schema_speaks_of_every_value_and_of_no_other() -> None:
    def check(values: Object, schema: Object, path: str) -> None:
        extra = {"global"} if not path else set[str]()
        assert values.keys() == schema["properties"].keys() - extra, path
        assert schema["additionalProperties"] is False
        for key, value in values.items():
            if (
                isinstance(value, dict)
                and key not in ("resources", "podLabels", "alertLabels")
                and "properties" in schema["properties"][key]
            ):
                check(value, schema["properties"][key], f"{path}.{key}")

    schema = json.loads((CHART / "values.schema.json").read_text())
    check(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "")


def test_durations_are_those_of_the_custom_resources() -> None:
    crd = yaml.safe_load((REPO_ROOT / "crds" / "escrowsessions.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    duration = json.loads((CHART / "values.schema.json").read_text())["definitions"]["duration"]

    for field in ("ttl", "maxAge"):
        assert (duration["pattern"], duration["maxLength"]) == (spec[field]["pattern"], spec[field]["maxLength"])


def test_the_chart_has_the_version_of_the_operator() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((REPO_ROOT / "pyproject.toml").read_text())["project"]

    assert chart["appVersion"] == project["version"]


@pytest.mark.parametrize("pool", [False, True])
def test_notes_show_the_next_steps(pool: bool) -> None:
    values: Object = {"image": IMAGE, "walletPool": {"enabled": pool, "namespace": "shop", "spec": POOL_SPEC}}
    done = run("install", "release", str(CHART), "--dry-run=client", "--namespace", "ops", values=values)
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]

    assert "kind: EscrowSession" in notes
    assert ("kind: WalletPool" in notes) is not pool
    assert "secret trade-1-vendor-rpc" in notes
    assert "helm show crds" in notes
    for manifest in re.findall(r"<<'EOF'\n(.*?)\n +EOF", notes, re.DOTALL):
        assert yaml.safe_load(manifest)["metadata"]["namespace"] == "shop"


def test_the_touch_annotation_of_the_examples_is_the_operators() -> None:
    text = (REPO_ROOT / "deploy" / "examples" / "escrowsession.yaml").read_text()

    assert f"{Label.TOUCH}=" in text


def test_two_releases_share_a_cluster() -> None:
    """As docs/operators.md installs them: no object of one is an object of the other."""

    def names(release: str, values: Object) -> set[tuple[str, str, str]]:
        return {
            (found["kind"], found["metadata"].get("namespace", ""), found["metadata"]["name"])
            for found in render(values, release=release)
            if found["kind"].startswith(("ClusterRole", "Role"))
        }

    north = names("escrow-north", {"watchNamespaces": ["shop-a", "shop-b"]})
    south = names("escrow-south", {"watchNamespaces": ["shop-c"], "rbac": {"userRoles": False}})
    assert north
    assert south
    assert north.isdisjoint(south)
