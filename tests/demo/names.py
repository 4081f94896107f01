"""Names, amounts and patience of the demo."""

from __future__ import annotations

from pathlib import Path

from testbed.settings import REPO_ROOT

MANIFESTS = Path(__file__).resolve().parent / "manifests"
CHART = REPO_ROOT / "charts" / "xmr-escrow-operator"
CRDS = REPO_ROOT / "crds"

RELEASE = "xmr-escrow-operator"
OPERATOR_NAMESPACE = "xmr-escrow-system"
NAMESPACE = "demo"
POOL = "default"

KEPT = "demo"
"""The session that stays open and funded."""
SETTLED = "release-demo"
"""The session that is paid out."""

CUSTOMER = "customer"
VENDOR = "vendor"
"""Ordinary wallets outside the escrow: who pays in, and whom a release pays."""

XMR = 10**12
"""Piconero of one XMR."""
PURSE = 8 * XMR
"""What the customer should have before paying: two trades, fees, and something left to play with."""

CONFIRMATIONS = 10
"""As in the manifests; also the blocks after which Monero lets coins be spent again."""

POD_SECONDS = 120.0
OPEN_SECONDS = 240.0
"""Opening takes seconds; a machine that is busy with something else takes longer."""
SEEN_SECONDS = 90.0
"""Until a payment or a block shows in the status: the operator asks monerod every 2 s."""
CLOSE_SECONDS = 180.0

OPERATOR_VALUES: dict[str, object] = {
    # There is one node: with it a second one would be gone as well.
    "replicas": 1,
    "intervals": {"sweep": "15s", "monitor": "10s", "daemon": "1s"},
    "logging": {"format": "plain"},
}
