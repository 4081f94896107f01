"""The init container of a slot: writes wallet-rpc's configuration with the slot's login.

A file and not arguments, so that no password shows in ``ps`` or in ``kubectl describe``.
Environment: LOGIN_KEY, POD_UID, CONFIG_FILE; DAEMON_USER and DAEMON_PASSWORD where monerod wants a login.
"""

from __future__ import annotations

import os
from pathlib import Path

from escrow_operator.core.login import derive_login


def main() -> None:
    """Write CONFIG_FILE, readable by the slot's user alone. Raises KeyError without its variables."""
    login = derive_login(os.environ["LOGIN_KEY"], os.environ["POD_UID"])
    lines = [f"rpc-login={login.user}:{login.password}"]
    if user := os.environ.get("DAEMON_USER"):
        lines.append(f"daemon-login={user}:{os.environ['DAEMON_PASSWORD']}")
    path = Path(os.environ["CONFIG_FILE"])
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
