"""A monerod of a place's own, which may speak TLS with a certificate of a private authority and ask for a login."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import trustme

from escrow_operator.adapters.kube import DEPLOYMENTS, SERVICES, Resource
from escrow_operator.adapters.tls import client_context
from escrow_operator.core.secretuse import SecretUse
from escrow_operator.models.monero import Login
from regtest.daemon import RegtestDaemon
from testbed.regtest import RPC_PORT
from testbed.wallets import secured as secured_url

from .api import Body
from .chain import forwarded
from .place import Place
from .waiting import wait_for

NAME = "own-monerod"
LOGIN = Login("escrow", "correct-horse")

_LABELS = {"app.kubernetes.io/name": NAME}
_FIRST_BLOCKS = 5


class OwnDaemon(NamedTuple):
    """``daemon`` reaches it from here, ``address`` (host:port) from pods; ``authority`` signed its certificate."""

    daemon: RegtestDaemon
    address: str
    authority: trustme.CA


@asynccontextmanager
async def own_monerod(
    place: Place, *, secured: bool = True, asks_certificate: bool = False
) -> AsyncIterator[OwnDaemon]:
    """One with a chain of a few blocks, gone with the place.

    ``secured`` it speaks TLS only and asks for LOGIN; it may also ask for a certificate of its authority.
    """
    authority = trustme.CA()
    own = _identity(authority, "tests.invalid")
    host = f"{NAME}.{place.namespace}.svc"
    identity = _identity(authority, host, "127.0.0.1")
    await place.secret(NAME, identity | {"ca.crt": _pem(authority)}, use=None)
    args = list(_SECURED if secured else ())
    if asks_certificate:
        args.append("--rpc-ssl-ca-certificates=/tls/ca.crt")
    for resource, body in _manifests(place.world.images.wallet, args):
        await place.api.apply(resource, place.namespace, body)

    async def ready() -> bool:
        status = (await place.api.get(DEPLOYMENTS, place.namespace, NAME)).get("status", {})
        return bool(status.get("readyReplicas"))

    await wait_for(ready, what=f"the monerod of {place.namespace}", explain=place.explain)
    async with AsyncExitStack() as stack:
        url = await forwarded(stack, place.world.cluster, place.namespace, f"deployment/{NAME}", RPC_PORT)
        login = tls = None
        if secured:
            url, login = secured_url(url), LOGIN
            tls = client_context(_pem(authority), certificate=(own["tls.crt"], own["tls.key"]))
        daemon = RegtestDaemon(url, login=login, tls=tls)
        stack.push_async_callback(daemon.aclose)
        await daemon.generate_blocks(place.world.chain.customer.address, _FIRST_BLOCKS)
        yield OwnDaemon(daemon, f"{host}:{RPC_PORT}", authority)


def _pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


def _identity(authority: trustme.CA, *names: str) -> dict[str, str]:
    """A certificate and its key, as a Secret of type kubernetes.io/tls has them."""
    made = authority.issue_cert(*names)
    chain = "".join(pem.bytes().decode() for pem in made.cert_chain_pems)
    return {"tls.crt": chain, "tls.key": made.private_key_pem.bytes().decode()}


async def identify(place: Place, name: str, authority: trustme.CA) -> None:
    """The Secret with what the pool ``name`` shows monerod."""
    await place.secret(f"{name}-client", _identity(authority, f"{name}.invalid"), use=SecretUse.MONEROD)


async def vouch(place: Place, name: str, authority: trustme.CA) -> None:
    """The Secret with the authority that the pool ``name`` trusts."""
    await place.secret(f"{name}-ca", {"ca.crt": _pem(authority)}, use=SecretUse.MONEROD)


async def log_in(place: Place, name: str, password: str) -> None:
    """The Secret with the login that the pool ``name`` has."""
    await place.secret(f"{name}-login", {"username": LOGIN.user, "password": password}, use=SecretUse.MONEROD)


def secured_daemon(name: str, address: str, *, identified: bool = False) -> Body:
    """``spec.daemon`` of the pool ``name``, with those Secrets."""
    tls: Body = {"enabled": True, "caSecretRef": {"name": f"{name}-ca"}}
    if identified:
        tls["clientSecretRef"] = {"name": f"{name}-client"}
    return plain_daemon(address) | {"tls": tls, "loginSecretRef": {"name": f"{name}-login"}}


def plain_daemon(address: str) -> Body:
    """``spec.daemon`` of a pool whose monerod speaks plain HTTP."""
    return {"address": address, "network": "regtest", "trusted": True}


_ARGS = (
    *("--regtest", "--offline", "--fixed-difficulty=1", "--data-dir=/data", "--non-interactive"),
    *("--rpc-bind-ip=0.0.0.0", "--confirm-external-bind", "--disable-rpc-ban", "--max-log-files=1"),
)
_SECURED = (
    *("--rpc-ssl=enabled", "--rpc-ssl-private-key=/tls/tls.key", "--rpc-ssl-certificate=/tls/tls.crt"),
    f"--rpc-login={LOGIN.user}:{LOGIN.password}",
)


def _manifests(image: str, args: Sequence[str]) -> list[tuple[Resource, dict[str, Any]]]:
    container = {
        "name": "monerod",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["monerod"],
        "args": [*_ARGS, *args],
        "env": [{"name": "HOME", "value": "/data"}],
        "readinessProbe": {"tcpSocket": {"port": RPC_PORT}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "tls", "mountPath": "/tls", "readOnly": True},
        ],
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
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tls", "secret": {"secretName": NAME}}],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {"selector": {"matchLabels": _LABELS}, "template": {"metadata": {"labels": _LABELS}, "spec": pod}},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME},
        "spec": {"selector": _LABELS, "ports": [{"port": RPC_PORT}]},
    }
    return [(DEPLOYMENTS, deployment), (SERVICES, service)]
