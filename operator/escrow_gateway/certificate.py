"""The certificate that the gateway serves: read again when its file changes, and how long it is valid."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from pathlib import Path

from cryptography import x509

from escrow_gateway.meters import Meters

_LOG = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
"""Between two looks at the certificate's file; kubelet renews it within a minute."""


async def follow_certificate(context: ssl.SSLContext, certificate: Path, key: Path, meters: Meters) -> None:
    """Read the certificate again whenever its file changed; one that cannot be used leaves the former in place.

    ``context`` has been given the certificate; ``meters`` are told how long the one in use is valid.
    """
    known = _version(certificate, key)
    _note_end(certificate, meters)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now = _version(certificate, key)
        if now == known:
            continue
        try:
            # Elsewhere first: a pair that does not fit would leave the live context without any.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            _LOG.error("the renewed certificate cannot be used, the former one stays: %s", error)
            continue
        known = now
        _note_end(certificate, meters)
        _LOG.info("the certificate was read again")


def _note_end(certificate: Path, meters: Meters) -> None:
    try:
        # The first one: what comes after it may end earlier, where clients know another way to their authority.
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        # OpenSSL took it and this parser does not: it is served, and an end at 0 makes the alert fire.
        _LOG.error("the end of the certificate cannot be read: %s", error)
        meters.certificate_ends.set(0)
        meters.certificate_lifetime.set(0)
        return
    meters.certificate_ends.set(found.not_valid_after_utc.timestamp())
    meters.certificate_lifetime.set((found.not_valid_after_utc - found.not_valid_before_utc).total_seconds())


def _version(*files: Path) -> tuple[bytes, ...]:
    found = []
    for file in files:
        with contextlib.suppress(OSError):
            found.append(file.read_bytes())
    return tuple(found)
