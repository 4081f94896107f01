"""Reads answers of the API server, in bounded memory where they may be long."""

from __future__ import annotations

import json
from typing import Any

from kubernetes.aio.client.rest import RESTResponse
from pydantic_core import from_json

from escrow_operator.adapters.kube_errors import UnavailableError


class TooLong(Exception):
    """An answer has more bytes than the limit."""


async def read(response: RESTResponse, longest: int | None) -> bytes:
    """The body. Once it exceeds ``longest`` bytes, stops reading, closes the connection and raises TooLong."""
    if longest is None:
        data: bytes = await response.read()  # type: ignore[no-untyped-call]
        return data
    body = bytearray()
    async for chunk in response.response.content.iter_any():
        body += chunk
        if len(body) > longest:
            response.response.close()
            raise TooLong
    return bytes(body)


def parsed(data: bytes) -> Any:
    """Parse JSON of the API server. Raises UnavailableError if it is not JSON.

    pydantic-core parses at most 200 levels. An object from before the schema bounded its fields may be nested deeper,
    and must not make the list of all objects fail.
    """
    try:
        return from_json(data)
    except ValueError:
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise UnavailableError(0, "Unreadable", f"an answer of the API server is not JSON: {error}") from None
