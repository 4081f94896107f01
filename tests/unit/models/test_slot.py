"""What a pod says of itself: of its process and address, and what others may have written on it."""

from __future__ import annotations

from typing import Any

import pytest

from escrow_operator.models.common import Label
from escrow_operator.models.slot import LONGEST_MESSAGE, LONGEST_NOTE, Slot
from escrow_operator.services.runtime.memory import Memory
from escrow_operator.services.state.store import Store
from unit.factories import pool, slot, slot_body


def test_a_pod_whose_sandbox_was_made_anew_is_another_incarnation() -> None:
    """Its uid is the same, and kubelet may count restarts from 0 again."""
    before = slot("a")
    others = [slot("a", ip="10.0.0.2"), slot("a", container="b" * 64), slot("a", ip=None, ready=False)]
    assert [other.incarnation == before.incarnation for other in others] == [False] * 3
    assert slot("a").incarnation == before.incarnation


def test_a_restart_of_any_container_is_another_incarnation() -> None:
    body = slot_body("a")
    before = Slot.parse(body).incarnation
    body["status"]["initContainerStatuses"] = [{"name": "login", "restartCount": 1}]
    assert Slot.parse(body).incarnation != before


@pytest.mark.parametrize("status", [{}, {"containerStatuses": [{"name": "monero-wallet-rpc", "restartCount": 0}]}])
def test_a_pod_that_has_not_started_can_be_read(status: dict[str, Any]) -> None:
    assert Slot.parse(slot_body("a") | {"status": status}).process == ""


def test_the_digest_of_a_daemon_changes_with_what_a_pod_is_started_with() -> None:
    def digest(**daemon: Any) -> str:
        return pool(daemon={"address": "monerod:18081", "network": "regtest"} | daemon).spec.daemon.digest

    others = [
        digest(address="other:18081"),
        digest(trusted=True),
        digest(tls={"enabled": True}),
        digest(tls={"enabled": True, "caSecretRef": {"name": "a"}}),
        digest(tls={"enabled": True, "clientSecretRef": {"name": "a"}}),
        digest(loginSecretRef={"name": "a"}),
    ]
    assert len({digest(), *others}) == 1 + len(others)
    # Another digest for the same in another version of the operator would replace all pods.
    assert digest() == digest(trusted=False, tls={"enabled": False}) == "bfe6d901eb039428"


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

    assert Store(Memory()).see_slot(body) is None


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
