"""What has to be in a backup of a namespace: deeds, password Secrets and volumes; and what of it is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from escrow_cli.api import CLAIMS, SECRETS, SESSIONS, Api
from escrow_cli.show import condition
from escrow_cli.waiting import OVER
from escrow_operator.core.manifests.common import deed_name, volume_claim_name
from escrow_operator.core.manifests.prepared import PREPARED_TYPE
from escrow_operator.core.manifests.session import DEED_TYPE
from escrow_operator.models.common import OPERATOR_NAME, ROLES, Label
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.session import SessionKey

Body = dict[str, Any]

OURS = f"app.kubernetes.io/managed-by={OPERATOR_NAME}"


@dataclass(frozen=True, slots=True)
class Part:
    """Something that a restore needs. ``session`` is empty for a volume, which has the files of many.

    ``is_missing``: a session needs it, and it is not there.
    """

    kind: str
    namespace: str
    name: str
    role: str
    session: str
    state: str
    is_missing: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For ``-o json``."""
        return asdict(self)


def parts(api: Api, namespace: str | None = None) -> list[Part]:
    """All parts, by role: each role's belong into a backup of their own. Of Secrets only metadata is read.

    Raises CliError.
    """
    sessions = {_key(body): body for body in api.list(SESSIONS, namespace)}
    deeds = api.list(SECRETS, namespace, fields=f"type={DEED_TYPE}", metadata_only=True)
    prepared = api.list(SECRETS, namespace, fields=f"type={PREPARED_TYPE}", metadata_only=True)
    found = [
        *_deeds(deeds, sessions),
        *_claimed(prepared),
        *_passwords(api, sessions, namespace),
        *_volumes(api, sessions, namespace),
    ]
    return sorted(found, key=lambda part: (part.role, part.kind, part.namespace, part.name))


def _deeds(deeds: list[Body], sessions: Mapping[SessionKey, Body]) -> Iterator[Part]:
    there = set()
    for body in deeds:
        labels, meta = body["metadata"].get("labels") or {}, body["metadata"]
        there.add(_key(body))
        key = SessionKey(meta["namespace"], labels.get(Label.SESSION, ""))
        yield Part("deed", *_key(body), labels.get(Label.ROLE, ""), key.name, _deed_state(meta, sessions.get(key)))
    for key, body in sessions.items():
        if body["spec"].get("setup", "Create") != "Create":
            continue
        absent = [role for role in ROLES if SessionKey(key.namespace, deed_name(key, role)) not in there]
        is_lost = _address(body) or condition(body, "Ready").get("reason") == "DeedMissing" or len(absent) < len(ROLES)
        for role in absent if is_lost else ():
            name = deed_name(key, role)
            yield Part("deed", key.namespace, name, role.value, key.name, "missing: restore it", is_missing=True)


def _deed_state(meta: Body, session: Body | None) -> str:
    if session is not None and (session.get("status") or {}).get("phase") not in OVER:
        return "in use" if _address(session) else "its session was not open yet"
    settled = (meta.get("annotations") or {}).get(Label.SETTLED)
    return f"trade over: {settled}" if settled else "its session is deleted; its escrow may hold money"


def _claimed(prepared: list[Body]) -> Iterator[Part]:
    """Prepared escrows that are, or were, given to a session: they may be all there is of its passwords."""
    for body in prepared:
        uid = (body["metadata"].get("annotations") or {}).get(Label.CLAIMED_BY)
        if uid:
            yield Part("claimed", *_key(body), "", "", f"passwords of the session with uid {uid}")


def _passwords(api: Api, sessions: Mapping[SessionKey, Body], namespace: str | None) -> Iterator[Part]:
    named = [
        (key, role, wallets[role.value])
        for key, body in sessions.items()
        if (wallets := body["spec"].get("wallets"))
        for role in ROLES
    ]
    if not named:
        return
    there = {_key(body) for body in api.list(SECRETS, namespace, metadata_only=True)}
    for key, role, wallet in named:
        name = wallet["secretRef"]["name"]
        is_missing = SessionKey(key.namespace, name) not in there
        state = "missing: the session cannot open without it" if is_missing else f"password of {wallet['file']}"
        yield Part("password", key.namespace, name, role.value, key.name, state, is_missing=is_missing)


def _volumes(api: Api, sessions: Mapping[SessionKey, Body], namespace: str | None) -> Iterator[Part]:
    there = {_key(body): body for body in api.list(CLAIMS, namespace, labels=OURS)}
    for key, body in there.items():
        labels, told = body["metadata"].get("labels") or {}, body.get("status") or {}
        size = (told.get("capacity") or {}).get("storage", "?")
        phase = told.get("phase", "?")
        state = f"{phase}, {size}, pool {labels.get(Label.POOL, '?')}"
        yield Part("volume", *key, labels.get(Label.ROLE, ""), "", state, is_missing=phase == "Lost")
    used = [(key.namespace, body["spec"]["poolRef"]["name"]) for key, body in sessions.items() if _address(body)]
    for pool in {PoolKey(*key) for key in used}:
        for role in ROLES:
            name = volume_claim_name(pool, role)
            if SessionKey(pool.namespace, name) not in there:
                text = "missing: the files of its sessions were on it"
                yield Part("volume", pool.namespace, name, role.value, "", text, is_missing=True)


def _address(session: Body) -> str:
    found: str = (session.get("status") or {}).get("address", "")
    return found


def _key(body: Body) -> SessionKey:
    return SessionKey(body["metadata"]["namespace"], body["metadata"]["name"])
