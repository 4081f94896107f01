"""The deed of a wallet: all that is needed to open the wallet again."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from escrow_operator.models.common import ROLES, Label, Role


@dataclass(frozen=True)
class Deed:
    """File name and password of one wallet, and facts about it.

    ``address`` is None until the wallet was opened with this password and shown to have that address.
    ``restore_height`` is the block height when the wallet was made: a restore from keys starts there.
    ``attempt`` counts the sets of files in which a key exchange was begun, this one included.
    ``terms`` are the amount and confirmations that the address was published for; None in deeds from before these were
    recorded. ``version`` is the Secret's resourceVersion, which changes when the user mends the Secret. A ``sealed``
    deed can be deleted and restored, but not changed (the Secret is immutable). ``settled`` is how the trade that the
    wallet served ended, None while it has not. ``term`` is that of the operator who wrote the Secret last, empty in one
    of before there were any; ``is_annotated`` tells whether it has annotations at all.
    """

    role: Role
    file: str
    password: str = field(repr=False)
    address: str | None = None
    restore_height: int = 0
    pool: str | None = None
    attempt: int = 1
    terms: str | None = None
    version: str = ""
    settled: str | None = None
    sealed: bool = False
    term: str = ""
    is_annotated: bool = True

    def to_secret(self) -> dict[str, str]:
        """The ``stringData`` of the Secret."""
        data = {"file": self.file, "password": self.password, "restoreHeight": str(self.restore_height)}
        data |= {"attempt": str(self.attempt)} if self.attempt > 1 else {}
        known = {"address": self.address, "pool": self.pool, "terms": self.terms}
        return data | {key: value for key, value in known.items() if value}

    @classmethod
    def from_secret(cls, role: Role, secret: Mapping[str, Any]) -> Self:
        """From the Secret as the API's JSON. Raises SecretDataError for a Secret that is not a deed."""
        data = secret_data(secret, "file", "password", "address", "restoreHeight", "pool", "attempt", "terms")
        height, attempt = data.get("restoreHeight") or "0", data.get("attempt") or "1"
        if not data.keys() >= {"file", "password"} or not (NUMBER.fullmatch(height) and NUMBER.fullmatch(attempt)):
            raise SecretDataError("it lacks what a deed has")
        annotations = secret["metadata"].get("annotations")
        return cls(
            role=role,
            file=data["file"],
            password=data["password"],
            address=data.get("address") or None,
            restore_height=int(height),
            pool=data.get("pool"),
            attempt=int(attempt),
            terms=data.get("terms") or None,
            version=secret["metadata"]["resourceVersion"],
            settled=settled_mark(secret),
            sealed=secret.get("immutable") is True,
            term=(annotations or {}).get(Label.TERM, ""),
            is_annotated=annotations is not None,
        )


NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)
"""A block height or a count, as a Secret has it."""


class SecretDataError(ValueError):
    """The data of a Secret is not of the expected form. The message contains nothing of the data.

    Python's own errors for decoding and for numbers quote the input, and not everybody who may read a status may read
    the Secret.
    """


def secret_data(secret: Mapping[str, Any], *keys: str) -> dict[str, str]:
    """The decoded values of ``keys`` of a Secret; keys that it lacks are left out.

    Raises SecretDataError if one of these values is not UTF-8 text; other keys are not read.
    """
    data = secret.get("data") or {}
    try:
        return {key: base64.b64decode(data[key]).decode() for key in keys if key in data}
    except ValueError:
        raise SecretDataError("a value is not UTF-8 text") from None


def settled_mark(secret: Mapping[str, Any]) -> str | None:
    """How the trade of a deed ended, or None. It is an annotation, since the deed's data may be immutable."""
    mark: str | None = (secret["metadata"].get("annotations") or {}).get(Label.SETTLED)
    return mark


def versions_of(deeds: Mapping[Role, Deed]) -> str:
    """The resource versions of the three deeds, as one text that differs once any of them was changed."""
    return "/".join(deeds[role].version for role in ROLES)
