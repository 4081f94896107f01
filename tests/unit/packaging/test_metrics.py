"""What the chart brings for Prometheus and Grafana; alerts name what the operator says and the page explains."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

import dashboards
from escrow_cli.main import app
from testbed.settings import REPO_ROOT
from unit.packaging.helm import CHART, Object, refusal, render

PAGE = (REPO_ROOT / "docs" / "alerts.md").read_text()
SOURCES = "".join(path.read_text() for path in (REPO_ROOT / "operator" / "escrow_operator").rglob("*.py"))


def alerts() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"]:
        yield from group["rules"]


def ours(objects: list[Object], kind: str) -> list[Object]:
    return [body for body in objects if body["kind"] == kind]


ALL = {name: {"enabled": True} for name in ("podMonitor", "rules", "dashboards")}


def test_nothing_that_needs_another_operator_is_made_unasked() -> None:
    kinds = {body["kind"] for body in render()}
    assert not kinds & {"PodMonitor", "ServiceMonitor", "PrometheusRule"}
    assert not [body for body in ours(render(), "ConfigMap") if "dashboard" in body["metadata"]["name"]]


def test_services_and_monitors_lead_to_ports_that_the_pods_have() -> None:
    objects = render({"metrics": ALL, "ports": {"metrics": 9191, "probe": 8181}})
    deployments = {
        json.dumps(body["spec"]["selector"]["matchLabels"], sort_keys=True): {
            port["name"]: port["containerPort"] for port in body["spec"]["template"]["spec"]["containers"][0]["ports"]
        }
        for body in ours(objects, "Deployment")
    }
    services = [body for body in ours(objects, "Service") if body["metadata"]["name"].endswith("-metrics")]
    for service in services:
        ports = deployments[json.dumps(service["spec"]["selector"], sort_keys=True)]
        (port,) = service["spec"]["ports"]
        assert ports[port["targetPort"]] == port["port"]
    monitors = ours(objects, "PodMonitor")
    for monitor in monitors:
        ports = deployments[json.dumps(monitor["spec"]["selector"]["matchLabels"], sort_keys=True)]
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["port"] in ports
    assert len(services) == len(monitors) == len(deployments) == 2


def test_the_namespace_of_a_metric_is_the_tenants() -> None:
    (operators, _) = ours(render({"metrics": ALL}), "PodMonitor")
    assert operators["spec"]["podMetricsEndpoints"][0]["honorLabels"] is True


def test_without_a_gateway_none_is_scraped() -> None:
    objects = render({"metrics": ALL, "gateway": {"enabled": False}})
    assert len(ours(objects, "PodMonitor")) == 1
    assert [body["metadata"]["name"] for body in ours(objects, "Service")] == ["xmr-escrow-operator-metrics"]


def test_labels_reach_those_who_select_by_them() -> None:
    found = {
        "podMonitor": {"enabled": True, "labels": {"release": "stack"}, "interval": "15s"},
        "rules": {"enabled": True, "labels": {"release": "stack"}, "alertLabels": {"team": "escrow"}},
        "dashboards": {"enabled": True, "annotations": {"grafana_folder": "Escrow"}},
    }
    objects = render({"metrics": found})
    for monitor in ours(objects, "PodMonitor"):
        assert monitor["metadata"]["labels"]["release"] == "stack"
        assert monitor["spec"]["podMetricsEndpoints"][0]["interval"] == "15s"
    (rule,) = ours(objects, "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "stack"
    for group in rule["spec"]["groups"]:
        for alert in group["rules"]:
            assert alert["labels"].keys() == {"severity", "team"}
    boards = [body for body in ours(objects, "ConfigMap") if "dashboard" in body["metadata"]["name"]]
    assert len(boards) == len(dashboards.BOARDS)
    for board in boards:
        assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert board["metadata"]["annotations"] == {"grafana_folder": "Escrow"}
        (text,) = board["data"].values()
        assert json.loads(text)["uid"].startswith("xmr-escrow-")


def test_the_rule_has_the_alerts_as_they_are_in_the_file() -> None:
    (rule,) = ours(render({"metrics": ALL}), "PrometheusRule")
    text = (CHART / "files" / "alerts.yaml").read_text()
    assert "RELEASE_NAMESPACE" in text
    assert rule["spec"] == yaml.safe_load(text.replace("RELEASE_NAMESPACE", "xmr-escrow-system"))


def test_a_release_without_a_gateway_has_no_alerts_of_one() -> None:
    (rule,) = ours(render({"metrics": ALL, "gateway": {"enabled": False}}), "PrometheusRule")
    assert not [alert for group in rule["spec"]["groups"] for alert in group["rules"] if "gateway" in alert["expr"]]


def test_with_every_alert_left_out_the_rule_is_still_one() -> None:
    disabled = [alert["alert"] for alert in alerts()]
    (rule,) = ours(render({"metrics": {"rules": {"enabled": True, "disabled": disabled}}}), "PrometheusRule")
    assert rule["spec"]["groups"] == []


def test_commands_of_the_page_are_those_of_the_command_line() -> None:
    """Options of all commands come before the command."""
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    lines = re.findall(r"`(kubectl escrow[^`]*)`", PAGE) + re.findall(r"^(kubectl escrow .*)$", PAGE, re.MULTILINE)
    assert lines
    for line in lines:
        words = line.split()[2:]
        while words and words[0] in ("-n", "--context"):
            words = words[2:]
        assert not words or words[0] in known, line
        assert "-n" not in words, line


def test_an_alert_may_be_left_out_by_its_name_and_leads_to_its_page() -> None:
    settings = {"enabled": True, "disabled": ["XmrEscrowQueueLate"], "runbooks": "https://docs.example.com/alerts"}
    (rule,) = ours(render({"metrics": {"rules": settings}}), "PrometheusRule")
    found = {alert["alert"]: alert for group in rule["spec"]["groups"] for alert in group["rules"]}
    assert found.keys() == {alert["alert"] for alert in alerts()} - {"XmrEscrowQueueLate"}
    for name, alert in found.items():
        assert alert["annotations"]["runbook_url"] == f"https://docs.example.com/alerts#{name.lower()}"


@pytest.mark.parametrize(
    ("metrics", "complaint"),
    [
        ({"rules": {"enabled": True, "disabled": ["XmrEscrowQueueLater"]}}, "XmrEscrowQueueLater"),
        ({"podMonitor": {"interval": "often"}}, "/metrics/podMonitor/interval"),
        ({"rules": {"runbooks": "docs/alerts.md"}}, "/metrics/rules/runbooks"),
        ({"rules": {"alertLabels": {"severity": "info"}}}, "/metrics/rules/alertLabels"),
    ],
)
def test_what_makes_no_sense_is_refused(metrics: Object, complaint: str) -> None:
    assert complaint in refusal({"metrics": metrics})


def test_every_alert_is_explained_and_nothing_else_is() -> None:
    headings = re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)
    assert headings == [alert["alert"] for alert in alerts()]


def test_alerts_have_what_a_person_needs() -> None:
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert alert["annotations"].keys() == {"summary", "description"}
        assert all(text.endswith(".") for text in alert["annotations"].values())


def test_reasons_that_alerts_name_are_the_operators() -> None:
    """A reason that was renamed would silence its alert for ever."""
    for alert in alerts():
        for text in re.findall(r'reason=~?"([^"]+)"', alert["expr"]):
            for reason in text.split("|"):
                assert f'"{reason}"' in SOURCES, (alert["alert"], reason)


def test_the_dashboards_are_those_that_the_script_draws() -> None:
    drawn = dashboards.files()
    assert {path: path.read_text() for path in dashboards.TARGET.glob("*")} == drawn


def test_panels_do_not_overlap_and_queries_have_names_of_their_own() -> None:
    for text in dashboards.files().values():
        panels = [panel for panel in json.loads(text)["panels"] if panel["type"] != "row"]
        cells: set[tuple[int, int]] = set()
        for panel in panels:
            grid = panel["gridPos"]
            mine = {
                (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
            }
            assert not mine & cells, panel["title"]
            assert all(0 <= x < dashboards.WIDTH for x, _ in mine)
            cells |= mine
            names = [target["refId"] for target in panel["targets"]]
            assert len(names) == len(set(names))
            assert all(names)
            assert panel["description"]
