"""What the commands say and send."""

from __future__ import annotations

import base64
import json
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
import yaml

from escrow_cli import gateway, main
from escrow_cli.errors import CliError, Exit
from escrow_cli.report import redacted
from escrow_operator.models.common import Label
from unit.cli.bench import READY, Bench, sent

WAITING = READY | {"status": "False", "reason": "AtCapacity", "message": "All 10 places are taken."}


def test_status_of_all_shows_those_that_need_eyes_first(cli: Bench) -> None:
    cli.session("a-good-one", balance={"total": "1.5"})
    cli.session("one-that-waits", phase="Pending", conditions=[WAITING])
    found = cli.run("status")
    assert found.exit_code == 0
    assert found.output.index("one-that-waits") < found.output.index("a-good-one")
    assert "AtCapacity" in found.output
    assert "1.5" in found.output


def test_status_of_one_says_what_stops_its_clock(cli: Bench) -> None:
    cli.session(wallets={"buyer": {"opened": True, "pod": "pod-1", "file": "f"}}, address="4abc")
    found = cli.run("status", "demo").output
    assert "money is under way" in found
    assert "4abc" in found
    assert "pod-1" in found


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_status_for_programs_is_the_object(cli: Bench, form: str) -> None:
    body = cli.session()
    found = cli.run("status", "demo", "-o", form).output
    assert (json.loads(found) if form == "json" else yaml.safe_load(found)) == body


def test_text_of_tenants_cannot_drive_a_terminal(cli: Bench) -> None:
    evil = READY | {"status": "False", "reason": "X", "message": "a\x1b[2Jb [bold]c"}
    cli.session(conditions=[evil], phase="Failed")
    found = cli.run("status", "demo").output
    assert "\x1b" not in found


def test_top_ends_after_its_rounds(cli: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escrow_cli.main.time.sleep", lambda _: None)
    cli.session()
    assert "demo" in cli.run("top", "--rounds", "2").output
    assert len(cli.asked) == 2


def test_touch_writes_one_annotation(cli: Bench) -> None:
    cli.session()
    assert cli.code("touch", "demo") == 0
    assert list(sent(cli.asked[-1])["metadata"]["annotations"]) == [Label.TOUCH]


def test_resume_touches_and_waits(cli: Bench) -> None:
    cli.session()
    assert cli.code("resume", "demo") == 0
    assert [request.method for request in cli.asked] == ["PATCH", "GET"]
    patch = sent(cli.asked[0])
    assert patch["spec"] == {"suspend": False}
    assert list(patch["metadata"]["annotations"]) == [Label.TOUCH]


SUSPENDED: dict[str, Any] = {
    "phase": "Suspended",
    "conditions": [READY | {"reason": "SuspendedBySpec", "message": "Set it to false."}],
}


def test_suspend_waits_until_the_wallets_are_closed_and_says_how_to_resume(cli: Bench) -> None:
    cli.session(**SUSPENDED)["spec"]["suspend"] = True
    found = cli.run("suspend", "demo")
    assert found.exit_code == 0
    assert "kubectl escrow resume demo" in found.output
    assert [request.method for request in cli.asked] == ["GET", "PATCH", "GET"]
    assert sent(cli.asked[1]) == {"spec": {"suspend": True}}


def test_suspend_does_not_say_so_before_a_pod_has_ended(cli: Bench) -> None:
    closing = READY | {"status": "False", "reason": "Closing", "message": "Waiting for a pod."}
    cli.session(phase="Suspended", conditions=[closing])["spec"]["suspend"] = True
    found = cli.run("suspend", "demo", "--timeout", "0")
    assert "Waiting for a pod." in str(found.exception)


def test_suspend_needs_crds_that_know_it(cli: Bench) -> None:
    cli.session()
    assert "CRDs" in str(cli.run("suspend", "demo").exception)


def test_a_trade_that_is_over_is_not_suspended(cli: Bench) -> None:
    cli.session(phase="Completed")
    assert "is over" in str(cli.run("suspend", "demo").exception)
    assert [request.method for request in cli.asked] == ["GET"]


def test_one_that_is_suspended_by_its_spec_is_not_waited_for(cli: Bench) -> None:
    cli.session(**SUSPENDED)["spec"]["suspend"] = True
    found = cli.run("wait", "demo", "--timeout", "60")
    assert "SuspendedBySpec" in str(found.exception)
    assert len(cli.asked) == 1
    assert "kubectl escrow resume" in cli.run("status", "demo").output


def test_close_asks_first(cli: Bench) -> None:
    cli.session()
    assert cli.run("close", "demo", stdin="n\n").exit_code == 1
    assert not cli.asked
    assert cli.run("close", "demo", "--yes").exit_code == 0
    assert cli.asked[-1].method == "DELETE"


MANIFEST = {"apiVersion": "xmr-escrow.dev/v1alpha1", "kind": "EscrowSession", "metadata": {"name": "demo"}, "spec": {}}


def test_apply_and_wait_applies_and_waits(cli: Bench, tmp_path: Path) -> None:
    cli.session()
    file = tmp_path / "session.yaml"
    file.write_text(yaml.safe_dump(MANIFEST))
    assert cli.code("apply-and-wait", "-f", str(file)) == 0
    patch, *_ = cli.asked
    assert (patch.method, patch.headers["content-type"]) == ("PATCH", "application/apply-patch+yaml")


def test_one_that_does_not_become_ready_says_why(cli: Bench) -> None:
    cli.session(phase="Pending", conditions=[WAITING])
    found = cli.run("wait", "demo", "--timeout", "0")
    assert isinstance(found.exception, CliError)
    assert "All 10 places are taken." in str(found.exception)
    assert found.exception.code is Exit.FAILED


def test_one_that_failed_is_not_waited_for(cli: Bench) -> None:
    cli.session(
        phase="Failed", conditions=[READY | {"status": "False", "reason": "WrongPassword", "message": "Mend it."}]
    )
    found = cli.run("wait", "demo", "--timeout", "60")
    assert "WrongPassword" in str(found.exception)
    assert len(cli.asked) == 1


@pytest.mark.parametrize(
    "text",
    ["", "a: [", "kind: Pod\nmetadata: {name: x}", "kind: EscrowSession\nmetadata: {}", "---\na: 1\n---\nb: 2\n"],
)
def test_what_is_no_session_is_not_applied(cli: Bench, tmp_path: Path, text: str) -> None:
    file = tmp_path / "session.yaml"
    file.write_text(text)
    assert cli.code("apply-and-wait", "-f", str(file)) == Exit.USAGE
    assert not cli.asked


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, Exit.NOT_FOUND), (403, Exit.FORBIDDEN), (401, Exit.FORBIDDEN), (500, Exit.FAILED), (422, Exit.USAGE)],
)
def test_exit_codes_tell_errors_apart(cli: Bench, status: int, code: Exit) -> None:
    path = "/apis/xmr-escrow.dev/v1alpha1/namespaces/shop/escrowsessions/demo"
    cli.answers["GET", path] = lambda _: httpx.Response(status, json={"message": "because"})
    assert cli.code("status", "demo") == code


def test_an_api_server_that_is_away_has_a_code_of_its_own(cli: Bench) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    cli.answers["GET", "/apis/xmr-escrow.dev/v1alpha1/namespaces/shop/escrowsessions/demo"] = away
    assert cli.code("status", "demo") == Exit.AWAY


def test_events_are_a_story_in_order(cli: Bench) -> None:
    for moment, reason in (("2026-01-02T00:00:00Z", "Later"), ("2026-01-01T00:00:00Z", "Earlier")):
        event = {
            "metadata": {"name": reason},
            "lastTimestamp": moment,
            "type": "Normal",
            "reason": reason,
            "message": "m",
        }
        cli.put("events", event)
    found = cli.run("events", "demo").output
    assert found.index("Earlier") < found.index("Later")


def test_stats_tell_what_prepared_escrows_cost(cli: Bench) -> None:
    cli.pool(preparedEscrows=2, preparedMemory="384Mi", utilisation="30%", summary={"free": "1/1/1"})
    found = cli.run("stats").output
    assert "2 (384Mi)" in found
    assert "30%" in found


class Answering:
    """A gateway."""

    def __init__(self, status: int, answer: Any) -> None:
        self.requests: list[httpx.Request] = []
        self._status, self._answer = status, answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self._status, json=self._answer)


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the gateway answer."""

    def make(status: int, answer: Any) -> Answering:
        found = Answering(status, answer)
        http = httpx.Client(transport=httpx.MockTransport(found), base_url="https://gateway")

        def reached(*_: object) -> Any:
            return http

        monkeypatch.setattr(gateway, "reached", reached)
        return found

    return make


def test_a_call_goes_through_the_gateway_with_an_accounts_token(cli: Bench, answering: Any) -> None:
    found = answering(200, {"result": {"balance": 18446744073709551615}})
    path = "/api/v1/namespaces/shop/serviceaccounts/backend/token"
    cli.answers["POST", path] = lambda _: httpx.Response(201, json={"status": {"token": "secret"}})
    done = cli.run("call", "demo", "vendor", "get_balance", '{"account_index": 0}', "--as", "backend")
    assert json.loads(done.output) == {"balance": 18446744073709551615}
    [request] = found.requests
    assert request.url.path == "/v1/namespaces/shop/escrowsessions/demo/wallets/vendor/json_rpc"
    assert request.headers["authorization"] == "Bearer secret"
    assert sent(request)["params"] == {"account_index": 0}
    assert sent(cli.asked[0])["spec"]["audiences"] == ["xmr-escrow-gateway"]


@pytest.mark.parametrize(
    ("status", "answer", "code", "text"),
    [
        (403, {"detail": "bind a Role"}, Exit.FORBIDDEN, "bind a Role"),
        (404, {"detail": "no such session"}, Exit.NOT_FOUND, "no such session"),
        (503, {"detail": "in a moment"}, Exit.AWAY, "in a moment"),
        (200, {"error": {"code": -4, "message": "not enough money"}}, Exit.FAILED, "not enough money"),
    ],
)
def test_what_gateway_and_wallet_say_is_told(
    cli: Bench, answering: Any, tmp_path: Path, *, status: int, answer: Any, code: Exit, text: str
) -> None:
    answering(status, answer)
    file = tmp_path / "token"
    file.write_text("t\n")
    found = cli.run("call", "demo", "vendor", "get_balance", "--token-file", str(file))
    assert isinstance(found.exception, CliError)
    assert (found.exception.code, text in str(found.exception)) == (code, True)


@pytest.mark.parametrize("params", ["[]", "{", "7"])
def test_parameters_have_to_be_an_object(cli: Bench, params: str) -> None:
    assert cli.code("call", "demo", "vendor", "get_balance", params, "--as", "x") == Exit.USAGE


def test_a_call_needs_somebodys_token(cli: Bench) -> None:
    assert cli.code("call", "demo", "vendor", "get_balance") == Exit.USAGE


CANARIES = [
    "Bearer abc.def-ghi",
    'password: "hunter2-canary"',
    "Authorization: Basic Y2FuYXJ5",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl",
    "spend_key: " + "ab" * 32,
    "c" * 8 + "d" * 56,
]


@pytest.mark.parametrize("canary", CANARIES)
def test_what_looks_like_a_secret_is_hidden(canary: str) -> None:
    text = redacted(f"before {canary} after")
    assert canary.rsplit(maxsplit=1)[-1].strip('"') not in text
    assert text.startswith("before ")
    assert "after" in text


def test_a_report_has_no_canary_and_reads_no_secret(cli: Bench, tmp_path: Path) -> None:
    cli.session(conditions=[READY | {"message": " ".join(CANARIES)}])
    cli.pool()
    pod = {
        "metadata": {"name": "op-1", "namespace": "sys", "labels": {}},
        "spec": {"containers": [{"image": "i", "env": [{"name": "X", "value": "canary-of-env"}]}]},
    }
    cli.put("pods", pod)
    cli.put(
        "deployments", {"metadata": {"name": "op", "namespace": "sys"}, "spec": {"template": {"spec": pod["spec"]}}}
    )
    cli.answers["GET", "/api/v1/namespaces/sys/pods/op-1/log"] = lambda _: httpx.Response(200, text="\n".join(CANARIES))
    file = tmp_path / "report.tar.gz"
    assert cli.run("report", "-f", str(file)).exit_code == 0
    with tarfile.open(file) as tar:
        texts = {m.name: tar.extractfile(m).read().decode() for m in tar.getmembers()}  # type: ignore[union-attr]
    everything = "\n".join(texts.values())
    assert "xmr-escrow-report/logs/op-1.txt" in texts
    assert "demo" in texts["xmr-escrow-report/sessions.yaml"]
    for canary in ("hunter2", "canary-of-env", "c2lnbmF0dXJl", "ab" * 32, "Y2FuYXJ5"):
        assert canary not in everything, canary
    assert not any("secrets" in request.url.path for request in cli.asked)
    assert file.stat().st_mode & 0o077 == 0


def crd(plural: str, *fields: str) -> dict[str, Any]:
    properties: dict[str, Any] = {part: {"properties": {name: {} for name in fields}} for part in ("spec", "status")}
    schema = {"openAPIV3Schema": {"properties": properties}}
    return {
        "metadata": {"name": f"{plural}.xmr-escrow.dev"},
        "spec": {"versions": [{"name": "v1alpha1", "schema": schema}]},
    }


def certificate(cli: Bench, ends: datetime) -> None:
    """The gateway's, which ends then."""
    issued = trustme.CA().issue_cert("gateway", not_after=ends)
    pem = b"".join(part.bytes() for part in issued.cert_chain_pems)
    secret = {
        "metadata": {"name": "gateway-cert", "namespace": "sys"},
        "data": {"tls.crt": base64.b64encode(pem).decode()},
    }
    cli.objects["secrets"] = [secret]


def healthy(cli: Bench) -> None:
    """All that doctor looks at, as it should be."""
    cli.put("customresourcedefinitions", crd("escrowsessions", "moneyMovedAt"), crd("walletpools", "preparedEscrows"))
    deployment = {
        "metadata": {"name": "o", "namespace": "sys"},
        "spec": {"replicas": 2, "template": {"spec": {"volumes": [{"secret": {"secretName": "gateway-cert"}}]}}},
        "status": {"readyReplicas": 2},
    }
    cli.put("deployments", deployment)
    certificate(cli, datetime.now(UTC) + timedelta(days=90))
    cli.pool()["spec"]["networkPolicy"] = {"enabled": True}
    cli.objects["walletpools"][0]["status"]["conditions"].append(READY | {"type": "DaemonSynced"})
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    cli.answers["POST", path] = lambda _: httpx.Response(201, json={"status": {"allowed": True}})


def levels(cli: Bench) -> dict[str, set[str]]:
    """The findings' levels, by check."""
    found: dict[str, set[str]] = {}
    for one in json.loads(cli.run("doctor", "-o", "json").output):
        found.setdefault(one["check"], set()).add(one["level"])
    return found


def test_doctor_finds_nothing_where_nothing_is(cli: Bench) -> None:
    healthy(cli)
    assert cli.run("doctor").exit_code == 0
    assert set().union(*levels(cli).values()) == {"ok"}


def test_doctor_finds_what_is_wrong_and_ends_with_a_code(cli: Bench) -> None:
    healthy(cli)
    cli.objects["customresourcedefinitions"][1] = crd("walletpools")
    cli.objects["deployments"][0]["status"]["readyReplicas"] = 0
    cli.objects["walletpools"][0]["status"]["conditions"][1] |= {"status": "False", "reason": "DaemonUnreachable"}
    found = levels(cli)
    assert found["custom resources"] == {"ok", "bad"}
    assert "bad" in found["operator"]
    assert "bad" in found["pools"]
    text = cli.run("doctor")
    assert text.exit_code == Exit.FAILED
    assert "--force-conflicts" in text.output


@pytest.mark.parametrize(
    ("days", "level", "text"), [(90, "ok", "is valid until"), (13, "bad", "Renew it"), (-1, "bad", "Renew it")]
)
def test_doctor_sees_a_certificate_that_ends(cli: Bench, days: int, level: str, text: str) -> None:
    healthy(cli)
    certificate(cli, datetime.now(UTC) + timedelta(days=days))
    assert levels(cli)["certificate"] == {level}
    assert text in cli.run("doctor").output.replace("\n", " ")


@pytest.mark.parametrize("data", [{}, {"tls.crt": "!"}, {"tls.crt": base64.b64encode(b"no PEM").decode()}])
def test_doctor_sees_what_is_no_certificate(cli: Bench, data: dict[str, str]) -> None:
    healthy(cli)
    cli.objects["secrets"][0]["data"] = data
    assert levels(cli)["certificate"] == {"bad"}


def test_doctor_sees_that_the_certificate_is_missing(cli: Bench) -> None:
    healthy(cli)
    cli.objects["secrets"] = []
    assert levels(cli)["certificate"] == {"bad"}


def test_doctor_goes_on_where_it_may_not_look(cli: Bench) -> None:
    healthy(cli)
    cli.answers["GET", "/api/v1/nodes"] = lambda _: httpx.Response(403, json={"message": "nodes is forbidden"})
    found = levels(cli)
    assert found["storage"] == {"warning"}
    assert found["monerod"] == {"ok"}


@pytest.mark.usefixtures("cli")
def test_the_entry_point_turns_errors_into_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["kubectl-escrow", "status", "nobody"])
    with pytest.raises(SystemExit) as ended:
        main.run()
    assert ended.value.code == Exit.NOT_FOUND
