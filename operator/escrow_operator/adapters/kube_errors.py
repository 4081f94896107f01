"""Errors of the API server, classified by what the caller can do about them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
from kubernetes.aio.client.exceptions import ApiException

from escrow_operator.errors import EscrowError
from escrow_operator.models.common import printable

LONGEST_QUOTE = 200
"""Bytes quoted of an answer that is not a Status object."""


class KubeError(EscrowError):
    """The API server refused a request. ``status`` is the HTTP code, ``reason`` the StatusReason."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{message} ({status} {reason})")
        self.status = status
        self.reason = reason

    @property
    def is_forbidden(self) -> bool:
        """Whether the operator lacks the right to make this request, or lost it."""
        return self.status == 403

    @property
    def is_namespace_ending(self) -> bool:
        """Whether nothing can be created because the namespace is being deleted."""
        return self.status == 403 and "is being terminated" in str(self)


class NotFoundError(KubeError):
    """404: the object does not exist (any more)."""

    def is_about(self, name: str) -> bool:
        """Whether the object of this name does not exist, rather than its whole resource type."""
        return f'"{name}" not found' in str(self)


class InvalidNameError(KubeError):
    """A text is not a valid name of an object or a namespace: nothing was sent, and a retry cannot help."""

    def __init__(self, what: str, text: str) -> None:
        super().__init__(400, "InvalidName", f"{printable(text, 80)!r} is not a valid name ({what})")


class ConflictError(KubeError):
    """409, or a JSON patch whose ``test`` failed: the object was changed meanwhile. Read it again and decide anew."""


class UnavailableError(KubeError):
    """The API server is unreachable, overloaded or failing: retry later."""


class ExpiredError(KubeError):
    """410: the API server no longer has the resource version to watch from; relist."""


@contextlib.contextmanager
def unavailable() -> Iterator[None]:
    """Turn connection errors on the way to the API server into UnavailableError."""
    try:
        yield
    except ApiException as error:
        raise UnavailableError(error.status or 0, "Unavailable", str(error.reason)) from error
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise UnavailableError(0, "Unavailable", f"the API server does not answer: {error!r}") from error


def error_of(status: int, data: bytes, *, is_patch: bool = False) -> KubeError:
    """The error of an answer with this HTTP status."""
    answer = _status_of(data)
    reason = str(answer.get("reason") or "Unknown")
    message = str(answer.get("message") or data[:LONGEST_QUOTE].decode(errors="replace") or "no message")
    if status == 410:
        return ExpiredError(status, reason, message)
    if status == 404:
        return NotFoundError(status, reason, message)
    # A failed ``test`` of a JSON patch is answered by 422 without causes; a 422 of validation has causes.
    if status == 409 or (status == 422 and is_patch and not _has_causes(answer)):
        return ConflictError(status, reason, message)
    if status == 429 or status >= 500:
        return UnavailableError(status, reason, message)
    return KubeError(status, reason, message)


def _status_of(data: bytes) -> Mapping[str, Any]:
    """The answer as a Status; empty if it is not one, such as that of a proxy on the way to the API server."""
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _has_causes(answer: Mapping[str, Any]) -> bool:
    details = answer.get("details")
    return isinstance(details, dict) and bool(details.get("causes"))
