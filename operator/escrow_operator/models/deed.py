"""The deed of a wallet: all it takes to open it again."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from escrow_operator.models.common import Role


@dataclass(frozen=True)
class Deed:
    """File name and password of one wallet, and what is known of it.

    ``address`` is None until the wallet was proven to open with this password and to have it.
    ``restore_height`` is the block height when the wallet was made: a restore from keys starts there.
    ``version`` is the Secret's resourceVersion, which changes when the user mends it.
    """

    role: Role
    file: str
    password: str = field(repr=False)
    address: str | None = None
    restore_height: int = 0
    pool: str | None = None
    version: str = ""

    def to_secret(self) -> dict[str, str]:
        """The Secret's data, as text."""
        data = {"file": self.file, "password": self.password, "restoreHeight": str(self.restore_height)}
        return data | ({"address": self.address} if self.address else {}) | ({"pool": self.pool} if self.pool else {})

    @classmethod
    def from_secret(cls, role: Role, secret: Mapping[str, Any]) -> Self:
        """From the API's JSON. Raises KeyError with the name of a missing key, ValueError for a height that is none."""
        data = secret_data(secret, "file", "password", "address", "restoreHeight", "pool")
        return cls(
            role=role,
            file=data["file"],
            password=data["password"],
            address=data.get("address") or None,
            restore_height=int(data.get("restoreHeight") or 0),
            pool=data.get("pool"),
            version=secret["metadata"]["resourceVersion"],
        )


def secret_data(secret: Mapping[str, Any], *keys: str) -> dict[str, str]:
    """A Secret's data, decoded: of these keys those that there are, without any all of them.

    Raises UnicodeDecodeError when a value is no text: its own message quotes the value, so do not pass it on.
    """
    data = secret.get("data") or {}
    return {key: base64.b64decode(data[key]).decode() for key in (keys or data) if key in data}
