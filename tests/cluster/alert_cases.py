"""For each alert: metrics that bring it about, when, and what it then says of whom.

promtool plays them on a clock of its own; every alert of the chart has to be here.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Case(NamedTuple):
    """``series`` are values by minute, as promtool writes them; ``labels`` those of the alert besides its own."""

    series: dict[str, str]
    quiet_at: str
    fires_at: str
    labels: dict[str, str]


def _session(kind: str, reason: str, *, status: str = "False") -> str:
    return f'xmr_escrow_session_conditions{{namespace="shop",type="{kind}",status="{status}",reason="{reason}"}}'


def _pool(kind: str, reason: str, *, status: str = "False") -> str:
    return (
        f'xmr_escrow_pool_conditions{{namespace="shop",pool="main",type="{kind}",status="{status}",reason="{reason}"}}'
    )


def _height(pool: str, network: str, pod: str) -> str:
    labels = f'namespace="shop",pool="{pool}",network="{network}",pod="{pod}"'
    return f"xmr_escrow_pool_daemon_height_blocks{{{labels}}}"


def _volume(what: str, claim: str) -> str:
    return f'kubelet_volume_stats_{what}_bytes{{namespace="shop",persistentvolumeclaim="{claim}",node="n"}}'


SHOP = {"namespace": "shop"}
MAIN = {"namespace": "shop", "pool": "main"}
HOME = {"namespace": "home"}
SYSTEM = {"namespace": "xmr-escrow-system"}

CASES = {
    "XmrEscrowMoneyMoved": Case(
        {'xmr_escrow_session_longest_unknown_payout_seconds{namespace="shop"}': "0+60x60"}, "15m", "17m", SHOP
    ),
    "XmrEscrowDeedsLost": Case({_session("Ready", "DeedMissing"): "0x4 1x30"}, "4m", "6m", SHOP),
    "XmrEscrowWalletsDisagree": Case({_session("Funded", "WalletsDisagree"): "1x30"}, "4m", "6m", SHOP),
    "XmrEscrowPayoutStuck": Case(
        {_session("Settled", "DoubleSpent"): "1x30"}, "14m", "16m", {**SHOP, "reason": "DoubleSpent"}
    ),
    "XmrEscrowSessionNotReady": Case(
        {'xmr_escrow_session_longest_unready_seconds{namespace="shop"}': "0+60x60"}, "15m", "18m", SHOP
    ),
    "XmrEscrowSessionFailed": Case({'xmr_escrow_sessions{namespace="shop",phase="Failed"}': "1x30"}, "4m", "6m", SHOP),
    "XmrEscrowAtCapacity": Case({_session("Ready", "AtCapacity"): "2x30"}, "4m", "6m", SHOP),
    "XmrEscrowWalletsCutOff": Case(
        # One reason after the other: the session has no wallet all the time.
        {
            _session("Ready", "WalletUnreachable"): "1x2 0x30",
            _session("Ready", "WalletInUse"): "0x2 1x30",
        },
        "4m",
        "6m",
        SHOP,
    ),
    "XmrEscrowPoolEmpty": Case({_session("Ready", "PoolEmpty"): "1x30"}, "4m", "6m", SHOP),
    "XmrEscrowPoolNotReady": Case(
        {_pool("Ready", "SlotsStarting"): "1x30"}, "9m", "11m", {**MAIN, "reason": "SlotsStarting"}
    ),
    "XmrEscrowDaemonDown": Case(
        {_pool("DaemonSynced", "DaemonUnreachable"): "1x30"}, "1m", "3m", {**MAIN, "reason": "DaemonUnreachable"}
    ),
    "XmrEscrowDaemonBehind": Case({_pool("DaemonSynced", "DaemonSyncing"): "1x30"}, "14m", "16m", MAIN),
    "XmrEscrowDaemonStuck": Case(
        # It is started again meanwhile, which is no block.
        {
            _height("main", "mainnet", "a"): "5+1x30 35x30",
            _height("main", "mainnet", "b"): "_x50 35x90",
            _height("test", "regtest", "a"): "5x200",
            _height("away", "mainnet", "a"): "5x200",
            _pool("DaemonSynced", "Synced", status="True"): "1x200",
            _pool("DaemonSynced", "Synced", status="True").replace("main", "test"): "1x200",
        },
        "80m",
        "100m",
        MAIN,
    ),
    "XmrEscrowVolumeFillingUp": Case(
        {
            _volume("available", "main-buyer-wallets"): "9x30",
            _volume("capacity", "main-buyer-wallets"): "100x30",
            _volume("available", "else"): "1x30",
            _volume("capacity", "else"): "100x30",
            'xmr_escrow_pool_volume_claim_info{namespace="shop",pool="main",role="buyer",'
            'persistentvolumeclaim="main-buyer-wallets",pod="a"}': "1x30",
            'xmr_escrow_pool_volume_claim_info{namespace="shop",pool="main",role="buyer",'
            'persistentvolumeclaim="main-buyer-wallets",pod="b"}': "1x30",
        },
        "4m",
        "6m",
        {**MAIN, "role": "buyer", "persistentvolumeclaim": "main-buyer-wallets"},
    ),
    "XmrEscrowOperatorDown": Case(
        {'xmr_escrow_sessions_max{namespace="xmr-escrow-system"}': "10x9 stale"}, "12m", "5h", SYSTEM
    ),
    "XmrEscrowOperatorNotSweeping": Case(
        {
            'xmr_escrow_last_sweep_timestamp_seconds{namespace="home"}': "0x30",
            'xmr_escrow_sweep_interval_seconds{namespace="home"}': "60x30",
        },
        "6m",
        "8m",
        HOME,
    ),
    "XmrEscrowQueueLate": Case(
        {
            'xmr_escrow_queue_wait_seconds_bucket{namespace="home",queue="sessions",le="5.0"}': "0+50x40",
            'xmr_escrow_queue_wait_seconds_count{namespace="home",queue="sessions"}': "0+60x40",
            'xmr_escrow_queue_wait_seconds_bucket{namespace="home",queue="pools",le="5.0"}': "0+58x40",
            'xmr_escrow_queue_wait_seconds_count{namespace="home",queue="pools"}': "0+60x40",
        },
        "9m",
        "13m",
        {**HOME, "queue": "sessions"},
    ),
    "XmrEscrowLeaderChanging": Case(
        {
            'xmr_escrow_leader_transitions_total{namespace="home",pod="a"}': "1+1x40",
            'xmr_escrow_leader_transitions_total{namespace="home",pod="b"}': "0+1x40",
            'xmr_escrow_leader_transitions_total{namespace="elsewhere",pod="a"}': "1x40",
        },
        "1m",
        "20m",
        HOME,
    ),
    "XmrEscrowNamespaceRefused": Case({'xmr_escrow_namespaces_refused{namespace="home"}': "1x30"}, "4m", "6m", HOME),
    "XmrEscrowGatewayDown": Case(
        {'xmr_escrow_gateway_in_flight{namespace="xmr-escrow-system"}': "0x9 stale"}, "12m", "5h", SYSTEM
    ),
    "XmrEscrowGatewayFailing": Case(
        {
            'xmr_escrow_gateway_problems_total{namespace="home",kind="kubernetes-away"}': "0+2x30",
            'xmr_escrow_gateway_problems_total{namespace="elsewhere",kind="not-ready"}': "0+900x30",
        },
        "9m",
        "13m",
        HOME,
    ),
    "XmrEscrowCertificateExpiring": Case(
        {
            'xmr_escrow_gateway_certificate_expiry_timestamp_seconds{namespace="home"}': "605100x30",
            'xmr_escrow_gateway_certificate_lifetime_seconds{namespace="home"}': "31536000x30",
            # Lives for two days, and has one of them left.
            'xmr_escrow_gateway_certificate_expiry_timestamp_seconds{namespace="short"}': "86400x30",
            'xmr_escrow_gateway_certificate_lifetime_seconds{namespace="short"}': "172800x30",
        },
        "4m",
        "8m",
        HOME,
    ),
}


def promtool_tests(rules: str) -> dict[str, Any]:
    """The cases as ``promtool test rules`` reads them, for the file of rules of that name."""

    def sample(alert: str, labels: dict[str, str], severity: str) -> dict[str, Any]:
        named = {"alertname": alert, "alertstate": "firing", "severity": severity, **labels}
        text = ",".join(f'{key}="{value}"' for key, value in sorted(named.items()))
        return {"labels": f"ALERTS{{{text}}}", "value": 1}

    def query(alert: str, moment: str, samples: list[dict[str, Any]]) -> dict[str, Any]:
        expr = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
        return {"expr": expr, "eval_time": moment, "exp_samples": samples}

    return {
        "rule_files": [rules],
        "evaluation_interval": "1m",
        "tests": [
            {
                "name": alert,
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
                "promql_expr_test": [
                    query(alert, case.quiet_at, []),
                    query(alert, case.fires_at, [sample(alert, case.labels, SEVERITIES[alert])]),
                ],
            }
            for alert, case in CASES.items()
        ],
    }


SEVERITIES = dict.fromkeys(CASES, "warning") | dict.fromkeys(
    (
        "XmrEscrowMoneyMoved",
        "XmrEscrowDeedsLost",
        "XmrEscrowDaemonDown",
        "XmrEscrowDaemonStuck",
        "XmrEscrowVolumeFillingUp",
        "XmrEscrowOperatorDown",
        "XmrEscrowOperatorNotSweeping",
        "XmrEscrowGatewayDown",
    ),
    "critical",
)
"""Critical: money may be lost, or nobody is served. People are woken for these."""
