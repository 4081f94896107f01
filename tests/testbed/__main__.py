"""Command line of the test cluster tooling."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from testbed import diagnostics, images, regtest
from testbed.cleanup import clean_engine, drop_untagged, known_clusters
from testbed.cluster import Cluster
from testbed.engine import find_engine
from testbed.errors import ToolingError
from testbed.settings import DEMO_CLUSTER, ENV_CACHE, ENV_ENGINE, ENV_REGISTRY

_EPILOG = f"""\
environment:
  {ENV_ENGINE}    docker or podman; default: Docker if it answers, else Podman
  {ENV_REGISTRY}  yes or no: whether images can be pulled; default: asked once per run
  {ENV_CACHE}     where built things are kept; default: xmr-escrow-operator in
                             $XDG_CACHE_HOME or ~/.cache (delete it to start from nothing)
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command; errors come as text with what to do next."""
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except ToolingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the next run cleans up after this one", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m testbed",
        description="A Kubernetes cluster in containers for the demo and the tests.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = _command(commands, "up", _up, "bring a cluster up (seconds when it is up already)")
    up.add_argument("--nodes", type=int, choices=range(1, 6), help="number of nodes (default: any, or 1)")
    up.add_argument("--kubeconfig", type=Path, help="write the kubeconfig here, leave the user's own alone")

    _command(commands, "images", _images, "build both images, load them into the nodes, print their names")

    down = _command(commands, "down", _down, "remove a cluster; caches stay")
    down.add_argument("--all", action="store_true", help="every cluster of this project, and what builds left")

    _command(commands, "regtest", _regtest, "deploy monerod in regtest mode, with the wallet image")

    _command(commands, "status", _status, "say how the cluster is")
    _command(commands, "kubeconfig", _kubeconfig, "print the path of a kubeconfig with this cluster alone")

    logs = _command(commands, "logs", _logs, "collect logs, events and descriptions")
    logs.add_argument("directory", type=Path)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: object,
    text: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.add_argument("--name", default=DEMO_CLUSTER, help="name of the cluster (default: %(default)s)")
    command.set_defaults(run=run)
    return command


def _up(args: argparse.Namespace) -> None:
    cluster = Cluster(args.name)
    cluster.up(nodes=args.nodes, kubeconfig=args.kubeconfig)
    where = f"--kubeconfig {args.kubeconfig}" if args.kubeconfig else f"--context kind-{args.name}"
    print(f"cluster {args.name} is up: kubectl {where} get nodes")


def _images(args: argparse.Namespace) -> None:
    cluster = Cluster(args.name)
    _need_up(cluster)
    built = images.build_all(cluster.engine)
    cluster.load(built.operator, built.wallet)
    print(f"operator={built.operator}\nwallet={built.wallet}")


def _need_up(cluster: Cluster) -> None:
    if not cluster.api_ready():
        raise ToolingError(f"cluster {cluster.name} is not up", f"python -m testbed up --name {cluster.name}")


def _regtest(args: argparse.Namespace) -> None:
    cluster = Cluster(args.name)
    _need_up(cluster)
    wallet = images.build_wallet(cluster.engine)
    cluster.load(wallet)
    regtest.deploy(cluster, wallet)
    print(f"monerod answers at {regtest.RPC_ADDRESS} in the cluster")


def _down(args: argparse.Namespace) -> None:
    engine = find_engine()
    names = known_clusters(engine) if args.all else [args.name]
    for name in names:
        Cluster(name, engine).down()
    clean_engine(engine)
    if args.all:
        drop_untagged(engine)
    print(f"removed: {', '.join(names) or 'nothing was there'}")


def _status(args: argparse.Namespace) -> None:
    cluster = Cluster(args.name)
    for node in cluster.node_containers():
        print(f"{node.name}: {node.state}")
    if not cluster.exists():
        print(f"cluster {args.name} does not exist")
    elif cluster.api_ready():
        print(cluster.kubectl("get", "nodes", "-o", "wide"), end="")
    else:
        print("its API server does not answer; `up` makes the cluster anew")


def _kubeconfig(args: argparse.Namespace) -> None:
    cluster = Cluster(args.name)
    _need_up(cluster)
    print(cluster.kubeconfig)


def _logs(args: argparse.Namespace) -> None:
    diagnostics.collect(Cluster(args.name), args.directory)


if __name__ == "__main__":
    sys.exit(main())
