"""From a spec to three open wallets: deeds, slots, key exchange, opening, and the connections of clients."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from escrow_operator.adapters.kube import ENDPOINT_SLICES, SECRETS, urgently
from escrow_operator.adapters.kube_errors import ConflictError
from escrow_operator.core.health import health
from escrow_operator.core.manifests.common import connection_name, endpoint_slice_name, endpoint_url
from escrow_operator.core.manifests.session import connection_secret, endpoint_slice
from escrow_operator.core.report import OPENING, Report, are_told_open
from escrow_operator.models.common import FINALIZER, ROLES, Role
from escrow_operator.models.deed import Deed
from escrow_operator.models.pool import Pool
from escrow_operator.models.session import OPEN_PHASES, Phase, Session, Setup
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context
from escrow_operator.services.pools.scheduling_gates import SchedulingGates
from escrow_operator.services.reporting.status import StatusWriter
from escrow_operator.services.runtime.gather import both, gather_all
from escrow_operator.services.runtime.outcomes import Blocked
from escrow_operator.services.runtime.stage_timer import Stage
from escrow_operator.services.sessions.inspection import Escrow
from escrow_operator.services.sessions.prepared_claims import PreparedClaims
from escrow_operator.services.slots.capacity import Capacity
from escrow_operator.services.slots.claims import SlotClaims, Slots
from escrow_operator.services.slots.prepared import Triple
from escrow_operator.services.wallets.clients import WalletClients
from escrow_operator.services.wallets.creation import WalletCreator
from escrow_operator.services.wallets.deeds import DeedStore, must_name_secrets
from escrow_operator.services.wallets.opener import WalletOpener, not_ready
from escrow_operator.services.wallets.prober import WalletFileProber
from escrow_operator.services.writing import if_unchanged, patch_session


@dataclasses.dataclass(slots=True)
class _Published:
    """What was last published to clients, logins and pod addresses; None before that, or after it was withdrawn."""

    logins: tuple[str, ...] | None = None
    places: tuple[Any, ...] | None = None


class SessionOpener:
    """Opens the wallets of sessions; for a session that has them open it makes no calls."""

    def __init__(
        self,
        ctx: Context,
        *,
        capacity: Capacity,
        claims: SlotClaims,
        deeds: DeedStore,
        gates: SchedulingGates,
        opener: WalletOpener,
        prepared: PreparedClaims,
        prober: WalletFileProber,
        status: StatusWriter,
        wallets: WalletClients,
    ) -> None:
        self._ctx, self._kube, self._store, self._memory = ctx, ctx.kube, ctx.store, ctx.memory
        self._events, self._stages = ctx.events, ctx.stages
        self._gates = gates
        self._capacity = capacity
        self._claims = claims
        self._deeds = deeds
        self._opener = opener
        self._prepared = prepared
        self._prober = prober
        self._wallets = wallets
        self._status = status
        self._creator = WalletCreator(ctx, claims=claims, deeds=deeds, wallets=wallets)

    async def open(self, session: Session, pool: Pool, height: int) -> Escrow:
        """Open the wallets that are not open yet; ``height`` is monerod's. Raises Blocked, Failed, or KubeError."""
        must_name_secrets(session)
        address = session.status.get("address")
        slots = self._claims.held(session)
        if address and len(slots) == len(ROLES) and all(self._is_open(slot) for slot in slots.values()):
            return Escrow(session, slots, address)
        if address and self._was_published(session, slots):
            if await self._opener.confirm(slots, address):
                # A former operator process opened them; neither passwords nor writes are needed to go on.
                published = self._memory.of(session.uid, _Published)
                published.logins, published.places = _logins(slots), _places(slots)
                return Escrow(session, slots, address)
            # Kubelet restarted a wallet process. Opening takes seconds, in which the status must not report it open,
            # neither to clients nor to the next operator, if this one dies before the new address is published.
            raise Blocked("WalletClosed", "A wallet is no longer open in its pod; it is opened again.", retry_after=0.0)
        found: Mapping[Role, Deed | None] | None = None
        if not slots and self._prepared.may_have_one(session, pool):
            found, escrow = await self._open_prepared(session, pool)
            if escrow is not None:
                return escrow
            # It has a finalizer by now, if nothing else.
            session = self._unchanged(session)
        self._claims.must_still_wait(session, pool)
        if not slots:
            # Without a place under the cap and slots nothing is written for a session, neither finalizer nor deeds.
            found = found or await self._deeds.find(session)
            files = {role: deed.file for role, deed in found.items() if deed}
            if _is_doubtful(session) and not self._claims.has_room(session):
                await self._prober.must_exist(session, pool, files)
            self._claims.must_have_room(session, pool, files)
        deeds: Mapping[Role, Deed]
        before = {slot.uid for slot in slots.values()}
        # Claims of slots go first; connections and Events of sessions that have slots can wait.
        with urgently():
            session, deeds = await both(self._protect(session), self._deeds.resolve(session, height))
            self._stages.mark(session.uid, Stage.PREPARE)
            slots = await self._claims.ensure(session, pool, {role: deed.file for role, deed in deeds.items()})
        self._stages.mark(session.uid, Stage.CLAIM)
        session = await self._tell(session, slots, before)
        self._stages.mark(session.uid, Stage.STATUS)
        with self._gates.opening():
            deeds, slots, address = await self._open(session, slots, deeds, height)
        # The deeds keep for good what the address is for: that must not be a spec which was changed meanwhile.
        self._unchanged(session)
        await self._deeds.record_address(session, deeds, address)
        await self._publish(session, slots)
        self._stages.mark(session.uid, Stage.OPEN)
        return Escrow(session, slots, address)

    async def _open_prepared(self, session: Session, pool: Pool) -> tuple[Mapping[Role, Deed | None], Escrow | None]:
        """Give a session without deeds a prepared escrow, open as it is. Returns its deeds, and the escrow or None.

        What an error leaves behind, the next reconciliation opens by the session's deeds, or throws away.
        """
        found = await self._deeds.find(session)
        if any(found.values()):
            return found, None
        with self._prepared.offer(pool) as triple, urgently():
            if triple is None or not await self._prepared.is_unused(pool, triple):
                return found, None
            self._capacity.ask(session)
            self._gates.unsettle()
            escrow = Escrow(session, triple.slots, triple.address)
            # Reading the wallets takes as long as all the writes: it begins now, and must be done before the last one.
            unpaid, taken = await both(self._prepared.is_unpaid(escrow), self._take(session, pool, triple))
        if taken is None:
            return found, None
        if not unpaid:
            await self._prepared.refuse(pool, triple)
        session, deeds, slots = taken
        self._stages.mark(session.uid, Stage.CLAIM)
        names = ", ".join(f"{role} {slot.name}" for role, slot in slots.items())
        self._events.record(session, "PreparedEscrowClaimed", f"Adopted {names}, whose keys were exchanged before.")
        # The deeds keep for good what the address is for: that must not be a spec which was changed meanwhile.
        self._unchanged(session)
        await self._deeds.record_address(session, deeds, triple.address)
        await self._publish(session, slots)
        self._stages.mark(session.uid, Stage.OPEN)
        return found, Escrow(session, slots, triple.address)

    async def _take(
        self, session: Session, pool: Pool, triple: Triple
    ) -> tuple[Session, Mapping[Role, Deed], Slots] | None:
        """Make a prepared escrow the session's: its Secret says so first. None if it is somebody else's by now."""
        session = await self._protect(session)
        self._stages.mark(session.uid, Stage.PREPARE)
        given = await self._prepared.give(session, triple)
        if given is None:
            return None
        deeds, (slots, _) = await both(
            self._deeds.take_over(session, given),
            both(self._claims.adopt_prepared(session, pool, triple), self._prepared.mark(session, triple)),
        )
        return session, deeds, slots

    def _unchanged(self, session: Session) -> Session:
        """The session after the writes to it; raises ConflictError if it is another one, or its spec was changed."""
        now = self._store.sessions.get(session.key)
        if now is None or (now.uid, now.generation) != (session.uid, session.generation):
            raise ConflictError(409, "Conflict", "the session was changed while its wallets were opened")
        return now

    @staticmethod
    def _was_published(session: Session, slots: Slots) -> bool:
        """Whether the status reports these very pods' wallets as open, which is written after connections were."""
        return session.phase in OPEN_PHASES and are_told_open(session, slots)

    async def _protect(self, session: Session) -> Session:
        """Add the finalizer before a wallet is open. Raises ConflictError."""
        if session.finalizers.own is not None:
            return session
        added = session.finalizers.added(FINALIZER)
        return await patch_session(self._ctx, session, if_unchanged(session, added))

    def _is_open(self, slot: Slot) -> bool:
        return slot.wallet_file is not None and self._opener.is_open(slot, slot.wallet_file)

    async def _tell(self, session: Session, slots: Slots, before: set[str]) -> Session:
        """Record an Event for new slots; write the phase Opening, also for a claim whose operator died before."""
        fresh = [slot for slot in slots.values() if slot.uid not in before]
        if fresh:
            story = "SlotReplaced" if session.phase in OPEN_PHASES else "SlotsClaimed"
            names = ", ".join(f"{slot.role} {slot.name}" for slot in fresh)
            self._events.record(session, story, f"Adopted {names}.")
        if session.phase in OPEN_PHASES or (session.phase is Phase.OPENING and not fresh):
            return session
        report = Report(
            Phase.OPENING,
            health(Phase.OPENING, OPENING, "The wallets are being opened."),
            {"wallets": wallet_fields(session, slots, opened=False, secrets=self.hands_out(session))},
        )
        return await self._status.report(session, report)

    async def _open(
        self, session: Session, slots: Slots, deeds: Mapping[Role, Deed], height: int
    ) -> tuple[Mapping[Role, Deed], Slots, str]:
        """Open the wallets. Returns deeds and slots as they are then (a new exchange has new files) and the address."""
        known = next((deed.address for deed in deeds.values() if deed.address), None)
        expected = known or session.status.get("address")
        reused = session.spec.setup is Setup.CREATE and expected is not None and "address" not in session.status
        if session.spec.setup is Setup.CREATE and expected is None:
            deeds, slots, expected = await self._create(session, slots, deeds, height)
            # Opened again below, from the files and with the passwords as the API server holds them: nothing is
            # published that was not seen to open.
            deeds = await self._deeds.resolve(session, height)
        opening = self._opener.open_all(slots, deeds, expected)
        if session.spec.setup is Setup.CREATE and any(deed.address is None for deed in deeds.values()):
            # Only an address that is in all three deeds is published: a client could hand out one that the next attempt
            # does not know.
            address = await opening
        else:
            address, _ = await both(opening, self._publish(session, slots))
        if reused:
            # Recorded when the wallets are open, not at each attempt.
            self._events.record(
                session,
                "WalletsReused",
                "An earlier session of this name made wallets; they are open again, with their address and balance.",
            )
        return deeds, slots, address

    async def _create(
        self, session: Session, slots: Slots, deeds: Mapping[Role, Deed], height: int
    ) -> tuple[Mapping[Role, Deed], Slots, str]:
        """Run the key exchange, or what an earlier attempt left to do of it."""
        for slot in slots.values():
            # What is open in them is closed now, a prepared escrow that the session was given among it.
            self._opener.forget(slot)
        deeds, slots, address = await self._creator.make(session, slots, deeds, height)
        self._events.record(
            session,
            "KeysExchanged",
            "The three wallets share a 2-of-3 multisig; they are opened again to prove it.",
        )
        return deeds, slots, address

    async def follow(self, session: Session, slots: Slots) -> None:
        """Keep an open session's host names pointing to its present pods, whatever else it waits for.

        Raises Blocked or NotOpened for a pod that is not usable.
        """
        if session.phase not in OPEN_PHASES:
            return
        absent = [slots[role] for role in ROLES if role in slots and not slots[role].usable]
        told = session.status.get("wallets") or {}
        if any((told.get(slot.role) or {}).get("opened") for slot in absent):
            # Withdrawn first: "opened" in the status means, also to the next operator, that the host names are current.
            blocked = not_ready(absent[0])
            raise Blocked(blocked.reason, blocked.message, retry_after=0.0)
        if absent or len(slots) < len(ROLES) or self._memory.of(session.uid, _Published).places is not None:
            await self._point(session, slots)
        if absent and len(slots) == len(ROLES):
            raise not_ready(absent[0])

    async def _point(self, session: Session, slots: Slots) -> None:
        """Publish host names for the usable pods, and for no others."""
        published, places = self._memory.of(session.uid, _Published), _places(slots)
        if published.places == places:
            return
        namespace = session.key.namespace
        body = endpoint_slice(session, slots)
        if body is None:
            await self._kube.delete(ENDPOINT_SLICES, namespace, endpoint_slice_name(session.key))
        else:
            await self._kube.apply(ENDPOINT_SLICES, namespace, body)
        published.places = places

    def hands_out(self, session: Session) -> bool:
        """Whether a session has connection Secrets: as when it opened, or as its pool says for one that opens."""
        told: Mapping[str, Any] = session.status.get("wallets") or {}
        if session.phase in OPEN_PHASES and told:
            return any("secret" in wallet for wallet in told.values())
        pool = self._store.pools.get(session.pool_key)
        return pool is None or pool.spec.connection_secrets

    async def _publish(self, session: Session, slots: Slots) -> None:
        """Write connection Secrets and host names, where they differ from those of the present slots."""
        await both(self._point(session, slots), self._hand_out(session, slots))

    async def _hand_out(self, session: Session, slots: Slots) -> None:
        published, marks = self._memory.of(session.uid, _Published), _logins(slots)
        if published.logins == marks or not self.hands_out(session):
            return
        namespace = session.key.namespace
        accesses = {role: await self._wallets.access(slots[role]) for role in ROLES}
        await gather_all(
            self._kube.apply(SECRETS, namespace, connection_secret(session, slots[role], *accesses[role]))
            for role in ROLES
        )
        published.logins = marks


def _is_doubtful(session: Session) -> bool:
    """Whether wallets were never seen to open, or failed to last time: no session is to be evicted for them in vain."""
    unseen = session.spec.setup is Setup.OPEN and "address" not in session.status
    return unseen or "failure" in session.status


def _logins(slots: Slots) -> tuple[str, ...]:
    """What the logins depend on."""
    return tuple(f"{slots[role].uid}/{slots[role].login_key}" for role in ROLES)


def _places(slots: Slots) -> tuple[Any, ...]:
    """What the host names depend on."""
    return tuple((role, slot.uid, slot.ip, slot.node, slot.usable) for role, slot in sorted(slots.items()))


def wallet_fields(session: Session, slots: Slots, *, opened: bool, secrets: bool) -> dict[str, Any]:
    """The ``wallets`` field of the status, by role; ``secrets`` tells whether there are connection Secrets."""
    return {
        role.value: {
            "pod": slot.name,
            "podUID": slot.uid,
            "podIP": slot.ip,
            "endpoint": endpoint_url(session.key, session.pool_key, role, tls=bool(slot.tls)),
            **({"secret": connection_name(session.key, role)} if secrets else {}),
            "file": slot.wallet_file,
            "opened": opened,
        }
        for role, slot in sorted(slots.items())
    }
