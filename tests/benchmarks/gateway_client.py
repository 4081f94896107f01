"""Calls wallets directly and through the gateway, in turns; then the gateway as fast as it goes.

It runs inside the operator's pod, which is a place in the cluster's network with aiohttp at hand, so that no
port-forward is measured. Its text is all that gets there: it imports nothing of the tests.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

Call = Callable[[], Awaitable[None]]

CPU = re.compile(r"^process_cpu_seconds_total (\S+)$", re.MULTILINE)
MEMORY = re.compile(r"^process_resident_memory_bytes (\S+)$", re.MULTILINE)


async def play(job: dict[str, Any]) -> dict[str, Any]:
    """``direct`` and ``gateway``: seconds of each call, in turns. ``load``: requests, seconds, CPU seconds and bytes of
    the gateway's pods while all wallets are called at once by ``workers`` each."""
    body = json.dumps({"jsonrpc": "2.0", "id": "0", "method": job["method"]})
    context = ssl.create_default_context(cadata=job["authority"])
    headers = {"Authorization": f"Bearer {job['token']}", "Content-Type": "application/json"}
    plain = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    secure = aiohttp.TCPConnector(limit=0, keepalive_timeout=60, ssl=context)
    async with (
        aiohttp.ClientSession(connector=plain) as direct,
        aiohttp.ClientSession(connector=secure, headers=headers) as through,
    ):

        def call_direct(wallet: dict[str, str]) -> Call:
            login = (aiohttp.DigestAuthMiddleware(wallet["user"], wallet["password"]),)
            url = wallet["url"] + "/json_rpc"
            own = ssl.create_default_context(cadata=wallet["authority"]) if wallet["authority"] else True

            async def call() -> None:
                async with direct.post(url, data=body, middlewares=login, ssl=own) as response:
                    _check(response.status, await response.read())

            return call

        def call_through(url: str) -> Call:
            async def call() -> None:
                async with through.post(url, data=body) as response:
                    _check(response.status, await response.read())

            return call

        sides = [(call_direct(a), call_through(b)) for a, b in zip(job["direct"], job["gateway"], strict=True)]
        found: dict[str, Any] = {"direct": [], "gateway": []}
        first, second = sides[0]
        for _ in range(job["warm_up"]):
            await first()
            await second()
        for _ in range(job["rounds"]):
            found["direct"].append(await _timed(first))
            found["gateway"].append(await _timed(second))
        before = [await _usage(direct, url) for url in job["pods"]]
        begun = time.monotonic()
        workers = [_worker(side[1], begun + job["seconds"]) for side in sides for _ in range(job["workers"])]
        requests = sum(await asyncio.gather(*workers))
        lasted = time.monotonic() - begun
        after = [await _usage(direct, url) for url in job["pods"]]
        found["load"] = {
            "requests": requests,
            "seconds": lasted,
            "cpu_seconds": sum(a[0] - b[0] for a, b in zip(after, before, strict=True)),
            "memory": max(a[1] for a in after),
        }
    return found


async def _worker(call: Call, until: float) -> int:
    number = 0
    while time.monotonic() < until:
        await call()
        number += 1
    return number


async def _timed(call: Call) -> float:
    begun = time.perf_counter()
    await call()
    return time.perf_counter() - begun


async def _usage(session: aiohttp.ClientSession, url: str) -> tuple[float, float]:
    async with session.get(url) as response:
        text = await response.text()
    cpu, memory = CPU.search(text), MEMORY.search(text)
    if cpu is None or memory is None:
        raise RuntimeError("the gateway's metrics do not tell its CPU and memory")
    return float(cpu[1]), float(memory[1])


def _check(status: int, data: bytes) -> None:
    if status != 200 or b'"result"' not in data:
        raise RuntimeError(f"{status}: {data[:300]!r}")


if __name__ == "__main__":
    print(json.dumps(asyncio.run(play(json.load(sys.stdin)))))
