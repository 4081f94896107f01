"""Closes a session's wallets and deletes its slots; used whenever a session ends, for whatever reason."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import Any

from escrow_operator.adapters.kube import ENDPOINT_SLICES, PODS, SECRETS
from escrow_operator.adapters.kube_errors import ConflictError, KubeError, NotFoundError
from escrow_operator.core.manifests.common import BASE_LABELS, connection_name, endpoint_slice_name
from escrow_operator.core.manifests.session import withdrawal
from escrow_operator.errors import NoWalletOpen, WalletError
from escrow_operator.models.common import FINALIZER, ROLES, Label, Role
from escrow_operator.models.session import ENDING_PHASES, Session, SessionKey
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.gather import gather_all
from escrow_operator.services.runtime.outcomes import Blocked
from escrow_operator.services.wallets.clients import WalletClients
from escrow_operator.services.wallets.opener import WalletOpener
from escrow_operator.services.writing import patch_session

_LOG = logging.getLogger(__name__)

CLOSE_SECONDS = 30.0
"""Deadline for storing and closing one wallet by RPC. After it the pod gets SIGTERM, on which wallet-rpc stores as
well, and the session waits until the pod is gone."""


@dataclass(frozen=True, slots=True)
class _Stale:
    """Kept of a closed session that still has published connections."""


class WalletCloser:
    """Stores and closes wallets, verifies that, and deletes their pods."""

    def __init__(self, ctx: Context, wallets: WalletClients, opener: WalletOpener) -> None:
        self._ctx, self._kube, self._store, self._memory = ctx, ctx.kube, ctx.store, ctx.memory
        self._wallets = wallets
        self._opener = opener

    async def release(self, session: Session) -> bool:
        """Close all wallets of a session and delete its pods.

        True when no pod can hold a wallet any more: each wallet was closed, or its pod has ended (invariant I1).
        """
        slots = self._store.slots_of_session(session.key.namespace, session.uid)
        closed = await asyncio.gather(*(self._close(slot) for slot in slots))
        await asyncio.gather(
            *(
                self._kube.delete(PODS, slot.namespace, slot.name, uid=slot.uid)
                for slot in slots
                if not slot.terminating
            )
        )
        return all(closed)

    async def withdraw_endpoints(self, session: Session) -> None:
        """Withdraw the connection Secrets and host names of a session that ends but stays as an object.

        It does not raise KubeError: wallets are closed whether or not this succeeds. What is left is tried again at the
        session's next reconciliation, and found by ``find_stale``.
        """
        key = session.key
        try:
            await gather_all(self._withdraw_connection(session, role) for role in ROLES)
            # Last, since find_stale finds a session by its EndpointSlice.
            await self._kube.delete(ENDPOINT_SLICES, key.namespace, endpoint_slice_name(key))
        except KubeError as error:
            _LOG.warning("the connections of session %s could not be withdrawn: %s", key, error)
            # What closes the session has forgotten it: the next reconciliation is to try again.
            self._memory.put(session.uid, _Stale())
        else:
            self._memory.drop(session.uid, _Stale)

    async def find_stale(self, namespace: str | None) -> list[SessionKey]:
        """The closed sessions of a namespace (None: of the cluster) that still have an EndpointSlice.

        A crash, or an unreachable API server, may have left it, with the address of a former pod, which another pod may
        have by now. The session's next reconciliation withdraws it, since only there nothing publishes it concurrently.
        """
        found: list[Session] = []
        async for page in self._kube.pages(ENDPOINT_SLICES, namespace, labels=BASE_LABELS):
            found += filter(None, map(self._closed_owner, page.items))
        for session in found:
            self._memory.put(session.uid, _Stale())
        return [session.key for session in found]

    def is_stale(self, session: Session) -> bool:
        """Whether ``find_stale`` found the session, and its connections have not been withdrawn since."""
        return self._memory.find(session.uid, _Stale) is not None

    def _closed_owner(self, endpoint_slice: dict[str, Any]) -> Session | None:
        """The session of an EndpointSlice if it is in an ending phase, else None.

        Garbage collection removes the EndpointSlice of a deleted session.
        """
        meta = endpoint_slice["metadata"]
        session = self._store.sessions.get(SessionKey(meta["namespace"], meta["labels"].get(Label.SESSION, "")))
        owners = {owner["uid"] for owner in meta.get("ownerReferences") or ()}
        if session is None or session.uid not in owners or session.deleting or session.phase not in ENDING_PHASES:
            return None
        return session if meta["name"] == endpoint_slice_name(session.key) else None

    async def _withdraw_connection(self, session: Session, role: Role) -> None:
        """Empty a connection Secret, which is deleted with the session.

        The operator does not delete it: the right to delete Secrets would include deeds.
        """
        name = connection_name(session.key, role)
        with contextlib.suppress(NotFoundError, ConflictError):
            await self._kube.patch(SECRETS, session.key.namespace, name, withdrawal())

    async def drop_finalizer(self, session: Session) -> None:
        """Remove the operator's finalizer from a deleted session.

        Raises ConflictError if the finalizer's position has changed, or the session is gone.
        """
        index = session.finalizers.own
        await patch_session(
            self._ctx,
            session,
            [
                {"op": "test", "path": f"/metadata/finalizers/{index}", "value": FINALIZER},
                {"op": "remove", "path": f"/metadata/finalizers/{index}"},
            ],
        )

    async def _close(self, slot: Slot) -> bool:
        """Close the slot's wallet; returns whether its process certainly has none open.

        Errors of the wallet are only logged: the pod is deleted in any case.
        """
        self._opener.forget(slot)
        if slot.finished:
            return True
        if not slot.usable:
            return False
        try:
            wallet = await self._wallets.client(slot)
            await wallet.close_wallet(deadline=CLOSE_SECONDS)
            await wallet.address()
        except NoWalletOpen:
            return True
        except (WalletError, Blocked) as error:
            _LOG.warning("pod %s did not close its wallet: %s; it is ended by SIGTERM", slot.name, error)
        return False
