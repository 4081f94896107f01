#!/usr/bin/env python3
"""Draws Grafana's dashboards of the chart: charts/xmr-escrow-operator/files/dashboards/*.json.

Each panel is a line here. A test holds the files equal to what this makes, and another asks a real Prometheus for every
query.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase
from typing import NamedTuple

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    VariableRefresh,
)
from grafana_foundation_sdk.models.dashboard import Threshold as Step
from grafana_foundation_sdk.models.dashboard import ThresholdsMode as Mode

TARGET = Path(__file__).resolve().parents[1] / "charts" / "xmr-escrow-operator" / "files" / "dashboards"

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

TENANT = 'namespace=~"$namespace"'
"""Of metrics that name the namespace of sessions and pools."""

WIDTH = 24
"""Columns of a dashboard's grid, as Grafana has them."""

PANEL_HEIGHT, STAT_HEIGHT = 8, 4


class Panel(NamedTuple):
    """Lines over time: ``queries`` by legend; ``unit`` is one of Grafana's."""

    title: str
    description: str
    queries: dict[str, str]
    unit: str = "short"


class Stat(NamedTuple):
    """One number now. It is red from ``bad`` on, where that is given."""

    title: str
    description: str
    query: str
    unit: str = "short"
    bad: float | None = None


class Board(NamedTuple):
    """A dashboard: numbers in the first row, then rows of panels by title; ``tenants``: with a choice of namespaces."""

    uid: str
    title: str
    description: str
    stats: list[Stat]
    rows: dict[str, list[Panel]]
    tenants: bool = True


def _quantiles(metric: str, by: str = "") -> dict[str, str]:
    """Median and 99th percentile of a histogram, for each value of the label ``by``."""
    name = f"{{{{{by}}}}} " if by else ""
    groups = f"{by}, le" if by else "le"
    return {
        f"{name}p{percent}": f"histogram_quantile(0.{percent},"
        f" sum by ({groups}) (rate({metric}_bucket[$__rate_interval])))"
        for percent in (50, 99)
    }


def _conditions(kind: str, *, status: str) -> str:
    return (
        "sum by (reason) (max by (namespace, reason)"
        f' (xmr_escrow_session_conditions{{type="{kind}", status{status}, {TENANT}}}))'
    )


SESSIONS = Board(
    uid="xmr-escrow-sessions",
    title="Monero escrow / Sessions",
    description="Trades: how many are open, what they wait for, and how the money stands.",
    stats=[
        Stat("Open sessions", "Sessions that hold wallet pods, of all namespaces.", "max(xmr_escrow_sessions_active)"),
        Stat(
            "Places taken",
            "Open sessions / sessions.maxActive. At 100 % new ones wait, or the least recently used one is evicted.",
            "max(xmr_escrow_sessions_utilisation_ratio)",
            unit="percentunit",
            bad=1,
        ),
        Stat(
            "Failed",
            "Sessions that wait for somebody to mend what their Ready condition names.",
            f'sum(max by (namespace) (xmr_escrow_sessions{{phase="Failed", {TENANT}}})) or vector(0)',
            bad=1,
        ),
        Stat(
            "Longest wait",
            "Of a session for being Ready, now.",
            f"max(xmr_escrow_session_longest_unready_seconds{{{TENANT}}}) or vector(0)",
            unit="s",
            bad=900,
        ),
        Stat(
            "Unknown payout",
            "For how long money of a session is gone by a transaction that no spec.settlement names.",
            f"max(xmr_escrow_session_longest_unknown_payout_seconds{{{TENANT}}}) or vector(0)",
            unit="s",
            bad=900,
        ),
    ],
    rows={
        "Sessions": [
            Panel(
                "By phase",
                "All sessions that there are.",
                {"{{phase}}": f"sum by (phase) (max by (namespace, phase) (xmr_escrow_sessions{{{TENANT}}}))"},
            ),
            Panel(
                "Not Ready, by reason",
                "docs/troubleshooting.md says what each reason means.",
                {"{{reason}}": _conditions("Ready", status='!="True"')},
            ),
            Panel(
                "From creation to Ready",
                "Of sessions that became Ready for the first time.",
                _quantiles("xmr_escrow_session_ready_seconds"),
                unit="s",
            ),
            Panel(
                "Parts of the way to Ready",
                "The 99th percentile of each.",
                {
                    "{{stage}}": "histogram_quantile(0.99,"
                    " sum by (stage, le) (rate(xmr_escrow_session_stage_seconds_bucket[$__rate_interval])))"
                },
                unit="s",
            ),
        ],
        "Money": [
            Panel(
                "Payments, by state",
                "The Funded condition of all sessions. NotWatched: the wallets are closed.",
                {"{{reason}}": _conditions("Funded", status='!=""')},
            ),
            Panel(
                "Payouts, by state",
                "The Settled condition of sessions with a settlement.",
                {"{{reason}}": _conditions("Settled", status='!=""')},
            ),
            Panel(
                "Ended",
                "Sessions that ended, by the phase they ended in.",
                {"{{phase}}": "sum by (phase) (increase(xmr_escrow_sessions_ended_total[$__rate_interval]))"},
            ),
        ],
    },
)

POOLS = Board(
    uid="xmr-escrow-pools",
    title="Monero escrow / Pools",
    description="Wallet pods and monerod, by pool.",
    stats=[
        Stat(
            "Pools not Ready",
            "New sessions of these wait.",
            "sum(max by (namespace, pool)"
            f' (xmr_escrow_pool_conditions{{type="Ready", status!="True", {TENANT}}})) or vector(0)',
            bad=1,
        ),
        Stat(
            "monerod not in sync",
            "Pools whose monerod is away, behind, or on another network.",
            "sum(max by (namespace, pool)"
            f' (xmr_escrow_pool_conditions{{type="DaemonSynced", status!="True", {TENANT}}})) or vector(0)',
            bad=1,
        ),
        Stat(
            "Free slots, fewest",
            "Of a role of a pool: so many sessions can be opened at once.",
            "min(sum by (namespace, pool, role)"
            f' (max by (namespace, pool, role, state) (xmr_escrow_slots{{state=~"free|prepared", {TENANT}}})))',
        ),
        Stat(
            "Memory of prepared escrows",
            "That their wallets request of nodes.",
            f"sum(max by (namespace, pool) (xmr_escrow_prepared_memory_bytes{{{TENANT}}}))",
            unit="bytes",
        ),
    ],
    rows={
        "Slots": [
            Panel(
                "By state",
                "Wallet pods of all roles.",
                {
                    "{{pool}} {{state}}": "sum by (pool, state)"
                    f" (max by (namespace, pool, role, state) (xmr_escrow_slots{{{TENANT}}}))"
                },
            ),
            Panel(
                "Pools not Ready, by reason",
                "The message of the pool's Ready condition says what to do.",
                {
                    "{{namespace}}/{{pool}} {{reason}}": "max by (namespace, pool, reason)"
                    f' (xmr_escrow_pool_conditions{{type="Ready", status!="True", {TENANT}}})'
                },
            ),
        ],
        "monerod": [
            Panel(
                "Height",
                "Blocks that each pool's monerod has. A flat line for an hour: it has lost its network.",
                {
                    "{{namespace}}/{{pool}}": "max by (namespace, pool)"
                    f" (xmr_escrow_pool_daemon_height_blocks{{{TENANT}}})"
                },
            ),
            Panel(
                "Volumes, free",
                "Share of each volume of wallets. Only of storage whose use kubelet can tell.",
                {
                    "{{persistentvolumeclaim}}": "max by (namespace, persistentvolumeclaim)"
                    " (kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes)"
                    " * on (namespace, persistentvolumeclaim) group_left () max by (namespace, persistentvolumeclaim)"
                    f" (xmr_escrow_pool_volume_claim_info{{{TENANT}}})"
                },
                unit="percentunit",
            ),
        ],
    },
)

OPERATOR = Board(
    uid="xmr-escrow-operator",
    title="Monero escrow / Operator and gateway",
    description="What the two programs do, and what it costs.",
    stats=[
        Stat(
            "Since the last sweep",
            "A sweep looks for orphaned pods and for what others changed.",
            "time() - max(xmr_escrow_last_sweep_timestamp_seconds)",
            unit="s",
            bad=300,
        ),
        Stat("Namespaces refused", "Of watchNamespaces.", "max(xmr_escrow_namespaces_refused)", bad=1),
        Stat(
            "Certificate's rest",
            "Of the gateway, until it ends.",
            "min(xmr_escrow_gateway_certificate_expiry_timestamp_seconds) - time()",
            unit="s",
        ),
        Stat("Calls in flight", "In the gateway.", "sum(xmr_escrow_gateway_in_flight)"),
    ],
    rows={
        "Operator": [
            Panel(
                "Late by",
                "From when a look was due to when it began.",
                _quantiles("xmr_escrow_queue_wait_seconds", "queue"),
                unit="s",
            ),
            Panel("Due or under way", "Looks in each queue.", {"{{queue}}": "max by (queue) (xmr_escrow_queue_depth)"}),
            Panel(
                "Requests per second",
                "To the API server, the wallets and monerod.",
                {
                    "API {{verb}}": "sum by (verb) (rate(xmr_escrow_api_requests_total[$__rate_interval]))",
                    "wallets": "sum(rate(xmr_escrow_wallet_requests_total[$__rate_interval]))",
                    "monerod": "sum(rate(xmr_escrow_daemon_requests_total[$__rate_interval]))",
                },
                unit="reqps",
            ),
            Panel("Leads", "1 for the operator that acts.", {"{{pod}}": "max by (pod) (xmr_escrow_leader)"}),
            Panel(
                "Events lost",
                "Kubernetes Events that could not be written.",
                {"lost": "sum(increase(xmr_escrow_events_lost_total[$__rate_interval]))"},
            ),
        ],
        "Gateway": [
            Panel(
                "Calls per second",
                "By HTTP status.",
                {"{{status}}": "sum by (status) (rate(xmr_escrow_gateway_requests_total[$__rate_interval]))"},
                unit="reqps",
            ),
            Panel(
                "Duration of calls",
                "Most of it is the wallet's: it does one call at a time.",
                _quantiles("xmr_escrow_gateway_request_seconds", "access"),
                unit="s",
            ),
            Panel(
                "Not served, by kind",
                "The kind is the last part of the problem's type.",
                {"{{kind}}": "sum by (kind) (rate(xmr_escrow_gateway_problems_total[$__rate_interval]))"},
                unit="reqps",
            ),
            Panel(
                "Noted uses per minute",
                "Writes that keep sessions from expiring: at most one per session and minute.",
                {"writes": "60 * sum(rate(xmr_escrow_gateway_touches_total[$__rate_interval]))"},
            ),
        ],
    },
    tenants=False,
)

BOARDS = (SESSIONS, POOLS, OPERATOR)


def queries(board: Board) -> Iterator[str]:
    """Every query of a dashboard, with Grafana's variables in it."""
    yield from (number.query for number in board.stats)
    for panels in board.rows.values():
        for panel in panels:
            yield from panel.queries.values()


def draw(board: Board) -> str:
    """The dashboard's JSON."""
    builder = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["monero", "escrow"])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    if board.tenants:
        builder.with_variable(
            dashboard.QueryVariable("namespace")
            .label("Namespace")
            .datasource(SOURCE)
            .query("label_values(xmr_escrow_slots, namespace)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
    for number in board.stats:
        builder.with_panel(_stat(number).span(WIDTH // len(board.stats)).height(STAT_HEIGHT))
    for title, panels in board.rows.items():
        builder.with_row(dashboard.Row(title))
        for panel in panels:
            builder.with_panel(_panel(panel).span(WIDTH // 2).height(PANEL_HEIGHT))
    return json.dumps(json.loads(JSONEncoder().encode(builder.build())), indent=2, sort_keys=True) + "\n"


def _query(expr: str, legend: str = "") -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expr).legend_format(legend).datasource(SOURCE)


def _stat(number: Stat) -> stat.Panel:
    steps = [Step(color="green")] + ([Step(value=number.bad, color="red")] if number.bad is not None else [])
    return (
        stat.Panel()
        .title(number.title)
        .description(number.description)
        .datasource(SOURCE)
        .unit(number.unit)
        .thresholds(dashboard.ThresholdsConfig().mode(Mode.ABSOLUTE).steps(steps))
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_query(number.query).ref_id("A").instant())
    )


def _panel(panel: Panel) -> timeseries.Panel:
    drawn = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .min(0)
        .fill_opacity(8)
        .legend(
            VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
        )
    )
    for identifier, (legend, query) in zip(ascii_uppercase, panel.queries.items(), strict=False):
        drawn.with_target(_query(query, legend).ref_id(identifier))
    return drawn


def files() -> dict[Path, str]:
    """What there has to be, by path."""
    return {TARGET / f"{board.uid.removeprefix('xmr-escrow-')}.json": draw(board) for board in BOARDS}


if __name__ == "__main__":
    TARGET.mkdir(parents=True, exist_ok=True)
    for path, text in files().items():
        path.write_text(text)
