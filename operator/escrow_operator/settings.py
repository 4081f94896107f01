"""The operator's cluster-wide settings, from environment variables (the Helm chart's values set them).

``XMR_ESCROW_`` is the prefix, ``__`` the delimiter of nested settings: ``XMR_ESCROW_SESSIONS__IDLE_TTL=2h``.
"""

from __future__ import annotations

import secrets
import socket
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from escrow_operator.core.manifests.slot import SLOT_UID
from escrow_operator.models.common import Duration

IDENTITY_BYTES = 4


class EvictionPolicy(StrEnum):
    """What is done with a session that is evicted at the cap."""

    DELETE = "Delete"
    SUSPEND = "Suspend"


class SessionSettings(BaseModel):
    """Limits and durations for all sessions of the cluster."""

    max_active: int = Field(default=10, ge=1, description="Sessions that may hold slots at once.")
    idle_ttl: Duration = Field(default=timedelta(hours=2), description="Inactivity after which one closes.")
    min_stay: Duration = Field(default=timedelta(minutes=1), description="Time for which no session is evicted.")
    max_key_exchanges: int = Field(default=4, ge=1, description="Sessions whose keys are exchanged at once.")
    eviction_policy: EvictionPolicy = EvictionPolicy.DELETE


class IntervalSettings(BaseModel):
    """How often the operator reconciles without an event; events are handled at once."""

    sweep: Duration = Field(default=timedelta(seconds=60), description="Orphans, and what others changed.")
    resync: Duration = Field(default=timedelta(minutes=10), description="Full lists, for what watches missed.")
    monitor: Duration = Field(default=timedelta(seconds=30), description="Balances, without a new block.")
    daemon: Duration = Field(default=timedelta(seconds=1), description="Height and mempool of monerod.")


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


UserId = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_empty_is_none)]
GroupId = Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(_empty_is_none)]
"""Numbers of a user (never root) and a group; None leaves one to the cluster."""


class WalletPodSettings(BaseModel):
    """What all wallet pods of the cluster have, whatever pool they are of."""

    annotations: dict[str, str] = Field(default={}, description="Annotations besides the operator's own.")
    run_as_user: UserId = Field(default=SLOT_UID, description="User of the pods.")
    run_as_group: GroupId = Field(default=SLOT_UID, description="Group of the pods.")
    fs_group: GroupId = Field(default=SLOT_UID, description="Group of the files on their volumes.")
    tls: bool = Field(default=True, description="Wallets are served over TLS, with a certificate of each pod's own.")


class LeaderElectionSettings(BaseModel):
    """By which Lease, and how fast, one of several operators takes over from another."""

    lease_name: str = Field(default="xmr-escrow-operator", description="The Lease, in the operator's own namespace.")
    lease_duration: Duration = Field(default=timedelta(seconds=15), description="It is left alone for so long.")
    renew_deadline: Duration = Field(default=timedelta(seconds=10), description="A leader that cannot renew it stops.")
    retry_period: Duration = Field(default=timedelta(seconds=2), description="Between two attempts.")
    peers: dict[str, str] = Field(default={}, description="Labels of the pods of all operators of this release.")

    @model_validator(mode="after")
    def _must_leave_time(self) -> Self:
        """Who stops later than another begins is no leader among others."""
        if not timedelta() < self.retry_period * MARGIN < self.renew_deadline < self.lease_duration:
            raise ValueError("lease_duration must be longer than renew_deadline, and that longer than two retry_period")
        return self


MARGIN = 2
"""A leader has time for so many attempts at least before it stops."""


class Settings(BaseSettings):
    """All settings. Raises pydantic.ValidationError, which names the variable at fault."""

    model_config = SettingsConfigDict(env_prefix="XMR_ESCROW_", env_nested_delimiter="__")

    sessions: SessionSettings = SessionSettings()
    intervals: IntervalSettings = IntervalSettings()
    wallet_pods: WalletPodSettings = WalletPodSettings()
    slot_login_image: str = Field(
        description="Image of the init container that derives a slot's login: the operator's own.",
    )
    namespaces: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(lambda v: tuple(filter(None, v.split(","))) if isinstance(v, str) else v),
    ] = Field(default=(), description="Namespaces to serve, comma-separated; empty means all.")
    logins_secret: str = Field(default="", description="Secret that tells the gateway the pools' login keys.")
    own_namespace: str = Field(default="xmr-escrow-system", description="Where the operator runs.")
    pod_name: str = Field(default="", description="The operator's pod; empty outside of a cluster.")
    leader_election: LeaderElectionSettings = LeaderElectionSettings()
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    log_format: str = Field(default="json", pattern="^(json|plain)$")
    probe_port: int = Field(default=8080, ge=1, le=65535)
    metrics_port: int = Field(default=9090, ge=1, le=65535)

    @cached_property
    def identity(self) -> str:
        """What no other living operator calls itself.

        The containers of a pod run one after the other: one that was restarted goes on at once as the holder it was.
        Outside of a cluster each process is its own.
        """
        return self.pod_name or f"{socket.gethostname()}_{secrets.token_hex(IDENTITY_BYTES)}"
