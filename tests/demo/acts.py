"""The acts of the demo, in order. Each looks at what is there and does only what is missing."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demo import screen
from demo.names import (
    CHART,
    CLOSE_SECONDS,
    CONFIRMATIONS,
    CRDS,
    KEPT,
    MANIFESTS,
    NAMESPACE,
    OPEN_SECONDS,
    OPERATOR_NAMESPACE,
    OPERATOR_VALUES,
    POD_SECONDS,
    POOL,
    RELEASE,
    SEEN_SECONDS,
)
from demo.people import People
from demo.watching import HEADER, Watcher, condition, is_true, phase
from escrow_operator.models.monero import format_xmr, parse_xmr
from testbed import images, progress, regtest
from testbed.cluster import Cluster
from testbed.errors import ToolingError
from testbed.helm import Helm
from testbed.settings import REPO_ROOT

ENDED = frozenset({"Expired", "Evicted", "Suspended", "Failed"})
"""Phases in which a former run's session holds no wallets, although its trade is not over."""

SETTLED_PHASES = frozenset({"Completed", "Refunded"})


def bring_up(cluster: Cluster) -> images.Images:
    """Bring up the cluster with a private Monero network."""
    cluster.up(nodes=1)
    built = images.build_all(cluster.engine)
    cluster.load(built.wallet)
    regtest.deploy(cluster, built.wallet)
    return built


def install(cluster: Cluster, operator_image: str) -> None:
    """Install the operator, or bring it to this version."""
    cluster.load(operator_image)
    # Helm installs custom resources once and never again: this brings changed ones.
    for file in sorted(CRDS.glob("*.yaml")):
        cluster.apply(file.read_text())
    repository, _, tag = operator_image.rpartition(":")
    values = {**OPERATOR_VALUES, "image": {"repository": repository, "tag": tag}}
    Helm(cluster).upgrade_install(RELEASE, CHART, OPERATOR_NAMESPACE, values)


def make_pool(cluster: Cluster, wallet_image: str) -> None:
    """Make the pool and wait until it has warm wallet pods and a prepared escrow."""
    text = (MANIFESTS / "pool.yaml").read_text().replace("WALLET_IMAGE", wallet_image)
    cluster.apply(text)
    with progress.step("waiting for the pool's wallet-rpc pods"):
        argv = ("wait", f"walletpool/{POOL}", "-n", NAMESPACE, "--for=condition=Ready")
        cluster.kubectl(*argv, f"--timeout={POD_SECONDS:.0f}s", timeout=POD_SECONDS + 20)
    with progress.step("waiting for a prepared escrow: three wallets whose keys are exchanged before there is a trade"):
        argv = ("wait", f"walletpool/{POOL}", "-n", NAMESPACE, "--for=jsonpath={.status.preparedEscrows}=1")
        cluster.kubectl(*argv, f"--timeout={POD_SECONDS:.0f}s", timeout=POD_SECONDS + 20)
    show(cluster, "get", "walletpool,pods", "-n", NAMESPACE)


def open_escrow(cluster: Cluster, watcher: Watcher, name: str) -> str:
    """Make an EscrowSession and wait until its three wallets are open; return the address to pay to."""
    file = MANIFESTS / f"escrow-{name}.yaml"
    if phase(watcher.session(name)) in ENDED:
        screen.happened(
            f"session {name} of an earlier run is {phase(watcher.session(name))}: deleting it. Its wallets are kept,"
            " and a new session of the same name opens them again."
        )
        cluster.kubectl("delete", "escrow", name, "-n", NAMESPACE, timeout=CLOSE_SECONDS)
        watcher.until(lambda: watcher.session(name) is None, CLOSE_SECONDS, f"the end of session {name}")
    is_new = watcher.session(name) is None
    if is_new:
        screen.command(f"kubectl apply -f {file.relative_to(REPO_ROOT)}", _without_comments(file))
        screen.plain()
    screen.header(HEADER)
    begun = time.monotonic()
    cluster.apply(file.read_text())
    watcher.until(
        lambda: is_true(watcher.session(name), "WalletsOpen") or phase(watcher.session(name)) in SETTLED_PHASES,
        OPEN_SECONDS,
        f"the opening of session {name}",
        about=name,
    )
    if is_new:
        screen.happened(f"an address to pay to, {time.monotonic() - begun:.1f} s after kubectl apply began")
    return str(_session(watcher, name)["status"]["address"])


def earn_coins(people: People) -> None:
    """Give the customer coins to pay with: on a test network one mines them."""
    people.open_wallets()
    blocks = people.blocks_to_earn()
    if blocks > 0:
        with progress.step(f"mining {blocks} blocks or more to the customer (new coins unlock after 60)"):
            unlocked = people.earn()
        screen.happened(f"the customer can spend {format_xmr(unlocked)} XMR; the chain has {people.height()} blocks")


def fund(people: People, watcher: Watcher, name: str, steps: tuple[int, ...]) -> None:
    """Let the customer pay what an escrow lacks, and mine until the operator calls it Funded.

    ``steps`` are the blocks to mine, one look at the status after each.
    """
    session = _session(watcher, name)
    if is_true(session, "Funded"):
        received = _received(session)
        screen.happened(f"session {name} was paid {received} XMR by an earlier run: nothing to pay")
        return
    missing = parse_xmr(session["spec"]["amount"]) - parse_xmr(_received(session))
    if missing > 0:
        screen.happened(f"the customer pays {format_xmr(missing)} XMR to {session['status']['address'][:16]}…")
        txid = people.pay(session["status"]["address"], missing)
        screen.happened(f"  transaction {txid}")
        watcher.until(
            lambda: condition(watcher.session(name), "Funded").get("reason") not in (None, "AwaitingPayment"),
            SEEN_SECONDS,
            f"the sight of the payment to {name}",
            about=name,
        )
    for blocks in steps:
        if is_true(watcher.session(name), "Funded"):
            return
        before = _confirmations(watcher, name)
        screen.happened(f"mining {_blocks(blocks)}")
        people.mine(blocks)
        watcher.until(
            lambda before=before, blocks=blocks: (  # type: ignore[misc]
                _confirmations(watcher, name) >= before + blocks
            ),
            SEEN_SECONDS,
            f"the sight of {_blocks(blocks)} by {name}",
            about=name,
        )
    watcher.until(
        lambda: is_true(watcher.session(name), "Funded"), SEEN_SECONDS, f"the funding of session {name}", about=name
    )


def is_paid_out(watcher: Watcher, name: str) -> bool:
    """Tell whether an earlier run came as far as the payout, even if it did not come to naming it."""
    session = _session(watcher, name)
    return "settlement" in session["spec"] or condition(session, "Funded").get("reason") == "Spent"


def settle(cluster: Cluster, people: People, watcher: Watcher, name: str) -> None:
    """Pay the vendor out of an escrow, tell the operator, and mine until the trade is over."""
    session = _session(watcher, name)
    if phase(session) in SETTLED_PHASES:
        screen.happened(f"session {name} was settled by an earlier run: {phase(session)}")
    elif "settlement" not in session["spec"]:
        screen.happened("the platform pays the vendor: the wallets of buyer and vendor sign, two of the three keys")
        for role in ("buyer", "vendor"):
            screen.happened(f"  connecting with Secret {session['status']['wallets'][role]['secret']}")
        txid = people.release(session, ("buyer", "vendor"))
        screen.happened(f"  transaction {txid}")
        patch = json.dumps({"spec": {"settlement": {"outcome": "Release", "txid": txid}}})
        argv = ("patch", "escrow", name, "-n", NAMESPACE, "--type=merge", "-p", patch)
        output = cluster.kubectl(*argv)
        screen.command(f"kubectl patch escrow {name} -n {NAMESPACE} --type=merge -p '{patch}'", output)
        screen.plain()
    watcher.until(
        lambda: phase(watcher.session(name)) in ("Settling", *SETTLED_PHASES),
        SEEN_SECONDS,
        f"the settling of session {name}",
        about=name,
    )
    for blocks in (1, CONFIRMATIONS - 1):
        if phase(watcher.session(name)) in SETTLED_PHASES:
            break
        screen.happened(f"mining {_blocks(blocks)}")
        before = _payout_confirmations(watcher, name)
        people.mine(blocks)
        watcher.until(
            lambda before=before, blocks=blocks: (  # type: ignore[misc]
                phase(watcher.session(name)) in SETTLED_PHASES
                or _payout_confirmations(watcher, name) >= before + blocks
            ),
            SEEN_SECONDS,
            f"the sight of {_blocks(blocks)} by {name}",
            about=name,
        )
    watcher.until(
        lambda: phase(watcher.session(name)) in SETTLED_PHASES and _pool_is_rested(watcher),
        CLOSE_SECONDS,
        f"the end of the trade {name}, with its pods deleted and the pool full again",
        about=name,
    )
    screen.happened(f"the vendor's own wallet holds {format_xmr(people.vendor_balance())} XMR")


def show(cluster: Cluster, *argv: str) -> None:
    """Run a kubectl command and show it with what it prints."""
    screen.command(f"kubectl {' '.join(argv)}", cluster.kubectl(*argv))


def _session(watcher: Watcher, name: str) -> Mapping[str, Any]:
    session = watcher.session(name)
    if session is None:
        raise ToolingError(f"session {name} is gone: somebody deleted it", "run `make demo` again")
    return session


def _received(session: Mapping[str, Any]) -> str:
    return str(session["status"].get("funding", {}).get("received", "0"))


def _confirmations(watcher: Watcher, name: str) -> int:
    return int(_session(watcher, name)["status"].get("funding", {}).get("confirmations", 0))


def _payout_confirmations(watcher: Watcher, name: str) -> int:
    return int(_session(watcher, name)["status"].get("settlement", {}).get("confirmations", 0))


def _pool_is_rested(watcher: Watcher) -> bool:
    """Tell whether only the session that stays holds pods, and the pool has its warm ones."""
    status = (watcher.pool(POOL) or {}).get("status", {})
    kept = watcher.session(KEPT)
    expected = 1 if kept and kept.get("status", {}).get("wallets") else 0
    rested = all(count == expected for count in status.get("adopted", {}).values())
    return rested and status.get("warmSlots", 0) >= (watcher.pool(POOL) or {}).get("spec", {}).get("warmSlots", 1)


def _blocks(count: int) -> str:
    return "1 block" if count == 1 else f"{count} blocks"


def _without_comments(file: Path) -> str:
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    return "\n".join(f"    {line}" for line in lines)
