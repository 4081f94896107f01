"""Pods that others labelled as slots."""

from __future__ import annotations

from typing import Any

import pytest

from escrow_operator.models.common import Label
from escrow_operator.models.slot import LONGEST_MESSAGE, LONGEST_NOTE, Slot
from escrow_operator.services.store import Store
from unit.factories import slot_body

HUGE = "x" * 250_000
"""About what all annotations of an object may have together."""


@pytest.mark.parametrize("annotation", [Label.WALLET_FILE, Label.LOGIN_KEY, Label.DAEMON_SECRETS])
def test_what_has_no_bound_is_not_kept(annotation: str) -> None:
    body = slot_body("p")
    body["metadata"]["annotations"] |= {annotation: HUGE, "others/note": HUGE}
    kept = str(Slot.parse(body))

    assert len(kept) < 2_000


def test_the_longest_file_name_there_can_be_is_kept() -> None:
    longest = "f" * LONGEST_NOTE

    assert Slot.parse(slot_body("p", wallet_file=longest)).wallet_file == longest


@pytest.mark.parametrize("pool", ["", "Upper", "a_b", "a..b", "../up"])
def test_a_pod_that_names_no_pool_is_no_slot(pool: str) -> None:
    """Its pool's name becomes a part of a URL."""
    body = slot_body("p")
    body["metadata"]["labels"][Label.POOL] = pool

    assert Store().see_slot(body) is None


def _waits(message: str) -> dict[str, Any]:
    body = slot_body("p", ready=False)
    waiting = {"reason": "ImagePullBackOff", "message": message}
    body["status"]["containerStatuses"] = [{"restartCount": 0, "state": {"waiting": waiting}}]
    return body


def test_what_a_registry_said_is_fit_for_a_terminal() -> None:
    trouble = Slot.parse(_waits("\x1b[2J\nback-off\u202e " + HUGE)).trouble

    assert trouble is not None
    assert trouble[1].isprintable()
    assert len(trouble[1]) == LONGEST_MESSAGE
