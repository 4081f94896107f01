"""Commands that change a session: its use, whether it is open, and its end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from escrow_cli.api import SESSIONS
from escrow_cli.errors import CliError
from escrow_cli.shared import Name, Within, shared
from escrow_cli.waiting import OVER, until_ready, until_suspended
from escrow_operator.models.common import Label


def touch(name: Name) -> None:
    """Say that a session is in use: it stays open for another ttl."""
    shared.api.merge(SESSIONS, name, touching())
    shared.err.print(f"touched {name}")


def suspend(name: Name, within: Within = 120.0) -> None:
    """Close a session's wallets, and keep them closed until it is resumed; files, deeds and money stay.

    Waits until the wallets are stored and their pods have ended.
    """
    found = shared.api.get(SESSIONS, name)
    if (phase := (found.get("status") or {}).get("phase")) in OVER:
        raise CliError(f"The trade of {name} is over ({phase}): its wallets are closed.")
    found = shared.api.merge(SESSIONS, name, {"spec": {"suspend": True}})
    if not found["spec"].get("suspend"):
        raise CliError("The API server does not know spec.suspend: bring the CRDs up to date (kubectl apply -f crds/).")
    until_suspended(shared.api, name, shared.err, within=within)
    shared.err.print(f"{name} is suspended; kubectl escrow resume {name} opens it again")


def resume(name: Name, within: Within = 120.0) -> None:
    """Open a session again that is Expired or Suspended, and wait until it is."""
    # One write: what suspended it goes, and it is in use.
    shared.api.merge(SESSIONS, name, {**touching(), "spec": {"suspend": False}})
    until_ready(shared.api, name, shared.err, within=within)
    shared.err.print(f"{name} is open")


def close(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a session: its wallets are stored and closed; files, deeds and money stay, and so does its name."""
    if not yes:
        typer.confirm(f"Close {name} in namespace {shared.api.namespace}? Its clients are cut off", abort=True)
    shared.api.delete(SESSIONS, name)
    shared.err.print(f"{name} is being closed; apply it again to have the same wallets back")


def touching() -> dict[str, Any]:
    """The patch that says that a session is in use now."""
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"metadata": {"annotations": {Label.TOUCH: moment}}}
