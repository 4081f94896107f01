"""HTTP/1.1 connections that nobody can keep, or fill, without sending requests and reading answers.

uvicorn bounds neither the time for a request's head, nor its length, nor the number of requests sent before the first
one's answer, nor the time for which a client does not read.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 15.0
"""From the connection, or from a request's first byte, to the end of its head."""

LONGEST_HEAD = 64 * 2**10
"""Bytes of a head. Tokens of service accounts have 1 to 2 KiB."""

READ_SECONDS = 15.0
"""For which a client may leave the kernel's and the transport's buffers full."""

MOST_PIPELINED = 4
"""Requests that wait for the answer to an earlier one of their connection."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits; a connection beyond one is cut."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head = 0
        self._in_head = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a first request."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._forget_head()
        self._forget_reader()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._expect_head()
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
        if self._head > LONGEST_HEAD or len(self.pipeline) > MOST_PIPELINED:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head, self._in_head = 0, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head has ended; for its body the application waits."""
        self._in_head = False
        self._forget_head()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is written to."""
        super().pause_writing()
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read most of it."""
        self._forget_reader()
        super().resume_writing()

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _forget_reader(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None
