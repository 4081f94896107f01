"""Connections to the slots' wallet-rpc, and the login keys from which their logins derive."""

from __future__ import annotations

import asyncio
import secrets
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import aiohttp

from escrow_operator.adapters.json_rpc import rpc_session
from escrow_operator.adapters.kube import SECRETS
from escrow_operator.adapters.kube_errors import ConflictError, NotFoundError
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.core.login import derive_login, key_id
from escrow_operator.core.manifests.common import RPC_PORT, login_key_name
from escrow_operator.core.manifests.pool import login_key_secret
from escrow_operator.core.ownership import object_problem
from escrow_operator.core.poolstatus import Problem
from escrow_operator.errors import WalletUnreachable
from escrow_operator.models.deed import SecretDataError, secret_data
from escrow_operator.models.monero import Login
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.outcomes import NotOurs, SlotBroken

RECENT = 1_024
"""Clients kept although nobody uses them. One that is made anew costs a digest challenge, which it would cost anyhow
after the seconds for which an idle connection is kept; 10,000 sessions would keep 50 MB of them."""


class _LoginKey(NamedTuple):
    """A pool's login key, and the uid of the pool whose own it was seen to be."""

    pool_uid: str | None
    key: str


@dataclass
class _Connected:
    """A slot's client, as long as somebody keeps it, and the IP address that it calls.

    A pod whose sandbox was made anew is the same pod, somewhere else.
    """

    ip: str = ""
    client: Callable[[], WalletRpc | None] = lambda: None


class WalletClients:
    """One client per slot at a time: a digest nonce is tied to its connection, and a wallet has one thread.

    They share a pool of connections, made by ``connect``, in which each slot's address has its own.
    """

    def __init__(self, ctx: Context, connect: Callable[[], aiohttp.ClientSession] = rpc_session) -> None:
        self._kube, self._meters, self._memory = ctx.kube, ctx.meters, ctx.memory
        self._connect = connect
        self._keys: dict[PoolKey, _LoginKey] = {}
        self._reading: defaultdict[PoolKey, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._recent: deque[WalletRpc] = deque(maxlen=RECENT)
        self._session: aiohttp.ClientSession | None = None

    async def ensure_login_key(self, pool: Pool) -> str:
        """The id of the pool's login key, made when there is none; looked for once, until ``forget_login_key``.

        Raises NotOurs for a Secret of that name that is not the pool's.
        """
        known = self._keys.get(pool.key)
        if known is not None and known.pool_uid == pool.uid:
            return key_id(known.key)
        try:
            secret = await self._kube.get(SECRETS, pool.key.namespace, login_key_name(pool.key))
        except NotFoundError:
            body = login_key_secret(pool, secrets.token_hex(32))
            try:
                secret = await self._kube.create(SECRETS, pool.key.namespace, body)
            except ConflictError:
                secret = await self._kube.get(SECRETS, pool.key.namespace, login_key_name(pool.key))
        problem = object_problem(pool, "Secret", secret)
        if problem:
            # Whoever made it knows the key, and with it the login of every slot.
            raise NotOurs(problem)
        try:
            key = secret_data(secret, "key").get("key")
        except SecretDataError:
            key = None
        if not key:
            name = login_key_name(pool.key)
            text = f"Secret {name} is this pool's login key and has none. Delete it: the operator makes another."
            raise NotOurs(Problem("SecretInvalid", text))
        self._keys[pool.key] = _LoginKey(pool.uid, key)
        return key_id(key)

    def forget_login_key(self, pool: PoolKey) -> None:
        """Read the pool's login key again when it is needed next: somebody may have deleted it."""
        self._keys.pop(pool, None)

    def notice(self, pool: PoolKey, slots: Iterable[Slot]) -> None:
        """Read the login key again when a pod waits for its Secret: it is not there, whatever was read before."""
        if any(_misses_login_key(slot) for slot in slots):
            self.forget_login_key(pool)

    async def login(self, slot: Slot) -> Login:
        """The slot's RPC login. Raises SlotBroken when its key is no longer there."""
        known = self._keys.get(slot.pool)
        key = known.key if known else None
        if key is None or key_id(key) != slot.login_key:
            key = await self._read_key(slot)
        if key is None or key_id(key) != slot.login_key:
            raise SlotBroken(
                slot,
                f"Pod {slot.name} was started with a login key that pool {slot.pool.name} no longer has.",
            )
        return derive_login(key, slot.uid)

    async def _read_key(self, slot: Slot) -> str | None:
        """The key in the pool's Secret. Those who ask meanwhile wait for the answer to the first."""
        async with self._reading[slot.pool]:
            known = self._keys.get(slot.pool)
            if known is not None and key_id(known.key) == slot.login_key:
                return known.key
            try:
                secret = await self._kube.get(SECRETS, slot.namespace, login_key_name(slot.pool))
                key = secret_data(secret, "key")["key"]
            except (NotFoundError, KeyError, SecretDataError):
                return None
            # Whose it is was not looked at: who can label a pod as a slot can make a Secret as well.
            self._keys[slot.pool] = _LoginKey(None, key)
            return key

    async def client(self, slot: Slot) -> WalletRpc:
        """The client of a slot, where it is now.

        Raises SlotBroken like ``login``, and WalletUnreachable for a pod without an address.
        """
        if slot.ip is None:
            raise WalletUnreachable(f"pod {slot.name} has no address")
        connected = self._memory.of(slot.uid, _Connected)
        found = connected.client() if connected.ip == slot.ip else None
        if found is None:
            login = await self.login(slot)
            host = f"[{slot.ip}]" if ":" in slot.ip else slot.ip
            if self._session is None:
                self._session = self._connect()
            count = self._meters.wallet_requests.inc
            # Another task may have made it while the login was read.
            found = connected.client() if connected.ip == slot.ip else None
            if found is None:
                found = WalletRpc(f"http://{host}:{RPC_PORT}", login, session=self._session, on_request=count)
                connected.ip, connected.client = slot.ip, weakref.ref(found)
                self._recent.append(found)
        return found

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()


def _misses_login_key(slot: Slot) -> bool:
    """Whether kubelet says of a pod that there is no such Secret."""
    reason, message = slot.trouble or ("", "")
    return reason == "CreateContainerConfigError" and f'"{login_key_name(slot.pool)}" not found' in message
