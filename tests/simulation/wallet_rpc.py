"""A monero-wallet-rpc process: one thread, one open wallet, JSON-RPC in the words of v0.18.5."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from escrow_operator.models.monero import Login
from simulation.http_session import Reply
from simulation.monerod import DaemonAway, Monerod
from simulation.network import Ended, json_reply, pause
from simulation.process import READS
from simulation.wallet_calls import Calls
from simulation.wallet_files import FileTrouble, Volume
from simulation.wallet_reads import ASKS_DAEMON, Fault, Open

SECONDS = {
    "open_wallet": 0.3,
    "create_wallet": 0.5,
    "close_wallet": 0.05,
    "store": 0.05,
    "prepare_multisig": 0.003,
    "make_multisig": 0.3,
    "exchange_multisig_keys": 0.3,
    "export_multisig_info": 0.08,
    "import_multisig_info": 0.15,
    "refresh": 0.01,
}
"""How long calls take, measured on an idle machine; all others are reads."""

READ_SECONDS = 0.002

AUTO_REFRESH_SECONDS = 20.0
"""Between two scans that a process makes by itself, between any two calls: what two reads say need not be of one
moment."""


class WalletProcess:
    """Serves the files of a volume, and scans the chain of a daemon.

    ``daemons`` finds the daemon at an address, for ``set_daemon``; ``daemon_login`` is the one it was started with.
    ``factor`` stretches all durations; ``seconds``, those of calls by name, may be changed. A call has its effect in
    the middle of its time, so that a process that is killed meanwhile may or may not have done it. ``name`` is for
    those who look at it.
    """

    def __init__(
        self,
        volume: Volume,
        daemon: Monerod,
        *,
        name: str = "",
        daemons: Callable[[str], Monerod | None] = lambda _: None,
        daemon_login: Login | None = None,
        factor: float = 1.0,
    ) -> None:
        self.name = name
        self.daemon_login = daemon_login
        self.seconds = dict(SECONDS)
        self.alive = True
        self.changes = 0
        """Grows when a call that does more than read arrives, and when it ends."""
        self._stopping = False
        self._factor = factor
        self._refreshed = float("-inf")
        self._calls = Calls(volume, daemon, self, daemons, daemon_login)
        self._thread = asyncio.Lock()
        self._runs = asyncio.Event()
        self._runs.set()
        # In the order in which they came: a run is to be the same each time.
        self._tasks: dict[asyncio.Task[Any], None] = {}

    # What is done to it

    def hang(self) -> None:
        """It stops in the middle of whatever it does."""
        self._runs.clear()

    def resume(self) -> None:
        """It goes on where it stopped."""
        self._runs.set()

    def kill(self) -> None:
        """SIGKILL: what was not stored is lost, its locks are free."""
        if not self.alive:
            return
        self.alive = False
        for task in self._tasks:
            task.cancel()
        self._calls.end()
        # Who waits for it hears that it ended.
        self._runs.set()

    async def stop(self) -> None:
        """SIGTERM: it finishes the call it is at, stores its wallet if it can, and ends. One that hangs does not.

        Returns when it has ended, by itself or killed meanwhile.
        """
        self._stopping = True
        async with self._thread:
            with contextlib.suppress(Ended):
                await self._work("store")
                self._calls.store_at_exit()
        self.kill()

    # What can be seen of it

    @property
    def open(self) -> Open | None:
        """The wallet that is open in it: file name, keys, cache."""
        return self._calls.open

    @property
    def exports(self) -> int:
        """How many exports of multisig info it has made: a signing round survives no further one."""
        return self._calls.exports

    # What it does

    async def answer(self, path: str, request: dict[str, Any]) -> Reply:
        """See simulation.network.Server."""
        if not self.alive:
            raise Ended
        if path != "/json_rpc":
            return Reply(404, b"")
        task = asyncio.current_task()
        assert task
        self._tasks[task] = None
        method = str(request.get("method"))
        changes = method not in READS
        self.changes += changes
        try:
            async with self._thread:
                body = await self._result(method, request.get("params") or {})
        finally:
            del self._tasks[task]
            self.changes += changes
        return json_reply({"jsonrpc": "2.0", "id": request.get("id", "0")} | body)

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A party's call, over no network: the result. Raises Fault, or Ended."""
        if not self.alive:
            raise Ended
        async with self._thread:
            body = await self._result(method, params)
        if "error" in body:
            raise Fault(body["error"]["code"], body["error"].get("message", ""))
        result: dict[str, Any] = body["result"]
        return result

    async def _result(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        if self._stopping or not self.alive:
            raise Ended
        handler = self._calls.find(method)
        if handler is None:
            return _error(-32601, "Method not found")
        await self._auto_refresh()
        await self._work(method)
        if method in ASKS_DAEMON and not self._calls.daemon_answers():
            await self._wait_for_daemon()
        try:
            result = handler(params)
        except Fault as fault:
            return _error(fault.code, fault.message)
        except FileTrouble as trouble:
            return _error(trouble.code, str(trouble))
        except DaemonAway:
            # An exception that leaves the handler.
            return {"error": {"code": 0, "message": ""}}
        await self._work(method)
        return {"result": result}

    async def _auto_refresh(self) -> None:
        """As it does when it has nothing else to do. Only calls can tell when it was, so it is done before one."""
        now = asyncio.get_running_loop().time()
        if now - self._refreshed < AUTO_REFRESH_SECONDS:
            return
        self._refreshed = now
        if self._calls.open is None:
            return
        if not self._calls.daemon_answers():
            await self._wait_for_daemon()
        self._calls.refresh_if_possible()

    async def _wait_for_daemon(self) -> None:
        await pause(self._calls.away_seconds())
        await self._runs.wait()
        if not self.alive:
            raise Ended

    async def _work(self, method: str) -> None:
        """Half of a call's time."""
        await self._runs.wait()
        await pause(self._factor * self.seconds.get(method, READ_SECONDS) / 2)
        await self._runs.wait()
        if not self.alive:
            raise Ended


def _error(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}
