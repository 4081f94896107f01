"""Makes the three wallets of a new escrow with as few files as possible: wallet-rpc cannot delete any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from escrow_operator.adapters.kube_errors import ConflictError
from escrow_operator.adapters.limiter import PriorityLimiter
from escrow_operator.core.manifests.prepared import is_prepared_file
from escrow_operator.errors import WalletError, WalletStorageError, WalletUnauthorized
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.deed import Deed
from escrow_operator.models.session import Session
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.outcomes import NotOpened, SlotBroken
from escrow_operator.services.slots.claims import SlotClaims, Slots
from escrow_operator.services.wallets.claim_marks import former_use, mark_of, put_marks
from escrow_operator.services.wallets.clients import WalletClients
from escrow_operator.services.wallets.deeds import Deeds, DeedStore, is_own_file
from escrow_operator.services.wallets.key_exchange import (
    Begun,
    ExchangeIncomplete,
    RoleError,
    Wallets,
    begin,
    common_address,
    exchange_keys,
)
from escrow_operator.services.wallets.opener import not_ready, storage_error

LONGEST_TURN_SECONDS = 180.0
"""Seconds after which an exchange keeps others waiting no more. One that hangs ends sooner, by the deadline of its call
(60 s). Four at once on two slow cores take 45 s; passing turns on while they merely are slow would admit ever more,
until all run out of time."""


class WalletCreator:
    """Makes wallets, going on where an earlier attempt ended. For deeds without an address only.

    It does so for a few sessions at a time, by turns of their namespaces: an exchange is CPU, and many that run at once
    make each other late until calls exceed their deadlines.
    """

    def __init__(self, ctx: Context, *, claims: SlotClaims, deeds: DeedStore, wallets: WalletClients) -> None:
        self._store = ctx.store
        self._turns = PriorityLimiter(ctx.settings.sessions.max_key_exchanges)
        self._claims = claims
        self._deeds = deeds
        self._wallets = wallets

    async def make(
        self, session: Session, slots: Slots, deeds: Mapping[Role, Deed], height: int
    ) -> tuple[Deeds, Slots, str]:
        """Make the wallets, store and close them; returns the updated deeds and slots, and the address.

        ``height`` is the restore height for new files. Raises NotOpened (to be retried), SlotBroken, Failed if too many
        files were begun, or ConflictError if the session was changed before its turn came.
        """
        for slot in slots.values():
            if not slot.usable:
                raise not_ready(slot)
        try:
            async with self._turns.turn(urgent=True, longest=LONGEST_TURN_SECONDS, group=session.key.namespace):
                self._must_still_be_wanted(session)
                return await self._make(session, slots, dict(deeds), height)
        except RoleError as error:
            slot = slots[error.role]
            match error.error:
                case WalletStorageError():
                    raise storage_error(slot, f"The {slot.role} wallet {deeds[slot.role].file}") from None
                case WalletUnauthorized():
                    raise SlotBroken(slot, f"Pod {slot.name} of the {slot.role} wallet refuses its login.") from None
                case _:
                    raise NotOpened("KeyExchangeInterrupted", _interrupted(error), slot=slot) from None
        except WalletError as error:
            raise NotOpened("KeyExchangeInterrupted", _interrupted(error)) from None

    def _must_still_be_wanted(self, session: Session) -> None:
        """Raise ConflictError for a session that was changed or deleted while it waited for its turn."""
        now = self._store.sessions.get(session.key)
        if now is None or now.uid != session.uid or now.deleting or now.generation != session.generation:
            raise ConflictError(409, "Conflict", "the session was changed before its keys were exchanged")

    async def _make(self, session: Session, slots: Slots, deeds: Deeds, height: int) -> tuple[Deeds, Slots, str]:
        # A file that a deed names but whose name the operator did not choose must not be converted.
        foreign = [role for role, deed in deeds.items() if not is_own_file(session, deed.file)]
        deeds, slots = await self._renew(session, slots, deeds, height, foreign)
        clients = {role: await self._wallets.client(slots[role]) for role in ROLES}
        begun = await begin(clients, deeds)
        spent = [role for role, what in begun.items() if what is not Begun.BLANK]
        if set(begun.values()) == {Begun.COMPLETE}:
            if await self._are_its_own(session, clients, deeds):
                address = await common_address(clients)
                if address is not None:
                    return deeds, slots, address
            spent = list(ROLES)
        deeds, slots = await self._renew(session, slots, deeds, height, spent)
        again = await begin(clients, {role: deeds[role] for role in spent})
        if set(again.values()) - {Begun.BLANK}:
            raise ExchangeIncomplete("a file of a fresh name was there already")
        return deeds, slots, await exchange_keys(clients, deeds)

    @staticmethod
    async def _are_its_own(session: Session, clients: Wallets, deeds: Deeds) -> bool:
        """Whether no other session has these wallets, which are marked as this session's then.

        Files of a prepared escrow are in the deeds of a session that was given it by an operator that died since.
        """
        if not any(is_prepared_file(session.key.namespace, deed.file) for deed in deeds.values()):
            return True
        if await former_use(clients, allowed=mark_of(session)) is not None:
            return False
        await put_marks(clients, session)
        return True

    async def _renew(
        self, session: Session, slots: Slots, deeds: Deeds, height: int, roles: Iterable[Role]
    ) -> tuple[Deeds, Slots]:
        """Other files for some roles, recorded on the slots before they open them."""
        roles = tuple(roles)
        if not roles:
            return deeds, slots
        deeds = await self._deeds.renew_files(session, deeds, height, roles)
        return deeds, await self._claims.renote(slots, {role: deed.file for role, deed in deeds.items()})


def _interrupted(error: WalletError) -> str:
    return (
        f"The key exchange of the three wallets was interrupted ({error}). It is tried again; no address was published"
        " yet."
    )
