"""Clients of the slots' wallet-rpc, and the login keys from which their logins derive."""

from __future__ import annotations

import asyncio
import secrets
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import aiohttp

from escrow_operator.adapters.kube import SECRETS
from escrow_operator.adapters.kube_errors import ConflictError, NotFoundError
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.core.login import derive_login, key_id
from escrow_operator.core.manifests.common import endpoint_hosts, login_key_name, slot_url
from escrow_operator.core.manifests.pool import login_key_secret
from escrow_operator.core.ownership import object_problem
from escrow_operator.core.poolstatus import Problem
from escrow_operator.core.wallet_tls import FORMAT, WalletCertificate, derive_certificate
from escrow_operator.errors import WalletUnreachable
from escrow_operator.models.deed import SecretDataError, secret_data
from escrow_operator.models.monero import Login
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.outcomes import NotOurs, SlotBroken

RECENT = 1_024
"""Clients kept while not in use. A new client costs a digest challenge, but so does an old one once its idle connection
was closed; the clients of 10,000 sessions would take 50 MB."""


class Access(NamedTuple):
    """What a client of a slot has: its login, and its certificate unless it is served without TLS."""

    login: Login
    certificate: WalletCertificate | None


class _LoginKey(NamedTuple):
    """A pool's login key, and the uid of the pool that was verified to own it, None if that was not verified."""

    pool_uid: str | None
    key: str


@dataclass(frozen=True, slots=True)
class _Connected:
    """A weak reference to a slot's client, and the IP address that it calls.

    A pod whose sandbox was recreated is the same object with another address.
    """

    ip: str
    client: weakref.ref[WalletRpc]


class WalletClients:
    """Keeps one client per slot: a digest nonce is tied to its connection, and a wallet has one thread.

    The clients share one session, made by ``connect``, in which each slot's address has its own connection.
    """

    def __init__(self, ctx: Context, connect: Callable[[], aiohttp.ClientSession]) -> None:
        self._kube, self._meters, self._memory = ctx.kube, ctx.meters, ctx.memory
        self._fence = ctx.fence
        self._connect = connect
        self._keys: dict[PoolKey, _LoginKey] = {}
        self._reading: defaultdict[PoolKey, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._recent: deque[WalletRpc] = deque(maxlen=RECENT)
        self._session: aiohttp.ClientSession | None = None

    async def ensure_login_key(self, pool: Pool) -> str:
        """The id of the pool's login key, which is created if there is none; cached until ``forget_login_key``.

        Raises NotOurs for a Secret of that name that is not the pool's, or has no key.
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
            # Its creator knows the key, and with it the login of every slot.
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

    def login_key(self, pool: Pool) -> str | None:
        """The pool's login key, if it is known and was verified to be the pool's own."""
        known = self._keys.get(pool.key)
        return known.key if known is not None and known.pool_uid == pool.uid else None

    def forget_login_key(self, pool: PoolKey) -> None:
        """Drop the cached login key of a pool, whose Secret may have been deleted; it is read again when needed."""
        self._keys.pop(pool, None)

    def notice(self, pool: PoolKey, slots: Iterable[Slot]) -> None:
        """Drop the cached login key if one of the slots waits for its Secret, which then does not exist any more."""
        if any(_misses_login_key(slot) for slot in slots):
            self.forget_login_key(pool)

    async def access(self, slot: Slot) -> Access:
        """The slot's login and certificate. Raises SlotBroken if the pool no longer has the key they derive from."""
        known = self._keys.get(slot.pool)
        key = known.key if known else None
        if key is None or key_id(key) != slot.login_key:
            key = await self._read_key(slot)
        if key is None or key_id(key) != slot.login_key:
            raise SlotBroken(
                slot,
                f"Pod {slot.name} was started with a login key that pool {slot.pool.name} no longer has.",
            )
        if slot.tls not in ("", FORMAT):
            raise SlotBroken(slot, f"Pod {slot.name} was started by a newer operator: its certificate is not known.")
        certificate = derive_certificate(key, slot.uid, endpoint_hosts(slot.pool)) if slot.tls else None
        return Access(derive_login(key, slot.uid), certificate)

    async def _read_key(self, slot: Slot) -> str | None:
        """The key in the pool's Secret, or None. Concurrent calls for one pool share one request."""
        async with self._reading[slot.pool]:
            known = self._keys.get(slot.pool)
            if known is not None and key_id(known.key) == slot.login_key:
                return known.key
            try:
                secret = await self._kube.get(SECRETS, slot.namespace, login_key_name(slot.pool))
                key = secret_data(secret, "key")["key"]
            except (NotFoundError, KeyError, SecretDataError):
                return None
            # Ownership is not verified here: a tenant who can label a pod as a slot can create the Secret as well.
            self._keys[slot.pool] = _LoginKey(None, key)
            return key

    async def client(self, slot: Slot) -> WalletRpc:
        """The client of a slot at its present address.

        Raises SlotBroken like ``access``, and WalletUnreachable for a pod without an address.
        """
        if slot.ip is None:
            raise WalletUnreachable(f"pod {slot.name} has no address")
        found = self._connected(slot)
        if found is None:
            access = await self.access(slot)
            if self._session is None:
                self._session = self._connect()
            count = self._meters.wallet_requests.inc
            # Another task may have made the client while the login was read.
            found = self._connected(slot)
            if found is None:
                found = WalletRpc(
                    slot_url(slot.ip, tls=bool(slot.tls)),
                    access.login,
                    certificate=access.certificate.digest if access.certificate else None,
                    session=self._session,
                    on_request=count,
                    fence=self._fence,
                )
                self._memory.put(slot.uid, _Connected(slot.ip, weakref.ref(found)))
                self._recent.append(found)
        return found

    def _connected(self, slot: Slot) -> WalletRpc | None:
        """The client that calls a slot at its present address, if there is one."""
        connected = self._memory.find(slot.uid, _Connected)
        return connected.client() if connected and connected.ip == slot.ip else None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()


def _misses_login_key(slot: Slot) -> bool:
    """Whether kubelet reports that the Secret with a pod's login key does not exist."""
    reason, message = slot.trouble or ("", "")
    return reason == "CreateContainerConfigError" and f'"{login_key_name(slot.pool)}" not found' in message
