"""The certificate of a slot: the same wherever it is made, and of one pod alone."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.wallet_tls import WalletCertificate, derive_certificate

HOSTS = ("*.default-wallets.shop.svc", "*.default-wallets.shop.svc.cluster.local")

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)
UIDS = st.text("0123456789abcdef-", min_size=1, max_size=80)


def made(key: str = "key", uid: str = "uid", hosts: tuple[str, ...] = HOSTS) -> WalletCertificate:
    return derive_certificate(key, uid, hosts)


def test_what_pods_were_started_with_stays_what_they_are_asked_for() -> None:
    """If this changes, give the new one a FORMAT of its own: operators would find strangers in pods that run."""
    assert made().digest.hex() == "11250ba82abe0211586c8df73ca27d4e2b9b4b33fb45f0e1c65f8a07dcfcde5e"


@given(key=TEXT, uid=UIDS)
def test_it_is_the_same_to_the_byte_wherever_it_is_made(key: str, uid: str) -> None:
    assert made(key, uid) == made(key, uid)


@given(key=TEXT, other=TEXT, uid=UIDS, another=UIDS)
def test_each_key_and_each_pod_has_its_own(key: str, other: str, uid: str, another: str) -> None:
    for changed, same in ((made(other, uid), other == key), (made(key, another), another == uid)):
        assert (changed.private_key == made(key, uid).private_key) is same


def test_i9_its_private_key_is_in_nothing_that_is_shown() -> None:
    found = made()
    assert "PRIVATE KEY" in found.private_key
    assert "PRIVATE" not in repr(found)
    assert "PRIVATE" not in found.pem
    assert found.digest == hashlib.sha256(ssl.PEM_cert_to_DER_cert(found.pem)).digest()


def test_it_is_no_authority_and_has_no_end() -> None:
    found = x509.load_pem_x509_certificate(made().pem.encode())
    assert found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert found.not_valid_after_utc.year == 9999
    assert found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    ) == list(HOSTS)


async def handshake(folder: Path, shown: WalletCertificate, trusted: WalletCertificate, host: str) -> None:
    """As of a stock client, and a strict one, with nothing but the certificate. Raises ssl.SSLError."""
    (folder / "crt").write_text(shown.pem)
    (folder / "key").write_text(shown.private_key)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(folder / "crt", folder / "key")
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=served)
    async with server:
        context = ssl.create_default_context(cadata=trusted.pem)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
        writer.close()


async def test_stock_clients_trust_it_and_no_other_under_the_names_of_the_pools_wallets(tmp_path: Path) -> None:
    for suffix in ("", ".cluster.local"):
        await handshake(tmp_path, made(), made(), f"trade-1-vendor.default-wallets.shop.svc{suffix}")
    for shown, host in (
        (made(uid="another"), "trade-1-vendor.default-wallets.shop.svc"),
        (made(key="another"), "trade-1-vendor.default-wallets.shop.svc"),
        (made(), "trade-1-vendor.other-wallets.shop.svc"),
        (made(), "trade-1-vendor.default-wallets.another.svc"),
    ):
        with pytest.raises(ssl.SSLCertVerificationError):
            await handshake(tmp_path, shown, made(), host)
