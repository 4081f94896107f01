"""The init container of a slot: writes wallet-rpc's configuration with the slot's login.

The login is in a file and not in arguments, so that no password shows in ``ps`` or in ``kubectl describe``.
Environment: LOGIN_KEY, POD_UID, CONFIG_FILE; DAEMON_USER and DAEMON_PASSWORD if monerod requires a login; for TLS
TLS_HOSTS, the names in its certificate with spaces between them, TLS_CERTIFICATE and TLS_PRIVATE_KEY, the files.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from escrow_operator.core.login import derive_login, is_configurable
from escrow_operator.models.monero import Login


def main() -> None:
    """Write CONFIG_FILE, and the certificate's files, readable by the slot's user alone.

    Raises KeyError for a missing variable, and SystemExit for a monerod login that the file cannot hold as it is.
    """
    key, uid = os.environ["LOGIN_KEY"], os.environ["POD_UID"]
    login = derive_login(key, uid)
    lines = [f"rpc-login={login.user}:{login.password}"]
    if user := os.environ.get("DAEMON_USER"):
        daemon = Login(user, os.environ["DAEMON_PASSWORD"])
        if not is_configurable(daemon):
            # The operator checks this as well, but the Secret may have been changed since.
            sys.exit("monerod's login has characters that its configuration cannot have: line breaks, '#', spaces, ':'")
        lines.append(f"daemon-login={daemon.user}:{daemon.password}")
    if hosts := os.environ.get("TLS_HOSTS"):
        _write_certificate(key, uid, hosts.split())
    _write("CONFIG_FILE", "\n".join(lines) + "\n")


def _write_certificate(key: str, uid: str, hosts: list[str]) -> None:
    # Imported here: it takes longer than all the rest, and pods without TLS start without it.
    from escrow_operator.core.wallet_tls import derive_certificate  # noqa: PLC0415

    certificate = derive_certificate(key, uid, hosts)
    _write("TLS_CERTIFICATE", certificate.pem)
    _write("TLS_PRIVATE_KEY", certificate.private_key)


def _write(variable: str, text: str) -> None:
    """Write the file that a variable names."""
    path = Path(os.environ[variable])
    path.touch(mode=0o600)
    path.write_text(text)


if __name__ == "__main__":
    main()
