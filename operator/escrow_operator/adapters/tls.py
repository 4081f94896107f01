"""TLS to monerod."""

from __future__ import annotations

import os
import ssl


def client_context(ca: str | None, certificate: tuple[str, str] | None = None) -> ssl.SSLContext | None:
    """Trust a private CA (PEM) instead of the public ones; show a certificate and its key (PEM both).

    None when there is nothing to be said. Raises ValueError for what is no certificate, or not of that key.
    """
    if ca is None and certificate is None:
        return None
    try:
        context = ssl.create_default_context(cadata=ca)
    except ssl.SSLError as error:
        raise ValueError(f"ca.crt is not a certificate in PEM: {error.reason}") from None
    if certificate is not None:
        try:
            _show(context, *certificate)
        except ssl.SSLError as error:
            raise ValueError(f"tls.crt and tls.key are not a certificate and its key in PEM: {error.reason}") from None
    return context


def _show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Python reads them from files only; this one is in memory, and nobody else's."""
    memory = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        os.write(memory, f"{key.strip()}\n{certificate.strip()}\n".encode())
        context.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
