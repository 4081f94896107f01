"""Writes to EscrowSessions and WalletPools: on what was seen, and seen at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from escrow_operator.adapters.kube import POOLS, SESSIONS, JsonPatch
from escrow_operator.adapters.kube_errors import ConflictError, NotFoundError
from escrow_operator.models.pool import Pool
from escrow_operator.models.session import Session
from escrow_operator.services.context import Context

CONFLICT_SECONDS = 0.2
"""Requeue delay after a write by somebody else: its watch event has usually arrived by then."""

GONE_SECONDS = 5.0
"""Requeue delay for an object that the API server no longer has: the event of its deletion comes sooner, or a list."""


def requeue_delay(error: ConflictError) -> float:
    """Seconds until the object is reconciled again, unless its watch event comes first."""
    return GONE_SECONDS if error.status == HTTPStatus.NOT_FOUND else CONFLICT_SECONDS


def if_unchanged(seen: Session | Pool, op: dict[str, Any]) -> JsonPatch:
    """A patch that fails (ConflictError) when the object changed since it was read."""
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": seen.resource_version}, op]


async def patch_session(ctx: Context, session: Session, ops: JsonPatch) -> Session:
    """Patch a session; returns it as it is then.

    Raises ConflictError when the object changed since it was read, or is gone: reconcile it again.
    """
    namespace, name = session.key
    with _gone_is_a_conflict():
        return _see_session(ctx, await ctx.kube.patch(SESSIONS, namespace, name, ops))


async def annotate_session(ctx: Context, session: Session, name: str, text: str) -> Session:
    """Set an annotation of a session; returns it as it is then. Raises ConflictError as ``patch_session`` does."""
    with _gone_is_a_conflict():
        return _see_session(ctx, await ctx.kube.merge(SESSIONS, *session.key, session.annotating({name: text})))


async def write_session_status(ctx: Context, session: Session, status: dict[str, Any]) -> Session:
    """Replace a session's status; returns the session as it is then. Raises ConflictError as ``patch_session`` does."""
    namespace, name = session.key
    ops = if_unchanged(session, _replace(status))
    with _gone_is_a_conflict():
        return _see_session(ctx, await ctx.kube.patch(SESSIONS, namespace, name, ops, subresource="status"))


async def patch_pool(ctx: Context, pool: Pool, ops: JsonPatch) -> Pool:
    """Patch a pool; returns it as it is then. Raises ConflictError as ``patch_session`` does."""
    with _gone_is_a_conflict():
        return _see_pool(ctx, await ctx.kube.patch(POOLS, pool.key.namespace, pool.key.name, ops))


async def write_pool_status(ctx: Context, pool: Pool, status: dict[str, Any]) -> Pool:
    """Replace a pool's status; returns the pool as it is then. Raises ConflictError as ``patch_session`` does."""
    ops = if_unchanged(pool, _replace(status))
    with _gone_is_a_conflict():
        return _see_pool(ctx, await ctx.kube.patch(POOLS, pool.key.namespace, pool.key.name, ops, subresource="status"))


def _see_session(ctx: Context, body: dict[str, Any]) -> Session:
    ctx.store.see_session(body)
    return Session.parse(body)


def _see_pool(ctx: Context, body: dict[str, Any]) -> Pool:
    ctx.store.see_pool(body)
    return Pool.parse(body)


def _replace(status: dict[str, Any]) -> dict[str, Any]:
    return {"op": "add", "path": "/status", "value": status}


@contextlib.contextmanager
def _gone_is_a_conflict() -> Iterator[None]:
    """The event that tells of the deletion is on the way."""
    try:
        yield
    except NotFoundError as error:
        raise ConflictError(error.status, error.reason, str(error)) from error
