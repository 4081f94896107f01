"""The NetworkPolicies of the chart."""

from __future__ import annotations

import pytest

from escrow_operator.core.manifests.common import RPC_PORT, SLOT_LABELS
from unit.packaging.helm import Object, is_gateways, of_kind, render


def policies(objects: list[Object]) -> list[Object]:
    """The operator's, and the gateway's if there is one."""
    return sorted((found for found in objects if found["kind"] == "NetworkPolicy"), key=is_gateways)


def egress_ports(policy: Object) -> set[int]:
    return {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}


def test_operator_and_gateway_reach_what_they_must_and_no_more() -> None:
    objects = render({"podLabels": {"team": "payments"}})
    operator, gateway = policies(objects)
    for policy, beside in ((operator, False), (gateway, True)):
        (deployment,) = of_kind(objects, "Deployment", gateway=beside)
        wanted = policy["spec"]["podSelector"]["matchLabels"].items()
        assert wanted <= deployment["spec"]["template"]["metadata"]["labels"].items()
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        (wallets,) = [rule for rule in policy["spec"]["egress"] if rule["ports"][0]["port"] == RPC_PORT]
        assert wallets["to"][0]["podSelector"]["matchLabels"].items() <= SLOT_LABELS.items()
    assert egress_ports(operator) - egress_ports(gateway) >= {18081, 18089}
    assert egress_ports(gateway) == {RPC_PORT, 53, 5353, 443, 6443, 8443, 16443}
    assert not policies(render({"networkPolicy": {"enabled": False}}))
    assert len(policies(render({"gateway": {"enabled": False}}))) == 1


def test_peers_of_the_network_policies_are_those_of_the_values() -> None:
    server, prometheus, shop = ({"ipBlock": {"cidr": f"10.0.0.{i}/32"}} for i in range(3))
    objects = render(
        {
            "watchNamespaces": ["shop"],
            "networkPolicy": {
                "apiServer": {"to": [server], "ports": [8443]},
                "metrics": {"from": [prometheus]},
                "gateway": {"from": [shop]},
                "monerod": {"ports": [38089]},
                "extraEgress": [{"to": [shop]}],
            },
        }
    )
    operator, gateway = policies(objects)
    for policy in (operator, gateway):
        assert {"ports": [{"port": 8443, "protocol": "TCP"}], "to": [server]} in policy["spec"]["egress"]
        assert {"to": [shop]} in policy["spec"]["egress"]
        (names,) = policy["spec"]["egress"][0]["to"][0]["namespaceSelector"]["matchExpressions"]
        assert names["values"] == ["shop"]
    assert {"ports": [{"port": 38089, "protocol": "TCP"}]} in operator["spec"]["egress"]
    (_, metrics), (_, calls) = operator["spec"]["ingress"], gateway["spec"]["ingress"]
    for rule, peer in ((metrics, prometheus), (calls, shop)):
        test_pod, given = rule["from"]
        assert test_pod["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "xmr-escrow-test"
        assert given == peer


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("http://c.m.svc:4318", 4318),
        ("https://c.example.com/v1", 443),
        ("http://[fd00::1]:4318/", 4318),
        ("http://c", 80),
    ],
)
def test_the_collector_of_traces_is_reached_without_further_rules(endpoint: str, port: int) -> None:
    objects = render({"tracing": {"enabled": True, "endpoint": endpoint}})
    assert all({"ports": [{"port": port}]} in policy["spec"]["egress"] for policy in policies(objects))
