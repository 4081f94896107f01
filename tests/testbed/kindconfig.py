"""What kind is told about a cluster."""

from __future__ import annotations

from pathlib import Path

from testbed.settings import POD_SUBNET, SHARED_MOUNT

CLUSTER_LABEL = "io.x-k8s.kind.cluster"


def kind_config(nodes: int, shared: Path, *, own_network: bool) -> dict[str, object]:
    """Describe a cluster of ``nodes`` nodes that all see the folder ``shared``.

    The API server listens on 127.0.0.1 alone. ``own_network`` leaves out the pod network of the stock image.
    """
    mounts = [{"hostPath": str(shared), "containerPath": SHARED_MOUNT}]
    roles = ["control-plane", *["worker"] * (nodes - 1)]
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {
            "apiServerAddress": "127.0.0.1",
            "podSubnet": POD_SUBNET,
            "disableDefaultCNI": own_network,
        },
        "nodes": [{"role": role, "extraMounts": mounts} for role in roles],
    }
