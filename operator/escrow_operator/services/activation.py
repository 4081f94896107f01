"""From a spec to three open wallets: deeds, slots, key exchange, opening, and what clients connect with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from escrow_operator.adapters.kube import ENDPOINT_SLICES, SECRETS, SESSIONS, Kube, urgently
from escrow_operator.core.conditions import Condition
from escrow_operator.core.manifests.common import connection_name, endpoint_url
from escrow_operator.core.manifests.session import connection_secret, endpoint_slice
from escrow_operator.core.report import OPENING, READY, Report
from escrow_operator.errors import WalletError, WalletFileExists
from escrow_operator.models.common import FINALIZER, ROLES, Role
from escrow_operator.models.deed import Deed
from escrow_operator.models.pool import Pool
from escrow_operator.models.session import BEFORE_OPENING, OPEN_PHASES, Phase, Session, Setup
from escrow_operator.models.slot import Slot
from escrow_operator.services.blocked import RETRY_SECONDS, Blocked
from escrow_operator.services.claims import ClaimService, Slots
from escrow_operator.services.deeds import DeedService, must_name_secrets
from escrow_operator.services.events import Recorder
from escrow_operator.services.exchange import create_escrow
from escrow_operator.services.opener import Opener
from escrow_operator.services.reporter import Reporter
from escrow_operator.services.stages import Stage, Stages
from escrow_operator.services.store import Store
from escrow_operator.services.together import both, gather_all
from escrow_operator.services.wallets import Wallets
from escrow_operator.services.warmups import WarmUps


@dataclasses.dataclass(frozen=True)
class Escrow:
    """A session with its three wallets open and proven to share an address."""

    session: Session
    slots: Slots
    address: str


class Activator:
    """Carries a session to open wallets; on one that has them it costs nothing."""

    def __init__(
        self,
        kube: Kube,
        *,
        claims: ClaimService,
        deeds: DeedService,
        opener: Opener,
        wallets: Wallets,
        reporter: Reporter,
        recorder: Recorder,
        stages: Stages,
        store: Store,
        warm_ups: WarmUps,
    ) -> None:
        self._kube = kube
        self._stages = stages
        self._store = store
        self._warm_ups = warm_ups
        self._claims = claims
        self._deeds = deeds
        self._opener = opener
        self._wallets = wallets
        self._reporter = reporter
        self._recorder = recorder
        self._published: dict[str, tuple[str, ...]] = {}

    def forget(self, session_uid: str) -> None:
        """The session is gone or closed."""
        self._published.pop(session_uid, None)
        self._stages.forget(session_uid)

    async def activate(self, session: Session, pool: Pool, height: int) -> Escrow:
        """Open what is not open yet. ``height`` is monerod's. Raises Blocked or Failed."""
        must_name_secrets(session)
        address = session.status.get("address")
        slots = self._claims.held(session)
        if address and len(slots) == len(ROLES) and all(self._is_open(slot) for slot in slots.values()):
            return Escrow(session, slots, address)
        if address and self._was_published(session, slots):
            if await self._opener.confirm(slots, address):
                # Another operator opened them; neither passwords nor writes are needed to go on.
                self._published[session.uid] = _mark(slots)
                return Escrow(session, slots, address)
            if (session.condition(READY) or {}).get("status") == "True":
                # A process that kubelet restarted at once: opening takes seconds, in which nobody is to be told Ready.
                raise Blocked(
                    "WalletClosed", "A wallet is no longer open in its pod; it is opened again.", retry_after=0.0
                )
        self._claims.must_have_turn(session, pool)
        deeds: Mapping[Role, Deed]
        before = {slot.uid for slot in slots.values()}
        # Whoever comes is to have slots first; connections and Events of those who have can wait for that.
        with urgently():
            session, deeds = await both(self._protect(session), self._deeds.resolve(session, height))
            self._stages.mark(session.uid, Stage.PREPARE)
            slots = await self._claims.ensure(session, pool, {role: deed.file for role, deed in deeds.items()})
        self._stages.mark(session.uid, Stage.CLAIM)
        # Before any wallet is opened: slots of a session that is still Pending may go back to their pool.
        session = await self._tell(session, slots, before)
        self._stages.mark(session.uid, Stage.STATUS)
        with self._warm_ups.opening():
            deeds, slots, address = await self._open(session, slots, deeds, height)
        await self._deeds.record_address(session, deeds, address)
        self._stages.mark(session.uid, Stage.OPEN)
        return Escrow(session, slots, address)

    @staticmethod
    def _was_published(session: Session, slots: Slots) -> bool:
        """Whether the status says so of these very pods: it is written after connections were."""
        wallets = session.status.get("wallets") or {}
        return session.phase in OPEN_PHASES and all(
            role in slots and wallets.get(role, {}).get("opened") and wallets[role].get("pod") == slots[role].name
            for role in ROLES
        )

    async def _protect(self, session: Session) -> Session:
        """The finalizer is there before a wallet is open. Raises ConflictError."""
        if FINALIZER in session.finalizers:
            return session
        path = "/metadata/finalizers/-" if session.finalizers else "/metadata/finalizers"
        body = await self._kube.patch(
            SESSIONS,
            session.key.namespace,
            session.key.name,
            [
                {"op": "test", "path": "/metadata/resourceVersion", "value": session.resource_version},
                {"op": "add", "path": path, "value": FINALIZER if session.finalizers else [FINALIZER]},
            ],
        )
        self._store.see_session(body)
        return Session.parse(body)

    def _is_open(self, slot: Slot) -> bool:
        return slot.wallet_file is not None and self._opener.is_open(slot, slot.wallet_file)

    async def _tell(self, session: Session, slots: Slots, before: set[str]) -> Session:
        """Events and the phase Opening, once slots were claimed."""
        fresh = [slot for slot in slots.values() if slot.uid not in before]
        if not fresh:
            return session
        names = ", ".join(f"{slot.role} {slot.name}" for slot in fresh)
        if session.phase not in BEFORE_OPENING | {Phase.OPENING}:
            self._recorder.record(session, "SlotReplaced", f"Adopted {names}.")
            return session
        self._recorder.record(session, "SlotsClaimed", f"Adopted {names}.")
        report = Report(
            Phase.OPENING,
            (Condition(READY, False, OPENING, "The wallets are being opened."),),
            {"wallets": wallet_fields(session, slots, opened=False)},
        )
        return await self._reporter.report(session, report)

    async def _open(
        self, session: Session, slots: Slots, deeds: Mapping[Role, Deed], height: int
    ) -> tuple[Mapping[Role, Deed], Slots, str]:
        """The deeds and slots as they are then (an exchange that started over has fresh files), and the address."""
        known = next((deed.address for deed in deeds.values() if deed.address), None)
        expected = known or session.status.get("address")
        if session.spec.setup is Setup.CREATE and expected is None:
            deeds, slots, expected = await self._create(session, slots, deeds, height)
            # Opened again below, from the files and with the passwords as the API server holds them: nothing is
            # published that was not seen to open.
            deeds = await self._deeds.resolve(session, height)
        elif session.spec.setup is Setup.CREATE and "address" not in session.status:
            self._recorder.record(
                session,
                "WalletsReused",
                "An earlier session of this name made wallets; they are opened again, with their address and balance.",
            )
        address, _ = await both(self._opener.open_all(slots, deeds, expected), self._publish(session, slots))
        return deeds, slots, address

    async def _create(
        self, session: Session, slots: Slots, deeds: Mapping[Role, Deed], height: int
    ) -> tuple[Mapping[Role, Deed], Slots, str]:
        """The key exchange; an earlier attempt that was interrupted left files, which are left alone."""
        clients = {role: await self._wallets.client(slots[role]) for role in ROLES}
        try:
            try:
                address = await create_escrow(clients, deeds)
            except WalletFileExists:
                deeds = await self._deeds.renew_files(session, deeds, height)
                slots = await self._claims.renote(slots, {role: deed.file for role, deed in deeds.items()})
                address = await create_escrow(clients, deeds)
        except WalletError as error:
            raise Blocked(
                "KeyExchangeInterrupted",
                f"The key exchange of the three wallets was interrupted ({error}). It starts over with fresh files;"
                " no address was published yet.",
                retry_after=RETRY_SECONDS,
            ) from None
        self._recorder.record(
            session,
            "KeysExchanged",
            "The three wallets share a 2-of-3 multisig; they are opened again to prove it.",
        )
        return deeds, slots, address

    async def _publish(self, session: Session, slots: Slots) -> None:
        """Connection Secrets and host names, where the slots are not those published last."""
        mark = _mark(slots)
        if self._published.get(session.uid) == mark:
            return
        namespace = session.key.namespace
        logins = {role: await self._wallets.login(slots[role]) for role in ROLES}
        await gather_all(
            [
                self._kube.apply(ENDPOINT_SLICES, namespace, endpoint_slice(session, slots)),
                *(
                    self._kube.apply(SECRETS, namespace, connection_secret(session, slots[role], logins[role]))
                    for role in ROLES
                ),
            ]
        )
        self._published[session.uid] = mark


def _mark(slots: Slots) -> tuple[str, ...]:
    return tuple(slots[role].uid for role in ROLES)


def wallet_fields(session: Session, slots: Slots, *, opened: bool) -> dict[str, Any]:
    """The ``wallets`` of the status."""
    return {
        role.value: {
            "pod": slot.name,
            "endpoint": endpoint_url(session.key, session.pool_key, role),
            "secret": connection_name(session.key, role),
            "file": slot.wallet_file,
            "opened": opened,
        }
        for role, slot in sorted(slots.items())
    }
