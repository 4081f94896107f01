"""Looks for what keeps an installation from working, and says how to mend each finding."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from cryptography import x509

from escrow_cli.api import CLAIMS, CRDS, DEPLOYMENTS, NODES, PODS, POOLS, REVIEWS, SECRETS, SESSIONS, Api
from escrow_cli.errors import CliError, Exit
from escrow_cli.show import clean, condition
from escrow_operator.models.common import GROUP, VERSION, Label

Body = dict[str, Any]

OPERATOR = "app.kubernetes.io/name=xmr-escrow-operator"
GATEWAY = "app.kubernetes.io/name=xmr-escrow-gateway"
SLOTS = "app.kubernetes.io/name=monero-wallet-rpc"

NEEDED = {
    "escrowsessions": ("status", "moneyMovedAt"),
    "walletpools": ("spec", "preparedEscrows"),
}
"""A field of each custom resource that its newest version has: older ones came with an older operator."""

ENOUGH = 2
"""Operators, of which one leads and the other waits to take over."""

CONNECTIONS = 20
"""Wallet pods of one node from which monerod's limit of connections by address (25) is near."""


LAST_DAYS = timedelta(days=14)
"""Before a certificate ends somebody should know; cert-manager renews earlier than this."""


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """What a check found, and how to mend it."""

    check: str
    level: Level
    text: str
    mend: str = ""

    def as_dict(self) -> dict[str, str]:
        """For ``-o json``."""
        return {name: str(value) for name, value in asdict(self).items()}


class Said(NamedTuple):
    """A finding, before it is said of which check it is."""

    level: Level
    text: str
    mend: str = ""


def _ok(text: str) -> Said:
    return Said(Level.OK, text)


def _warning(text: str, mend: str) -> Said:
    return Said(Level.WARNING, text, mend)


def _bad(text: str, mend: str) -> Said:
    return Said(Level.BAD, text, mend)


def examine(api: Api) -> list[Finding]:
    """All findings, good ones as well. What the caller may not see is a warning."""
    found: list[Finding] = []
    for name, check in CHECKS.items():
        try:
            found += [Finding(name, *said) for said in check(api)]
        except CliError as error:
            if error.code is Exit.AWAY:
                raise
            found.append(Finding(name, *_warning(f"could not be looked at: {error}", "Ask somebody who may.")))
    return found


def _named(body: Body) -> str:
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


def _in(body: Body, kind: str) -> str:
    """How kubectl names it."""
    return f"-n {body['metadata']['namespace']} {kind}/{body['metadata']['name']}"


def _resources(api: Api) -> Iterator[Said]:
    for plural, (part, name) in NEEDED.items():
        try:
            crd = api.get(CRDS, f"{plural}.{GROUP}", "")
        except CliError as error:
            if error.code is not Exit.NOT_FOUND:
                raise
            yield _bad(f"{plural} are not known to the cluster.", "kubectl apply -k crds")
            continue
        versions = {v["name"]: v for v in crd["spec"]["versions"]}
        schema = (versions.get(VERSION) or {}).get("schema", {}).get("openAPIV3Schema", {})
        fields = schema.get("properties", {}).get(part, {}).get("properties", {})
        if name in fields:
            yield _ok(f"{plural} are as this version knows them.")
        else:
            yield _bad(
                f"{plural} are of an older version: Helm installs custom resources, and never upgrades them.",
                "kubectl apply --server-side --force-conflicts -k crds",
            )


def _operator(api: Api) -> Iterator[Said]:
    found = api.list(DEPLOYMENTS, "", labels=OPERATOR)
    if not found:
        yield _bad("There is no operator.", "helm install, see docs/install.md")
    for body in found:
        wanted, ready = body["spec"].get("replicas", 1), (body.get("status") or {}).get("readyReplicas", 0)
        text = f"{_named(body)}: {ready} of {wanted} ready."
        if ready < wanted or not wanted:
            mend = f"kubectl describe {_in(body, 'deployment')}; kubectl logs {_in(body, 'deployment')}"
            yield Said(Level.WARNING if ready else Level.BAD, text, mend)
        elif wanted < ENOUGH:
            mend = f"kubectl scale {_in(body, 'deployment')} --replicas={ENOUGH}"
            yield Said(Level.WARNING, f"{text} With its node sessions are served by nobody for minutes.", mend)
        else:
            yield _ok(text)


def _gateway(api: Api) -> Iterator[Said]:
    found = api.list(DEPLOYMENTS, "", labels=GATEWAY)
    if not found:
        yield _ok("There is none.")
    for body in found:
        wanted, ready = body["spec"].get("replicas", 1), (body.get("status") or {}).get("readyReplicas", 0)
        text = f"{_named(body)}: {ready} of {wanted} ready."
        if ready >= wanted:
            yield _ok(text)
        else:
            mend = f"kubectl describe {_in(body, 'deployment')}: does its TLS Secret exist?"
            yield Said(Level.WARNING if ready else Level.BAD, text, mend)


def _certificate(api: Api) -> Iterator[Said]:
    for body in api.list(DEPLOYMENTS, "", labels=GATEWAY):
        namespace = body["metadata"]["namespace"]
        volumes = body["spec"]["template"]["spec"].get("volumes") or ()
        for secret in (volume["secret"]["secretName"] for volume in volumes if "secret" in volume):
            name = f"{namespace}/{secret}"
            try:
                ends = _end(api.get(SECRETS, secret, namespace))
            except CliError as error:
                if error.code is not Exit.NOT_FOUND:
                    raise
                yield _bad(f"{name} does not exist: the gateway's pods wait for it.", "See gateway.tls of the chart.")
                continue
            if ends is None:
                yield _bad(f"{name} holds no certificate.", "It needs tls.crt and tls.key, as PEM.")
            elif ends < datetime.now(UTC) + LAST_DAYS:
                yield _bad(
                    f"{name} is valid until {ends:%Y-%m-%d %H:%M} UTC.",
                    "Renew it. One that the chart made: delete the Secret, then helm upgrade; clients need its ca.crt.",
                )
            else:
                yield _ok(f"{name} is valid until {ends:%Y-%m-%d}.")


def _end(secret: Body) -> datetime | None:
    """When the certificate ends to be valid; of a chain, its first one."""
    try:
        found = x509.load_pem_x509_certificate(base64.b64decode((secret.get("data") or {}).get("tls.crt", "")))
    except (binascii.Error, ValueError):
        return None
    return found.not_valid_after_utc


def _rights(api: Api) -> Iterator[Said]:
    for verb, resource in (("list", "escrowsessions"), ("create", "escrowsessions"), ("patch", "escrowsessions")):
        attributes = {"namespace": api.namespace, "group": GROUP, "resource": resource, "verb": verb}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        if (api.create(REVIEWS, review, "").get("status") or {}).get("allowed"):
            yield _ok(f"You may {verb} {resource} in {api.namespace}.")
        else:
            yield _warning(
                f"You may not {verb} {resource} in {api.namespace}.",
                "Have xmr-escrow-session-edit (or xmr-escrow-view, to look) bound to you there.",
            )


def _pools(api: Api) -> Iterator[Said]:
    found = api.list(POOLS, "")
    if not found:
        yield _bad("There is no WalletPool.", "kubectl apply -f deploy/examples/walletpool.yaml")
    for body in found:
        bad = [c for kind in ("Ready", "DaemonSynced") if (c := condition(body, kind)) and c["status"] != "True"]
        if not condition(body, "Ready"):
            yield _bad(f"{_named(body)} is served by no operator.", "Is it in its watchNamespaces?")
        for found_bad in bad:
            yield _bad(f"{_named(body)}: {clean(found_bad.get('reason'))}", clean(found_bad.get("message")))
        if condition(body, "Ready") and not bad:
            yield _ok(f"{_named(body)} is ready, and monerod in step.")
    waiting = [s for s in api.list(SESSIONS, "") if condition(s, "Ready").get("reason") in ("AtCapacity", "PoolEmpty")]
    if waiting:
        yield _warning(
            f"{len(waiting)} sessions wait for a place or a pod.",
            "Raise sessions.maxActive or the pool's warmSlots, or give the nodes more memory.",
        )


def _storage(api: Api) -> Iterator[Said]:
    nodes = len(api.list(NODES, ""))
    for claim in api.list(CLAIMS, "", labels="app.kubernetes.io/managed-by=xmr-escrow-operator"):
        phase = (claim.get("status") or {}).get("phase")
        used_by_first = "WaitForFirstConsumer" in str(claim["metadata"].get("annotations") or {})
        if phase != "Bound" and not used_by_first:
            yield _bad(f"{_named(claim)} is {phase}.", f"kubectl describe {_in(claim, 'pvc')}")
        elif nodes > 1 and "ReadWriteMany" not in claim["spec"].get("accessModes", ()):
            yield _warning(
                f"{_named(claim)} is not ReadWriteMany: all wallets of its role run on one of {nodes} nodes.",
                "Use a ReadWriteMany class for the next pool; a pool's storage cannot change.",
            )
        else:
            yield _ok(f"{_named(claim)} is bound.")


def _network(api: Api) -> Iterator[Said]:
    for body in api.list(POOLS, ""):
        if (body["spec"].get("networkPolicy") or {}).get("enabled"):
            yield _ok(f"{_named(body)}: a NetworkPolicy guards its wallets.")
        else:
            yield _warning(
                f"{_named(body)}: whoever reaches its pods can try to log in to wallets.",
                "Set spec.networkPolicy.enabled; who does not use the gateway goes into spec.networkPolicy.clients.",
            )


def _daemon(api: Api) -> Iterator[Said]:
    pods = [p for p in api.list(PODS, "", labels=SLOTS) if p["metadata"]["labels"].get(Label.SLOT) != "free"]
    most = max(Counter(pod["spec"].get("nodeName", "?") for pod in pods).values(), default=0)
    if most >= CONNECTIONS:
        yield _warning(
            f"{most} open wallets on one node: from one address monerod takes 25 connections, if that is translated.",
            "Start monerod with --rpc-max-connections-per-private-ip and --rpc-max-connections above that.",
        )
    else:
        yield _ok(f"{len(pods)} wallets are open, at most {most} on a node.")


CHECKS: Mapping[str, Callable[[Api], Iterator[Said]]] = {
    "custom resources": _resources,
    "operator": _operator,
    "gateway": _gateway,
    "certificate": _certificate,
    "your rights": _rights,
    "pools": _pools,
    "storage": _storage,
    "network": _network,
    "monerod": _daemon,
}
