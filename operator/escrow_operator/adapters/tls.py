"""TLS to monerod."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Sequence


def client_context(ca: str | None = None, *, certificate: Sequence[str] = ()) -> ssl.SSLContext | None:
    """Trust a private CA (PEM) instead of the public ones; show a certificate, given with its key (PEM both).

    None when there is nothing to be said. Raises ValueError for what is no certificate, or not of that key.
    """
    if ca is None and not certificate:
        return None
    if ca is not None and not ca.strip():
        # To the library that is no CA of one's own, and all the public ones.
        raise ValueError("ca.crt is empty")
    try:
        context = ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, TypeError, ValueError):
        raise ValueError("ca.crt is not a certificate in PEM") from None
    if certificate:
        try:
            _show(context, *certificate)
        except (ssl.SSLError, ValueError):
            raise ValueError("tls.crt and tls.key are not a certificate and its key, not encrypted, in PEM") from None
    return context


def _show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Python reads them from files only; this one is nobody else's, and gone at once."""
    with tempfile.NamedTemporaryFile("w") as pem:
        pem.write(f"{key.strip()}\n{certificate.strip()}\n")
        pem.flush()
        # Without a password OpenSSL would ask a terminal for that of an encrypted key, and everybody would wait.
        context.load_cert_chain(pem.name, password="")
