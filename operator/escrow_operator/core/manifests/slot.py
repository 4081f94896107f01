"""The pod of a slot: the init container that derives its login, and wallet-rpc."""

from __future__ import annotations

from typing import Any, NamedTuple

from escrow_operator.core.manifests.common import RPC_PORT, endpoint_hosts, login_key_name, volume_claim_name
from escrow_operator.core.wallet_tls import FORMAT
from escrow_operator.models.common import WALLET_RPC, Label, Role
from escrow_operator.models.pool import Network, Pool
from escrow_operator.models.slot import TLS_FORMAT

SLOT_UID = 65532
"""User and group of the slots, unless the release says otherwise, whatever the image sets: the files on a volume have
one owner."""


class SlotOptions(NamedTuple):
    """What the release decides for all slots.

    User and group, and group of the files on their volumes; None leaves one to the cluster, since some (OpenShift) give
    each namespace users of its own, and refuse pods that name another one. With ``tls`` wallet-rpc serves the
    certificate that derives from the slot's login key.
    """

    user: int | None = SLOT_UID
    group: int | None = SLOT_UID
    files: int | None = SLOT_UID
    tls: bool = True


DEFAULT_OPTIONS = SlotOptions()

CONFIG_DIR = "/run/wallet-rpc"
CONFIG_FILE = f"{CONFIG_DIR}/wallet-rpc.conf"
CERTIFICATE = f"{CONFIG_DIR}/tls.crt"
PRIVATE_KEY = f"{CONFIG_DIR}/tls.key"
SCRATCH_DIR = "/scratch"
DAEMON_CA_DIR = "/run/daemon-ca"
DAEMON_CLIENT_DIR = "/run/daemon-client"

DEFAULT_RESOURCES = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}
"""An idle wallet-rpc takes 21 MB and next to no CPU, one with a mainnet wallet about 250 MB. The requests decide
how many slots a node takes: with 50m, thirty open wallets filled two nodes of two cores. No CPU limit: opening a wallet
is bound by CPU, which a limit would stretch."""

READINESS_SECONDS = 1
LIVENESS_SECONDS = 20
LIVENESS_FAILURES = 6
"""For TCP probes: an HTTP probe would wait for the wallet's only thread and kill a wallet that is syncing."""


def pod_spec(pool: Pool, role: Role, login_image: str, options: SlotOptions) -> dict[str, Any]:
    """The spec of a free slot's pod."""
    spec = pool.spec
    volumes: list[dict[str, Any]] = [
        {"name": "wallets", "persistentVolumeClaim": {"claimName": volume_claim_name(pool.key, role)}},
        {"name": "config", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "scratch", "emptyDir": {}},
    ]
    mounts = [
        {"name": "wallets", "mountPath": "/wallets"},
        {"name": "config", "mountPath": CONFIG_DIR, "readOnly": True},
        {"name": "scratch", "mountPath": SCRATCH_DIR},
    ]
    daemon = spec.daemon.tls
    if daemon.ca_secret_ref:
        volumes.append(_files("daemon-ca", daemon.ca_secret_ref.name, "ca.crt"))
        mounts.append({"name": "daemon-ca", "mountPath": DAEMON_CA_DIR, "readOnly": True})
    if daemon.client_secret_ref:
        volumes.append(_files("daemon-client", daemon.client_secret_ref.name, "tls.crt", "tls.key"))
        mounts.append({"name": "daemon-client", "mountPath": DAEMON_CLIENT_DIR, "readOnly": True})
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": spec.termination_grace_period_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            **_given(runAsUser=options.user, runAsGroup=options.group, fsGroup=options.files),
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "schedulingGates": [{"name": Label.WARM_UP}],
        "topologySpreadConstraints": [
            {**each, "labelSelector": {"matchLabels": {Label.POOL: pool.key.name, Label.ROLE: role.value}}}
            for each in spec.topology_spread_constraints or (_OVER_NODES,)
        ],
        "initContainers": [_login_container(pool, login_image, tls=options.tls)],
        "containers": [
            {
                "name": WALLET_RPC,
                "image": spec.image,
                "imagePullPolicy": spec.image_pull_policy,
                "command": [WALLET_RPC],
                "args": wallet_rpc_args(pool, tls=options.tls),
                "workingDir": SCRATCH_DIR,
                "env": _wallet_rpc_env(pool),
                "ports": [{"name": "rpc", "containerPort": RPC_PORT, "protocol": "TCP"}],
                "resources": spec.resources or DEFAULT_RESOURCES,
                "securityContext": _CONTAINER_SECURITY,
                "volumeMounts": mounts,
                "readinessProbe": {
                    "tcpSocket": {"port": RPC_PORT},
                    "periodSeconds": READINESS_SECONDS,
                    "timeoutSeconds": 5,
                },
                "livenessProbe": {
                    "tcpSocket": {"port": RPC_PORT},
                    "initialDelaySeconds": LIVENESS_SECONDS,
                    "periodSeconds": LIVENESS_SECONDS,
                    "timeoutSeconds": 10,
                    "failureThreshold": LIVENESS_FAILURES,
                },
            }
        ],
        "volumes": volumes,
    }
    optional = {
        "imagePullSecrets": [{"name": secret.name} for secret in spec.image_pull_secrets],
        "nodeSelector": spec.node_selector,
        "tolerations": list(spec.tolerations),
        "affinity": spec.affinity,
        "priorityClassName": spec.priority_class_name,
    }
    return pod | {key: value for key, value in optional.items() if value}


_OVER_NODES = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}


def _given(**fields: int | None) -> dict[str, int]:
    return {name: value for name, value in fields.items() if value is not None}


def _files(volume: str, secret: str, *keys: str) -> dict[str, Any]:
    """A volume with these keys of a Secret as files, which the slots' group may read."""
    items = [{"key": key, "path": key} for key in keys]
    return {"name": volume, "secret": {"secretName": secret, "items": items, "defaultMode": 0o440}}


_CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def _login_container(pool: Pool, image: str, *, tls: bool) -> dict[str, Any]:
    env: list[dict[str, Any]] = [
        {"name": "CONFIG_FILE", "value": CONFIG_FILE},
        {"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        _from_secret("LOGIN_KEY", login_key_name(pool.key), "key"),
    ]
    if tls:
        env += [
            {"name": TLS_FORMAT, "value": FORMAT},
            {"name": "TLS_HOSTS", "value": " ".join(endpoint_hosts(pool.key))},
            {"name": "TLS_CERTIFICATE", "value": CERTIFICATE},
            {"name": "TLS_PRIVATE_KEY", "value": PRIVATE_KEY},
        ]
    if pool.spec.daemon.login_secret_ref:
        name = pool.spec.daemon.login_secret_ref.name
        env += [
            _from_secret("DAEMON_USER", name, "username"),
            _from_secret("DAEMON_PASSWORD", name, "password"),
        ]
    return {
        "name": "login",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "escrow_operator.slot_login"],
        "env": env,
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": _CONTAINER_SECURITY,
        "volumeMounts": [{"name": "config", "mountPath": CONFIG_DIR}],
    }


def _wallet_rpc_env(pool: Pool) -> list[dict[str, Any]]:
    env = [{"name": "HOME", "value": SCRATCH_DIR}]
    if not pool.spec.daemon.tls.enabled:
        # Opening a wallet reads the system's certificate authorities for a TLS client that is not used then (that of
        # Monero's messaging system, which no option turns off): 12 ms of CPU, and 0.8 MB while the wallet is open.
        env.append({"name": "SSL_CERT_FILE", "value": "/dev/null"})
    return env


def wallet_rpc_args(pool: Pool, *, tls: bool) -> list[str]:
    """wallet-rpc's arguments. They contain no secret: the logins are in its configuration file."""
    daemon = pool.spec.daemon
    args = [
        f"--config-file={CONFIG_FILE}",
        "--rpc-bind-ip=0.0.0.0",
        "--confirm-external-bind",
        f"--rpc-bind-port={RPC_PORT}",
        # The default, "autodetect", would make a certificate of its own at every start, and serve without TLS as well.
        *(_TLS if tls else ["--rpc-ssl=disabled"]),
        "--wallet-dir=/wallets",
        f"--kdf-rounds={pool.spec.kdf_rounds}",
        f"--daemon-address={daemon.address}",
        f"--daemon-ssl={'enabled' if daemon.tls.enabled else 'disabled'}",
        "--trusted-daemon" if daemon.trusted else "--untrusted-daemon",
        "--non-interactive",
        "--log-level=0",
        f"--log-file={SCRATCH_DIR}/wallet-rpc.log",
        "--max-log-file-size=10000000",
        "--max-log-files=1",
        f"--shared-ringdb-dir={SCRATCH_DIR}/ringdb",
    ]
    if daemon.tls.ca_secret_ref:
        args.append(f"--daemon-ssl-ca-certificates={DAEMON_CA_DIR}/ca.crt")
    if daemon.tls.client_secret_ref:
        args += [
            f"--daemon-ssl-private-key={DAEMON_CLIENT_DIR}/tls.key",
            f"--daemon-ssl-certificate={DAEMON_CLIENT_DIR}/tls.crt",
        ]
    if daemon.network in (Network.STAGENET, Network.TESTNET):
        args.append(f"--{daemon.network.value}")
    if daemon.network is Network.REGTEST:
        args.append("--allow-mismatched-daemon-version")
    return args


_TLS = ["--rpc-ssl=enabled", f"--rpc-ssl-certificate={CERTIFICATE}", f"--rpc-ssl-private-key={PRIVATE_KEY}"]
"""No authorities: with some, wallet-rpc would ask clients for a certificate, and they have a login."""


def _from_secret(variable: str, secret: str, key: str) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
