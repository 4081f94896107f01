"""The plugin and the gateway in the demo: what a backend and an operator of the platform use from day to day."""

from __future__ import annotations

import subprocess

from demo import screen
from demo.names import NAMESPACE
from testbed import plugin
from testbed.cluster import Cluster
from testbed.errors import ToolingError

BACKEND = "vendor-backend"
"""The account of the vendor's backend: it may use the vendor's wallet of each session, and no other."""
PLATFORM = "platform"
"""The account of who looks after all trades: it may look at everything in the namespace, and use no wallet."""

CALL_SECONDS = 120.0


def make_accounts(cluster: Cluster) -> None:
    """Make both accounts, with the chart's roles."""
    for account, role in ((BACKEND, "xmr-escrow-vendor"), (PLATFORM, "view")):
        subject = f"--serviceaccount={NAMESPACE}:{account}"
        for argv in (
            ("create", "serviceaccount", account),
            ("create", "rolebinding", account, f"--clusterrole={role}", subject),
        ):
            made = cluster.kubectl(*argv, "-n", NAMESPACE, "--dry-run=client", "-o", "yaml")
            cluster.apply(made)
        screen.happened(f"account {account} has the role {role} in namespace {NAMESPACE}")


def escrow(cluster: Cluster, *argv: str) -> None:
    """Run ``kubectl escrow``, and show it with what it prints."""
    command = [*plugin.COMMAND, "-n", NAMESPACE, *argv]
    environment = plugin.environment(cluster, COLUMNS="120")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=CALL_SECONDS, check=False)
    if done.returncode:
        raise ToolingError(f"`kubectl escrow {' '.join(argv)}` failed: {done.stderr.strip()}")
    screen.command(f"kubectl escrow -n {NAMESPACE} {' '.join(argv)}", done.stdout)


def call_a_wallet(cluster: Cluster, session: str) -> None:
    """Look at a session, and call the vendor's wallet as the vendor's backend does."""
    make_accounts(cluster)
    escrow(cluster, "status", session)
    escrow(cluster, "call", session, "vendor", "get_balance", "--as", BACKEND)
    screen.plain()
