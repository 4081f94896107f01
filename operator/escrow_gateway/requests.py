"""Reads what callers send, within limits of bytes and time."""

from __future__ import annotations

import asyncio
import re

from starlette.requests import ClientDisconnect, Request

from escrow_gateway.problems import Kind, Problem

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*(\d{1,6})\s*(?:$|[,;])", re.IGNORECASE)


def length_of(request: Request, longest: int) -> int:
    """The bytes of memory that a request's body may take: what it announces, else ``longest``. Raises Problem."""
    announced = request.headers.get("content-length", "")
    if not announced.isdecimal():
        return longest
    if len(announced) > 18 or int(announced) > longest:
        raise _too_large(longest)
    return int(announced)


async def read_body(request: Request, *, longest: int, patience: float) -> bytes:
    """The body. Raises Problem for one that is too long, or does not arrive within ``patience`` seconds."""
    body = bytearray()
    try:
        async with asyncio.timeout(patience):
            async for chunk in request.stream():
                body += chunk
                if len(body) > longest:
                    raise _too_large(longest)
    except TimeoutError:
        raise Problem(
            Kind.SLOW_REQUEST, f"The body did not arrive within {patience:g} s.", headers={"connection": "close"}
        ) from None
    except ClientDisconnect:
        raise Problem(Kind.SLOW_REQUEST, "The caller went away before the body had arrived.") from None
    return bytes(body)


def patience_of(request: Request, longest: float) -> float:
    """Seconds that the caller wants to wait for a session: ``Prefer: wait=SECONDS`` (RFC 7240), ``longest`` without."""
    found = _WAIT.search(request.headers.get("prefer", ""))
    return min(float(found[1]), longest) if found else longest


def _too_large(longest: int) -> Problem:
    return Problem(Kind.TOO_LARGE, f"A request has at most {longest} bytes.", headers={"connection": "close"})
