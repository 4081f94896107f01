"""A support bundle: what a stranger needs to see what is wrong, and nothing that opens a wallet."""

from __future__ import annotations

import io
import re
import tarfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from escrow_cli.api import CLAIMS, DEPLOYMENTS, EVENTS, NODES, PODS, POOLS, SESSIONS, Api, Kind
from escrow_cli.doctor import GATEWAY, OPERATOR, SLOTS, examine
from escrow_cli.errors import CliError

Body = dict[str, Any]

TAIL = 2_000

KINDS: dict[str, tuple[Kind, str]] = {
    "sessions": (SESSIONS, ""),
    "pools": (POOLS, ""),
    "wallet-pods": (PODS, SLOTS),
    "operators": (DEPLOYMENTS, OPERATOR),
    "gateways": (DEPLOYMENTS, GATEWAY),
    "claims": (CLAIMS, "app.kubernetes.io/managed-by=xmr-escrow-operator"),
    "nodes": (NODES, ""),
}
"""No Secrets: none is read, so none can be in it."""

_SECRET = re.compile(
    r"(?i)((?:bearer|basic|digest)\s+|authorization[\"':=\s]+(?:(?:bearer|basic|digest)\s+)?|password[\"':=\s]+|token[\"':=\s]+|mnemonic[\"':=\s]+|"
    r"(?:view|spend)_?key[\"':=\s]+)[\"']?[^\s\"',}]+"
)
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*")
_LONG_HEX = re.compile(r"\b[0-9a-f]{64}\b")

HIDDEN = "[hidden]"


def redacted(text: str) -> str:
    """A text without what looks like a password, a token or a key. Transaction ids look like keys, and go too."""
    text = _JWT.sub(HIDDEN, text)
    text = _SECRET.sub(lambda found: found[1] + HIDDEN, text)
    return _LONG_HEX.sub(HIDDEN, text)


def bundle(api: Api) -> Iterator[tuple[str, str]]:
    """File names and texts, redacted."""
    parts: dict[str, Callable[[], str]] = {
        f"{name}.yaml": partial(_objects, api, kind, labels) for name, (kind, labels) in KINDS.items()
    }
    parts |= {"events.txt": partial(_events, api), "doctor.txt": partial(_findings, api)}
    for name, make in parts.items():
        try:
            yield name, redacted(make())
        except CliError as error:
            yield f"{name.partition('.')[0]}.error", f"{error}\n"
    for labels, container in ((OPERATOR, "operator"), (GATEWAY, "gateway")):
        try:
            pods = api.list(PODS, "", labels=labels)
        except CliError as error:
            yield f"{container}-log.error", f"{error}\n"
            continue
        for pod in pods:
            meta = pod["metadata"]
            try:
                text = api.logs(meta["namespace"], meta["name"], container, tail=TAIL)
            except CliError as error:
                text = f"{error}\n"
            yield f"logs/{meta['name']}.txt", redacted(text)


def write(api: Api, file: Path) -> list[str]:
    """Write the bundle as a gzipped tar, readable by its owner alone; the names of what is in it."""
    names = []
    with tarfile.open(file, "w:gz") as tar:
        file.chmod(0o600)
        for name, text in bundle(api):
            data = text.encode()
            entry = tarfile.TarInfo(f"xmr-escrow-report/{name}")
            entry.size, entry.mtime = len(data), int(time.time())
            tar.addfile(entry, io.BytesIO(data))
            names.append(name)
    return names


def _objects(api: Api, kind: Kind, labels: str) -> str:
    found = [_without_noise(body) for body in api.list(kind, "", labels=labels)]
    text: str = yaml.safe_dump_all(found, sort_keys=False, allow_unicode=True, width=10_000)
    return text


def _findings(api: Api) -> str:
    return "".join(f"{f.level}: {f.check}: {f.text} {f.mend}\n" for f in examine(api))


def _events(api: Api) -> str:
    kinds = {"EscrowSession", "WalletPool"}
    return "".join(
        f"{event.get('lastTimestamp') or event.get('eventTime')} {event.get('type')} {about['kind']}"
        f" {about.get('namespace')}/{about.get('name')} {event.get('reason')}: {event.get('message')}\n"
        for event in api.list(EVENTS, "")
        if (about := event.get("involvedObject") or {}).get("kind") in kinds
    )


def _without_noise(body: Body) -> Body:
    meta = {k: v for k, v in body["metadata"].items() if k != "managedFields"}
    notes = meta.get("annotations")
    if notes:
        meta["annotations"] = {k: v for k, v in notes.items() if "last-applied" not in k}
    return {**body, "metadata": meta, "spec": _without_arguments(body.get("spec") or {})}


def _without_arguments(spec: Body) -> Body:
    """Arguments and variables of pods, and of those that make pods, are where people put what they should not."""
    if "template" in spec:
        return {**spec, "template": {"spec": _without_arguments(spec["template"].get("spec") or {})}}
    if "containers" in spec:
        return {"nodeName": spec.get("nodeName"), "containers": [c["image"] for c in spec["containers"]]}
    return spec
