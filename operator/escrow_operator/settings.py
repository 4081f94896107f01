"""The operator's cluster-wide settings, from environment variables (the Helm chart's values set them).

``XMR_ESCROW_`` is the prefix, ``__`` the delimiter of nested settings: ``XMR_ESCROW_SESSIONS__IDLE_TTL=2h``.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from escrow_operator.core.manifests.slot import SLOT_UID
from escrow_operator.models.common import Duration


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
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    log_format: str = Field(default="json", pattern="^(json|plain)$")
    probe_port: int = Field(default=8080, ge=1, le=65535)
    metrics_port: int = Field(default=9090, ge=1, le=65535)
