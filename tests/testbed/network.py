"""A pod network for nodes that have none: one bridge-less CNI plugin and a route between each two nodes.

Used with the image that this tooling builds; kind's stock image brings its own network, and with it
NetworkPolicy, which this one does not enforce.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from testbed.engine import Engine
from testbed.settings import POD_SUBNET

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
    rule = f"POSTROUTING -s {POD_SUBNET} ! -d {POD_SUBNET} -j MASQUERADE"
    lines.append(f"iptables -w -t nat -C {rule} 2>/dev/null || iptables -w -t nat -A {rule}")
    return "\n".join(lines) + "\n"


def connect(engine: Engine, nodes_json: str) -> None:
    """Join every node of a fresh cluster to the pod network."""
    nodes = node_addresses(nodes_json)
    for node in nodes:
        engine.capture("exec", node.name, "sh", "-c", setup_script(node, nodes))
