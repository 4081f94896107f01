"""One client per slot at a time, and no more of them than are of use."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import gc
import weakref
from typing import Any

import pytest

from escrow_operator.adapters.json_rpc import rpc_session
from escrow_operator.adapters.kube import SECRETS, Resource
from escrow_operator.core.login import key_id
from escrow_operator.core.manifests.pool import login_key_secret
from escrow_operator.errors import WalletUnreachable
from escrow_operator.models.slot import Slot
from escrow_operator.services.runtime.outcomes import SlotBroken
from escrow_operator.services.wallets import clients
from escrow_operator.services.wallets.clients import WalletClients
from unit.factories import pool, slot
from unit.kube import InstantKube
from unit.world.context import make_context

KEY = "ab" * 32


class Secrets(InstantKube):
    """An API server with the login key of a pool, which takes a moment to answer."""

    def __init__(self) -> None:
        super().__init__()
        body = login_key_secret(pool(), KEY)
        data = {"key": base64.b64encode(KEY.encode()).decode()}
        self.put(SECRETS, {"metadata": body["metadata"], "data": data})

    async def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        await asyncio.sleep(0)
        return await super().get(resource, namespace, name)

    @property
    def reads(self) -> int:
        return self.requests["get", SECRETS.plural]

    def lose_key(self) -> None:
        self.remove(SECRETS, "default-slot-login")


def of_pool(name: str, key: str = KEY) -> Slot:
    return dataclasses.replace(slot(name), login_key=key_id(key))


def service(api: Secrets) -> WalletClients:
    return WalletClients(make_context(api), rpc_session)


async def test_all_who_ask_at_once_share_the_reading_of_the_key() -> None:
    api = Secrets()
    found = service(api)

    await asyncio.gather(*(found.client(of_pool(f"pod-{number}")) for number in range(20)))

    assert api.reads == 1
    await found.close()


async def test_who_uses_a_slot_at_the_same_time_uses_the_same_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "RECENT", 1)
    found = service(Secrets())
    first = await found.client(of_pool("a"))

    for other in "bcdef":
        await found.client(of_pool(other))

    assert await found.client(of_pool("a")) is first
    await found.close()


async def test_clients_that_nobody_uses_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "RECENT", 3)
    found = service(Secrets())

    made = [weakref.ref(await found.client(of_pool(f"pod-{number}"))) for number in range(50)]
    gc.collect()

    assert [one() is not None for one in made] == [False] * 47 + [True] * 3
    await found.close()


async def test_a_slot_with_another_key_is_broken() -> None:
    found = service(Secrets())

    with pytest.raises(SlotBroken, match="no longer has"):
        await found.client(of_pool("a", key="cd" * 32))
    await found.close()


async def test_a_pod_that_moved_to_another_address_gets_another_client() -> None:
    """After its node restarted the pod is the same object; its old address may be another pod's by then."""
    found = service(Secrets())
    before = of_pool("a")
    client = await found.client(before)

    moved = await found.client(dataclasses.replace(before, ip="10.0.0.2"))

    assert moved is not client
    assert await found.client(dataclasses.replace(before, ip="10.0.0.2")) is moved
    await found.close()


async def test_a_pod_that_is_gone_has_no_client_left() -> None:
    ctx = make_context(Secrets())
    found = WalletClients(ctx, rpc_session)
    client = await found.client(of_pool("a"))

    ctx.memory.end(of_pool("a").uid)

    assert await found.client(of_pool("a")) is not client
    await found.close()


async def test_a_pod_without_an_address_cannot_be_called() -> None:
    found = service(Secrets())
    with pytest.raises(WalletUnreachable, match="no address"):
        await found.client(dataclasses.replace(of_pool("a"), ip=None))
    await found.close()


async def test_a_pool_that_is_made_again_does_not_use_its_predecessors_key() -> None:
    """That one's Secret went with it."""
    api = Secrets()
    found = service(api)
    assert await found.ensure_login_key(pool()) == key_id(KEY)
    await found.ensure_login_key(pool())
    assert api.reads == 1

    api.lose_key()
    again = await found.ensure_login_key(pool(uid="made-again"))
    assert again != key_id(KEY)
    assert await found.ensure_login_key(pool(uid="made-again")) == again
    assert api.reads == 2
    await found.close()


async def test_a_key_that_was_read_for_a_slot_is_its_pools_alone() -> None:
    api = Secrets()
    found = service(api)
    await found.access(of_pool("a"))
    api.lose_key()
    assert await found.ensure_login_key(pool(uid="made-again")) != key_id(KEY)
    await found.close()


async def test_pods_that_wait_for_the_keys_secret_say_that_it_is_gone() -> None:
    api = Secrets()
    found = service(api)
    await found.ensure_login_key(pool())
    api.lose_key()
    waits = dataclasses.replace(
        slot("a"), trouble=("CreateContainerConfigError", 'secret "default-slot-login" not found')
    )
    other = dataclasses.replace(slot("b"), trouble=("CreateContainerConfigError", 'secret "its-own" not found'))

    found.notice(pool().key, [slot("c"), other])
    assert await found.ensure_login_key(pool()) == key_id(KEY)
    found.notice(pool().key, [slot("c"), waits])
    assert await found.ensure_login_key(pool()) != key_id(KEY)
    await found.close()
