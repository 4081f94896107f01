"""Why a session cannot go on: each outcome says what becomes of its place, its slots and its next look."""

from __future__ import annotations

import pytest

from escrow_operator.core.poolstatus import Problem
from escrow_operator.errors import EscrowError
from escrow_operator.services.runtime.outcomes import (
    RECHECK_SECONDS,
    RETRY_SECONDS,
    STILL_OPEN,
    WAITING,
    Blocked,
    CutOff,
    Failed,
    NotOpened,
    NotOurs,
    SlotBroken,
    no_pool,
)
from unit.factories import slot

SLOT = slot("pod")
ALL = [
    Blocked("Reason", "It is.", retry_after=1.0),
    Failed("Reason", "It is.", again=True),
    NotOpened("Reason", "It is.", slot=SLOT),
    CutOff("It is."),
    SlotBroken(SLOT, "It is."),
    no_pool("default", "shop", deleting=False),
]


@pytest.mark.parametrize("outcome", ALL, ids=lambda outcome: type(outcome).__name__)
def test_each_says_why_and_when_to_look_again_and_nobody_keeps_a_place_unasked(outcome: Blocked) -> None:
    """Nobody is to give way to a session that could not use the place."""
    assert outcome.reason.isidentifier()
    assert outcome.message
    assert outcome.retry_after > 0
    assert not outcome.keeps_place
    assert isinstance(outcome, EscrowError)
    assert str(outcome) == f"{outcome.reason}: {outcome.message}"


def test_what_mends_itself_is_looked_at_sooner_than_what_a_person_must_mend() -> None:
    soon = {NotOpened("R", "m").retry_after, CutOff("m").retry_after, SlotBroken(SLOT, "m").retry_after}
    late = {Failed("R", "m", again=False).retry_after, no_pool("p", "n", deleting=True).retry_after}
    assert (soon, late) == ({RETRY_SECONDS}, {RECHECK_SECONDS})
    assert RETRY_SECONDS < RECHECK_SECONDS


def test_fields_of_one_are_not_those_of_another() -> None:
    one, other = Blocked("R", "m", retry_after=1.0), Blocked("R", "m", retry_after=1.0)
    one.fields = {"opening": None}
    assert other.fields == {}


def test_a_cut_off_wallet_is_open_and_a_broken_slot_says_that_it_goes() -> None:
    assert CutOff("m").reason in STILL_OPEN
    broken = SlotBroken(SLOT, "It refuses its login.")
    assert (broken.reason, broken.slot) == ("SlotUnauthorized", SLOT)
    assert broken.message.endswith("It is replaced.")
    assert broken.reason not in WAITING


@pytest.mark.parametrize(
    "reason", ["WrongPassword", "WalletFileNotFound", "DeedMissing", "SecretNotFound", "WalletInUse"]
)
def test_who_could_not_use_slots_waits_for_none(reason: str) -> None:
    assert reason not in WAITING


@pytest.mark.parametrize("deleting", [True, False])
def test_a_pool_that_is_not_there_is_named_with_its_namespace(deleting: bool) -> None:
    blocked = no_pool("default", "shop", deleting=deleting)
    assert "WalletPool default" in blocked.message
    assert "namespace shop" in blocked.message
    assert ("is being deleted" in blocked.message) is deleting


def test_an_object_that_is_somebody_elses_is_told_in_the_words_of_its_problem() -> None:
    problem = Problem("ObjectNotOurs", "Service default-wallets is not of this pool.")
    assert str(NotOurs(problem)) == problem.message
    assert NotOurs(problem).problem is problem
