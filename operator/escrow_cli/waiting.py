"""Waits for a session to be Ready, and tells what it waits for."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console

from escrow_cli.api import SESSIONS, Api
from escrow_cli.errors import CliError, Exit
from escrow_cli.show import clean, condition

Body = dict[str, Any]

FINAL = frozenset({"Failed", "Completed", "Refunded"})
"""Phases in which nobody needs to wait any more."""


def until_ready(api: Api, name: str, console: Console, *, within: float, generation: int = 0) -> Body:
    """The session once it is Ready at this generation of its spec. Raises CliError with the reason if it is not."""
    said, last = "", None
    with console.status(f"waiting for {name}") as spinner:
        begun = time.monotonic()
        for body in api.poll(SESSIONS, name, within=within):
            if body is None:
                raise CliError(f"EscrowSession {name} is gone.", Exit.NOT_FOUND)
            last = body
            ready, status = condition(body, "Ready"), body.get("status") or {}
            current = status.get("observedGeneration", 0) >= generation
            if current and ready.get("status") == "True" and status.get("phase") in ("Active", "Settling"):
                return body
            if current and status.get("phase") in FINAL:
                break
            told = (
                f"{status.get('phase', 'Pending')}: {clean(ready.get('message') or 'the operator has not seen it yet')}"
            )
            if told != said:
                said = told
                console.print(f"{time.monotonic() - begun:5.1f} s  {told}")
            spinner.update(f"waiting for {name}: {told}")
    ready = condition(last or {}, "Ready")
    raise CliError(
        f"EscrowSession {name} is not Ready: {clean(ready.get('reason') or 'no word of the operator')}."
        f" {clean(ready.get('message') or 'Is it running? kubectl escrow doctor looks into that.')}"
    )
