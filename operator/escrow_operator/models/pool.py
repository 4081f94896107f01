"""The WalletPool, as far as the operator reads it (the schema itself is crds/walletpools.yaml)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass as part

from escrow_operator.models.common import PART, POOL_FINALIZER, ApiObject, Duration, Finalizers, SecretName, head

DIGEST_DIGITS = 16
"""Hexadecimal digits of the digests of a spec.daemon and of a pod template."""


class Network(StrEnum):
    """A Monero network, as users name it."""

    MAINNET = "mainnet"
    STAGENET = "stagenet"
    TESTNET = "testnet"
    REGTEST = "regtest"

    @property
    def nettype(self) -> str:
        """The network's name in monerod's ``get_info`` (regtest is ``fakechain``)."""
        return "fakechain" if self is Network.REGTEST else self.value


@part(config=PART, frozen=True, slots=True, kw_only=True)
class DaemonTls:
    """TLS to monerod."""

    enabled: bool = False
    ca_secret_ref: SecretName | None = None
    client_secret_ref: SecretName | None = None


@part(config=PART, frozen=True, slots=True, kw_only=True)
class DaemonSpec:
    """The monerod of a pool."""

    address: str
    network: Network
    trusted: bool = False
    tls: DaemonTls = DaemonTls()
    login_secret_ref: SecretName | None = None

    @property
    def has_secrets(self) -> bool:
        """Whether Secrets must be read before this monerod can be queried."""
        return bool(self.login_secret_ref or self.tls.ca_secret_ref or self.tls.client_secret_ref)

    @property
    def digest(self) -> str:
        """A digest that differs for another monerod or another way to connect to it. It does not depend on Secret data.

        Unset fields are left out, so that a field which a later version adds does not change existing digests.
        """
        ways = {
            "address": self.address,
            "trusted": self.trusted,
            "tls": self.tls.enabled,
            "ca": self.tls.ca_secret_ref and self.tls.ca_secret_ref.name,
            "client": self.tls.client_secret_ref and self.tls.client_secret_ref.name,
            "login": self.login_secret_ref and self.login_secret_ref.name,
        }
        text = json.dumps({name: way for name, way in ways.items() if way}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_DIGITS]

    @property
    def url(self) -> str:
        """Base URL of monerod's RPC."""
        return f"{'https' if self.tls.enabled else 'http'}://{self.address}"


@part(config=PART, frozen=True, slots=True, kw_only=True)
class Storage:
    """Properties of a pool's three PersistentVolumeClaims."""

    storage_class_name: str | None = None
    size: str = "1Gi"
    access_modes: tuple[str, ...] = ("ReadWriteOnce",)


@part(config=PART, frozen=True, slots=True, kw_only=True)
class PoolNetworkPolicy:
    """Who may connect to the wallet pods."""

    enabled: bool = False
    clients: tuple[dict[str, Any], ...] = ()


@part(config=PART, frozen=True, slots=True, kw_only=True)
class PoolGateway:
    """What callers of the gateway may do; the gateway reads it."""

    allow_key_methods: bool = False


@part(config=PART, frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """The spec of a WalletPool. The schema's defaults are repeated here for objects that are older than them."""

    image: str
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[SecretName, ...] = ()
    daemon: DaemonSpec
    warm_slots: int = 1
    prepared_escrows: int = 1
    prepared_max_age: Duration = timedelta(hours=24)
    storage: Storage = Storage()
    kdf_rounds: int = 1
    resources: dict[str, Any] | None = None
    termination_grace_period_seconds: int = 120
    node_selector: dict[str, str] | None = None
    tolerations: tuple[dict[str, Any], ...] = ()
    affinity: dict[str, Any] | None = None
    topology_spread_constraints: tuple[dict[str, Any], ...] = ()
    priority_class_name: str | None = None
    connection_secrets: bool = True
    network_policy: PoolNetworkPolicy = PoolNetworkPolicy()
    gateway: PoolGateway = PoolGateway()


_SPEC = TypeAdapter(PoolSpec)


class PoolKey(NamedTuple):
    """Namespace and name of a WalletPool."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class DaemonKey(NamedTuple):
    """One monerod as pools name it; ``namespace`` is that of its Secrets, empty if it needs none."""

    namespace: str
    spec: DaemonSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool(ApiObject):
    """A WalletPool as last seen."""

    key: PoolKey
    spec: PoolSpec
    finalizers: Finalizers

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Pool:
        """From the API's JSON. Raises pydantic.ValidationError for an object that violates the schema."""
        meta = body["metadata"]
        return cls(
            key=PoolKey(meta["namespace"], meta["name"]),
            **head(body),
            spec=_SPEC.validate_python(body["spec"]),
            finalizers=Finalizers.parse(meta, POOL_FINALIZER),
        )
