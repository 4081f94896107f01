"""How kstatus reads any object: what Flux, ``kpt`` and others wait for.

The rules are those of sigs.k8s.io/cli-utils (pkg/kstatus/status), which apply to all kinds it knows nothing else of.
"""

from __future__ import annotations

from typing import Any

CURRENT, IN_PROGRESS, FAILED, TERMINATING = "Current", "InProgress", "Failed", "Terminating"


def kstatus(body: dict[str, Any]) -> str:
    """The status of an object as the API server returns it."""
    meta, status = body["metadata"], body.get("status") or {}
    if "deletionTimestamp" in meta:
        return TERMINATING
    if status.get("observedGeneration", meta["generation"]) != meta["generation"]:
        return IN_PROGRESS
    conditions = {condition["type"]: condition["status"] for condition in status.get("conditions") or ()}
    if conditions.get("Reconciling") == "True":
        return IN_PROGRESS
    if conditions.get("Stalled") == "True":
        return FAILED
    return CURRENT if conditions.get("Ready", "True") == "True" else IN_PROGRESS
