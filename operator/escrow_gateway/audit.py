"""The access and audit log: one JSON object a request on standard output, without parameters and tokens."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

from escrow_operator.models.common import printable

LONGEST = 200


@dataclass(slots=True)
class Record:
    """What is logged of one request; filled in while it is served."""

    http: str
    path: str
    begun: float = field(default_factory=time.monotonic)
    user: str | None = None
    namespace: str | None = None
    session: str | None = None
    role: str | None = None
    method: str | None = None
    access: str | None = None
    problem: str | None = None
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.begun


class AuditLog:
    """Writes records. A reader that does not keep up holds the gateway up: no call goes unnoticed."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def write(self, record: Record) -> None:
        """One line."""
        told: dict[str, object] = {
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "audit": "request",
            "http": record.http,
            # Where it names a session its parts say so; other paths are the caller's own text.
            "path": printable(record.path, LONGEST),
            "status": record.status,
            "seconds": round(record.seconds, 4),
            "bytesIn": record.bytes_in,
            "bytesOut": record.bytes_out,
        }
        for name in ("user", "namespace", "session", "role", "method", "access", "problem"):
            value = getattr(record, name)
            if value is not None:
                told[name] = printable(value, LONGEST)
        self._stream.write(json.dumps(told) + "\n")
        self._stream.flush()
