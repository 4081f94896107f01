"""The commands."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.live import Live
from rich.text import Text

from escrow_cli import backup, calls, changes, report
from escrow_cli.api import EVENTS, POOLS, SESSIONS
from escrow_cli.doctor import Level, examine
from escrow_cli.errors import CliError, Exit
from escrow_cli.shared import Form, Name, Within, read_file, shared
from escrow_cli.show import Output, ago, clean, emit, session_details, sessions_table, table
from escrow_cli.waiting import until_ready
from escrow_operator.models.session import need_of_a_look

app = typer.Typer(
    name="kubectl-escrow",
    help="Escrow sessions for people: what they are, what to do, and what is wrong.",
    epilog="Exit codes: 0 done, 1 not so, 2 wrong arguments, 3 not found, 4 not allowed, 5 API server or gateway away.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

backup_app = typer.Typer(help="What a restore needs.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(backup_app, name="backup")

for command in (changes.touch, changes.suspend, changes.resume, changes.close, calls.call):
    app.command()(command)
app.command("page")(calls.show_page)


@app.callback()
def options(
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Default: the context's.")] = None,
    context: Annotated[str | None, typer.Option(help="Of the kubeconfig. Default: the current one.")] = None,
) -> None:
    """Options of all commands, before the command's name."""
    shared.namespace, shared.context = namespace, context


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(help="A session; without: all of the namespace.")] = None,
    output: Form = Output.TEXT,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.")] = False,
) -> None:
    """Phase, money, the next deadline and what stops it, conditions and what to do."""
    if name is not None:
        body = shared.api.get(SESSIONS, name)
        emit(shared.out, output, body, session_details(body))
        return
    found = _sorted(shared.api.list(SESSIONS, "" if everywhere else None))
    emit(shared.out, output, found, sessions_table(found, namespaces=everywhere) if found else Text("No sessions."))


@app.command()
def top(
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.")] = False,
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between two looks.")] = 2.0,
    rounds: Annotated[int, typer.Option(min=0, help="Looks until it ends; 0: until Ctrl-C.")] = 0,
) -> None:
    """The sessions, live: those that need eyes first."""
    left = rounds
    with Live(console=shared.out, auto_refresh=False, screen=shared.out.is_terminal) as live:
        while True:
            found = _sorted(shared.api.list(SESSIONS, "" if everywhere else None))
            live.update(sessions_table(found, namespaces=everywhere), refresh=True)
            left -= 1
            if left == 0:
                return
            time.sleep(every)


@app.command("apply-and-wait")
def apply_and_wait(
    file: Annotated[Path, typer.Option("--filename", "-f", help="Manifest of one EscrowSession; - is standard input.")],
    within: Within = 120.0,
    output: Form = Output.TEXT,
) -> None:
    """Apply a session and wait until its wallets are open; tells what it waits for."""
    body = _manifest(sys.stdin.read() if str(file) == "-" else read_file(file))
    namespace = body["metadata"].pop("namespace", None)
    if namespace not in (None, shared.api.namespace):
        shared.api.namespace = namespace
    applied = shared.api.apply(SESSIONS, body)
    generation = applied["metadata"]["generation"]
    done = until_ready(shared.api, applied["metadata"]["name"], shared.err, within=within, generation=generation)
    emit(shared.out, output, done, session_details(done))


@app.command()
def wait(
    name: Name,
    within: Within = 120.0,
    output: Form = Output.TEXT,
) -> None:
    """Wait until a session is Ready."""
    done = until_ready(shared.api, name, shared.err, within=within)
    emit(shared.out, output, done, session_details(done))


@app.command()
def events(name: Name, output: Form = Output.TEXT) -> None:
    """A session's story: what happened to it, in order."""
    fields = f"involvedObject.name={name},involvedObject.kind=EscrowSession"
    found = sorted(
        shared.api.list(EVENTS, fields=fields), key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or ""
    )
    rows = [
        (
            ago(event.get("lastTimestamp") or event.get("eventTime")),
            clean(event.get("type")),
            clean(event.get("reason")),
            clean(event.get("message")),
        )
        for event in found
    ]
    emit(shared.out, output, found, table(("WHEN", "TYPE", "REASON", "MESSAGE"), rows) if rows else Text("No Events."))


@app.command()
def stats(output: Form = Output.TEXT) -> None:
    """Pools: pods, sessions, utilisation, prepared escrows and what they cost."""
    found = shared.api.list(POOLS, "")
    rows = []
    for body in found:
        told, meta = body.get("status") or {}, body["metadata"]
        summary = told.get("summary") or {}
        rows.append(
            (
                f"{meta['namespace']}/{meta['name']}",
                *(clean(summary.get(count, "–")) for count in ("free", "adopted", "starting")),
                clean(told.get("activeSessions", "–")),
                clean(told.get("waitingSessions", "–")),
                clean(told.get("utilisation", "–")),
                f"{told.get('preparedEscrows', 0)} ({clean(told.get('preparedMemory', '–'))})",
                clean((told.get("daemon") or {}).get("height", "–")),
            )
        )
    head = ("POOL", "FREE", "ADOPTED", "STARTING", "SESSIONS", "WAITING", "OF CAP", "PREPARED", "HEIGHT")
    emit(shared.out, output, found, table(head, rows) if rows else Text("No pools."))


@app.command()
def doctor(output: Form = Output.TEXT) -> None:
    """Look for what keeps an installation from working, and how to mend it."""
    found = examine(shared.api)
    colours = {Level.OK: "green", Level.WARNING: "yellow", Level.BAD: "red"}
    rows = [(Text(f.level, style=colours[f.level]), f.check, clean(f.text), clean(f.mend)) for f in found]
    emit(shared.out, output, [f.as_dict() for f in found], table(("", "CHECK", "FOUND", "MEND"), rows))
    if any(f.level is Level.BAD for f in found):
        raise typer.Exit(Exit.FAILED)


@backup_app.command("list")
def list_backup(
    output: Form = Output.TEXT,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.")] = False,
) -> None:
    """What has to be in a backup, role by role, and what of it is missing. Reads no Secret's data."""
    found = backup.parts(shared.api, "" if everywhere else None)
    rows = [
        (
            part.role,
            part.kind,
            clean(f"{part.namespace}/{part.name}"),
            clean(part.session or "–"),
            Text(clean(part.state), style="red" if part.is_missing else ""),
        )
        for part in found
    ]
    text = table(("ROLE", "PART", "NAME", "SESSION", "STATE"), rows) if rows else Text("Nothing to back up.")
    emit(shared.out, output, [part.as_dict() for part in found], text)
    if any(part.is_missing for part in found):
        raise typer.Exit(Exit.FAILED)


@app.command("report")
def make_report(
    file: Annotated[Path, typer.Option("--file", "-f", help="Where to.")] = Path("xmr-escrow-report.tar.gz"),
) -> None:
    """Write a support bundle: objects, Events, logs and doctor's findings, without Secrets and what looks like one."""
    with shared.err.status("collecting"):
        names = report.write(shared.api, file)
    shared.err.print(f"{file}: {len(names)} files. Look through it before you give it away.")


def run() -> None:
    """The entry point: errors become texts and exit codes."""
    try:
        app()
    except CliError as error:
        shared.err.print(f"error: {error}", markup=False, highlight=False)
        sys.exit(error.code)


def _sorted(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def rank(body: dict[str, Any]) -> tuple[int, str, str]:
        meta = body["metadata"]
        phase = (body.get("status") or {}).get("phase", "Pending")
        return need_of_a_look(phase), meta["namespace"], meta["name"]

    return sorted(found, key=rank)


def _manifest(text: str) -> dict[str, Any]:
    try:
        found = [body for body in yaml.safe_load_all(text) if body]
    except yaml.YAMLError as error:
        raise CliError(f"The manifest is not YAML: {error}", Exit.USAGE) from None
    if len(found) != 1 or not isinstance(found[0], dict) or found[0].get("kind") != "EscrowSession":
        raise CliError("The manifest has to be that of one EscrowSession.", Exit.USAGE)
    if not (found[0].get("metadata") or {}).get("name"):
        raise CliError("The EscrowSession has no name.", Exit.USAGE)
    body: dict[str, Any] = found[0]
    return body
