"""What is made of the measurements of new escrows."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import creating
from benchmarks.creating import affordable, counts, percentiles, ratio_of_medians, raw_escrows, raw_run, side
from escrow_operator.core.wallet_tls import FORMAT
from escrow_operator.models.common import ROLES, Role
from harness.api import Body
from testbed.wallets import access
from unit.factories import slot_body

GB = 1e9


@pytest.mark.parametrize(
    ("wanted", "memory", "pods", "number"),
    [
        (20, 16 * GB, 200, 20),
        (20, 2 * GB, 200, 10),
        (20, 16 * GB, 60, 10),
        (20, -1 * GB, 200, 1),
        (20, 16 * GB, 0, 1),
    ],
)
def test_there_are_as_many_warm_slots_as_memory_and_pods_allow(
    wanted: int, memory: float, pods: int, number: int
) -> None:
    assert affordable(wanted, memory, pods) == number


@pytest.mark.parametrize(
    ("number", "known"),
    [
        (0, []),
        (1, ["p50", "max"]),
        (9, ["p50", "max"]),
        (10, ["p50", "p90", "max"]),
        (100, ["p50", "p90", "p99", "max"]),
    ],
)
def test_percentiles_are_told_where_there_are_enough_values(number: int, known: list[str]) -> None:
    assert list(percentiles([float(n) for n in range(number)])) == known


def test_failed_ones_are_in_no_percentile_and_nothing_is_said_of_when_all_were_done() -> None:
    found = side([1.0, 3.0], ["late", "late"], [{"a": 1.0}, {"a": 3.0}], 3.0)
    assert found == {
        "seconds": [1.0, 3.0],
        "percentiles": {"p50": 1.0, "max": 3.0},
        "failed": 2,
        "failures": ["late"],
        "parts": {"a": [1.0, 3.0]},
        "all_seconds": None,
    }
    assert side([1.0], [], [], 1.0)["all_seconds"] == 1.0


def test_there_is_no_ratio_to_nothing() -> None:
    full, empty = side([2.0, 4.0], [], [], None), side([], ["late"], [], None)
    assert ratio_of_medians(full, side([1.0], [], [], None)) == 3.0
    assert ratio_of_medians(full, empty) is None
    assert ratio_of_medians(empty, full) is None


def test_what_the_raw_client_said_is_told_as_of_sessions() -> None:
    done = {"begun": 1.0, "ended": 3.5, "steps": {"create_wallet": 2.5}}
    found = raw_run([done, {"begun": 2.0, "error": "NoEscrow: none"}])
    assert found["seconds"] == [2.5]
    assert found["failures"] == ["NoEscrow: none"]
    assert found["parts"] == [{"create_wallet": 2.5}]
    assert found["all_seconds"] == 3.5
    assert raw_run([{"begun": 0.0, "error": "x"}])["all_seconds"] is None


def pod(role: str, number: int) -> Body:
    return slot_body(f"{role}-{number}", Role(role), tls=FORMAT, ip=f"10.0.0.{number}")


def test_each_raw_escrow_has_a_slot_of_each_role_with_its_own_login() -> None:
    made = raw_escrows([pod(role.value, n) for n in (1, 2) for role in reversed(ROLES)], "key")
    assert len({escrow["file"] for escrow in made}) == 2
    for number, escrow in enumerate(made, start=1):
        for role in ROLES:
            login, digest = access(pod(role.value, number), "key")
            assert digest is not None
            reach = {"user": login.user, "password": login.password, "certificate": digest.hex()}
            reach["url"] = f"https://10.0.0.{number}:18083"
            assert escrow["wallets"][role.value] == reach


def load(failed: int, requests: float | None = None) -> dict[str, Any]:
    return {
        "title": "x",
        "operator": side([1.0], ["late"] * failed, [{"a": 1.0}], 1.0) | {"begun_again": 0, "troubles": {}},
        "raw": None,
        "ratio": None,
        "wallet_requests_per_session": requests,
    }


def test_failures_of_all_loads_are_counted_and_requests_where_they_are_known() -> None:
    assert counts({"loads": [load(1, 48.0), load(2)], "prepared": [load(1)]}) == {
        "failed": 4.0,
        "wallet_requests_per_session": 48.0,
    }
    assert counts({"loads": [load(0)], "prepared": []}) == {"failed": 0.0}


COSTS = {
    "standing": {"number": 2, "memory": 1e8, "pss": 6e7, "cores": 0.01, "cpu_per_block": 0.02, "blocks": 6},
    "beside": {"again": [1.0], "again_meanwhile": [], "taken_meanwhile": []},
}


def test_the_text_tells_what_failed() -> None:
    text = creating.as_text({"loads": [load(1)], "prepared": []} | COSTS)
    assert "operator: failed: late" in text
    assert "x, raw" not in text
