"""What the wallet image changes about Monero's programs."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from harness.world import World
from testbed import regtest

READ_CERTIFICATE = "import ssl, sys; print(ssl.get_server_certificate((sys.argv[1], int(sys.argv[2]))))"


async def test_throw_away_tls_keys_have_2048_bits(world: World) -> None:
    # monerod has no certificate here and makes one, by the function that wallet-rpc calls at each open_wallet.
    host, _, port = regtest.RPC_ADDRESS.rpartition(":")
    pem = await world.operator.python(READ_CERTIFICATE, host, port)
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    assert isinstance(key, RSAPublicKey)
    assert key.key_size == 2048
