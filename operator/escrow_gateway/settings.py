"""The gateway's settings, from environment variables (the Helm chart's values set them)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from escrow_operator.models.common import Duration


class Settings(BaseSettings):
    """All settings, ``XMR_ESCROW_GATEWAY_…``. Raises pydantic.ValidationError, which names the variable at fault."""

    model_config = SettingsConfigDict(env_prefix="XMR_ESCROW_GATEWAY_")

    audience: str = Field(default="xmr-escrow-gateway", min_length=1, description="Which callers' tokens must have.")
    logins_secret: str = Field(description="The Secret, in the gateway's namespace, with the pools' login keys.")
    own_namespace: str = Field(description="Where the gateway runs.")
    port: int = Field(default=8443, ge=1, le=65535)
    probe_port: int = Field(default=8080, ge=1, le=65535, description="Of /healthz, /readyz and /metrics, without TLS.")
    certificate: Path | None = Field(default=None, description="PEM file; read again when it changes. None: no TLS.")
    key: Path | None = Field(default=None, description="PEM file of the certificate's key.")
    page: bool = Field(default=False, description="Serve the page, and lists, to those who may list.")
    longest_request: int = Field(default=2**20, ge=1024, description="Bytes of a request's body.")
    longest_answer: int = Field(default=64 * 2**20, ge=1024, description="Bytes of a wallet's answer.")
    request_patience: Duration = Field(default=timedelta(seconds=10), description="For a request's body to arrive.")
    call_deadline: Duration = Field(
        default=timedelta(minutes=2),
        le=timedelta(minutes=2),
        description="For a wallet's answer; a pod's end waits for it.",
    )
    longest_wait: Duration = Field(default=timedelta(seconds=30), description="For a session to become open.")
    calls_per_wallet: int = Field(default=8, ge=1, description="Calls in flight; a wallet does one at a time.")
    calls_per_caller: int = Field(default=32, ge=1, description="Calls in flight of one user.")
    calls: int = Field(default=512, ge=1, description="Calls in flight in all.")
    request_bytes: int = Field(default=32 * 2**20, ge=2**20, description="Of requests in flight in all.")
    trust_traceparent: bool = Field(default=False, description="Callers decide whether their calls are traced.")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    @model_validator(mode="after")
    def _both_or_none(self) -> Settings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: set both, or none")
        return self
