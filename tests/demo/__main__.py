"""``python -m demo``: bring everything up and tell the story of an escrow; or play with what is there."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from demo import acts, plugin, screen
from demo.names import KEPT, MANIFESTS, NAMESPACE, OPERATOR_NAMESPACE, RELEASE, SETTLED
from demo.people import People
from demo.watching import Watcher
from escrow_operator.errors import EscrowError
from escrow_operator.models.monero import format_xmr, parse_xmr
from testbed import diagnostics, regtest, tools
from testbed.cluster import Cluster
from testbed.errors import ToolingError
from testbed.settings import DEMO_CLUSTER, REPO_ROOT, log_dir

CONTEXT = f"kind-{DEMO_CLUSTER}"


def main(argv: list[str] | None = None) -> int:
    """Run one command; errors come as text with what to do next and where the logs are."""
    args = _parser().parse_args(argv)
    cluster = Cluster(DEMO_CLUSTER)
    try:
        args.run(cluster, args)
    except (ToolingError, EscrowError) as error:
        _report(cluster, error)
        return 1
    except KeyboardInterrupt:
        screen.plain("\ninterrupted. `make demo` goes on where this run stopped; `make clean` removes all of it.")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.set_defaults(run=_story)
    parser.add_argument("--record", type=Path, metavar="FILE", help="write a picture of the run as SVG")
    commands = parser.add_subparsers(metavar="COMMAND", description="without one: the whole demo")
    mine = commands.add_parser("mine", help="mine blocks to the customer")
    mine.add_argument("blocks", type=int, nargs="?", default=1, choices=range(1, 1001), metavar="BLOCKS")
    mine.set_defaults(run=_mine)
    pay = commands.add_parser("pay", help="let the customer pay a session")
    pay.add_argument("amount", help="in XMR, like 0.5")
    pay.add_argument("session", nargs="?", default=KEPT, help="name of the session (default: %(default)s)")
    pay.set_defaults(run=_pay)
    address = commands.add_parser("address", help="print the address of the vendor's own wallet, outside the escrow")
    address.set_defaults(run=_address)
    return parser


def _story(cluster: Cluster, args: argparse.Namespace) -> None:
    screen.chapter(
        "1. A cluster, a private Monero network, the operator",
        "A Kubernetes node in a container, monerod in regtest mode, and this project's Helm chart.",
    )
    built = acts.bring_up(cluster)
    with People(cluster, built.wallet) as people:
        earning = people.in_background(lambda: acts.earn_coins(people))
        acts.install(cluster, built.operator)
        screen.chapter(
            "2. A WalletPool",
            "One monero-wallet-rpc pod per role (buyer, vendor, arbiter) is kept warm, with no wallet open; and one"
            " escrow is prepared: a 2-of-3 multisig of three open wallets.",
        )
        acts.make_pool(cluster, built.wallet)
        earning.result()
        _trades(cluster, people)
    _summary(cluster)
    if args.record:
        screen.save(args.record)


def _trades(cluster: Cluster, people: People) -> None:
    with Watcher(cluster) as watcher:
        screen.chapter(
            "3. An EscrowSession",
            "It adopts the three pods of the prepared escrow; its deeds are stored, and its address is published.",
        )
        acts.open_escrow(cluster, watcher, KEPT)
        acts.show(cluster, "get", "escrow,pods", "-n", NAMESPACE)
        screen.chapter(
            "4. The customer pays", "The operator sees the payment in the mempool, counts blocks, and calls it Funded."
        )
        acts.fund(people, watcher, KEPT, (1, 1, 4, 4))
        acts.show(cluster, "get", "escrow", "-n", NAMESPACE)
        screen.chapter(
            "5. The plugin and the gateway",
            "`kubectl escrow` tells a session's whole state; a backend calls its wallet at one address, with its"
            " Kubernetes account, as far as Roles allow it.",
        )
        plugin.call_a_wallet(cluster, KEPT)
        screen.chapter(
            "6. A second trade, from its opening to its payout",
            "Buyer and vendor sign the payout; the operator follows it to its last confirmation, stores and closes"
            " the wallets and gives the pods up.",
        )
        acts.open_escrow(cluster, watcher, SETTLED)
        if not acts.is_paid_out(watcher, SETTLED):
            acts.fund(people, watcher, SETTLED, (10,))
        acts.settle(cluster, people, watcher, SETTLED)


def _summary(cluster: Cluster) -> None:
    screen.chapter(f"Done in {screen.elapsed():.0f} s")
    acts.show(cluster, "get", "escrow,wpool", "-n", NAMESPACE)
    kubectl = str(tools.kubectl())
    steps = ["", f"Session {KEPT} stays open and funded for you to play with:", ""]
    if shutil.which("kubectl") is None:
        steps.append(f'  export PATH="$PATH:{Path(kubectl).parent}"')
    current = subprocess.run([kubectl, "config", "current-context"], capture_output=True, text=True, check=False)
    if current.stdout.strip() != CONTEXT:
        steps += [f"  kubectl config use-context {CONTEXT}", ""]
    demo = f"PYTHONPATH=operator:tests {_short(sys.executable)} -m demo"
    escrow = f"PYTHONPATH=operator {_short(sys.executable)} -m escrow_cli -n {NAMESPACE}"
    steps += [
        "  # The whole story, with its Events; what the operator logs",
        f"  kubectl describe escrow {KEPT} -n {NAMESPACE}",
        f"  kubectl logs deployment/{RELEASE} -n {OPERATOR_NAMESPACE} --tail=20",
        "",
        "  # Pay again; mine a block",
        f"  {demo} pay 0.25",
        f"  {demo} mine 1",
        "",
        "  # Close the wallets, and open the same ones again: same address, same balance",
        f"  kubectl delete escrow {KEPT} -n {NAMESPACE}",
        f"  kubectl apply -f {_short(MANIFESTS)}/escrow-{KEPT}.yaml",
        "",
        "  # Look at it in a browser (the plugin: `pip install '.[cli]'` makes it `kubectl escrow`)",
        f"  {escrow} page --as {plugin.PLATFORM}",
        "",
        "  # Call the vendor's wallet through the gateway, as the vendor's backend does with its own account",
        f"  {escrow} call {KEPT} vendor get_balance --as {plugin.BACKEND}",
        "  # The same without the plugin",
        f"  kubectl port-forward -n {OPERATOR_NAMESPACE} service/{RELEASE}-gateway 8443:443 &",
        f"  authority() {{ kubectl get secret {RELEASE}-gateway-tls -n {OPERATOR_NAMESPACE} \\",
        "    -o 'jsonpath={.data.ca\\.crt}' | base64 -d; }",
        f"  token() {{ kubectl create token {plugin.BACKEND} -n {NAMESPACE} --audience xmr-escrow-gateway; }}",
        '  curl --cacert <(authority) -H "Authorization: Bearer $(token)" \\',
        f"    https://localhost:8443/v1/namespaces/{NAMESPACE}/escrowsessions/{KEPT}/wallets/vendor/json_rpc \\",
        '    -d \'{"method":"get_balance"}\'',
        "",
        "`make demo` again shows what is running and makes what is missing. `make clean` removes all of it.",
    ]
    screen.plain("\n".join(steps))


def _mine(cluster: Cluster, args: argparse.Namespace) -> None:
    with _people(cluster) as people:
        people.open_wallets()
        screen.happened(f"the chain has {people.mine(args.blocks)} blocks")


def _pay(cluster: Cluster, args: argparse.Namespace) -> None:
    try:
        amount = parse_xmr(args.amount)
    except ValueError as error:
        raise ToolingError(f"{args.amount!r}: {error}") from None
    address = cluster.kubectl("get", "escrow", args.session, "-n", NAMESPACE, "-o", "jsonpath={.status.address}")
    if not address:
        raise ToolingError(f"session {args.session} has no address yet", "wait until it is Active")
    with _people(cluster) as people:
        acts.earn_coins(people)
        txid = people.pay(address, amount)
        screen.happened(f"{format_xmr(amount)} XMR are on their way to {args.session}: transaction {txid}")


def _address(cluster: Cluster, _: argparse.Namespace) -> None:
    with _people(cluster) as people:
        print(people.open_wallets()[1])


def _people(cluster: Cluster) -> People:
    if not cluster.api_ready():
        raise ToolingError("the demo is not running", "make demo")
    argv = ("rollout", "status", "deployment/monerod", "-n", regtest.NAMESPACE, "--timeout=30s")
    cluster.kubectl(*argv)
    jsonpath = "jsonpath={.spec.template.spec.containers[0].image}"
    return People(cluster, cluster.kubectl("get", "deployment", "monerod", "-n", regtest.NAMESPACE, "-o", jsonpath))


def _short(path: str | Path) -> str:
    """Return a path as one types it in the repository, or whole when it is elsewhere."""
    text = os.path.relpath(path, REPO_ROOT)
    return str(path) if text.startswith("..") else text


def _report(cluster: Cluster, error: Exception) -> None:
    hint = (
        "" if getattr(error, "hint", "") else "\n  What to do next: `make demo` again goes on where this run stopped."
    )
    print(f"\nerror: {error}{hint}", file=sys.stderr)
    target = log_dir() / f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        if cluster.api_ready():
            diagnostics.collect(cluster, target)
            print(f"  Logs of all pods, Events and descriptions: {target}", file=sys.stderr)
    except ToolingError as second:
        print(f"  Its logs could not be collected: {second}", file=sys.stderr)
    print(f"  Output of the long commands: {log_dir()}", file=sys.stderr)
    print("  From nothing: `make clean`, then `make demo`.", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
