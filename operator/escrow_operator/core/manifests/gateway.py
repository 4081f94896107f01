"""What the operator tells the gateway: the login keys of the pools, in one Secret of the release's namespace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from escrow_operator.models.common import OPERATOR_NAME
from escrow_operator.models.pool import PoolKey


def login_entry(pool: PoolKey) -> str:
    """The key under which a pool's login key is in the Secret. A namespace has no dot, so no two pools share one."""
    return f"{pool.namespace}.{pool.name}"


def logins_secret(name: str, data: Mapping[str, str]) -> dict[str, Any]:
    """The Secret; ``data`` is in base64."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": OPERATOR_NAME}},
        "type": "Opaque",
        "data": dict(data),
    }
