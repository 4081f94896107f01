"""JSON Patch (RFC 6902) as far as the operator uses it, with the API server's errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from escrow_operator.adapters.kube_errors import ConflictError, KubeError

from .bodies import copied, plain


def applied(body: Mapping[str, Any], ops: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The patched object. Raises ConflictError for a test that fails, KubeError for a path that leads nowhere."""
    fresh = copied(dict(body))
    for op in ops:
        try:
            _apply(fresh, op)
        except (KeyError, IndexError, TypeError, ValueError):
            if op["op"] == "test":
                raise _failed(op) from None
            raise KubeError(422, "Invalid", f"{op['op']} {op['path']}: there is no such path") from None
    return fresh


def _failed(op: Mapping[str, Any]) -> ConflictError:
    return ConflictError(422, "Invalid", f"the server rejected our request: testing path {op['path']} failed")


def _apply(body: dict[str, Any], op: Mapping[str, Any]) -> None:
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in op["path"].split("/")[1:]]
    place: Any = body
    for part in way:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if isinstance(place, list):
        _apply_to_list(place, last, op)
        return
    match op["op"]:
        case "add":
            place[last] = plain(op["value"])
        case "replace":
            _ = place[last]
            place[last] = plain(op["value"])
        case "remove":
            del place[last]
        case "test" if place[last] != op["value"]:
            raise _failed(op)


def _apply_to_list(place: list[Any], last: str, op: Mapping[str, Any]) -> None:
    number = len(place) if last == "-" else int(last)
    match op["op"]:
        case "add":
            if number > len(place):
                raise IndexError(number)
            place.insert(number, plain(op["value"]))
        case "replace":
            place[number] = plain(op["value"])
        case "remove":
            del place[number]
        case "test" if place[number] != op["value"]:
            raise _failed(op)
