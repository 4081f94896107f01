"""The init container of a slot: writes wallet-rpc's configuration with the slot's login.

The login is in a file and not in arguments, so that no password shows in ``ps`` or in ``kubectl describe``.
Environment: LOGIN_KEY, POD_UID, CONFIG_FILE; DAEMON_USER and DAEMON_PASSWORD if monerod requires a login.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from escrow_operator.core.login import derive_login, is_configurable
from escrow_operator.models.monero import Login


def main() -> None:
    """Write CONFIG_FILE, readable by the slot's user alone.

    Raises KeyError for a missing variable, and SystemExit for a monerod login that the file cannot hold as it is.
    """
    login = derive_login(os.environ["LOGIN_KEY"], os.environ["POD_UID"])
    lines = [f"rpc-login={login.user}:{login.password}"]
    if user := os.environ.get("DAEMON_USER"):
        daemon = Login(user, os.environ["DAEMON_PASSWORD"])
        if not is_configurable(daemon):
            # The operator checks this as well, but the Secret may have been changed since.
            sys.exit("monerod's login has characters that its configuration cannot have: line breaks, '#', spaces, ':'")
        lines.append(f"daemon-login={daemon.user}:{daemon.password}")
    path = Path(os.environ["CONFIG_FILE"])
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
