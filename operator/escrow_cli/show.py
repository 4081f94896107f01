"""Objects as people read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import yaml
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from escrow_operator.models.common import ROLES, find_condition, parse_time, printable

Body = dict[str, Any]

LONGEST = 500

STYLES = {"True": "green", "False": "red", "Unknown": "yellow"}


class Output(StrEnum):
    """The forms of ``-o``."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


def emit(console: Console, output: Output, found: Any, text: RenderableType) -> None:
    """Print what was found, for people or for programs."""
    if output is Output.JSON:
        console.out(json.dumps(found, indent=2), highlight=False)
    elif output is Output.YAML:
        console.out(yaml.safe_dump(found, sort_keys=False, allow_unicode=True).rstrip(), highlight=False)
    else:
        console.print(text)


def condition(body: Body, kind: str) -> Body:
    """A condition of an object; empty without it."""
    return find_condition(body.get("status"), kind) or {}


def clean(found: Any) -> str:
    """Foreign text, fit for a terminal."""
    return printable(str(found if found is not None else ""), LONGEST)


def ago(text: str | None, now: datetime | None = None) -> str:
    """A time as the span since then, or until then: ``5m ago``, ``in 2h``."""
    if not text:
        return "–"
    seconds = ((now or datetime.now(UTC)) - parse_time(text)).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def span(seconds: float) -> str:
    """Seconds in the largest unit of which there are two: ``90s``, ``5m``, ``3h``, ``4d``."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def table(columns: Sequence[str], rows: Iterable[Sequence[RenderableType]]) -> Table:
    """A table without frames, as kubectl's."""
    found = Table(*columns, box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for row in rows:
        found.add_row(*row)
    return found


def flag(value: str) -> Text:
    """A condition's status, coloured."""
    return Text(value or "–", style=STYLES.get(value, ""))


def sessions_table(found: Iterable[Body], *, namespaces: bool = False) -> Table:
    """One line for each session: what it is, and why it is not Ready."""
    rows = []
    for body in found:
        meta, status = body["metadata"], body.get("status") or {}
        ready = condition(body, "Ready")
        row: list[RenderableType] = [meta["namespace"]] if namespaces else []
        row += [
            meta["name"],
            status.get("phase", "–"),
            flag(ready.get("status", "")),
            flag(condition(body, "Funded").get("status", "")),
            clean((status.get("balance") or {}).get("total", "–")),
            ago(status.get("expiresAt")),
            clean("" if ready.get("status") == "True" else ready.get("reason")),
        ]
        rows.append(row)
    head = ["NAMESPACE"] if namespaces else []
    return table([*head, "NAME", "PHASE", "READY", "FUNDED", "BALANCE", "EXPIRES", "REASON"], rows)


def session_details(body: Body) -> Group:
    """All there is to know of one session, and what to do."""
    meta, status, spec = body["metadata"], body.get("status") or {}, body["spec"]
    facts = [
        ("Session", f"{meta['namespace']}/{meta['name']}"),
        ("Phase", status.get("phase", "not seen by the operator yet")),
        ("Pool", spec["poolRef"]["name"]),
        ("Address", status.get("address", "–")),
        ("Asked for", f"{spec['amount']} XMR, {spec.get('confirmations', 10)} confirmations"),
        ("Money", money(status)),
        ("Last use", ago(status.get("lastActivityTime"))),
        ("Closes", deadline(body)),
    ]
    wallets = status.get("wallets") or {}
    return Group(
        table(("", ""), [(Text(name, style="bold"), clean(value)) for name, value in facts]),
        Text(),
        table(
            ("CONDITION", "STATUS", "SINCE", "REASON", "WHAT IT MEANS"),
            [
                (
                    c["type"],
                    flag(c["status"]),
                    ago(c.get("lastTransitionTime")),
                    clean(c.get("reason")),
                    clean(c.get("message")),
                )
                for c in status.get("conditions") or ()
            ],
        ),
        Text(),
        table(
            ("WALLET", "OPEN", "POD", "FILE"),
            [
                (role.value, flag(str(bool(w.get("opened")))), clean(w.get("pod")), clean(w.get("file")))
                for role in ROLES
                if (w := wallets.get(role.value))
            ],
        ),
    )


def money(status: Body) -> str:
    """Balance and payment in one line."""
    balance, funding = status.get("balance") or {}, status.get("funding") or {}
    parts = [f"{balance.get('total', '?')} XMR", f"{balance.get('unlocked', '?')} unlocked"] if balance else ["unknown"]
    if funding:
        parts.append(f"{funding.get('state', '?')}, {funding.get('confirmations', 0)} confirmations")
    return "; ".join(parts) + (f" (as of {balance['asOf']})" if balance.get("asOf") else "")


def deadline(body: Body) -> str:
    """When the session closes, or what keeps it open."""
    status = body.get("status") or {}
    if body["spec"].get("suspend") and status.get("phase") not in ("Completed", "Refunded"):
        return "now: spec.suspend is true; kubectl escrow resume opens it again"
    if status.get("expiresAt"):
        return f"{ago(status['expiresAt'])} unless it is used ({status['expiresAt']})"
    if status.get("phase") in ("Active", "Settling"):
        return "not by itself: money is under way, which stops its clocks"
    return "–"
