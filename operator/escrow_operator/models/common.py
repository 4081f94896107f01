"""What both custom resources share: names, roles, durations and the base of their models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from sys import intern
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as part

GROUP = "xmr-escrow.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FINALIZER = f"{GROUP}/close-wallets"
"""On an EscrowSession: its wallets are stored and closed before the object is removed."""

POOL_FINALIZER = f"{GROUP}/sessions-closed"
"""On a WalletPool: the object stays for as long as sessions hold its slots."""

GATEWAY_NAME = "xmr-escrow-gateway"
OPERATOR_NAME = "xmr-escrow-operator"

WALLET_RPC = "monero-wallet-rpc"
"""The name of a slot's main container, and of the program in it."""
LONGEST_NAME = 253

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:[.][a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")

_DURATION = re.compile(r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+)s)?")


class Role(StrEnum):
    """A party of the 2-of-3 multisig."""

    BUYER = "buyer"
    VENDOR = "vendor"
    ARBITER = "arbiter"


ROLES = tuple(Role)
"""The order in which slots are claimed: always the same, so that two sessions cannot wait for each other."""


class Label:
    """Labels and annotations that the operator writes and reads."""

    POOL = f"{GROUP}/pool"
    ROLE = f"{GROUP}/role"
    SLOT = f"{GROUP}/slot"
    """The slot's state. Part of the Deployments' selector: changing it takes the pod out of its Deployment."""
    SESSION = f"{GROUP}/session"
    SESSION_UID = f"{GROUP}/session-uid"
    WALLET_FILE = f"{GROUP}/wallet-file"
    """Annotation of a prepared or adopted pod: the wallet file that it may hold open (invariant I1)."""
    PREPARED = f"{GROUP}/prepared-escrow"
    """Label of a pod that was prepared: the Secret of the prepared escrow that it is, or was, a part of."""
    CLAIMED_BY = f"{GROUP}/claimed-by"
    """Annotation of a prepared escrow's Secret: the uid of the one session that it was ever given to. Also the wallet
    attribute in which each of its wallets stores that, as namespace, name and uid."""
    LOGIN_KEY = f"{GROUP}/login-key"
    """Annotation of the pod template: which login key the slots' credentials derive from."""
    DAEMON_SECRETS = f"{GROUP}/daemon-secrets"
    """Annotation of the pod template: which versions of monerod's Secrets the slots were started with."""
    DAEMON = f"{GROUP}/daemon"
    """Annotation of the pod template: a digest of the pool's spec.daemon, which names Secrets but holds none."""
    TEMPLATE = f"{GROUP}/template"
    """Annotation of the pod template: a digest of all the rest of it."""
    ANEW = f"{GROUP}/anew"
    """Annotation of the pod template: it was changed for no other reason than to have another ReplicaSet made."""
    WARM_UP = f"{GROUP}/warm-up"
    """Scheduling gate of fresh slots: the operator removes it when they may start."""
    TERM = f"{GROUP}/term"
    """Annotation of what only one operator may decide on (pods that were taken, deeds, prepared escrows): the number of
    the leadership in which it was written last. Whoever leads next writes its own before it relies on what it reads."""
    SETTLED = f"{GROUP}/settled"
    """Annotation of a deed: how the trade that its wallet served ended."""
    TOUCH = f"{GROUP}/touched-at"
    """Annotation that clients set on an EscrowSession to signal that it is in use."""
    SIGNING_ROUND = f"{GROUP}/signing-rounds"
    """Annotation in which the gateway notes who exported for a signing round, see core.signing."""
    KEY_IMAGES = f"{GROUP}/key-images-at"
    """Annotation in which the operator notes when it let the session's wallets exchange key images."""
    SECRET_USE = f"{GROUP}/secret-use"
    """Label that users set on a Secret: the use for which specs may name it (core.secretuse)."""


class SlotState(StrEnum):
    """The values of ``Label.SLOT``."""

    FREE = "free"
    PREPARED = "prepared"
    """Part of a prepared escrow, or of one that is being prepared; owned by the pool."""
    ADOPTED = "adopted"


def is_name(text: str) -> bool:
    """Whether a text can name an object or a namespace: a DNS subdomain (RFC 1123), the rule of every kind used here.

    Some kinds allow more (any path segment). The operator makes no such objects, and reads none that a spec names.
    """
    return len(text) <= LONGEST_NAME and _NAME.fullmatch(text) is not None


def printable(text: str, limit: int) -> str:
    """Foreign text made fit for a status, an Event, a log or a terminal: no control characters, ``limit`` characters.

    Lone surrogates, which JSON cannot carry, are replaced as well.
    """
    seen = "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text[:limit])
    return seen if len(text) <= limit else f"{seen[:-1]}…"


def parse_duration(text: str) -> timedelta:
    """``"1h30m"`` → 1.5 h. Hours, minutes and seconds as whole numbers, in this order.

    Raises ValueError on anything else, an empty text included.
    """
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"{text!r} is not a duration such as 2h, 90m or 1h30m")
    return timedelta(
        hours=int(match["h"] or 0),
        minutes=int(match["m"] or 0),
        seconds=int(match["s"] or 0),
    )


def parse_time(text: str) -> datetime:
    """A Kubernetes timestamp (RFC 3339) as an aware datetime."""
    return datetime.fromisoformat(text)


def format_time(moment: datetime) -> str:
    """An aware datetime as Kubernetes writes it: UTC, whole seconds, ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _to_duration(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_to_duration)]


PART = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")
"""Config of the parts of custom resources: camelCase in the API, snake_case here.

The parts are pydantic dataclasses with slots rather than models: 0.5 kB for a session's spec instead of 4.9 kB.
"""


class Finalizers(NamedTuple):
    """The number of an object's finalizers, and the index of the operator's among them, None without.

    No names are kept: a tenant who may patch an object may give it a hundred thousand, and each takes 60 bytes.
    """

    number: int = 0
    own: int | None = None

    @classmethod
    def parse(cls, meta: dict[str, Any], name: str) -> Finalizers:
        """From an object's metadata; ``name`` is the operator's finalizer."""
        found = meta.get("finalizers") or []
        return cls(len(found), found.index(name) if name in found else None)

    def added(self, name: str) -> dict[str, Any]:
        """The JSON patch operation that adds the finalizer ``name``."""
        if self.number:
            return {"op": "add", "path": "/metadata/finalizers/-", "value": name}
        return {"op": "add", "path": "/metadata/finalizers", "value": [name]}


def find_condition(status: Mapping[str, Any] | None, kind: str) -> dict[str, Any] | None:
    """The condition of a type in an object's status, or None."""
    found: list[dict[str, Any]] = (status or {}).get("conditions") or []
    return next((condition for condition in found if condition["type"] == kind), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiObject:
    """The fields that the operator reads of both its custom resources."""

    uid: str
    generation: int
    resource_version: str
    deleting: bool
    status: dict[str, Any]

    def condition(self, kind: str) -> dict[str, Any] | None:
        """The condition of a type as last written, or None."""
        return find_condition(self.status, kind)


def head(body: dict[str, Any]) -> dict[str, Any]:
    """The fields of ``ApiObject`` from the API's JSON."""
    meta = body["metadata"]
    return {
        "uid": meta["uid"],
        "generation": meta.get("generation", 1),
        "resource_version": meta["resourceVersion"],
        "deleting": "deletionTimestamp" in meta,
        "status": shared(body.get("status") or {}),
    }


def shared(value: Any) -> Any:
    """The same JSON, with keys and short texts interned, so that all objects share one copy of each.

    Statuses of one kind consist mostly of the same words: with thousands of objects that is a third of the memory.
    """
    match value:
        case dict():
            return {intern(key): shared(item) for key, item in value.items()}
        case list():
            return [shared(item) for item in value]
        case str() if len(value) <= LONGEST_SHARED:
            return intern(value)
        case _:
            return value


LONGEST_SHARED = 64
"""Longest text to intern, in characters. Addresses are longer, and each occurs once."""


@part(config=PART, frozen=True, slots=True, kw_only=True)
class SecretName:
    """A Secret in the same namespace."""

    name: str
