"""A prepared escrow: three wallets whose keys are exchanged, and which no session has yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from escrow_operator.models.common import ROLES, Label, Role
from escrow_operator.models.deed import NUMBER, Deed, SecretDataError, secret_data


@dataclass(frozen=True)
class PreparedEscrow:
    """What the Secret of a prepared escrow holds.

    ``passwords`` are those of the three wallets, whose files all have the name ``file``, each on its role's volume.
    ``address`` is None until all three were opened again with these passwords and shown to share it.
    ``restore_height`` is the block height when they were made. ``claimed_by`` is the uid of the session that it was
    given to, None before. ``version`` and ``created_at`` are the Secret's resourceVersion and creationTimestamp,
    ``annotations`` are all that it has, and ``has_owner`` tells that something takes it along when it goes: its pods,
    or a session.
    """

    name: str
    file: str
    passwords: Mapping[Role, str] = field(repr=False)
    restore_height: int
    address: str | None = None
    claimed_by: str | None = None
    version: str = ""
    created_at: str = ""
    has_owner: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def term(self) -> str:
        """The leadership in which the Secret was written last, if it says so."""
        return self.annotations.get(Label.TERM, "")

    def deeds(self, pool: str) -> dict[Role, Deed]:
        """A deed for each wallet, without its address: that is recorded once the session's deeds exist."""
        return {
            role: Deed(role, self.file, self.passwords[role], restore_height=self.restore_height, pool=pool)
            for role in ROLES
        }

    def to_secret(self) -> dict[str, str]:
        """The ``stringData`` of the Secret."""
        passwords = {f"{role}-password": self.passwords[role] for role in ROLES}
        address = {"address": self.address} if self.address else {}
        return {"file": self.file, "restoreHeight": str(self.restore_height), **passwords, **address}

    @classmethod
    def from_secret(cls, secret: Mapping[str, Any]) -> Self:
        """From the Secret as the API's JSON. Raises SecretDataError if it lacks something."""
        keys = {role: f"{role}-password" for role in ROLES}
        data = secret_data(secret, "file", "restoreHeight", "address", *keys.values())
        if not data.keys() >= {"file", "restoreHeight", *keys.values()} or not NUMBER.fullmatch(data["restoreHeight"]):
            raise SecretDataError("it lacks what a prepared escrow has")
        annotations = secret["metadata"].get("annotations") or {}
        return cls(
            name=secret["metadata"]["name"],
            file=data["file"],
            passwords={role: data[key] for role, key in keys.items()},
            restore_height=int(data["restoreHeight"]),
            address=data.get("address") or None,
            claimed_by=annotations.get(Label.CLAIMED_BY),
            version=secret["metadata"]["resourceVersion"],
            created_at=secret["metadata"]["creationTimestamp"],
            annotations=annotations,
            has_owner=bool(secret["metadata"].get("ownerReferences")),
        )
