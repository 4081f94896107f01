"""TLS contexts for connections to monerod."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Sequence


def client_context(ca: str | None = None, *, certificate: Sequence[str] = ()) -> ssl.SSLContext | None:
    """A context that trusts a private ``ca`` instead of the public ones, and presents a client certificate.

    ``certificate`` is a certificate and its key; all are in PEM. Returns None without arguments. Raises ValueError for
    an invalid certificate, or one that does not match the key.
    """
    if ca is None and not certificate:
        return None
    if ca is not None and not ca.strip():
        # The library takes an empty text as no private CA and would trust all the public ones.
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
    """Load the client certificate. Python reads it from files only: a private temporary one, deleted at once."""
    with tempfile.NamedTemporaryFile("w") as pem:
        pem.write(f"{key.strip()}\n{certificate.strip()}\n")
        pem.flush()
        # Without a password OpenSSL would prompt for that of an encrypted key on a terminal and block the event loop.
        context.load_cert_chain(pem.name, password="")
