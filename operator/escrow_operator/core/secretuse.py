"""Which Secrets a spec may name: those whose label or type states their use (invariant I11).

The operator may read more Secrets than the author of a spec. Without the label, a spec could have any Secret of its
namespace sent to a pod. Setting the label takes the right to patch the Secret, and the answer to a patch contains the
Secret's data: labelling a Secret gives nobody access to data that he could not read before.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from escrow_operator.core.manifests.session import DEED_TYPE
from escrow_operator.models.common import Label

SECRET_NOT_MARKED = "SecretNotMarked"  # noqa: S105 - a reason
"""The condition's reason when a Secret is not used for lack of the label."""


class SecretUse(StrEnum):
    """The values of ``Label.SECRET_USE``."""

    WALLET_PASSWORD = "wallet-password"  # noqa: S105 - a label's value
    """A session's ``spec.wallets.*.secretRef``. Deeds are marked by their type."""
    MONEROD = "monerod"
    """A pool's ``loginSecretRef``, ``caSecretRef`` and ``clientSecretRef``."""


def is_marked(secret: Mapping[str, Any], use: SecretUse) -> bool:
    """Whether a Secret, as the API's JSON, may be used for ``use``."""
    if use is SecretUse.WALLET_PASSWORD and secret.get("type") == DEED_TYPE:
        return True
    labels = secret["metadata"].get("labels") or {}
    return bool(labels.get(Label.SECRET_USE) == use.value)


def how_to_mark(namespace: str, name: str, use: SecretUse) -> str:
    """A message for the user, which does not depend on the content of the Secret."""
    return (
        f"Secret {name} is not marked for this use, and nothing in it was used. If it is meant, whoever may change it"
        f" says so: kubectl -n {namespace} label secret {name} {Label.SECRET_USE}={use.value}"
    )
