"""Commands that go through the gateway."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from escrow_cli import gateway, page
from escrow_cli.errors import CliError, Exit
from escrow_cli.shared import Name, read_file, shared
from escrow_operator.models.common import Role

Url = Annotated[
    str | None, typer.Option("--gateway", envvar="XMR_ESCROW_GATEWAY", help="URL; without: a port-forward.")
]
Authority = Annotated[Path | None, typer.Option(help="PEM file that the gateway's certificate is checked by.")]


def call(  # noqa: PLR0917 - typer makes options of them
    name: Name,
    role: Annotated[Role, typer.Argument(help="Whose wallet.")],
    method: Annotated[str, typer.Argument(help="A method of monero-wallet-rpc.")],
    params: Annotated[str, typer.Argument(help="Its parameters as a JSON object.")] = "{}",
    account: Annotated[
        str | None, typer.Option("--as", help="Service account of the namespace whose token is used.")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with a token for the gateway.")] = None,
    url: Url = None,
    authority: Authority = None,
) -> None:
    """Call a wallet through the gateway; prints the result as JSON."""
    try:
        given = json.loads(params)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise CliError(f"{params!r} is no JSON object.", Exit.USAGE)
    if token_file is not None:
        token = read_file(token_file).strip()
    elif account is not None:
        token = gateway.token_of(shared.api, account)
    else:
        raise CliError("Whose token? Name a service account with --as, or a file with --token-file.", Exit.USAGE)
    with gateway.reached(shared.api, url, authority, shared.context) as http:
        found = gateway.call(http, gateway.Wallet(shared.api.namespace, name, role.value), method, given, token=token)
    shared.out.out(json.dumps(found, indent=2), highlight=False)


def show_page(
    account: Annotated[str, typer.Option("--as", help="Service account of the namespace, which may list sessions.")],
    url: Url = None,
    authority: Authority = None,
    browse: Annotated[bool, typer.Option("--open/--no-open", help="Open it in a browser.")] = True,
) -> None:
    """Show the gateway's page in a browser on this machine, as a service account sees it, until Ctrl-C."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # So that kubectl port-forward ends, too.
        signal.signal(number, lambda *_: ended.set())
    tokens = page.Tokens(lambda: gateway.token_of(shared.api, account))
    tokens.get()
    with contextlib.ExitStack() as stack:
        http = stack.enter_context(gateway.reached(shared.api, url, authority, shared.context))
        address = stack.enter_context(page.served(http, tokens, shared.api.namespace))
        if browse:
            stack.enter_context(page.opened(address))
        shared.out.out(address, highlight=False)
        shared.err.print("Whoever has this address sees what the account may see. Ctrl-C ends it.")
        ended.wait()
