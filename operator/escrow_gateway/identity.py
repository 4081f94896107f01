"""Who calls, and may he: Kubernetes decides both, by TokenReview and SubjectAccessReview."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from escrow_gateway.cache import Recent
from escrow_gateway.problems import Kind, Problem
from escrow_operator.adapters import tracing
from escrow_operator.adapters.kube import Kube, Resource
from escrow_operator.adapters.kube_errors import KubeError
from escrow_operator.models.common import GROUP, is_name, printable

TOKEN_REVIEWS = Resource("/apis/authentication.k8s.io/v1", "tokenreviews", namespaced=False)
ACCESS_REVIEWS = Resource("/apis/authorization.k8s.io/v1", "subjectaccessreviews", namespaced=False)

CACHE_SECONDS = 10.0
"""For which an answer of Kubernetes is used: so late a revoked token or right is noticed."""

CACHED = 8_192
"""Answers kept; each takes about 1 kB."""

UNKNOWN_AT_ONCE, KNOWN_AT_ONCE = 8, 64
"""Reviews at a time of tokens that were not accepted before, and of those that were: who sends many that are worth
nothing takes so much of the API server from others, and keeps nobody out who is known."""

REVIEW_PATIENCE = 3.0
"""Seconds that a token waits for its review to begin."""

KNOWN_SECONDS = 3_600.0
"""For which a token counts as known after it was accepted."""

CORE = ""
"""The API group of Events."""

LONGEST_TOKEN = 16 * 2**10

SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class User:
    """Who calls, as Kubernetes knows him; ``key`` is a hash of all that decides what he may do."""

    name: str
    spec: Mapping[str, Any]
    key: bytes


@dataclass(frozen=True, slots=True)
class Right:
    """What somebody wants to do: attributes of a SubjectAccessReview. An empty namespace means all of them."""

    namespace: str
    name: str
    verb: str
    subresource: str = ""
    resource: str = "escrowsessions"
    group: str = GROUP

    def __str__(self) -> str:
        what = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        where = f"namespace {printable(self.namespace, 80)}" if self.namespace else "all namespaces"
        return f"{self.verb} {what} in {where}"


class Identities:
    """Asks Kubernetes, and keeps each answer for a few seconds, refusals included."""

    def __init__(self, kube: Kube, audience: str) -> None:
        self._kube = kube
        self._audience = audience
        self._unknown = asyncio.Semaphore(UNKNOWN_AT_ONCE)
        self._known = asyncio.Semaphore(KNOWN_AT_ONCE)
        self._accepted: Recent[bytes, None] = Recent(CACHED, KNOWN_SECONDS)
        self._users: Recent[bytes, User | None] = Recent(CACHED, CACHE_SECONDS)
        self._strangers: Recent[bytes, User | None] = Recent(CACHED, CACHE_SECONDS)
        self._rights: Recent[tuple[bytes, Right], bool] = Recent(CACHED, CACHE_SECONDS)

    async def user(self, authorization: str | None) -> User:
        """The caller with this Authorization header. Raises Problem."""
        if not authorization or not authorization.lower().startswith(SCHEME):
            raise self._refused("Send the header Authorization: Bearer TOKEN, with a token of a service account.")
        token = authorization[len(SCHEME) :].strip()
        if not token or len(token) > LONGEST_TOKEN or not token.isascii() or not token.isprintable():
            raise self._refused("The Authorization header holds no token.")
        # Tokens are kept by nobody here: not in memory either, but for the time of the request.
        digest = hashlib.sha256(token.encode()).digest()
        if self._accepted.fresh(digest):
            found = await self._users.get(digest, lambda: self._review(token, self._known))
        else:
            # Apart from the others: who sends many tokens drives nobody's out.
            found = await self._strangers.get(digest, lambda: self._review(token, self._unknown))
            if found is not None:
                self._users.put(digest, found)
        if found is None:
            raise self._refused(
                "Kubernetes does not accept the token: it may have expired, or be for another audience. Make one with"
                f" kubectl create token SERVICEACCOUNT --audience {self._audience}, or mount a projected token."
            )
        self._accepted.put(digest, None)
        return found

    async def must_be_allowed(self, user: User, right: Right) -> None:
        """Raises Problem unless the user has the right."""
        if not await self._rights.get((user.key, right), lambda: self._access(user, right)):
            raise Problem(
                Kind.FORBIDDEN,
                f"{printable(user.name, 253)} may not {right}."
                f" Roles decide who may: bind one that allows the verb {right.verb}.",
            )
        # Before, the names in a path are a stranger's text.
        if is_name(right.namespace) and is_name(right.name):
            role = {tracing.ROLE: right.subresource} if right.subresource else {}
            tracing.note({tracing.NAMESPACE: right.namespace, tracing.SESSION: right.name, **role})

    async def _review(self, token: str, places: asyncio.Semaphore) -> User | None:
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self._audience]},
        }
        try:
            async with asyncio.timeout(REVIEW_PATIENCE):
                await places.acquire()
        except TimeoutError:
            raise Problem(
                Kind.BUSY, "Too many tokens are being looked at. Try again in a moment.", retry_after=2
            ) from None
        try:
            answer = await self._ask(TOKEN_REVIEWS, review)
        finally:
            places.release()
        status = answer.get("status") or {}
        user = status.get("user") or {}
        # An API server without knowledge of audiences names none, and accepted the token for itself.
        if not status.get("authenticated") or self._audience not in (status.get("audiences") or ()):
            return None
        if not user.get("username"):
            return None
        spec = {
            "user": user["username"],
            "uid": user.get("uid", ""),
            "groups": user.get("groups") or [],
            "extra": user.get("extra") or {},
        }
        key = hashlib.sha256(repr([spec["user"], spec["uid"], spec["groups"], sorted(spec["extra"].items())]).encode())
        return User(user["username"], spec, key.digest())

    async def _access(self, user: User, right: Right) -> bool:
        answer = await self._ask(
            ACCESS_REVIEWS,
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    **user.spec,
                    "resourceAttributes": {
                        "group": right.group,
                        "resource": right.resource,
                        "subresource": right.subresource,
                        "verb": right.verb,
                        "namespace": right.namespace,
                        "name": right.name,
                    },
                },
            },
        )
        status = answer.get("status") or {}
        return bool(status.get("allowed")) and not status.get("denied")

    async def _ask(self, resource: Resource, review: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return await self._kube.create(resource, None, review)
        except KubeError:
            raise Problem(
                Kind.KUBERNETES_AWAY,
                "Kubernetes could not be asked who you are and what you may do. Try again in a moment.",
                retry_after=2,
            ) from None

    def _refused(self, detail: str) -> Problem:
        return Problem(Kind.UNAUTHENTICATED, detail, headers={"www-authenticate": 'Bearer realm="xmr-escrow"'})
