"""Copies of JSON objects, the most frequent thing in the simulated world: copy.deepcopy was half of its time."""

from __future__ import annotations

import json
import marshal
from typing import Any, TypeVar, cast

T = TypeVar("T")


def copied(body: T) -> T:
    """An independent copy of what consists of JSON's own types."""
    copy: T = marshal.loads(marshal.dumps(cast("Any", body)))  # noqa: S302 - it was made in this line
    return copy


def plain(body: Any) -> Any:
    """A copy as it would arrive over the wire: enumerations are text, tuples are lists."""
    return json.loads(json.dumps(body))
