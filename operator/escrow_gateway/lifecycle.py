"""Get or create: an EscrowSession by PUT of its spec, and what its parties may know of it by GET."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from escrow_gateway.problems import Kind, Problem
from escrow_gateway.sessions import Sessions, away, not_found
from escrow_operator.adapters.json_rpc import count_values
from escrow_operator.adapters.kube import SESSIONS, Kube
from escrow_operator.adapters.kube_errors import ConflictError, KubeError, NotFoundError, UnavailableError
from escrow_operator.models.common import GROUP, ROLES, VERSION, find_condition, is_name, printable
from escrow_operator.models.session import SessionKey

CREATED_BY = f"{GROUP}/created-by"
"""Annotation: on whose behalf the gateway created a session, for audits; the API server's own log names the gateway."""

LONGEST_REASON = 1_000

MOST_VALUES = 1_000
"""Values in a spec; one that opens existing wallets has thirty."""

_SHOWN = (
    "phase",
    "address",
    "balance",
    "funding",
    "settlement",
    "expiresAt",
    "lastActivityTime",
    "openedAt",
    "moneyMovedAt",
    "conditions",
)


class Made(NamedTuple):
    """A session, as it is told to callers, and whether it is new."""

    body: dict[str, Any]
    is_new: bool


def read_spec(data: bytes, key: SessionKey) -> dict[str, Any]:
    """The spec of a manifest, or of an object with nothing but a spec. Raises Problem."""
    if count_values(data) > MOST_VALUES:
        raise _malformed("It has more parts than any EscrowSession.")
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError):
        raise _malformed("The body is not JSON.") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("spec"), dict):
        raise _malformed('The body has to be an object with a spec: {"spec": {"poolRef": {"name": …}, "amount": …}}.')
    meta = manifest.get("metadata", {})
    if not isinstance(meta, dict) or manifest.keys() - {"apiVersion", "kind", "metadata", "spec"}:
        raise _malformed("The body has apiVersion, kind, metadata and spec, and nothing else.")
    named = {"name": key.name, "namespace": key.namespace}
    if meta.keys() - named.keys() or any(value != named[what] for what, value in meta.items()):
        raise _malformed("metadata has name and namespace as in the URL, and nothing else.")
    spec: dict[str, Any] = manifest["spec"]
    return spec


class Lifecycle:
    """Creates and shows sessions for those who may."""

    def __init__(self, kube: Kube, sessions: Sessions) -> None:
        self._kube, self._sessions = kube, sessions

    async def show(self, key: SessionKey) -> dict[str, Any]:
        """What a session is. Raises Problem."""
        return shown(await self._read(key))

    async def get_or_create(self, key: SessionKey, spec: Mapping[str, Any], user: str) -> Made:
        """The session with this spec, made if there is none. Raises Problem, also where one has another spec."""
        if not is_name(key.namespace) or not is_name(key.name):
            raise not_found(key)
        try:
            return Made(shown(await self._create(key, spec, user)), is_new=True)
        except ConflictError:
            pass
        body = await self._read(key)
        different = sorted(name for name in spec if not is_part(spec[name], body["spec"].get(name)))
        if different:
            raise Problem(
                Kind.DIFFERENT,
                f"EscrowSession {key} differs in {printable(', '.join(different), LONGEST_REASON)}. Use another name,"
                " or the spec that it has.",
            )
        return Made(shown(body), is_new=False)

    async def _read(self, key: SessionKey) -> dict[str, Any]:
        try:
            return await self._kube.get(SESSIONS, key.namespace, key.name)
        except NotFoundError:
            raise not_found(key) from None
        except UnavailableError:
            raise away() from None
        except KubeError:
            # A name that is none, or a namespace that the gateway does not serve.
            raise not_found(key) from None

    async def _create(self, key: SessionKey, spec: Mapping[str, Any], user: str) -> dict[str, Any]:
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "EscrowSession",
            "metadata": {
                "name": key.name,
                "namespace": key.namespace,
                "annotations": {CREATED_BY: printable(user, 253)},
            },
            "spec": spec,
        }
        try:
            return await self._kube.create(SESSIONS, key.namespace, body)
        except ConflictError:
            raise
        except UnavailableError:
            raise away() from None
        except KubeError as error:
            raise Problem(Kind.REJECTED, printable(str(error), LONGEST_REASON), reason=error.reason) from None


def shown(body: Mapping[str, Any]) -> dict[str, Any]:
    """What callers who may get a session are told of it; the rest is in kubectl."""
    meta, status = body["metadata"], body.get("status") or {}
    key = SessionKey(meta["namespace"], meta["name"])
    ready = find_condition(status, "Ready") or {}
    return {
        "namespace": key.namespace,
        "name": key.name,
        "uid": meta.get("uid"),
        "createdAt": meta.get("creationTimestamp"),
        "amount": body["spec"].get("amount"),
        "confirmations": body["spec"].get("confirmations"),
        "pool": body["spec"]["poolRef"]["name"],
        "suspend": body["spec"].get("suspend", False),
        "ready": ready.get("status") == "True",
        "reason": ready.get("reason"),
        "message": ready.get("message"),
        **{name: status[name] for name in _SHOWN if name in status},
        "wallets": {role.value: wallet_path(key, role.value) for role in ROLES},
    }


def wallet_path(key: SessionKey, role: str) -> str:
    """The path of a wallet's JSON-RPC at this gateway."""
    return f"/v1/namespaces/{key.namespace}/escrowsessions/{key.name}/wallets/{role}/json_rpc"


def is_part(wanted: Any, found: Any) -> bool:
    """Whether what there is has all that is wanted; the API server adds defaults."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(name in found and is_part(value, found[name]) for name, value in wanted.items())
    return bool(wanted == found) and isinstance(wanted, bool) == isinstance(found, bool)


def _malformed(detail: str) -> Problem:
    return Problem(Kind.MALFORMED, detail)
