"""The certificate that callers see is that of the file, and its end is told."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from prometheus_client import CollectorRegistry

from escrow_gateway import certificate
from escrow_gateway.certificate import follow_certificate
from escrow_gateway.meters import Meters
from escrow_gateway.settings import Settings
from unit.gateway.bench import Bench
from unit.gateway.test_server import serving_app


class Certificates:
    """An authority, and a certificate in files."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.renew(datetime(2030, 5, 6, tzinfo=UTC))

    def renew(self, ends: datetime) -> None:
        """Another authority's certificate in the same files."""
        self.ends = ends
        self.authority = trustme.CA()
        issued = self.authority.issue_cert("localhost", not_after=ends)
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.key.write_bytes(issued.private_key_pem.bytes())

    def context(self) -> ssl.SSLContext:
        """Which trusts nobody else."""
        found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(found)
        return found


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


async def _accepts(port: int, context: ssl.SSLContext) -> bool:
    with contextlib.suppress(ssl.SSLError):
        _, writer = await asyncio.open_connection("localhost", port, ssl=context)
        writer.close()
        return True
    return False


async def test_a_renewed_certificate_is_used_and_a_broken_one_is_not(
    gateway: Bench, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate, "LOOK_SECONDS", 0.01)
    given_settings = Settings(
        logins_secret="x", own_namespace="y", certificate=certificates.certificate, key=certificates.key
    )
    running = await serving_app(gateway.app, given_settings)
    context = running.server.config.ssl
    assert context is not None
    meters = Meters(CollectorRegistry())
    ends = meters.certificate_ends
    following = asyncio.create_task(follow_certificate(context, certificates.certificate, certificates.key, meters))
    first, first_ends = certificates.context(), certificates.ends.timestamp()
    assert await _accepts(running.port, first)
    assert ends._value.get() == first_ends
    certificates.certificate.write_text("broken")
    await asyncio.sleep(0.05)
    assert await _accepts(running.port, first)
    assert ends._value.get() == first_ends
    certificates.renew(datetime(2031, 1, 2, tzinfo=UTC))
    async with asyncio.timeout(10):
        while not await _accepts(running.port, certificates.context()):  # noqa: ASYNC110 - it looks by the clock
            await asyncio.sleep(0.01)
    assert not await _accepts(running.port, first)
    assert ends._value.get() == certificates.ends.timestamp()
    following.cancel()
    await running.stop()


async def test_a_certificate_whose_end_cannot_be_read_is_over(tmp_path: Path) -> None:
    meters = Meters(CollectorRegistry())
    ends = meters.certificate_ends
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    following = asyncio.create_task(follow_certificate(context, tmp_path / "none", tmp_path / "none", meters))
    await asyncio.sleep(0)
    assert ends._value.get() == 0
    following.cancel()
