"""Holds the invariants against what the API server shows, again and again, and at the end when all is at rest."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from escrow_operator.adapters.kube import EVENTS, PODS, POOLS, SECRETS, SESSIONS
from escrow_operator.core.manifests.session import CONNECTION_TYPE, DEED_TYPE
from escrow_operator.models.common import ROLES, Label
from escrow_operator.models.session import OPEN_PHASES
from harness.api import Body, is_ready
from harness.escrow import condition, decode
from harness.gateway import LABELS as GATEWAY_LABELS
from harness.operator import NAMESPACE
from harness.place import Place

from .books import Books
from .patience import HEALS_WITHIN, PASSES, Stuck, insist
from .timeline import Timeline

LOOK_SECONDS = 1.0

STALE_SECONDS = 60.0
"""For so long a status may say something that is no longer so: what tells the operator may itself be broken."""


@dataclass(slots=True)
class Checker:
    """Looks once a second, as long as the API server answers."""

    place: Place
    books: Books
    timeline: Timeline
    cap: int
    looks: int = 0
    logs: dict[str, str] = field(default_factory=dict)
    """What pods logged that are gone, by name."""
    _deeds: dict[str, dict[str, str]] = field(default_factory=dict)
    _addresses: dict[str, str] = field(default_factory=dict)
    _named: set[str] = field(default_factory=set)
    _term: int = 0
    _since: dict[str, float] = field(default_factory=dict)

    async def watch(self, stop: asyncio.Event) -> None:
        """Look until told to stop."""
        while not stop.is_set():
            try:
                await self.look()
            except PASSES:
                # The API server is away, or what is shown would be of different moments.
                self._since.clear()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """One look. Raises what the API client raises."""
        api, namespace = self.place.api, self.place.namespace
        # Pods first: a session that is read later may have lost one of them, but has none that is not here for long.
        pods, sessions = await self.place.slots(), await api.list(SESSIONS, namespace)
        secrets = await api.list(SECRETS, namespace)
        self.looks += 1
        self._no_wallet_is_in_two_pods(pods, sessions)
        self._few_enough_are_open(pods)
        self._deeds_stay(secrets)
        self._status_is_true(sessions, pods)
        await self._terms_grow()
        self._learn_canaries(secrets)
        self._tells_no_secret("statuses and pods", json.dumps([sessions, pods]))
        # Of a pod that is about to end by itself, while it can be read.
        ending = [pod for pod in pods if "deletionTimestamp" in pod["metadata"]]
        for pod in ending:
            if pod["metadata"]["name"] not in self.logs:
                await self.keep_log(pod)

    async def keep_log(self, pod: Body) -> None:
        """Keep what a pod logged, which is about to be removed."""
        meta = pod["metadata"]
        restarted = any(c.get("restartCount") for c in pod["status"].get("containerStatuses") or ())
        for previous in (False, True) if restarted else (False,):
            try:
                text = await self.place.api.logs(meta["namespace"], meta["name"], previous=previous)
            except PASSES:
                continue
            self.logs[meta["name"]] = self.logs.get(meta["name"], "") + text

    def _no_wallet_is_in_two_pods(self, pods: Iterable[Body], sessions: Iterable[Body]) -> None:
        """I1: a pod has its wallet open, for all anybody knows, until it is gone or its containers have ended.

        But for a pod that its session never named: adopted by a request whose answer was lost, it has opened nothing.
        """
        for session in sessions:
            wallets = (session.get("status") or {}).get("wallets") or {}
            self._named |= {wallet.get("pod", "") for wallet in wallets.values()}
        held: dict[tuple[str, str], list[str]] = defaultdict(list)
        for pod in pods:
            meta = pod["metadata"]
            file = (meta.get("annotations") or {}).get(Label.WALLET_FILE)
            if Label.SESSION_UID in meta["labels"] and meta["name"] not in self._named:
                continue
            if file and pod["status"].get("phase") not in ("Succeeded", "Failed"):
                held[meta["labels"][Label.ROLE], file].append(meta["name"])
        for (role, file), names in held.items():
            if len(names) > 1:
                self.timeline.violated(f"I1: the {role} wallet {file} may be open in {' and '.join(sorted(names))}")

    def _few_enough_are_open(self, pods: Iterable[Body]) -> None:
        """I5: sessions that hold pods, none of them ending."""
        holders = defaultdict(list)
        for pod in pods:
            uid = pod["metadata"]["labels"].get(Label.SESSION_UID)
            if uid:
                holders[uid].append("deletionTimestamp" in pod["metadata"])
        number = sum(not any(ending) for ending in holders.values())
        if number > self.cap:
            self.timeline.violated(f"I5: {number} sessions hold slots, and the cap is {self.cap}")

    def _deeds_stay(self, secrets: Iterable[Body]) -> None:
        """I4: what could unlock money is never deleted, and never changed.

        Before it has an address nobody can have paid; an exchange that is begun anew makes other files.
        """
        found = {s["metadata"]["name"]: decode(s) for s in secrets if s.get("type") == DEED_TYPE}
        for name, known in self._deeds.items():
            if name not in found:
                self.timeline.violated(f"I4: the deed {name} is gone")
            elif any(known[key] != found[name].get(key) for key in known if known.get("address") or key == "password"):
                self.timeline.violated(f"I4: the deed {name} was changed")
        self._deeds |= found

    def _status_is_true(self, sessions: Iterable[Body], pods: Iterable[Body]) -> None:
        ready = Counter(pod["metadata"]["labels"].get(Label.SESSION_UID) for pod in pods if is_ready(pod))
        now = self.timeline.seconds
        lasting = set()
        for body in sessions:
            meta, status = body["metadata"], body.get("status") or {}
            address = status.get("address")
            if address and self._addresses.setdefault(meta["uid"], address) != address:
                self.timeline.violated(f"I4: the address of {meta['name']} changed")
            if condition(status, "Funded").get("status") == "True" and address not in self.books.paid:
                self.timeline.violated(f"I8: {meta['name']} says Funded, and nobody paid")
            if status.get("phase") in ("Completed", "Refunded") and meta["name"] not in self.books.settled:
                self.timeline.violated(f"I13: {meta['name']} says {status['phase']}, and nobody paid out")
            is_open = status.get("phase") in OPEN_PHASES and condition(status, "Ready").get("status") == "True"
            if is_open and ready[meta["uid"]] < len(ROLES):
                lasting.add(f"I2: {meta['name']} says Ready with {ready[meta['uid']]} of its three pods ready")
        self._since = {text: self._since.get(text, now) for text in lasting}
        for text, since in self._since.items():
            if now - since > STALE_SECONDS:
                self.timeline.violated(f"{text}, for {STALE_SECONDS:.0f} s")

    async def _terms_grow(self) -> None:
        """I15: each leadership has a number of its own, greater than those before."""
        term = await self.place.world.operator.term()
        if term < self._term:
            self.timeline.violated(f"I15: the number of the leadership fell from {self._term} to {term}")
        self._term = max(term, self._term)

    def _learn_canaries(self, secrets: Iterable[Body]) -> None:
        for secret in secrets:
            if secret.get("type") in (DEED_TYPE, CONNECTION_TYPE):
                name, password = secret["metadata"]["name"], decode(secret).get("password")
                if password:
                    self.books.canaries[password] = f"the password in {name}"

    async def at_rest(self) -> None:
        """When everybody has left: nothing leaked, and no secret was told."""
        try:
            await insist("all to be at rest", self._rests, within=HEALS_WITHIN)
        except Stuck as error:
            self.timeline.violated(f"I3: {error}: {await self._leaks()}")
        await self.look()
        await self._nothing_was_told()

    async def _rests(self) -> bool:
        return not await self._leaks()

    async def _leaks(self) -> list[str]:
        pods, pool = await self.place.slots(), await self.place.pool()
        found = [f"pod {pod['metadata']['name']}" for pod in pods if pod["metadata"]["labels"][Label.SLOT] != "free"]
        free = Counter(pod["metadata"]["labels"][Label.ROLE] for pod in pods if is_ready(pod))
        found += [f"{free[role.value]} free slots of {role}" for role in ROLES if free[role.value] != 1]
        left = await self.place.api.list(SESSIONS, self.place.namespace)
        found += [f"session {body['metadata']['name']}" for body in left]
        if pool.get("activeSessions") or pool.get("waitingSessions"):
            found.append(f"the pool counts {pool.get('activeSessions')} and {pool.get('waitingSessions')} sessions")
        return found

    async def _nothing_was_told(self) -> None:
        """I9: no canary in a log, an Event, a status, a command line or a page of metrics."""
        api, world = self.place.api, self.place.world
        texts = dict(self.logs)
        for resource, namespace in (
            *((kind, self.place.namespace) for kind in (SESSIONS, POOLS, EVENTS, PODS)),
            *((kind, NAMESPACE) for kind in (EVENTS, PODS)),
        ):
            texts[f"{resource.plural} of {namespace}"] = json.dumps(await api.list(resource, namespace))
        gateways = await api.list(PODS, NAMESPACE, labels=GATEWAY_LABELS)
        for pod in [*await world.operator.pods(), *gateways, *await self.place.slots()]:
            await self.keep_log(pod)
        texts |= self.logs
        texts["metrics"] = await world.operator.metrics()
        for where, text in texts.items():
            self._tells_no_secret(where, text)

    def _tells_no_secret(self, where: str, text: str) -> None:
        for canary, what in self.books.canaries.items():
            if canary in text:
                self.timeline.violated(f"I9: {what} is in {where}")
