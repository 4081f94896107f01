"""The EscrowSession, as far as the operator reads it (the schema itself is crds/escrowsessions.yaml)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass as part

from escrow_operator.models.common import FINALIZER, PART, ApiObject, Duration, Finalizers, Label, Role, head
from escrow_operator.models.pool import PoolKey


class Setup(StrEnum):
    """Whether the operator makes the wallets or opens existing ones."""

    CREATE = "Create"
    OPEN = "Open"


class Eviction(StrEnum):
    """Whether the session may be evicted at the cluster-wide cap."""

    LRU = "LRU"
    NEVER = "Never"


class Outcome(StrEnum):
    """Whom the payout pays: the vendor (Release) or the buyer (Refund)."""

    RELEASE = "Release"
    REFUND = "Refund"


class Remainder(StrEnum):
    """What is to be done with money that the payout leaves in the escrow."""

    KEEP = "Keep"


class Phase(StrEnum):
    """Where a session is in its lifecycle."""

    PENDING = "Pending"
    OPENING = "Opening"
    ACTIVE = "Active"
    SETTLING = "Settling"
    COMPLETED = "Completed"
    REFUNDED = "Refunded"
    EXPIRED = "Expired"
    EVICTED = "Evicted"
    SUSPENDED = "Suspended"
    FAILED = "Failed"


CLOSED_PHASES = frozenset({Phase.COMPLETED, Phase.REFUNDED, Phase.EXPIRED, Phase.EVICTED, Phase.SUSPENDED})
"""The session has no slots, for good or until a user resumes it."""

OPEN_PHASES = frozenset({Phase.ACTIVE, Phase.SETTLING})
"""The wallets are open, and their connections published."""

ENDING_PHASES = CLOSED_PHASES | {Phase.FAILED}
"""The slots of the session were given up, or are about to be."""

RESUMABLE_PHASES = frozenset({Phase.EXPIRED, Phase.EVICTED, Phase.SUSPENDED})
"""The session is closed until it is used again; an evicted session is about to be deleted unless that happens."""


_NEED = (Phase.FAILED, Phase.PENDING, Phase.OPENING, Phase.SETTLING, Phase.ACTIVE)


def need_of_a_look(phase: str) -> int:
    """The rank of a phase, as a status has it, in lists for people: what needs somebody comes first."""
    return next((rank for rank, one in enumerate(_NEED) if one == phase), len(_NEED))


class FundingState(StrEnum):
    """How far the payment into the escrow is."""

    AWAITING = "Awaiting"
    MEMPOOL = "Mempool"
    CONFIRMING = "Confirming"
    PARTIAL = "Partial"
    CONFIRMED = "Confirmed"


@part(config=PART, frozen=True, slots=True, kw_only=True)
class PoolRef:
    """The WalletPool of a session, by name."""

    name: str


@part(config=PART, frozen=True, slots=True, kw_only=True)
class PasswordRef:
    """The Secret and the key in it that hold a wallet's password."""

    name: str
    key: str = "password"


@part(config=PART, frozen=True, slots=True, kw_only=True)
class ExistingWallet:
    """A wallet that setup Open opens."""

    file: str
    secret_ref: PasswordRef


@part(config=PART, frozen=True, slots=True, kw_only=True)
class ExistingWallets:
    """The three wallets of setup Open."""

    buyer: ExistingWallet
    vendor: ExistingWallet
    arbiter: ExistingWallet

    def of(self, role: Role) -> ExistingWallet:
        """The wallet of a role."""
        wallet: ExistingWallet = getattr(self, role.value)
        return wallet


@part(config=PART, frozen=True, slots=True, kw_only=True)
class Settlement:
    """The payout that ends the trade."""

    outcome: Outcome
    txid: str
    remainder: Remainder | None = None


@part(config=PART, frozen=True, slots=True, kw_only=True)
class SessionSpec:
    """The spec of an EscrowSession. The schema's defaults are repeated here for objects that are older than them."""

    pool_ref: PoolRef
    setup: Setup = Setup.CREATE
    wallets: ExistingWallets | None = None
    address: str | None = None
    reuse_settled_wallets: bool = False
    amount: str
    confirmations: int = 10
    ttl: Duration | None = None
    max_age: Duration | None = None
    eviction: Eviction = Eviction.LRU
    suspend: bool = False
    settlement: Settlement | None = None


_SPEC = TypeAdapter(SessionSpec)


LONGEST_TOUCH = 64
"""Characters of a touch that are kept: a time is shorter, and an annotation may have 256 KiB."""


LONGEST_ROUNDS = 2_048
"""Characters of the signing rounds that are read; a longer text is none of the gateway's."""


class SessionKey(NamedTuple):
    """Namespace and name of an EscrowSession."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session(ApiObject):
    """An EscrowSession as last seen."""

    key: SessionKey
    finalizers: Finalizers
    touch: str | None
    """The text of the last touch by a client, see ``Label.TOUCH``."""
    signing: str | None = None
    """The text of the signing rounds under way, see ``Label.SIGNING_ROUND``."""
    key_images_at: str | None = None
    """When the wallets exchanged key images last, see ``Label.KEY_IMAGES``; no other annotation is kept."""
    created_at: str
    spec: SessionSpec

    @property
    def pool_key(self) -> PoolKey:
        """The key of the session's pool, which is in the same namespace."""
        return PoolKey(self.key.namespace, self.spec.pool_ref.name)

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Session:
        """From the API's JSON. Raises pydantic.ValidationError for an object that violates the schema."""
        meta = body["metadata"]
        return cls(
            key=SessionKey(meta["namespace"], meta["name"]),
            **head(body),
            finalizers=Finalizers.parse(meta, FINALIZER),
            touch=_annotation(meta, Label.TOUCH, LONGEST_TOUCH),
            signing=_annotation(meta, Label.SIGNING_ROUND, LONGEST_ROUNDS + 1),
            key_images_at=_annotation(meta, Label.KEY_IMAGES, LONGEST_TOUCH),
            created_at=meta["creationTimestamp"],
            spec=_SPEC.validate_python(body["spec"]),
        )

    def annotating(self, annotations: Mapping[str, str | None], *, as_seen: bool = True) -> dict[str, Any]:
        """A merge patch that sets annotations of this very session (None removes one).

        With ``as_seen`` it fails (ConflictError) when the session changed since it was read.
        """
        version = {"resourceVersion": self.resource_version} if as_seen else {}
        return {"metadata": {"uid": self.uid, **version, "annotations": dict(annotations)}}

    @property
    def phase(self) -> Phase:
        """The phase last written; Pending if there is none yet."""
        return Phase(self.status.get("phase", Phase.PENDING))


def _annotation(meta: dict[str, Any], name: str, longest: int) -> str | None:
    text = (meta.get("annotations") or {}).get(name)
    return str(text)[:longest] if text else None
