"""What a wallet pod's memory request comes to, whatever a pool's spec says."""

from __future__ import annotations

from typing import Any

import pytest

from escrow_operator.services.slots.requested_memory import requested_memory
from unit.factories import pool


@pytest.mark.parametrize(
    ("resources", "size"),
    [
        (None, 64 * 2**20),
        ({}, 64 * 2**20),
        ({"requests": {"memory": "300Mi"}, "limits": {"memory": "1Gi"}}, 300 * 2**20),
        ({"limits": {"memory": "1Gi"}}, 2**30),
        ({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}, 0),
        ({"requests": {"memory": 1000}}, 1000),
        ({"requests": {"memory": "1500m"}}, 1),
        ({"requests": {"memory": "lots"}}, 0),
        ({"requests": {"memory": ""}}, 0),
        ({"requests": {"memory": "-5Mi"}}, 0),
        ({"requests": {"memory": "NaN"}}, 0),
        ({"requests": {"memory": "sNaN"}}, 0),
        ({"requests": {"memory": "Infinity"}}, 0),
        ({"requests": {"memory": "1e999999999"}}, 0),
        ({"requests": {"memory": "9e999999E"}}, 0),
    ],
)
def test_the_request_of_a_pod(resources: dict[str, Any] | None, size: int) -> None:
    assert requested_memory(pool(resources=resources).spec) == size
