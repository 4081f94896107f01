"""TLS to monerod."""

from __future__ import annotations

import ssl


def client_context(ca: str | None) -> ssl.SSLContext | None:
    """Trust a private CA (PEM) instead of the public ones, None those.

    Raises ValueError when it is no certificate.
    """
    if ca is None:
        return None
    try:
        return ssl.create_default_context(cadata=ca)
    except ssl.SSLError as error:
        raise ValueError(f"ca.crt is not a certificate in PEM: {error.reason}") from None
