"""An object that is gone while it is reconciled is no error: the event that says so is on the way."""

from __future__ import annotations

from typing import Any

import pytest

from escrow_operator.adapters.kube import JsonPatch, Resource
from escrow_operator.adapters.kube_errors import ConflictError, NotFoundError, UnavailableError
from escrow_operator.services.writing import (
    CONFLICT_SECONDS,
    GONE_SECONDS,
    patch_pool,
    patch_session,
    requeue_delay,
    write_session_status,
)
from unit.factories import pool, pool_body, session, session_body
from unit.world.context import make_context

OPS: JsonPatch = [{"op": "remove", "path": "/metadata/finalizers/0"}]


class FakeKube:
    """An API server that answers each patch with one thing."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def patch(self, _: Resource, __: str, ___: str, ____: JsonPatch, **_____: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_what_was_written_is_seen_at_once() -> None:
    body = session_body(status={"phase": "Active"})
    ctx = make_context(FakeKube(body))
    written = await write_session_status(ctx, session(), {"phase": "Active"})
    assert ctx.store.sessions[written.key] == written
    assert written.status == {"phase": "Active"}
    ctx = make_context(FakeKube(pool_body()))
    assert (await patch_pool(ctx, pool(), OPS)).key in ctx.store.pools


async def test_an_object_that_is_gone_is_a_conflict_that_can_wait_for_its_event() -> None:
    ctx = make_context(FakeKube(NotFoundError(404, "NotFound", 'escrowsessions.xmr-escrow.dev "demo" not found')))
    with pytest.raises(ConflictError) as gone:
        await patch_session(ctx, session(), OPS)
    assert requeue_delay(gone.value) == GONE_SECONDS
    with pytest.raises(ConflictError):
        await patch_pool(ctx, pool(), OPS)


async def test_somebody_elses_write_is_looked_at_soon() -> None:
    ctx = make_context(FakeKube(ConflictError(409, "Conflict", "changed")))
    with pytest.raises(ConflictError) as changed:
        await patch_session(ctx, session(), OPS)
    assert requeue_delay(changed.value) == CONFLICT_SECONDS


async def test_an_api_server_that_is_away_is_no_conflict() -> None:
    ctx = make_context(FakeKube(UnavailableError(503, "ServiceUnavailable", "away")))
    with pytest.raises(UnavailableError):
        await patch_session(ctx, session(), OPS)
