"""The regtest chain of the test cluster, and the customer who mines and pays on it."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Self

from escrow_operator.adapters.kube import DEPLOYMENTS, PODS
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.models.monero import parse_xmr
from regtest.customer import Customer, Payment
from regtest.daemon import RegtestDaemon
from testbed import regtest as deployment
from testbed.cluster import Cluster
from testbed.portforward import PortForward

from .api import Api, Body
from .waiting import wait_for

CUSTOMER_NAMESPACE = "customer"
CUSTOMER_PORT = 18085

ENOUGH_XMR = "100"
"""More than all tests of one run pay together."""


class Chain:
    """monerod and the customer, over port-forwards. ``start`` first."""

    def __init__(self, cluster: Cluster, api: Api) -> None:
        self._cluster = cluster
        self._api = api
        self._connections = AsyncExitStack()
        self.daemon: RegtestDaemon
        self.customer: Customer
        self.customer_wallet: WalletRpc

    async def start(self, wallet_image: str) -> Self:
        """Deploy the customer, and mine what the tests will pay with (once in a chain's life)."""
        await asyncio.to_thread(self._cluster.apply, json.dumps(_customer(wallet_image)))
        argv = ("rollout", "status", "deployment/customer", "--namespace", CUSTOMER_NAMESPACE, "--timeout=120s")
        await asyncio.to_thread(self._cluster.kubectl, *argv)
        await self.connect()
        await self.customer.earn(parse_xmr(ENOUGH_XMR))
        return self

    async def connect(self) -> None:
        """Connect, or connect again: a port-forward ends with its pod."""
        await self._connections.aclose()
        daemon = await self._forward(deployment.NAMESPACE, "deployment/monerod", deployment.RPC_PORT)
        self.daemon = RegtestDaemon(daemon)
        self._connections.push_async_callback(self.daemon.aclose)
        wallet = await self._forward(CUSTOMER_NAMESPACE, "deployment/customer", CUSTOMER_PORT)
        self.customer_wallet = WalletRpc(wallet, None)
        self._connections.push_async_callback(self.customer_wallet.aclose)
        self.customer = Customer(self.customer_wallet, self.daemon)
        await self.customer.start()

    async def aclose(self) -> None:
        """End the connections; pods and chain stay for the next run."""
        await self._connections.aclose()

    async def pay(self, address: str, xmr: str) -> Payment:
        """The customer pays; the payment waits in the mempool."""
        return await self.customer.pay(address, parse_xmr(xmr))

    async def mine(self, blocks: int = 1) -> int:
        """Mine blocks; the new height."""
        return await self.customer.mine(blocks)

    async def scale(self, replicas: int) -> None:
        """Stop (0) or start (1) monerod, and wait until that is so.

        The customer stops first and starts last: a wallet that scans while monerod's pod goes hangs for minutes, which
        is for the wallets under test to survive and not for the one that pays in these tests.
        """
        customer, monerod = (CUSTOMER_NAMESPACE, "customer"), (deployment.NAMESPACE, "monerod")
        if replicas:
            await self._scale(*monerod, replicas)
            await self._scale(*customer, replicas)
            await self.connect()
        else:
            await self._connections.aclose()
            await self._scale(*customer, replicas)
            await self._scale(*monerod, replicas)

    async def _scale(self, namespace: str, name: str, replicas: int) -> None:
        patch = {"spec": {"replicas": replicas}}
        await self._api.merge(DEPLOYMENTS, namespace, name, patch, subresource="scale")

        async def done() -> bool:
            if not replicas:
                return not await self._api.list(PODS, namespace)
            body = await self._api.get(DEPLOYMENTS, namespace, name)
            return bool(body.get("status", {}).get("readyReplicas", 0) == replicas)

        await wait_for(done, what=f"{name} to have {replicas} pods")

    async def _forward(self, namespace: str, target: str, port: int) -> str:
        return await forwarded(self._connections, self._cluster, namespace, target, port)


async def forwarded(stack: AsyncExitStack, cluster: Cluster, namespace: str, target: str, port: int) -> str:
    """URL on this machine of a port of a pod or Deployment, until the stack closes."""
    forward = PortForward(cluster, namespace, target, port)
    await asyncio.to_thread(forward.__enter__)
    stack.push_async_callback(asyncio.to_thread, forward.close)
    return forward.url


def _customer(image: str) -> Body:
    """A wallet-rpc that only a port-forward reaches: it listens on its pod's loopback and asks for no login."""
    labels = {"app": "customer"}
    deployed = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "customer", "namespace": CUSTOMER_NAMESPACE},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "automountServiceAccountToken": False,
                    "securityContext": {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532},
                    "containers": [
                        {
                            "name": "wallet",
                            "image": image,
                            "command": ["monero-wallet-rpc"],
                            "args": [
                                "--rpc-bind-ip=127.0.0.1",
                                f"--rpc-bind-port={CUSTOMER_PORT}",
                                "--disable-rpc-login",
                                "--wallet-dir=/wallets",
                                f"--daemon-address={deployment.RPC_ADDRESS}",
                                "--trusted-daemon",
                                "--allow-mismatched-daemon-version",
                                "--non-interactive",
                                "--log-file=/wallets/customer.log",
                                "--shared-ringdb-dir=/wallets/ringdb",
                            ],
                            "env": [{"name": "HOME", "value": "/wallets"}],
                            "workingDir": "/wallets",
                            "readinessProbe": {
                                "exec": {"command": ["sh", "-c", "grep -qi ':46A5 ' /proc/net/tcp"]},
                                "periodSeconds": 1,
                            },
                            "volumeMounts": [{"name": "wallets", "mountPath": "/wallets"}],
                        }
                    ],
                    "volumes": [{"name": "wallets", "persistentVolumeClaim": {"claimName": "customer"}}],
                },
            },
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "customer", "namespace": CUSTOMER_NAMESPACE},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": CUSTOMER_NAMESPACE}}
    return {"apiVersion": "v1", "kind": "List", "items": [namespace, claim, deployed]}
