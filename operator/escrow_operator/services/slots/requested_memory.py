"""Memory that a pool's pods are given by the scheduler, which is what prepared escrows cost while nobody uses them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from escrow_operator.core.manifests.slot import DEFAULT_RESOURCES
from escrow_operator.models.pool import PoolSpec

_MOST = Decimal(2**63)
"""Bytes: the API server's own limit. What is larger is written in powers of ten, which take for ever as an integer."""


def requested_memory(spec: PoolSpec) -> int:
    """Bytes that one wallet-rpc container requests; 0 when the pool asks for none, or for what is no quantity.

    Without a request the limit counts, as the API server has it:
    https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/
    """
    resources = spec.resources or DEFAULT_RESOURCES
    for part in ("requests", "limits"):
        amounts = resources.get(part)
        if isinstance(amounts, Mapping) and "memory" in amounts:
            return _bytes(amounts["memory"])
    return 0


def _bytes(quantity: Any) -> int:
    try:
        amount: Decimal = parse_quantity(quantity)  # type: ignore[no-untyped-call]
    except (ValueError, ArithmeticError):
        return 0
    return int(amount) if amount.is_finite() and 0 <= amount < _MOST else 0
