"""A monerod that speaks TLS with a certificate of a private authority, and asks for a login."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest_asyncio
import trustme

from escrow_operator.adapters.kube import DEPLOYMENTS, SERVICES
from escrow_operator.adapters.tls import client_context
from escrow_operator.models.monero import Login
from harness.escrow import condition
from harness.place import Place
from harness.waiting import wait_for
from regtest.daemon import RegtestDaemon
from testbed.portforward import PortForward
from testbed.regtest import RPC_PORT

WARM_SLOTS = None
NAME = "secured"
LOGIN = Login("escrow", "correct-horse")
LABELS = {"app.kubernetes.io/name": NAME}


class Secured(NamedTuple):
    """The monerod, and who vouches for it."""

    daemon: RegtestDaemon
    authority: trustme.CA


def _monerod(image: str) -> list[tuple[Any, dict[str, Any]]]:
    mounts = [{"name": "data", "mountPath": "/data"}, {"name": "tls", "mountPath": "/tls", "readOnly": True}]
    container = {
        "name": "monerod",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["monerod"],
        "args": [
            *("--regtest", "--offline", "--fixed-difficulty=1", "--data-dir=/data", "--non-interactive"),
            *("--rpc-bind-ip=0.0.0.0", "--confirm-external-bind", "--disable-rpc-ban", "--max-log-files=1"),
            *("--rpc-ssl=enabled", "--rpc-ssl-private-key=/tls/tls.key", "--rpc-ssl-certificate=/tls/tls.crt"),
            f"--rpc-login={LOGIN.user}:{LOGIN.password}",
        ],
        "env": [{"name": "HOME", "value": "/data"}],
        "readinessProbe": {"tcpSocket": {"port": RPC_PORT}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": mounts,
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tls", "secret": {"secretName": f"{NAME}-tls"}}],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": pod},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME},
        "spec": {"selector": LABELS, "ports": [{"port": RPC_PORT}]},
    }
    return [(DEPLOYMENTS, deployment), (SERVICES, service)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def secured(place: Place) -> Any:
    """The monerod, a chain of a few blocks, and a pool that names it."""
    authority = trustme.CA()
    host = f"{NAME}.{place.namespace}.svc"
    certificate = authority.issue_cert(host, "127.0.0.1")
    await place.secret(
        f"{NAME}-tls",
        {
            "tls.key": certificate.private_key_pem.bytes().decode(),
            "tls.crt": "".join(pem.bytes().decode() for pem in certificate.cert_chain_pems),
        },
    )
    for resource, body in _monerod(place.world.images.wallet):
        await place.api.apply(resource, place.namespace, body)

    async def ready() -> bool:
        status = (await place.api.get(DEPLOYMENTS, place.namespace, NAME)).get("status", {})
        return bool(status.get("readyReplicas"))

    await wait_for(ready, what="the monerod with TLS", explain=place.explain)
    async with AsyncExitStack() as stack:
        forward = PortForward(place.world.cluster, place.namespace, f"deployment/{NAME}", RPC_PORT)
        await asyncio.to_thread(forward.__enter__)
        stack.push_async_callback(asyncio.to_thread, forward.close)
        tls = client_context(authority.cert_pem.bytes().decode())
        daemon = RegtestDaemon(forward.url.replace("http://", "https://"), login=LOGIN, tls=tls)
        stack.push_async_callback(daemon.aclose)
        await daemon.generate_blocks(place.world.chain.customer.address, 5)
        yield Secured(daemon, authority)


async def _make_pool(place: Place, name: str, *, authority: trustme.CA, password: str) -> None:
    await _vouch(place, name, authority)
    await _log_in(place, name, password)
    await place.make_pool(
        name,
        daemon={
            "address": f"{NAME}.{place.namespace}.svc:{RPC_PORT}",
            "network": "regtest",
            "trusted": True,
            "tls": {"enabled": True, "caSecretRef": {"name": f"{name}-ca"}},
            "loginSecretRef": {"name": f"{name}-login"},
        },
    )


async def _vouch(place: Place, name: str, authority: trustme.CA) -> None:
    await place.secret(f"{name}-ca", {"ca.crt": authority.cert_pem.bytes().decode()})


async def _log_in(place: Place, name: str, password: str) -> None:
    await place.secret(f"{name}-login", {"username": LOGIN.user, "password": password})


async def test_wallets_read_the_chain_over_tls_with_the_login(place: Place, secured: Secured) -> None:
    await _make_pool(place, "right", authority=secured.authority, password=LOGIN.password)
    escrow = await place.active("over-tls", poolRef={"name": "right"})
    address = (await escrow.status())["address"]
    await secured.daemon.generate_blocks(address, 1)
    await escrow.until(lambda s: float((s.get("balance") or {}).get("total", "0")) > 0, "a balance")
    await escrow.delete()


async def test_an_authority_and_a_login_that_are_corrected_reach_operator_and_wallets(
    place: Place, secured: Secured
) -> None:
    async def says(words: str) -> bool:
        synced = condition(await place.pool("wrong"), "DaemonSynced")
        return synced.get("reason") == "DaemonUnreachable" and words in synced["message"]

    await _make_pool(place, "wrong", authority=trustme.CA(), password="correct-house")
    await wait_for(lambda: says("certificate was not accepted"), what="the wrong authority", explain=place.explain)
    await _vouch(place, "wrong", secured.authority)
    await wait_for(lambda: says("login was refused"), what="the wrong password", explain=place.explain)
    await _log_in(place, "wrong", LOGIN.password)
    await place.until_pool("DaemonSynced", "True", "Synced", name="wrong")
    # Slots that were warm before have the authority and the login of then.
    escrow = await place.active("corrected", poolRef={"name": "wrong"})
    await escrow.delete()
