"""The cluster of the benchmarks is told to take many objects, the others are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from testbed.kindconfig import kind_config
from testbed.settings import BENCH_CLUSTER, CLUSTER_PREFIX


def config(*, crowded: bool) -> dict[str, Any]:
    return kind_config(1, Path("/shared"), own_network=True, crowded=crowded)


def test_only_a_crowded_cluster_has_other_limits() -> None:
    assert "kubeadmConfigPatches" not in config(crowded=False)
    patch = json.loads(config(crowded=True)["kubeadmConfigPatches"][0])
    assert patch["kind"] == "ClusterConfiguration"
    assert int(patch["controllerManager"]["extraArgs"]["kube-api-qps"]) > 20
    assert int(patch["scheduler"]["extraArgs"]["kube-api-qps"]) > 50


def test_removing_all_clusters_finds_this_one() -> None:
    assert BENCH_CLUSTER.startswith(CLUSTER_PREFIX)
