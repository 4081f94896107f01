"""What version 0.1.0 stored is what it was, to this version: no session is opened anew, and no pod replaced.

``stored/0.1.0.yaml`` was written by that version in the simulated world, and is not to be written again: of a pool with
free slots and a prepared escrow, a session whose payout is final, one that expired, and one that is paid and in a
signing round. Of pods only what the operator reads is left.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from escrow_operator.core.agreement import ENOUGH
from escrow_operator.core.manifests.common import (
    connection_name,
    deed_name,
    disruption_budget_name,
    endpoint_slice_name,
    volume_claim_name,
)
from escrow_operator.core.manifests.prepared import PREPARED_TYPE
from escrow_operator.core.manifests.session import CONNECTION_TYPE, DEED_TYPE
from escrow_operator.core.ownership import Ownership, ownership, volume_claim_problem
from escrow_operator.core.report import are_told_open
from escrow_operator.core.signing import read_rounds
from escrow_operator.models.common import ROLES, Label, Role, SlotState, parse_time
from escrow_operator.models.deed import Deed
from escrow_operator.models.pool import Pool
from escrow_operator.models.prepared import PreparedEscrow
from escrow_operator.models.session import Phase, Session
from escrow_operator.models.slot import Slot
from escrow_operator.services.wallets.deeds import is_own_file, terms_of
from simulation.schema import admit
from testbed.settings import REPO_ROOT

Body = dict[str, Any]

STORED: list[Body] = list(
    yaml.safe_load_all((REPO_ROOT / "tests" / "unit" / "packaging" / "stored" / "0.1.0.yaml").read_text())
)


def stored(resource: str) -> dict[str, Body]:
    """The objects of a kind, by name."""
    return {body["metadata"]["name"]: body for body in STORED if body["resource"] == resource}


def sessions() -> dict[str, Session]:
    return {name: Session.parse(body) for name, body in stored("escrowsessions").items()}


def the_pool() -> Pool:
    (body,) = stored("walletpools").values()
    return Pool.parse(body)


def slots() -> list[Slot]:
    return [Slot.parse(body) for body in stored("pods").values()]


def held(session: Session) -> dict[Role, Slot]:
    return {slot.role: slot for slot in slots() if slot.session_uid == session.uid}


def lost(before: Any, after: Any, path: str) -> list[str]:
    """Where something is no more, or another."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [found for key in before for found in lost(before[key], after.get(key), f"{path}.{key}")]
    return [] if before == after else [path]


@pytest.mark.parametrize("plural", ["escrowsessions", "walletpools"])
def test_the_definitions_take_and_keep_all_of_it(plural: str) -> None:
    assert stored(plural)
    for name, body in stored(plural).items():
        kept, wrong = admit(plural, body)
        assert wrong is None
        assert not lost(body, kept, name)


def test_sessions_are_where_they_were() -> None:
    found = {name: session.phase for name, session in sessions().items()}
    assert found == {"trade": Phase.COMPLETED, "late": Phase.EXPIRED, "paid": Phase.ACTIVE}
    for session in sessions().values():
        assert session.finalizers.own is not None
        for kind in ("Ready", "WalletsOpen", "Funded"):
            assert session.condition(kind)


def test_the_open_one_has_its_wallets_open_in_pods_that_nobody_replaces() -> None:
    session, pool = sessions()["paid"], the_pool()
    mine = held(session)
    assert mine.keys() == set(ROLES)
    assert are_told_open(session, mine)
    for role, slot in mine.items():
        assert (slot.state, slot.usable) == (SlotState.ADOPTED, True)
        assert slot.wallet_file == session.status["wallets"][role]["file"]
        assert slot.has_daemon(pool.spec.daemon.digest)
        assert slot.login_key == next(one.login_key for one in slots() if one.state is SlotState.FREE)
    assert not held(sessions()["trade"])
    assert not held(sessions()["late"])


def test_deeds_open_the_wallets_that_they_opened() -> None:
    for name, session in sessions().items():
        for role in ROLES:
            secret = stored("secrets")[deed_name(session.key, role)]
            deed = Deed.from_secret(role, secret)
            assert (secret["type"], deed.sealed) == (DEED_TYPE, True)
            assert deed.address == session.status["address"]
            assert deed.terms == terms_of(session)
            assert (deed.settled is not None) is (name == "trade")
            assert deed.pool == the_pool().key.name


def test_prepared_escrows_are_given_to_whom_they_were_given() -> None:
    found = [PreparedEscrow.from_secret(body) for body in stored("secrets").values() if body["type"] == PREPARED_TYPE]
    given = {one.claimed_by for one in found if one.claimed_by}
    assert given == {session.uid for session in sessions().values()}
    (free,) = (one for one in found if not one.claimed_by)
    assert free.address
    assert {slot.prepared for slot in slots() if slot.state is SlotState.PREPARED} == {free.name}
    files = {session.status["wallets"]["buyer"]["file"] for session in sessions().values() if held(session)}
    assert files <= {one.file for one in found}
    assert all(is_own_file(sessions()["paid"], file) for file in files)


def test_what_is_the_pools_is_its_own() -> None:
    pool = the_pool()
    of_the_pool = [
        *stored("services").values(),
        *stored("deployments").values(),
        *stored("networkpolicies").values(),
        stored("secrets")[f"{pool.key.name}-slot-login"],
    ]
    assert len(of_the_pool) == 3 + len(ROLES)
    assert {ownership(pool, body) for body in of_the_pool} == {Ownership.OURS}
    for role in ROLES:
        claim = stored("persistentvolumeclaims")[volume_claim_name(pool.key, role)]
        assert volume_claim_problem(pool, role, claim) is None


def test_what_clients_and_drains_see_is_found_again() -> None:
    session = sessions()["paid"]
    names = stored("endpointslices")[endpoint_slice_name(session.key)]
    budget = stored("poddisruptionbudgets")[disruption_budget_name(session.key)]
    connections = [stored("secrets")[connection_name(session.key, role)] for role in ROLES]
    for body in (names, budget, *connections):
        assert [owner["uid"] for owner in body["metadata"]["ownerReferences"]] == [session.uid]
        assert body["metadata"]["labels"][Label.SESSION] == session.key.name
    assert {body["type"] for body in connections} == {CONNECTION_TYPE}
    assert len(names["endpoints"]) > ENOUGH
    began = parse_time(budget["metadata"]["creationTimestamp"])
    assert read_rounds(session.signing, now=began).keys() == {Role.VENDOR}
