"""A pod network for nodes that have none: one bridge-less CNI plugin and a route between each two nodes.

Used with the image that this tooling builds; kind's stock image brings its own network, which enforces NetworkPolicies
with the same program as this one (manifests/network-policies.yaml).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from testbed.engine import Engine
from testbed.settings import POD_SUBNET, POLICY_IMAGE, TESTBED_DIR

POLICY_QUEUE = 98
"""Number of the netfilter queue to which new connections of pods go."""

_CONFLIST = "/etc/cni/net.d/10-ptp.conflist"


@dataclass(frozen=True)
class NodeAddress:
    """Where a node is, and which pods are behind it."""

    name: str
    internal_ip: str
    pod_cidr: str


def node_addresses(nodes_json: str) -> list[NodeAddress]:
    """Read the addresses out of ``kubectl get nodes -o json``."""
    found = []
    for item in json.loads(nodes_json)["items"]:
        internal = [a["address"] for a in item["status"]["addresses"] if a["type"] == "InternalIP"]
        ipv4 = next(address for address in internal if ":" not in address)
        found.append(NodeAddress(item["metadata"]["name"], ipv4, item["spec"]["podCIDR"]))
    return found


def conflist(pod_cidr: str) -> str:
    """Render a node's CNI configuration."""
    ipam = {
        "type": "host-local",
        "dataDir": "/run/cni-ipam-state",
        "ranges": [[{"subnet": pod_cidr}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins = [
        {"type": "ptp", "ipMasq": False, "ipam": ipam},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return json.dumps({"cniVersion": "0.3.1", "name": "testbed", "plugins": plugins}, indent=2)


def setup_script(node: NodeAddress, nodes: list[NodeAddress]) -> str:
    """Render the shell script that joins a node to the pod network; running it twice changes nothing."""
    lines = [
        "set -eu",
        "mkdir -p /etc/cni/net.d",
        f"cat > {_CONFLIST}.new <<'EOF'\n{conflist(node.pod_cidr)}\nEOF",
        f"mv {_CONFLIST}.new {_CONFLIST}",
        "sysctl -qw net.ipv4.ip_forward=1",
    ]
    lines += [f"ip route replace {other.pod_cidr} via {other.internal_ip}" for other in nodes if other != node]
    lines.append(_once("nat", f"POSTROUTING -s {POD_SUBNET} ! -d {POD_SUBNET} -j MASQUERADE"))
    # Seen after kube-proxy chose an endpoint and before the source is masqueraded. What the node itself sends (probes)
    # passes, as does everything while nobody reads the queue.
    for rule in (
        "-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN",
        "-m owner --uid-owner 0 -j RETURN",
        f"-j NFQUEUE --queue-num {POLICY_QUEUE} --queue-bypass",
    ):
        for end in ("-s", "-d"):
            lines.append(_once("mangle", f"POSTROUTING {end} {POD_SUBNET} {rule}"))
    return "\n".join(lines) + "\n"


def _once(table: str, rule: str) -> str:
    return f"iptables -w -t {table} -C {rule} 2>/dev/null || iptables -w -t {table} -A {rule}"


def policy_manifest() -> str:
    """Render what enforces NetworkPolicies on each node."""
    text = (TESTBED_DIR / "manifests" / "network-policies.yaml").read_text()
    return text.replace("POLICY_IMAGE", POLICY_IMAGE).replace("POLICY_QUEUE", str(POLICY_QUEUE))


def connect(engine: Engine, nodes_json: str) -> None:
    """Join every node of a fresh cluster to the pod network."""
    nodes = node_addresses(nodes_json)
    for node in nodes:
        engine.capture("exec", node.name, "sh", "-c", setup_script(node, nodes))
