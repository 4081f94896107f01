"""Connections that send no request, no end of one, too much, or read no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from escrow_gateway import protocol
from escrow_gateway.protocol import LONGEST_HEAD, MOST_PIPELINED
from unit.gateway.test_server import Running, serving_app

REQUEST = b"GET /openapi.json HTTP/1.1\r\nHost: gateway\r\n\r\n"

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def _endless(_: Any, __: Any, send: Any) -> None:
    """An application that sends more than any buffer holds."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(2_000):
        await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _short(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok", "more_body": False})


@pytest.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(protocol, "READ_SECONDS", 0.2)
    found = await serving_app(_short)
    yield found
    await found.stop()


async def _is_cut(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection ends."""
    async with asyncio.timeout(5):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def _connect(running: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", running.port)


async def test_a_connection_without_a_request_is_cut(running: Running) -> None:
    reader, _ = await _connect(running)
    assert await _is_cut(reader) == b""


async def test_a_head_without_an_end_is_cut_however_busily_it_is_sent(running: Running) -> None:
    reader, writer = await _connect(running)
    writer.write(b"GET / HTTP/1.1\r\n")

    async def drip() -> None:
        while not writer.is_closing():
            writer.write(b"X-A: b\r\n")
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    assert await _is_cut(reader) == b""
    dripping.cancel()


async def test_a_second_head_without_an_end_is_cut_too(running: Running) -> None:
    reader, writer = await _connect(running)
    writer.write(REQUEST)
    assert await reader.readuntil(b"ok")
    writer.write(b"GET / HTTP/1.1\r\n")
    assert await _is_cut(reader) == b""


async def test_a_connection_that_rests_between_requests_is_kept(running: Running) -> None:
    reader, writer = await _connect(running)
    for _ in range(3):
        writer.write(REQUEST)
        assert await reader.readuntil(b"ok")
        await asyncio.sleep(0.3)
    writer.close()


async def test_a_long_head_is_cut(running: Running) -> None:
    reader, writer = await _connect(running)
    writer.write(b"GET / HTTP/1.1\r\nX-A: " + b"b" * (2 * LONGEST_HEAD))
    assert await _is_cut(reader) == b""


async def test_many_requests_before_an_answer_are_cut(running: Running) -> None:
    reader, writer = await _connect(running)
    writer.write(REQUEST * 50 * MOST_PIPELINED)
    assert (await _is_cut(reader)).count(b"ok") <= 2 * MOST_PIPELINED


async def test_who_does_not_read_is_cut_and_holds_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "READ_SECONDS", 0.2)
    found = await serving_app(_endless)
    _, writer = await _connect(found)
    writer.write(REQUEST)
    async with asyncio.timeout(10):
        while not found.server.server_state.tasks:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)
        while found.server.server_state.tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    writer.close()
    await found.stop()
