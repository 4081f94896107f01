"""The private Monero network of deploy/regtest, in the test cluster."""

from __future__ import annotations

from testbed import progress
from testbed.cluster import Cluster
from testbed.settings import REPO_ROOT

NAMESPACE = "monero"
RPC_PORT = 18081
ZMQ_PORT = 18083
# As pods of any namespace reach it.
RPC_ADDRESS = f"monerod.{NAMESPACE}.svc:{RPC_PORT}"


def deploy(cluster: Cluster, wallet_image: str) -> None:
    """Deploy monerod (again) with the wallet image and wait until its RPC answers."""
    with progress.step("deploying monerod (regtest)"):
        images = {"registry.invalid/xmr-escrow/wallet": wallet_image}
        cluster.apply(cluster.kustomize(REPO_ROOT / "deploy" / "regtest", images))
        argv = ("rollout", "status", "deployment/monerod", "--namespace", NAMESPACE, "--timeout=180s")
        cluster.kubectl(*argv, timeout=200)
