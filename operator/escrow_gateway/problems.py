"""What a caller is told when his call is not answered: RFC 9457 problem details that say what to do."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus

MEDIA_TYPE = "application/problem+json"

TYPE_PREFIX = "urn:xmr-escrow:problem:"
"""A problem's type is a name; what it means is in the OpenAPI document and in docs/gateway.md."""


class Kind(Enum):
    """All kinds of problems: name, HTTP status, title."""

    UNAUTHENTICATED = ("unauthenticated", HTTPStatus.UNAUTHORIZED, "The token was not accepted")
    FORBIDDEN = ("forbidden", HTTPStatus.FORBIDDEN, "Kubernetes does not allow this")
    NEVER_FORWARDED = ("never-forwarded", HTTPStatus.FORBIDDEN, "The method is not for callers of the gateway")
    KEYS_OFF = ("keys-off", HTTPStatus.FORBIDDEN, "The pool does not allow methods that show keys")
    UNKNOWN_METHOD = ("unknown-method", HTTPStatus.BAD_REQUEST, "The gateway does not know the method")
    MALFORMED = ("malformed", HTTPStatus.BAD_REQUEST, "The request cannot be used")
    TOO_LARGE = ("too-large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too large")
    NOT_FOUND = ("not-found", HTTPStatus.NOT_FOUND, "There is no such thing")
    WRONG_HTTP_METHOD = ("wrong-http-method", HTTPStatus.METHOD_NOT_ALLOWED, "The resource has other HTTP methods")
    ENDED = ("ended", HTTPStatus.CONFLICT, "The trade is over")
    SUSPENDED = ("suspended", HTTPStatus.CONFLICT, "The session is suspended by its spec")
    FAILED = ("failed", HTTPStatus.CONFLICT, "The session has failed")
    DIFFERENT = ("different", HTTPStatus.CONFLICT, "There is a session of this name with another spec")
    ROUND_UNDER_WAY = ("signing-round", HTTPStatus.CONFLICT, "A signing round is under way")
    REJECTED = ("rejected", HTTPStatus.UNPROCESSABLE_ENTITY, "The API server rejects the session")
    BUSY = ("busy", HTTPStatus.TOO_MANY_REQUESTS, "Too many calls at once")
    SLOW_REQUEST = ("slow-request", HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time")
    NOT_READY = ("not-ready", HTTPStatus.SERVICE_UNAVAILABLE, "The wallet is not open yet")
    KUBERNETES_AWAY = ("kubernetes-away", HTTPStatus.SERVICE_UNAVAILABLE, "The API server did not answer")
    WALLET_AWAY = ("wallet-away", HTTPStatus.BAD_GATEWAY, "The wallet did not answer as it should")
    WALLET_SLOW = ("wallet-slow", HTTPStatus.GATEWAY_TIMEOUT, "The wallet did not answer in time")
    INTERNAL = ("internal", HTTPStatus.INTERNAL_SERVER_ERROR, "The gateway failed")

    def __init__(self, slug: str, status: HTTPStatus, title: str) -> None:
        self.slug, self.status, self.title = slug, status, title


@dataclass(eq=False)
class Problem(Exception):
    """Raised wherever a request cannot be served. ``detail`` tells what to do, and holds no secret.

    ``retry_after`` is in seconds, for the header of that name; ``reason`` a condition's reason where one is the cause.
    """

    kind: Kind
    detail: str
    retry_after: int | None = None
    reason: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind.slug}: {self.detail}"

    def body(self) -> bytes:
        """The problem as JSON."""
        told: dict[str, object] = {
            "type": TYPE_PREFIX + self.kind.slug,
            "title": self.kind.title,
            "status": self.kind.status.value,
            "detail": self.detail,
        }
        if self.reason is not None:
            told["reason"] = self.reason
        return json.dumps(told).encode()

    def all_headers(self) -> dict[str, str]:
        """The headers of the response."""
        found = {"content-type": MEDIA_TYPE, "cache-control": "no-store", **self.headers}
        if self.retry_after is not None:
            found["retry-after"] = str(self.retry_after)
        return found
