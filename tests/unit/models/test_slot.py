"""What a pod's status says of the process that may hold a wallet, and of where it is called."""

from __future__ import annotations

from typing import Any

import pytest

from escrow_operator.models.slot import Slot
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
