"""Waits for a session to be as somebody wants it, and tells what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console

from escrow_cli.api import SESSIONS, Api
from escrow_cli.errors import CliError, Exit
from escrow_cli.show import clean, condition

Body = dict[str, Any]

OVER = frozenset({"Completed", "Refunded"})

FINAL = OVER | {"Failed"}
"""Phases in which nobody needs to wait any more."""


def until_ready(api: Api, name: str, console: Console, *, within: float, generation: int = 0) -> Body:
    """The session once it is Ready at this generation of its spec. Raises CliError with the reason if it is not."""

    def is_open(body: Body) -> bool:
        return _is_ready(body) and _phase(body) in ("Active", "Settling")

    def is_over(body: Body) -> bool:
        return _phase(body) in FINAL or bool(body["spec"].get("suspend"))

    return _until(api, name, console, is_open, is_over, within=within, generation=generation)


def until_suspended(api: Api, name: str, console: Console, *, within: float) -> Body:
    """The session once its spec.suspend has closed its wallets. Raises CliError with what it still waits for."""

    def is_closed(body: Body) -> bool:
        return _is_ready(body) and condition(body, "Ready").get("reason") == "SuspendedBySpec"

    def is_over(body: Body) -> bool:
        return _phase(body) in OVER or not body["spec"].get("suspend")

    return _until(api, name, console, is_closed, is_over, within=within)


def _until(
    api: Api,
    name: str,
    console: Console,
    is_so: Callable[[Body], bool],
    is_over: Callable[[Body], bool],
    *,
    within: float,
    generation: int = 0,
) -> Body:
    said, last = "", None
    with console.status(f"waiting for {name}") as spinner:
        begun = time.monotonic()
        for body in api.poll(SESSIONS, name, within=within):
            if body is None:
                raise CliError(f"EscrowSession {name} is gone.", Exit.NOT_FOUND)
            last = body
            if (body.get("status") or {}).get("observedGeneration", 0) >= generation:
                if is_so(body):
                    return body
                if is_over(body):
                    break
            message = clean(condition(body, "Ready").get("message") or "the operator has not seen it yet")
            told = f"{_phase(body)}: {message}"
            if told != said:
                said = told
                console.print(f"{time.monotonic() - begun:5.1f} s  {told}")
            spinner.update(f"waiting for {name}: {told}")
    ready = condition(last or {}, "Ready")
    raise CliError(
        f"EscrowSession {name} is {_phase(last or {})}: {clean(ready.get('reason') or 'no word of the operator')}."
        f" {clean(ready.get('message') or 'Is it running? kubectl escrow doctor looks into that.')}"
    )


def _is_ready(body: Body) -> bool:
    return condition(body, "Ready").get("status") == "True"


def _phase(body: Body) -> str:
    return str((body.get("status") or {}).get("phase", "Pending"))
