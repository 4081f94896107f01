"""The one way out: nobody calls a wallet closed that may be open, and nothing leads to it afterwards."""

from __future__ import annotations

from typing import Any, cast

import pytest

from escrow_operator.adapters.kube import ENDPOINT_SLICES, PODS, SECRETS, SESSIONS
from escrow_operator.adapters.kube_errors import ConflictError, UnavailableError
from escrow_operator.core.manifests.common import (
    BASE_LABELS,
    connection_name,
    endpoint_slice_name,
    owner_reference,
)
from escrow_operator.core.manifests.session import CONNECTION_TYPE, DEED_TYPE
from escrow_operator.errors import NoWalletOpen, WalletError, WalletTimeout, WalletUnauthorized
from escrow_operator.models.common import FINALIZER, ROLES, Label, Role
from escrow_operator.models.session import Phase, Session, SessionKey
from escrow_operator.models.slot import Slot
from escrow_operator.services.runtime.outcomes import Blocked
from escrow_operator.services.sessions.closing import SessionCloser
from escrow_operator.services.wallets.closer import WalletCloser
from unit.factories import session, session_body, slot_body
from unit.kube import InstantKube
from unit.world.context import make_context

KEY = SessionKey("shop", "demo")


class Wallet:
    """A process with a wallet open, unless it says otherwise."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name
        self.is_open = True
        self.closes: WalletError | None = None
        self.lets_go = True

    async def close_wallet(self, *, deadline: float) -> None:
        assert deadline > 0
        self.log.append(f"close {self.name}")
        if self.closes:
            raise self.closes
        if not self.is_open:
            raise NoWalletOpen("none")
        self.is_open = not self.lets_go

    async def address(self) -> str:
        if self.is_open:
            return "4escrow"
        raise NoWalletOpen("none")


class Bench:
    """A session with three slots; the services around the closer are this one."""

    def __init__(self, *, phase: Phase = Phase.EXPIRED) -> None:
        self.kube = InstantKube()
        self.ctx = make_context(self.kube)
        self.store = self.ctx.store
        self.log: list[str] = []
        self.wallets = {role: Wallet(self.log, role.value) for role in ROLES}
        self.broken: Blocked | None = None
        self.forgotten: list[str] = []
        self.closer = WalletCloser(self.ctx, cast("Any", self), cast("Any", self))
        self.session = self.puts(phase=phase)

    def puts(self, name: str = "demo", **options: Any) -> Session:
        body = self.kube.put(SESSIONS, session_body(name, **options))
        self.store.see_session(body)
        return Session.parse(body)

    def slot(self, role: Role, **options: Any) -> Slot:
        body = self.kube.put(PODS, slot_body(role.value, role, owner=self.session, **options))
        assert self.store.see_slot(body)
        return Slot.parse(body)

    def connects(self, owner: Session, **meta: Any) -> None:
        """What clients connect with."""
        shared = {
            "namespace": owner.key.namespace,
            "labels": {**BASE_LABELS, Label.SESSION: owner.key.name},
            "ownerReferences": [owner_reference(owner)],
        } | meta
        self.kube.put(ENDPOINT_SLICES, {"metadata": {"name": endpoint_slice_name(owner.key)} | shared})
        for role in ROLES:
            name = {"name": connection_name(owner.key, role)}
            self.kube.put(SECRETS, {"metadata": shared | name, "type": CONNECTION_TYPE, "data": {"password": "eA=="}})

    # The services around it.

    async def client(self, slot: Slot) -> Wallet:
        if self.broken:
            raise self.broken
        return self.wallets[slot.role]

    def forget(self, what: Slot | SessionKey) -> None:
        self.forgotten.append(what.name)


async def test_wallets_are_closed_before_their_pods_go() -> None:
    bench = Bench()
    for role in ROLES:
        bench.slot(role)
    assert await bench.closer.release(bench.session)
    assert sorted(bench.log) == ["close arbiter", "close buyer", "close vendor"]
    assert bench.kube.all(PODS) == []
    assert sorted(bench.forgotten) == sorted(ROLES), "what is opened there next is opened anew"


@pytest.mark.parametrize("error", [WalletTimeout("deadline"), WalletError("no disk"), WalletUnauthorized("401")])
async def test_i1_a_wallet_that_does_not_say_that_it_is_closed_counts_as_open(error: WalletError) -> None:
    """Its answer may be lost: only when its pod is gone may another one open the file."""
    bench = Bench()
    for role in ROLES:
        bench.slot(role)
    bench.wallets[Role.VENDOR].closes = error
    assert not await bench.closer.release(bench.session)
    assert bench.kube.all(PODS) == [], "SIGTERM ends it, too"


async def test_i1_a_wallet_that_says_closed_and_is_not_counts_as_open() -> None:
    """Its owner has the login, and may open it again in the same moment."""
    bench = Bench()
    bench.slot(Role.BUYER)
    bench.wallets[Role.BUYER].lets_go = False
    assert not await bench.closer.release(bench.session)


async def test_a_process_without_a_wallet_has_none_to_close() -> None:
    bench = Bench()
    bench.slot(Role.BUYER)
    bench.wallets[Role.BUYER].is_open = False
    assert await bench.closer.release(bench.session)


@pytest.mark.parametrize(("pod", "closed"), [({"ready": False}, False), ({"ip": None}, False), ({}, True)])
async def test_i1_a_pod_that_cannot_be_called_may_hold_its_wallet_unless_its_containers_have_ended(
    pod: dict[str, Any], closed: bool
) -> None:
    bench = Bench()
    body = slot_body("buyer", Role.BUYER, owner=bench.session, **pod)
    if closed:
        body["status"]["phase"] = "Failed"
    assert bench.store.see_slot(bench.kube.put(PODS, body))
    assert await bench.closer.release(bench.session) is closed
    assert bench.log == []
    assert bench.kube.all(PODS) == []


async def test_a_slot_whose_login_is_not_to_be_had_is_ended_all_the_same() -> None:
    bench = Bench()
    bench.slot(Role.BUYER)
    bench.broken = Blocked("SecretInvalid", "There is no key.", retry_after=5.0)
    assert not await bench.closer.release(bench.session)
    assert bench.kube.all(PODS) == []


async def test_only_the_very_pod_is_deleted_and_one_that_ends_is_left_to_end() -> None:
    bench = Bench()
    bench.slot(Role.BUYER)
    bench.kube.put(PODS, {"metadata": {"name": "buyer", "namespace": "shop", "uid": "made-again"}})
    assert bench.store.see_slot(slot_body("vendor", Role.VENDOR, owner=bench.session, terminating=True))
    await bench.closer.release(bench.session)
    assert [pod["metadata"]["uid"] for pod in bench.kube.all(PODS)] == ["made-again"]
    assert bench.kube.written("delete") == ["pods/buyer"]


async def test_what_a_crash_left_of_a_closed_session_is_found_and_withdrawn() -> None:
    """Its status was written, its pods went, and nobody was there to delete what clients connect with."""
    bench = Bench()
    bench.connects(bench.session)
    bench.connects(bench.puts("active", phase=Phase.ACTIVE))
    assert await bench.closer.find_stale(None) == [KEY]
    assert bench.closer.is_stale(bench.session)
    await bench.closer.withdraw_endpoints(bench.session)
    assert not bench.closer.is_stale(bench.session)
    assert [body["metadata"]["name"] for body in bench.kube.all(ENDPOINT_SLICES)] == ["active-wallets"]
    left = {body["metadata"]["name"] for body in bench.kube.all(SECRETS) if body["data"]}
    assert left == {f"active-{role}-rpc" for role in ROLES}
    assert await bench.closer.find_stale(None) == []


async def test_host_names_go_last_since_by_them_the_rest_is_found() -> None:
    bench = Bench()
    bench.connects(bench.session)
    await bench.closer.withdraw_endpoints(bench.session)
    assert bench.kube.writes[-1] == ("delete", "endpointslices", "demo-wallets")
    assert len(bench.kube.written("patch")) == 3


async def test_a_secret_that_is_no_connection_keeps_what_is_in_it() -> None:
    """Names follow from the session's: a deed, or anything of its user's, may have this one."""
    bench = Bench()
    bench.connects(bench.session)
    meta = {"name": connection_name(KEY, Role.BUYER), "namespace": "shop"}
    bench.kube.put(SECRETS, {"metadata": meta, "type": DEED_TYPE, "data": {"password": "eA=="}})
    await bench.closer.withdraw_endpoints(bench.session)
    left = [body["metadata"]["name"] for body in bench.kube.all(SECRETS) if body["data"]]
    assert left == ["demo-buyer-rpc"]
    assert bench.kube.all(ENDPOINT_SLICES) == []


@pytest.mark.parametrize("happens", [False, True])
@pytest.mark.parametrize("write", range(4))
async def test_what_could_not_be_withdrawn_is_found_again_unless_all_of_it_was(write: int, happens: bool) -> None:
    bench = Bench()
    bench.connects(bench.session)
    await bench.closer.find_stale(None)
    bench.kube.fail_at = (write, happens)
    await bench.closer.withdraw_endpoints(bench.session)
    assert bench.closer.is_stale(bench.session), "it was told that it failed"
    left = [body for body in bench.kube.all(SECRETS) if body["data"]]
    if left or not happens:
        assert await bench.closer.find_stale(None) == [KEY]
    await bench.closer.withdraw_endpoints(bench.session)
    assert not bench.closer.is_stale(bench.session)
    assert not any(body["data"] for body in bench.kube.all(SECRETS))
    assert bench.kube.all(ENDPOINT_SLICES) == []


async def test_what_a_closing_session_could_not_withdraw_is_left_to_its_next_reconciliation() -> None:
    """Closing forgets what is remembered of the session, but not that clients can still connect."""
    bench = Bench()
    bench.connects(bench.session)
    await bench.closer.find_stale(None)
    fakes: dict[str, Any] = dict.fromkeys(("claims", "deeds", "status"), bench)
    closer = SessionCloser(bench.ctx, closer=bench.closer, **fakes)
    bench.kube.fail_at = (0, False)
    await closer.stay_closed(bench.session)
    assert bench.kube.all(ENDPOINT_SLICES) != []
    await closer.stay_closed(bench.session)
    assert bench.kube.all(ENDPOINT_SLICES) == []


async def test_wallets_close_although_connections_cannot_be_withdrawn() -> None:
    bench = Bench()
    bench.connects(bench.session)
    bench.kube.refuses[None] = UnavailableError(500, "InternalError", "not now")
    await bench.closer.withdraw_endpoints(bench.session)


@pytest.mark.parametrize("pretended", ["label", "name", "former"])
async def test_a_predecessors_host_names_and_made_up_ones_are_left_to_garbage_collection(pretended: str) -> None:
    bench = Bench()
    former = bench.session if pretended == "name" else session("demo")
    labels = {**BASE_LABELS, Label.SESSION: "demo"}
    refs = [owner_reference(former) | ({} if pretended == "name" else {"uid": "another"})]
    name = "made-up" if pretended == "name" else "demo-wallets"
    meta = {"name": name, "namespace": "shop", "labels": labels, "ownerReferences": refs}
    if pretended == "label":
        del meta["ownerReferences"]
    bench.kube.put(ENDPOINT_SLICES, {"metadata": meta})
    assert await bench.closer.find_stale(None) == []


@pytest.mark.parametrize("phase", sorted({Phase.PENDING, Phase.OPENING, Phase.ACTIVE, Phase.SETTLING}))
async def test_what_leads_to_a_session_that_lives_is_not_stale(phase: Phase) -> None:
    bench = Bench(phase=phase)
    bench.connects(bench.session)
    assert await bench.closer.find_stale(None) == []


async def test_a_deleted_sessions_connections_go_with_it() -> None:
    bench = Bench()
    bench.connects(bench.session)
    body = session_body(phase=Phase.EXPIRED)
    body["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER]}
    bench.store.see_session(bench.kube.put(SESSIONS, body))
    assert await bench.closer.find_stale(None) == []


def test_the_uid_of_a_session_that_was_made_again_is_not_stale() -> None:
    bench = Bench()
    assert not bench.closer.is_stale(session("demo"))


async def with_finalizers(bench: Bench, *finalizers: str) -> Session:
    body = session_body(phase=Phase.EXPIRED)
    body["metadata"]["finalizers"] = list(finalizers)
    seen = bench.kube.put(SESSIONS, body)
    bench.store.see_session(seen)
    return Session.parse(seen)


async def test_of_several_finalizers_only_the_operators_is_taken_away() -> None:
    bench = Bench()
    subject = await with_finalizers(bench, "theirs.dev/a", FINALIZER, "theirs.dev/b")
    await bench.closer.drop_finalizer(subject)
    left = bench.kube.find(SESSIONS, "demo")
    assert left
    assert left["metadata"]["finalizers"] == ["theirs.dev/a", "theirs.dev/b"]
    assert bench.store.sessions[KEY].finalizers.own is None, "it is not taken away twice"


async def test_a_finalizer_that_moved_since_takes_nobody_elses_place() -> None:
    bench = Bench()
    subject = await with_finalizers(bench, FINALIZER, "theirs.dev/b")
    await with_finalizers(bench, "theirs.dev/b", FINALIZER)
    with pytest.raises(ConflictError):
        await bench.closer.drop_finalizer(subject)
    left = bench.kube.find(SESSIONS, "demo")
    assert left
    assert left["metadata"]["finalizers"] == ["theirs.dev/b", FINALIZER]
