"""Whom the operator trusts, and what it shows, on the way to monerod."""

from __future__ import annotations

import ssl

import aiohttp
import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from escrow_operator.adapters.tls import client_context


def _pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


def _certificate(authority: trustme.CA) -> tuple[str, str]:
    made = authority.issue_cert("operator.invalid")
    return made.cert_chain_pems[0].bytes().decode(), made.private_key_pem.bytes().decode()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


async def test_a_server_that_asks_for_a_certificate_gets_it(authority: trustme.CA) -> None:
    asks = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(asks)
    authority.configure_trust(asks)
    asks.verify_mode = ssl.CERT_REQUIRED

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    server = TestServer(app, scheme="https", host="127.0.0.1")
    await server.start_server(ssl=asks)
    async with aiohttp.ClientSession() as client:
        shown = client_context(_pem(authority), certificate=_certificate(authority))
        assert shown is not None
        async with client.get(server.make_url("/"), ssl=shown) as response:
            assert await response.text() == "hello"
        nothing = client_context(_pem(authority))
        assert nothing is not None
        with pytest.raises(aiohttp.ClientError):
            await client.get(server.make_url("/"), ssl=nothing)
    await server.close()


def test_without_secrets_the_library_has_its_own_way() -> None:
    assert client_context() is None


def test_what_cannot_be_used_is_named(authority: trustme.CA) -> None:
    for ca in ("nonsense", "é", "\0", "", " \n", "-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n"):
        with pytest.raises(ValueError, match=r"^ca\.crt is (empty|not a certificate in PEM)$"):
            client_context(ca)
    certificate, key = _certificate(authority)
    _, another = _certificate(authority)
    with pytest.raises(ValueError, match=r"tls\.crt and tls\.key"):
        client_context(certificate=(certificate, another))
    for odd in ("é", "\0", "", "\ud800"):
        with pytest.raises(ValueError, match=r"^tls\.crt and tls\.key"):
            client_context(certificate=(certificate, odd))
    assert client_context(certificate=(certificate, key)) is not None


def test_nobody_is_asked_for_the_password_of_a_key() -> None:
    """OpenSSL would ask the terminal, and the operator would wait for it with all it does."""
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    locked = serialization.BestAvailableEncryption(b"password")
    pem = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked).decode()
    certificate, _ = _certificate(trustme.CA())
    with pytest.raises(ValueError, match="not encrypted"):
        client_context(certificate=(certificate, pem))
