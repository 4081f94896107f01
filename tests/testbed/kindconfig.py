"""What kind is told about a cluster."""

from __future__ import annotations

import json
from pathlib import Path

from testbed.settings import POD_SUBNET, SHARED_MOUNT

CLUSTER_LABEL = "io.x-k8s.kind.cluster"


# Control planes ship with limits that suit a few hundred pods. Where the slots are simulated, thousands come and go
# in a minute, and what is measured is the operator: 20 requests a second of the controller manager would hide it.
_UNHURRIED = {"kube-api-qps": "1000", "kube-api-burst": "2000"}
_CROWDED: dict[str, dict[str, str]] = {
    "apiServer": {
        "max-requests-inflight": "1600",
        "max-mutating-requests-inflight": "800",
        "delete-collection-workers": "8",
    },
    "controllerManager": {
        **_UNHURRIED,
        "concurrent-gc-syncs": "40",
        "concurrent-deployment-syncs": "10",
        "concurrent-replicaset-syncs": "20",
    },
    "scheduler": _UNHURRIED,
}
_ETCD = {"quota-backend-bytes": str(8 * 2**30)}


def kind_config(nodes: int, shared: Path, *, own_network: bool, crowded: bool = False) -> dict[str, object]:
    """Describe a cluster of ``nodes`` nodes that all see the folder ``shared``.

    The API server listens on 127.0.0.1 alone. ``own_network`` leaves out the pod network of the stock image.
    ``crowded`` prepares the control plane for tens of thousands of objects.
    """
    mounts = [{"hostPath": str(shared), "containerPath": SHARED_MOUNT}]
    roles = ["control-plane", *["worker"] * (nodes - 1)]
    config: dict[str, object] = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {
            "apiServerAddress": "127.0.0.1",
            "podSubnet": POD_SUBNET,
            "disableDefaultCNI": own_network,
        },
        "nodes": [{"role": role, "extraMounts": mounts} for role in roles],
    }
    if crowded:
        config["kubeadmConfigPatches"] = [json.dumps(_crowded_control_plane())]
    return config


def _crowded_control_plane() -> dict[str, object]:
    """The patch of kubeadm's configuration, as kind merges it into its own (v1beta3 up to Kubernetes 1.35)."""
    return {
        "kind": "ClusterConfiguration",
        **{component: {"extraArgs": arguments} for component, arguments in _CROWDED.items()},
        "etcd": {"local": {"extraArgs": _ETCD}},
    }
