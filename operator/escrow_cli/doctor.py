"""Looks for what keeps an installation from working, and says how to mend each finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from escrow_cli.api import CLAIMS, CRDS, DEPLOYMENTS, NODES, PODS, POOLS, REVIEWS, SESSIONS, Api
from escrow_cli.errors import CliError, Exit
from escrow_cli.show import clean, condition
from escrow_operator.models.common import GROUP, VERSION, Label

Body = dict[str, Any]

OPERATOR = "app.kubernetes.io/name=xmr-escrow-operator"
GATEWAY = "app.kubernetes.io/name=xmr-escrow-gateway"
SLOTS = "app.kubernetes.io/name=monero-wallet-rpc"

NEEDED = {
    "escrowsessions": ("spec", "settlement"),
    "walletpools": ("spec", "preparedEscrows"),
}
"""A field of each custom resource that its newest version has: older ones came with an older operator."""

CONNECTIONS = 20
"""Wallet pods of one node from which monerod's limit of connections by address (25) is near."""


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """What was found, and how to mend it."""

    check: str
    level: Level
    text: str
    mend: str = ""

    def as_dict(self) -> dict[str, str]:
        """For ``-o json``."""
        return {name: str(value) for name, value in asdict(self).items()}


def examine(api: Api) -> list[Finding]:
    """All findings, good ones as well. What the caller may not see is a warning."""
    found: list[Finding] = []
    for check in (_resources, _operator, _gateway, _rights, _pools, _storage, _network, _daemon):
        try:
            found += list(check(api))
        except CliError as error:
            if error.code is Exit.AWAY:
                raise
            name = check.__name__.strip("_")
            found.append(Finding(name, Level.WARNING, f"could not be looked at: {error}", "Ask somebody who may."))
    return found


Check = Callable[[Api], Iterator[Finding]]


def _resources(api: Api) -> Iterator[Finding]:
    for plural, (part, name) in NEEDED.items():
        try:
            crd = api.get(CRDS, f"{plural}.{GROUP}", "")
        except CliError as error:
            if error.code is not Exit.NOT_FOUND:
                raise
            yield Finding(
                "custom resources", Level.BAD, f"{plural} are not known to the cluster.", "kubectl apply -k crds"
            )
            continue
        versions = {v["name"]: v for v in crd["spec"]["versions"]}
        schema = (versions.get(VERSION) or {}).get("schema", {}).get("openAPIV3Schema", {})
        fields = schema.get("properties", {}).get(part, {}).get("properties", {})
        if name in fields:
            yield Finding("custom resources", Level.OK, f"{plural} are as this version knows them.")
        else:
            yield Finding(
                "custom resources",
                Level.BAD,
                f"{plural} are of an older version: Helm installs custom resources, and never upgrades them.",
                "kubectl apply --server-side --force-conflicts -k crds",
            )


def _deployments(api: Api, labels: str) -> list[Body]:
    return api.list(DEPLOYMENTS, "", labels=labels)


def _operator(api: Api) -> Iterator[Finding]:
    found = _deployments(api, OPERATOR)
    if not found:
        yield Finding("operator", Level.BAD, "There is no operator.", "helm install, see the README")
    for body in found:
        meta, wanted = body["metadata"], body["spec"].get("replicas", 1)
        name, ready = f"{meta['namespace']}/{meta['name']}", (body.get("status") or {}).get("readyReplicas", 0)
        if wanted > 1:
            mend = f"kubectl scale -n {meta['namespace']} deployment/{meta['name']} --replicas=1"
            yield Finding(
                "operator", Level.BAD, f"{name} has {wanted} replicas: two operators hinder each other.", mend
            )
        elif ready < 1:
            mend = f"kubectl logs -n {meta['namespace']} deployment/{meta['name']}"
            yield Finding("operator", Level.BAD, f"{name} is not ready.", mend)
        else:
            yield Finding("operator", Level.OK, f"{name} is ready.")


def _gateway(api: Api) -> Iterator[Finding]:
    found = _deployments(api, GATEWAY)
    if not found:
        yield Finding("gateway", Level.OK, "There is none.")
    for body in found:
        meta, status = body["metadata"], body.get("status") or {}
        name, wanted = f"{meta['namespace']}/{meta['name']}", body["spec"].get("replicas", 1)
        ready = status.get("readyReplicas", 0)
        if ready < wanted:
            mend = f"kubectl describe -n {meta['namespace']} deployment/{meta['name']}: does its TLS Secret exist?"
            yield Finding(
                "gateway", Level.BAD if not ready else Level.WARNING, f"{name}: {ready} of {wanted} ready.", mend
            )
        else:
            yield Finding("gateway", Level.OK, f"{name}: {ready} of {wanted} ready.")


def _rights(api: Api) -> Iterator[Finding]:
    for verb, resource in (("list", "escrowsessions"), ("create", "escrowsessions"), ("patch", "escrowsessions")):
        attributes = {"namespace": api.namespace, "group": GROUP, "resource": resource, "verb": verb}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        if (api.create(REVIEWS, review, "").get("status") or {}).get("allowed"):
            yield Finding("your rights", Level.OK, f"You may {verb} {resource} in {api.namespace}.")
        else:
            yield Finding(
                "your rights",
                Level.WARNING,
                f"You may not {verb} {resource} in {api.namespace}.",
                "Have xmr-escrow-session-edit (or xmr-escrow-view, to look) bound to you there.",
            )


def _pools(api: Api) -> Iterator[Finding]:
    found = api.list(POOLS, "")
    if not found:
        yield Finding("pools", Level.BAD, "There is no WalletPool.", "kubectl apply -f deploy/examples/walletpool.yaml")
    for body in found:
        name = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
        bad = [c for kind in ("Ready", "DaemonSynced") if (c := condition(body, kind)) and c["status"] != "True"]
        if not condition(body, "Ready"):
            yield Finding("pools", Level.BAD, f"{name} is served by no operator.", "Is it in its watchNamespaces?")
        for found_bad in bad:
            yield Finding(
                "pools", Level.BAD, f"{name}: {clean(found_bad.get('reason'))}", clean(found_bad.get("message"))
            )
        if condition(body, "Ready") and not bad:
            yield Finding("pools", Level.OK, f"{name} is ready, and monerod in step.")
    waiting = [s for s in api.list(SESSIONS, "") if condition(s, "Ready").get("reason") in ("AtCapacity", "PoolEmpty")]
    if waiting:
        yield Finding(
            "pools",
            Level.WARNING,
            f"{len(waiting)} sessions wait for a place or a pod.",
            "Raise sessions.maxActive or the pool's warmSlots, or give the nodes more memory.",
        )


def _storage(api: Api) -> Iterator[Finding]:
    nodes = len(api.list(NODES, ""))
    for claim in api.list(CLAIMS, "", labels="app.kubernetes.io/managed-by=xmr-escrow-operator"):
        name = f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
        phase = (claim.get("status") or {}).get("phase")
        used_by_first = "WaitForFirstConsumer" in str(claim["metadata"].get("annotations") or {})
        if phase != "Bound" and not used_by_first:
            yield Finding("storage", Level.BAD, f"{name} is {phase}.", f"kubectl describe pvc of {name}")
        elif nodes > 1 and "ReadWriteMany" not in claim["spec"].get("accessModes", ()):
            yield Finding(
                "storage",
                Level.WARNING,
                f"{name} is not ReadWriteMany: all wallets of its role run on one of {nodes} nodes.",
                "Use a ReadWriteMany class for the next pool; a pool's storage cannot change.",
            )
        else:
            yield Finding("storage", Level.OK, f"{name} is bound.")


def _network(api: Api) -> Iterator[Finding]:
    for body in api.list(POOLS, ""):
        name = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
        if (body["spec"].get("networkPolicy") or {}).get("enabled"):
            yield Finding("network", Level.OK, f"{name}: a NetworkPolicy guards its wallets.")
        else:
            yield Finding(
                "network",
                Level.WARNING,
                f"{name}: whoever reaches its pods can try to log in to wallets.",
                "Set spec.networkPolicy.enabled; who does not use the gateway goes into spec.networkPolicy.clients.",
            )


def _daemon(api: Api) -> Iterator[Finding]:
    pods = [p for p in api.list(PODS, "", labels=SLOTS) if p["metadata"]["labels"].get(Label.SLOT) != "free"]
    by_node: dict[str, int] = {}
    for pod in pods:
        node = pod["spec"].get("nodeName", "?")
        by_node[node] = by_node.get(node, 0) + 1
    most = max(by_node.values(), default=0)
    if most >= CONNECTIONS:
        yield Finding(
            "monerod",
            Level.WARNING,
            f"{most} open wallets on one node: from one address monerod takes 25 connections, if that is translated.",
            "Start monerod with --rpc-max-connections-per-private-ip and --rpc-max-connections above that.",
        )
    else:
        yield Finding("monerod", Level.OK, f"{len(pods)} wallets are open, at most {most} on a node.")
