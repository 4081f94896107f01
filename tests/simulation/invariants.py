"""The invariants of docs/architecture.md as functions of the world: some at every change, others when it is quiet."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from escrow_operator.adapters.kube import DEPLOYMENTS, DISRUPTION_BUDGETS, PODS, POOLS, SECRETS, SERVICES, SESSIONS
from escrow_operator.core.manifests.common import deployment_name, service_name
from escrow_operator.core.manifests.prepared import PREPARED_TYPE
from escrow_operator.core.manifests.session import CONNECTION_TYPE, DEED_TYPE
from escrow_operator.core.signing import read_rounds
from escrow_operator.models.common import ROLES, Label, SlotState
from escrow_operator.models.monero import parse_xmr
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.session import OPEN_PHASES, Phase, Setup

from .apiserver import Body, Event
from .chain import Block
from .names import POOL, full_name
from .wallet_files import WalletFile

if TYPE_CHECKING:
    from .world import World


HEARSAY_SECONDS = 60.0
"""For which what is told may be of a pod or chain that is no more: views are late, and some requests are sent again."""


_Slots = Counter[tuple[str, str, str]]
"""Numbers by namespace, pool and role."""


class Watchman:
    """Looks at every change as it happens, and notes what must not be."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.violations: list[str] = []
        self.addresses: dict[str, tuple[str, str]] = {}
        """Session uid → its namespace, and the address that its status told."""
        self._escrows: dict[str, str] = {}
        """Address → the name of the one session that may ever tell it as that of a new escrow."""
        self.forgets_no_secret = True
        """Whether nothing happens that keeps Secrets of prepared escrows for good."""
        self._secrets: set[str] = set()
        self._former: list[tuple[float, tuple[Block, ...]]] = []
        """When chains were reorganised, and what they were."""
        self._lost: list[tuple[float, str]] = []
        """When adopted pods were gone, and the uid of their session."""
        self._settled: dict[str, str] = {}
        """Address → uid of the session whose payout was final."""
        self._newest: dict[tuple[str, str, tuple[str, str]], int] = {}
        """The newest version of each object that each process knew."""
        world.server.subscribers.append(self._see)

    def _see(self, event: Event) -> None:
        try:
            self._look_at(event)
            self._nobody_forgets()
        except Exception as error:
            # It would come out of the operator's own request, which tries that again.
            self.violations.append(f"the watchman itself: {error!r}")
            raise

    def _look_at(self, event: Event) -> None:
        match event.plural:
            case "escrowsessions":
                self._see_session(event)
            case "secrets":
                self._see_secret(event)
            case SERVICES.plural | DEPLOYMENTS.plural if event.kind == "DELETED":
                self._see_part_go(event.body)
            case "pods" if event.kind != "DELETED":
                self._see_pod(event)
            case "pods" if uid := event.body["metadata"]["labels"].get(Label.SESSION_UID):
                self._lost.append((self._world.clock.monotonic(), uid))
        if event.plural != "secrets":
            self._tells_no_secret(event.body)

    def _see_part_go(self, body: Body) -> None:
        """Garbage collection takes what is of former pools, and nothing of one that is there."""
        owners = {owner["uid"] for owner in body["metadata"].get("ownerReferences") or ()}
        living = {
            pool["metadata"]["uid"]
            for pool in self._world.server.all(POOLS)
            if self._world.namespaces.is_served(pool["metadata"]["namespace"])
        }
        if owners & living:
            self._note("I7", f"{body['metadata']['name']} of a pool that is there is gone")

    def _nobody_forgets(self) -> None:
        """What comes late hides nothing that is newer: a claim that was just made would be made again."""
        for process in self._world.processes:
            store = self._world.operators[process.name].store
            for plural, known in (("sessions", store.sessions), ("pools", store.pools), ("pods", store._slots)):
                for key, one in known.items():
                    place, version = (process.name, plural, (key[0], key[1])), int(one.resource_version)
                    if self._newest.setdefault(place, version) > version:
                        self._note("I7", f"{process.name} takes {plural} {key[1]} for what it was before")
                    self._newest[place] = version

    def _see_session(self, event: Event) -> None:
        body, meta = event.body, event.body["metadata"]
        status = body.get("status") or {}
        if address := status.get("address"):
            _, former = self.addresses.setdefault(meta["uid"], (meta["namespace"], address))
            if former != address:
                self._note("I4", f"session {meta['name']} had address {former} and has {address}")
            self._must_not_be_settled(body, address)
            self._must_be_its_own(body, address)
        if event.kind == "DELETED":
            return
        self._must_not_close_on_money(event)
        conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
        phase = Phase(status["phase"]) if "phase" in status else None
        if conditions.get("Ready") == "True" and phase in OPEN_PHASES and not _was_true(event.before, "Ready"):
            pods = self._world.pods_of(full_name(body))
            mine = [pod for pod in pods if pod["metadata"]["labels"].get(Label.SESSION_UID) == meta["uid"]]
            now = self._world.clock.monotonic()
            known = len(mine) + sum(uid == meta["uid"] and now - at < HEARSAY_SECONDS for at, uid in self._lost)
            if known < len(ROLES):
                self._note("I2", f"session {meta['name']} became Ready with {len(mine)} pods")
        if conditions.get("Funded") == "True" and not _was_true(event.before, "Funded"):
            self._must_be_funded(meta["name"], body)
        if phase in (Phase.COMPLETED, Phase.REFUNDED):
            self._must_be_settled(meta["name"], body)
        busy = [s for s in self._world.server.all(SESSIONS) if (s.get("status") or {}).get("phase") in OPEN_PHASES]
        if len(busy) > self._world.settings.sessions.max_active:
            self._note("I5", f"{len(busy)} sessions are open")

    def _must_not_be_settled(self, body: Body, address: str) -> None:
        """Parties of a trade that is over may hold the keys of its wallets."""
        meta, spec = body["metadata"], body["spec"]
        if body["status"].get("phase") in (Phase.COMPLETED, Phase.REFUNDED):
            self._settled.setdefault(address, meta["uid"])
        of = self._settled.get(address, meta["uid"])
        if of != meta["uid"] and spec["setup"] == Setup.CREATE and not spec.get("reuseSettledWallets"):
            self._note("I4", f"session {meta['name']} has the wallets of a trade that is over")

    def _must_be_its_own(self, body: Body, address: str) -> None:
        """What two customers pay to one address is lost to one of them."""
        if body["spec"]["setup"] == Setup.CREATE:
            name = self._escrows.setdefault(address, full_name(body))
            if name != full_name(body):
                self._note("I14", f"sessions {name} and {full_name(body)} have one address")

    def _must_not_close_on_money(self, event: Event) -> None:
        """What the status says of a payment under way keeps a session open."""
        before = (event.before or {}).get("status") or {}
        phase = event.body.get("status", {}).get("phase")
        if before.get("phase") == phase or phase not in (Phase.SUSPENDED, Phase.EXPIRED, Phase.EVICTED):
            return
        if event.body["spec"].get("suspend"):
            # Whoever may change the spec decides that nobody looks.
            return
        if (before.get("funding") or {}).get("pending", "0") != "0":
            self._note("I8", f"session {event.body['metadata']['name']} is {phase} with a payment under way")

    def before_reorganisation(self) -> None:
        """The chain is about to be another: what is told in the next moments may be of the one that was."""
        self._former.append((self._world.clock.monotonic(), tuple(self._world.chain.blocks)))

    def _chains(self) -> Iterator[Sequence[Block]]:
        yield self._world.chain.blocks
        now = self._world.clock.monotonic()
        yield from (blocks for at, blocks in self._former if now - at < HEARSAY_SECONDS)

    def _must_be_funded(self, name: str, body: Body) -> None:
        """When it becomes so: what a reorganisation takes away later is told at the next look."""
        spec, address = body["spec"], body["status"]["address"]
        paid = max(_paid(blocks, address, spec["confirmations"]) for blocks in self._chains())
        if paid < parse_xmr(spec["amount"]):
            self._note("I8", f"session {name} is Funded, and only {paid} piconero are as deep as it asks")

    def _must_be_settled(self, name: str, body: Body) -> None:
        txid = body["spec"].get("settlement", {}).get("txid")
        if not any(t.txid == txid for blocks in self._chains() for block in blocks for t in block.transactions):
            self._note("I8", f"session {name} is settled by {txid}, which is in no block")

    def _see_secret(self, event: Event) -> None:
        body = event.body
        if body.get("type") == DEED_TYPE:
            if event.kind == "DELETED" and self._world.namespaces.is_served(body["metadata"]["namespace"]):
                self._note("I4", f"deed {body['metadata']['name']} was deleted")
            if body["metadata"].get("ownerReferences"):
                self._note("I4", f"deed {body['metadata']['name']} has an owner")
        if body.get("type") == CONNECTION_TYPE and body.get("data") and event.kind != "DELETED":
            self._must_be_proven(body)
        for key in ("password", "key", *(f"{role}-password" for role in ROLES)):
            if value := (body.get("data") or {}).get(key):
                self._secrets.add(base64.b64decode(value).decode())

    def _must_be_proven(self, connection: Body) -> None:
        """A client could hand out an address of which the next attempt would know nothing."""
        name = f"{connection['metadata']['namespace']}/{connection['metadata']['labels'][Label.SESSION]}"
        session = self._world.session(name)
        if session is None or session["spec"]["setup"] == Setup.OPEN:
            return
        deeds = [self._world.secret(f"{name}-{role.value}-wallet") for role in ROLES]
        if any(deed is None or "address" not in deed["data"] for deed in deeds):
            self._note("I4", f"clients can connect to session {name} before its deeds have an address")

    def _see_pod(self, event: Event) -> None:
        meta, before = event.body["metadata"], event.before
        uid = meta["labels"].get(Label.SESSION_UID)
        former = before["metadata"]["labels"].get(Label.SESSION_UID) if before else None
        if former and uid != former:
            self._note("I2", f"pod {meta['name']} was of session {former} and is of {uid}")

    def _tells_no_secret(self, body: Body) -> None:
        text = json.dumps(body)
        for secret in self._secrets:
            if len(secret) > 8 and secret in text:
                self._note("I9", f"{body['metadata']['name']} tells a secret")

    def _note(self, invariant: str, what: str) -> None:
        text = f"{invariant}: {what}"
        if text not in self.violations:
            self.violations.append(text)

    def at_any_time(self) -> list[str]:
        """What was seen until now."""
        return self.violations + [
            f"I1: {name} was open twice in {claim}"
            for (_, claim), volume in self._world.volumes.items()
            for name in volume.opened_twice
        ]

    def at_rest(self) -> list[str]:
        """The same, and what must hold once nothing is under way."""
        failures = [f"the simulation itself: {error!r}" for error in self._world.network.failures]
        return [
            *failures,
            *self.at_any_time(),
            *self._no_slot_leaks(),
            *self._money_can_be_reached(),
            *self._status_is_true(),
            *self._pools_are_whole(),
            *self._no_drain_waits(),
        ]

    def _no_slot_leaks(self) -> list[str]:
        world, found = self._world, []
        sessions = {body["metadata"]["uid"]: body for body in world.server.all(SESSIONS)}
        held: Counter[str] = Counter()
        free: _Slots = Counter()
        prepared: _Slots = Counter()
        for pod in world.server.all(PODS):
            meta = pod["metadata"]
            uid = meta["labels"].get(Label.SESSION_UID)
            if "deletionTimestamp" in meta:
                found.append(f"I3: pod {meta['name']} never ends")
            elif uid is None:
                there = prepared if meta["labels"][Label.SLOT] == SlotState.PREPARED else free
                there[meta["namespace"], meta["labels"][Label.POOL], meta["labels"][Label.ROLE]] += 1
            elif uid not in sessions:
                found.append(f"I3: pod {meta['name']} has no living owner")
            else:
                held[uid] += 1
        for uid, body in sessions.items():
            name, status = full_name(body), body.get("status") or {}
            is_open = status.get("phase") in OPEN_PHASES
            if held[uid] != (len(ROLES) if is_open else 0):
                found.append(f"I3: session {name} ({status.get('phase')}) has {held[uid]} pods at rest")
        return found + self._pools_have_their_slots(free, prepared) + self._no_prepared_escrow_leaks()

    def _pools_have_their_slots(self, free: _Slots, prepared: _Slots) -> list[str]:
        found = []
        for pool in self._world.server.all(POOLS):
            for what, there, wanted in (
                ("free", free, pool["spec"]["warmSlots"]),
                ("prepared", prepared, pool["spec"]["preparedEscrows"]),
            ):
                for role in ROLES:
                    number = there[pool["metadata"]["namespace"], pool["metadata"]["name"], role]
                    if number != wanted:
                        found.append(f"I3: {number} {what} slots of {role} in pool {full_name(pool)}, not {wanted}")
        return found

    def _no_prepared_escrow_leaks(self) -> list[str]:
        """Each Secret of one is that of a session that was given it, or has three pods that wait for a session."""
        sessions = {session["metadata"]["uid"] for session in self._world.server.all(SESSIONS)}
        waiting = Counter(pod["metadata"]["labels"].get(Label.PREPARED) for pod in self._world.server.all(PODS))
        found = []
        for secret in self._world.server.all(SECRETS) if self.forgets_no_secret else ():
            meta = secret["metadata"]
            owners = {owner["uid"] for owner in meta.get("ownerReferences") or ()}
            if secret.get("type") == PREPARED_TYPE and owners.isdisjoint(sessions) and not waiting[meta["name"]]:
                found.append(f"I3: Secret {meta['name']} is of no use")
        return found

    def _pools_are_whole(self) -> list[str]:
        """Each has a Service and Deployments of its own, and not of a former pool of its name."""
        found = []
        for pool in self._world.server.all(POOLS):
            key, uid = PoolKey(pool["metadata"]["namespace"], pool["metadata"]["name"]), pool["metadata"]["uid"]
            names = [(SERVICES, service_name(key)), *((DEPLOYMENTS, deployment_name(key, role)) for role in ROLES)]
            for resource, name in names if "deletionTimestamp" not in pool["metadata"] else ():
                body = self._world.server.find(resource, key.namespace, name) or {"metadata": {}}
                if uid not in {owner["uid"] for owner in body["metadata"].get("ownerReferences") or ()}:
                    found.append(f"I7: pool {key} has no {resource.plural} {name} of its own")
        return found

    def _no_drain_waits(self) -> list[str]:
        """No budget keeps a pod from being evicted when nobody signs with it."""
        world, now = self._world, self._world.clock.now()
        signing = {
            body["metadata"]["uid"]
            for body in world.server.all(SESSIONS)
            if read_rounds((body["metadata"].get("annotations") or {}).get(Label.SIGNING_ROUND), now=now)
        }
        budgets = [body["metadata"] for body in world.server.all(DISRUPTION_BUDGETS)]
        return [
            f"I3: {meta['name']} holds pods of a session that does not sign"
            for meta in budgets
            if signing.isdisjoint(owner["uid"] for owner in meta["ownerReferences"])
        ]

    def _money_can_be_reached(self) -> list[str]:
        """Of each address that was ever told, three deeds that open three wallet files of that address.

        A namespace takes its deeds with it, as its users were told.
        """
        world, known = self._world, {role: dict[str, Body]() for role in ROLES}
        for secret in world.server.all(SECRETS):
            if secret.get("type") == DEED_TYPE:
                data = {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}
                for role in ROLES:
                    if secret["metadata"]["labels"][Label.ROLE] == role and data.get("address"):
                        known[role][data["address"]] = data
        found = []
        for namespace, address in sorted(set(self.addresses.values())):
            for role in ROLES if world.namespaces.is_served(namespace) else ():
                deed = known[role].get(address)
                if deed is None:
                    found.append(f"I4: no deed of {role} has address {address}")
                elif not _opens(
                    world.volume(role, f"{namespace}/{POOL}").files.get(deed["file"]), deed["password"], address
                ):
                    found.append(f"I4: the deed of {role} opens no wallet of {address}")
        return found

    def _status_is_true(self) -> list[str]:
        world, found = self._world, []
        for body in world.server.all(SESSIONS):
            name, status = full_name(body), body.get("status") or {}
            address = status.get("address")
            if status.get("phase") not in OPEN_PHASES or not address:
                if world.is_true(name, "Funded") and status.get("phase") not in (Phase.COMPLETED, Phase.REFUNDED):
                    found.append(f"I8: session {name} is closed and Funded")
                continue
            if not world.wallets_are_open(name):
                found.append(f"I8: session {name} is {status['phase']}, and not all of its wallets are open")
        return found


def _opens(file: WalletFile | None, password: str, address: str) -> bool:
    return file is not None and file.password == password and file.keys.address == address


def _paid(blocks: Sequence[Block], address: str, confirmations: int) -> int:
    """Piconero that were paid to an address at this depth or deeper."""
    deep = (t for block in blocks[: len(blocks) - confirmations + 1] for t in block.transactions)
    return sum(output.amount for transaction in deep for output in transaction.outputs if output.address == address)


def _was_true(body: Body | None, kind: str) -> bool:
    conditions = ((body or {}).get("status") or {}).get("conditions") or ()
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)
