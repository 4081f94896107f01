"""What the wallet image changes about Monero's programs."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from escrow_operator.adapters.kube import PODS
from harness.api import Body, is_ready
from harness.bystander import Bystander
from harness.place import Place
from harness.waiting import wait_for
from harness.world import World

WARM_SLOTS = None
PORT = 18090
READ_CERTIFICATE = "import ssl, sys; print(ssl.get_server_certificate((sys.argv[1], int(sys.argv[2]))))"


def wallet_rpc_with_tls(image: str) -> Body:
    """A pod in which wallet-rpc makes a certificate by itself, with the function that it calls at each open_wallet."""
    args = ("--rpc-ssl=enabled", f"--rpc-bind-port={PORT}", "--rpc-bind-ip=0.0.0.0", "--confirm-external-bind")
    offline = ("--offline", "--disable-rpc-login", "--wallet-dir=/tmp", "--log-file=/tmp/log", "--non-interactive")
    container = {
        "name": "wallet-rpc",
        "image": image,
        "command": ["monero-wallet-rpc", *args, *offline, "--shared-ringdb-dir=/tmp/ringdb"],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    user = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"containers": [container], "securityContext": user, "terminationGracePeriodSeconds": 1}
    return {"metadata": {"name": "with-tls"}, "spec": spec | {"volumes": [{"name": "tmp", "emptyDir": {}}]}}


async def test_throw_away_tls_keys_have_2048_bits(place: Place, world: World) -> None:
    await place.api.create(PODS, place.namespace, wallet_rpc_with_tls(world.images.wallet))

    async def address() -> str | None:
        pod = await place.api.get(PODS, place.namespace, "with-tls")
        return pod["status"]["podIP"] if is_ready(pod) else None

    host = await wait_for(address, what="wallet-rpc to listen", explain=place.explain)
    client = await Bystander(place, "client").start()
    pem = await client.python(READ_CERTIFICATE, host, str(PORT))
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    assert isinstance(key, RSAPublicKey)
    assert key.key_size == 2048
