"""Reads a caller's JSON-RPC request, and writes it anew for the wallet.

The right that a call needs depends on its method and parameters. A wallet-rpc reads JSON by rules of its own: of a name
that comes twice, or is written with escapes, it may see another one than the gateway. So the wallet gets what the
gateway understood, and nothing that could be understood in two ways is accepted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from escrow_gateway.methods import NEVER, Access, access_to
from escrow_gateway.problems import Kind, Problem
from escrow_operator.adapters.json_rpc import count_values
from escrow_operator.models.common import printable

_MEMBERS = frozenset({"jsonrpc", "id", "method", "params"})

LONGEST_METHOD = 64
LONGEST_ID = 128
MOST_VALUES = 20_000
"""A list of ids of 10,000 transactions; as Python objects so many take megabytes."""

DEEPEST = 32
"""Nesting of a request; wallet-rpc's own requests have four levels."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is forwarded: ``body`` is the request as the wallet gets it."""

    method: str
    access: Access
    body: bytes


def read_call(data: bytes) -> Call:
    """Understand a request. Raises Problem with what is wrong with it, and never quotes a parameter."""
    request = _parsed(data)
    if isinstance(request, list):
        raise _malformed("Batches are not served: send one JSON-RPC request at a time.")
    if not isinstance(request, dict):
        raise _malformed("The body has to be a JSON-RPC 2.0 request: an object with method and params.")
    if request.keys() - _MEMBERS:
        raise _malformed("A JSON-RPC 2.0 request has jsonrpc, id, method and params, and nothing else.")
    if request.get("jsonrpc", "2.0") != "2.0":
        raise _malformed('jsonrpc has to be "2.0".')
    method = request.get("method")
    if not isinstance(method, str) or not method or len(method) > LONGEST_METHOD:
        raise _malformed("method has to be the name of a method of monero-wallet-rpc.")
    params = request.get("params")
    if params is not None and not isinstance(params, dict):
        raise _malformed("params has to be an object: wallet-rpc has named parameters only.")
    call_id = request.get("id", "0")
    if not _is_id(call_id):
        raise _malformed(f"id has to be an integer, null, or a string of at most {LONGEST_ID} characters.")
    access = _access(method, params or {})
    written = {"jsonrpc": "2.0", "id": call_id, "method": method, **({} if params is None else {"params": params})}
    try:
        body = json.dumps(written, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise _malformed("A text in it is not Unicode: it has half of a surrogate pair.") from None
    return Call(method, access, body)


def _access(method: str, params: Mapping[str, object]) -> Access:
    access = access_to(method, params)
    if access is None:
        raise Problem(
            Kind.UNKNOWN_METHOD,
            f"{printable(method, LONGEST_METHOD)} is no method that the gateway knows; the list is in /openapi.json.",
        )
    if access is Access.NEVER:
        raise Problem(Kind.NEVER_FORWARDED, f"{method} is never forwarded: {NEVER[method]}.")
    return access


def _parsed(data: bytes) -> Any:
    if count_values(data) > MOST_VALUES:
        raise _malformed("It has more parts than any request of wallet-rpc.")
    if _is_deep(data):
        raise _malformed("It is nested deeper than any request of wallet-rpc.")
    try:
        text = data.decode()
        return json.loads(
            text, object_pairs_hook=_object, parse_float=_no_fraction, parse_constant=_no_fraction, parse_int=_integer
        )
    except UnicodeDecodeError:
        raise _malformed("The body is not UTF-8.") from None
    except (ValueError, RecursionError):
        raise _malformed("The body is not JSON.") from None


_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""A text, also one without an end: nothing is looked at twice."""

_BRACKET = re.compile(rb"[\[\]{}]")


def _is_deep(data: bytes) -> bool:
    """Whether brackets that are in no text are nested deeper than ``DEEPEST``."""
    depth = 0
    for bracket in _BRACKET.finditer(_TEXT.sub(b"", data)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > DEEPEST:
            return True
    return False


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _malformed("A name comes twice in one object.")
    return found


_LONGEST_INTEGER = 20
"""Digits of the largest amount, 2**64 - 1."""


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > _LONGEST_INTEGER:
        raise _malformed("An integer has more digits than any that wallet-rpc takes.")
    return int(text)


def _no_fraction(_: str) -> NoReturn:
    raise _malformed("Numbers have to be integers: wallet-rpc's amounts are atomic units (1 XMR = 10^12).")


def _is_id(found: object) -> bool:
    if isinstance(found, str):
        return len(found) <= LONGEST_ID
    return found is None or (isinstance(found, int) and not isinstance(found, bool))


def _malformed(detail: str) -> Problem:
    return Problem(Kind.MALFORMED, detail)
