"""Reading what the API server answers, in bounded memory where it may be long."""

from __future__ import annotations

import json
from typing import Any

from kubernetes.aio.client.rest import RESTResponse
from pydantic_core import from_json

from escrow_operator.adapters.kube_errors import UnavailableError


class TooLong(Exception):
    """An answer has more bytes than are to be held at a time."""


async def read(response: RESTResponse, longest: int | None) -> bytes:
    """The body. Raises TooLong, with the connection closed, once it is longer; no more than that is held."""
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
    """JSON of the API server. Raises UnavailableError for what is none.

    pydantic-core reads no deeper than 200, which one object of before the schema bounded its fields may be: nobody's
    list of all objects is to fail for that.
    """
    try:
        return from_json(data)
    except ValueError:
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise UnavailableError(0, "Unreadable", f"an answer of the API server is not JSON: {error}") from None
