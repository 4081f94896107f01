"""One EscrowSession under test."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from escrow_operator.adapters.kube import EVENTS, PODS, SESSIONS
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.models.common import API_VERSION, ROLES, Label, Role, format_time
from testbed.wallets import by_connection

from .api import Body
from .waiting import PATIENCE, wait_for

if TYPE_CHECKING:
    from .place import Place

AMOUNT = "0.35"


class Escrow:
    """A session by name in a place; it need not exist."""

    def __init__(self, place: Place, name: str) -> None:
        self.place = place
        self.name = name
        self._api = place.world.api

    async def apply(self, **spec: Any) -> Body:
        """Create or change it; ``spec`` is over an amount and the place's pool. Raises ApiError when refused."""
        body = {
            "apiVersion": API_VERSION,
            "kind": "EscrowSession",
            "metadata": {"name": self.name},
            "spec": {"poolRef": {"name": self.place.pool_name}, "amount": AMOUNT, **spec},
        }
        return await self._api.apply(SESSIONS, self.place.namespace, body)

    async def change(self, **spec: Any) -> Body:
        """Change some fields of the spec; None removes one. Raises ApiError when refused."""
        return await self._api.merge(SESSIONS, self.place.namespace, self.name, {"spec": spec})

    async def get(self) -> Body:
        """The object. Raises ApiError when there is none."""
        return await self._api.get(SESSIONS, self.place.namespace, self.name)

    async def status(self) -> Body:
        """Its status, empty before the first."""
        status: Body = (await self.get()).get("status") or {}
        return status

    async def until(self, test: Callable[[Body], Any], what: str, *, within: float = PATIENCE) -> Body:
        """Wait until its status passes a test; the status then."""

        async def look() -> Body | None:
            status = await self.status()
            return status if status and test(status) else None

        return await wait_for(look, what=f"session {self.name}: {what}", within=within, explain=self.explain)

    async def until_phase(self, phase: str, *, within: float = PATIENCE) -> Body:
        """Wait for a phase."""
        return await self.until(lambda s: s.get("phase") == phase, f"phase {phase}", within=within)

    async def until_condition(
        self, kind: str, status: str, reason: str | None = None, *, within: float = PATIENCE
    ) -> Body:
        """Wait for a condition; the condition then."""

        def test(now: Body) -> bool:
            found = condition(now, kind)
            return found.get("status") == status and reason in (None, found.get("reason"))

        done = await self.until(test, f"{kind} {status} {reason or ''}", within=within)
        return condition(done, kind)

    async def until_active(self, *, within: float = PATIENCE) -> Body:
        """Wait until it is Active and Ready; the status then."""
        return await self.until(is_active, "Active and Ready", within=within)

    async def delete(self, *, wait: bool = True) -> None:
        """Delete it, and wait until it and its pods are gone."""
        await self._api.delete(SESSIONS, self.place.namespace, self.name)
        if wait:
            await self.until_gone()

    async def touch(self) -> None:
        """What the docs tell clients to do: annotate the session with the time."""
        patch = {"metadata": {"annotations": {Label.TOUCH: format_time(datetime.now(UTC))}}}
        await self._api.merge(SESSIONS, self.place.namespace, self.name, patch)

    async def is_gone(self) -> bool:
        """Whether the object and all pods it had adopted are gone."""
        if await self._api.find(SESSIONS, self.place.namespace, self.name):
            return False
        return not await self.pods()

    async def until_gone(self) -> None:
        """Wait until the object and all pods it had adopted are gone."""

        await wait_for(self.is_gone, what=f"session {self.name} and its pods to be gone", explain=self.explain)

    async def pods(self) -> list[Body]:
        """The pods it has adopted, ending ones included."""
        return await self._api.list(PODS, self.place.namespace, labels=f"{Label.SESSION}={self.name}")

    async def events(self) -> list[Body]:
        """Events about it, in the order in which they were written."""
        found = [
            e
            for e in await self._api.list(EVENTS, self.place.namespace)
            if e["involvedObject"].get("name") == self.name and e["involvedObject"]["kind"] == "EscrowSession"
        ]
        return sorted(found, key=lambda e: int(e["metadata"]["resourceVersion"]))

    async def reasons(self) -> list[str]:
        """The reasons of its Events, in order."""
        return [event["reason"] for event in await self.events()]

    async def until_event(self, reason: str, *, times: int = 1) -> None:
        """Wait for an Event: it is written after the status that it tells of."""

        async def told() -> bool:
            return (await self.reasons()).count(reason) >= times

        await wait_for(told, what=f"session {self.name}: event {reason}", explain=self.explain)

    async def connection(self, role: Role) -> dict[str, str]:
        """The connection Secret of a role, decoded."""
        return await self.place.read_secret(f"{self.name}-{role}-rpc")

    async def deed(self, role: Role) -> dict[str, str]:
        """The deed Secret of a role (setup Create), decoded."""
        return await self.place.read_secret(f"{self.name}-{role}-wallet")

    async def deeds_as_wallets(self) -> dict[str, Body]:
        """``spec.wallets`` of a session that opens the wallets this one made."""
        return {
            role.value: {"file": (await self.deed(role))["file"], "secretRef": {"name": f"{self.name}-{role}-wallet"}}
            for role in ROLES
        }

    @asynccontextmanager
    async def wallets(self, *roles: Role) -> AsyncIterator[Mapping[Role, WalletRpc]]:
        """Its wallets' RPC, with the logins of the connection Secrets, as a client in the cluster has them."""
        status = await self.status()
        async with AsyncExitStack() as stack:
            clients = {}
            for role in roles or ROLES:
                secret = await self.connection(role)
                pod = status["wallets"][role.value]["pod"]
                url = await self.place.forward(stack, pod, int(secret["port"]))
                clients[role] = by_connection(url, secret)
                stack.push_async_callback(clients[role].aclose)
            yield clients

    @asynccontextmanager
    async def history(self) -> AsyncIterator[list[Body]]:
        """A list that grows by every status the object has, from now to the end of the block."""
        seen: list[Body] = []
        watching = asyncio.Event()

        async def watch() -> None:
            async for body in self._api.watch(SESSIONS, self.place.namespace, self.name):
                seen.append(body.get("status") or {})
                watching.set()

        task = asyncio.create_task(watch())
        try:
            async with asyncio.timeout(PATIENCE):
                await watching.wait()
            yield seen
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def explain(self) -> str:
        """All there is to say about it when a test fails."""
        body = await self._api.find(SESSIONS, self.place.namespace, self.name)
        status = json.dumps((body or {}).get("status"), indent=1) if body else "(there is no such object)"
        events = "\n".join(f"{e['type']} {e['reason']}: {e['message']}" for e in await self.events())
        pods = "\n".join(
            f"{pod['metadata']['name']} {pod['status'].get('phase')}"
            f"{' terminating' if 'deletionTimestamp' in pod['metadata'] else ''}"
            for pod in await self.place.slots()
        )
        log = await self.place.world.operator.tail()
        return (
            f"--- status of {self.name}\n{status}\n--- its events\n{events}\n--- pods of the namespace\n{pods}\n{log}"
        )


def is_active(status: Body) -> bool:
    """Whether a status says Active and Ready."""
    return status.get("phase") == "Active" and condition(status, "Ready").get("status") == "True"


def condition(status: Body, kind: str) -> Body:
    """A condition out of a status; empty when it is not there."""
    return next((c for c in status.get("conditions") or () if c["type"] == kind), {})


def decode(secret: Body) -> dict[str, str]:
    """The data of a Secret."""
    return {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}
