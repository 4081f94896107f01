"""What a session says of itself as a whole: one story, in the words that people and machines read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from escrow_operator.core.conditions import Condition, merge_conditions
from escrow_operator.core.health import AT_REST, NOT_WATCHED, health, is_open, unknown_funding, unwatched
from escrow_operator.models.session import Phase
from unit.factories import T0, session
from unit.kstatus import CURRENT, FAILED, IN_PROGRESS, kstatus


def conditions(**said: tuple[str, str]) -> dict[str, Any]:
    """A status with conditions of these types: status, and message."""
    found = [
        {"type": kind, "status": status, "reason": "R", "message": text, "lastTransitionTime": "2026-01-01T00:00:00Z"}
        for kind, (status, text) in said.items()
    ]
    return {"conditions": found}


def by_type(found: tuple[Condition, ...]) -> dict[str, bool | None]:
    return {condition.type: condition.status for condition in found}


@given(phase=st.sampled_from(Phase), opened=st.sampled_from([True, False, None]))
def test_of_ready_reconciling_and_stalled_there_is_always_exactly_one(phase: Phase, opened: bool | None) -> None:
    # Only what is closed fails.
    assume(phase is not Phase.FAILED or opened is not True)
    said = by_type(health(phase, "Reason", "Message.", wallets_open=opened))
    true = [kind for kind in ("Ready", "Reconciling", "Stalled") if said.get(kind)]
    assert len(true) == 1, true
    assert said["WalletsOpen"] is (opened is not False)
    assert None not in said.values()


@pytest.mark.parametrize("phase", Phase)
def test_machines_that_wait_for_a_closed_session_see_what_it_comes_to(phase: Phase) -> None:
    fresh = health(phase, "Reason", "Message.")
    status = {"observedGeneration": 1, "conditions": merge_conditions([], fresh, generation=1, now=T0)}
    seen = kstatus({"metadata": {"generation": 1}, "status": status})
    expected = CURRENT if phase in AT_REST else FAILED if phase is Phase.FAILED else IN_PROGRESS
    assert seen == expected


def test_an_evicted_session_is_not_at_rest() -> None:
    """It is about to be deleted."""
    assert by_type(health(Phase.EVICTED, "Evicted", ""))["Ready"] is False


def test_while_monerod_is_away_wallets_are_open_and_the_session_is_not_ready() -> None:
    said = by_type(health(Phase.ACTIVE, "DaemonUnreachable", "", wallets_open=None))
    assert said == {"Ready": False, "WalletsOpen": True, "Reconciling": True}


def test_of_what_nobody_looks_at_nothing_is_said_to_be_known() -> None:
    watched = session(
        phase=Phase.ACTIVE,
        status=conditions(DaemonSynced=("True", ""), Funded=("True", "0.35 received."), Settled=("False", "")),
    )
    fresh = unwatched(watched)
    assert by_type(fresh) == {"DaemonSynced": None, "Funded": None, "Settled": None}
    assert {condition.reason for condition in fresh} == {NOT_WATCHED}
    assert "Last seen: True, 0.35 received." in fresh[1].message


def test_a_final_payout_stays_final_without_anybody_looking() -> None:
    over = session(
        phase=Phase.COMPLETED, status=conditions(Funded=("False", "Paid out."), Settled=("True", "It is final."))
    )
    assert unwatched(over, paid_out=True) == ()
    assert by_type(unwatched(over)) == {"Funded": None}


def test_a_session_that_never_said_anything_of_money_does_not_begin_to() -> None:
    assert unwatched(session()) == ()


def test_what_was_last_seen_is_kept_however_often_it_is_not_known() -> None:
    """Messages are bounded: one in another in another would push out what was seen."""
    known = {"status": "True", "message": "0.35 XMR received."}
    first = unknown_funding(known, "DaemonUnreachable", "monerod is away.")
    noted = {"status": "Unknown", "message": first.message}
    for _ in range(3):
        again = unknown_funding(noted, NOT_WATCHED, "Not known while closed.")
        noted = {"status": "Unknown", "message": again.message}
    assert noted["message"] == "Not known while closed. Last seen: True, 0.35 XMR received."


def test_what_was_never_seen_is_not_made_up() -> None:
    unknown = unknown_funding({"status": "Unknown", "message": "Not looked at yet."}, NOT_WATCHED, "Closed.")
    assert unknown.message == "Closed."


@pytest.mark.parametrize("phase", Phase)
def test_only_the_phase_and_the_condition_together_say_that_wallets_are_open(phase: Phase) -> None:
    """A crash may leave one of them behind."""
    said = session(phase=phase, status=conditions(WalletsOpen=("True", "")))
    assert is_open(said) is (phase in (Phase.ACTIVE, Phase.SETTLING))
    assert not is_open(session(phase=phase, status=conditions(WalletsOpen=("False", ""))))
    assert not is_open(session(phase=phase))
