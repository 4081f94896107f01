"""Which Service of the cluster is the gateway's."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from escrow_cli import gateway
from escrow_cli.errors import CliError
from unit.cli.bench import Bench, Body
from unit.packaging.helm import of_kind, render


def chart_services() -> list[Body]:
    return [
        body | {"metadata": body["metadata"] | {"namespace": "xmr-escrow-system"}}
        for body in of_kind(render(), "Service", gateway=True)
    ]


def found(cli: Bench, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The Service that is forwarded."""
    forwarded: list[tuple[str, str]] = []

    @contextlib.contextmanager
    def forward(namespace: str, name: str, _: str | None) -> Iterator[int]:
        forwarded.append((namespace, name))
        yield 1

    monkeypatch.setattr(gateway, "_forwarded", forward)
    with gateway.reached(cli.api, None, None, None):
        return forwarded[0]


def test_it_is_the_one_for_callers_and_not_that_of_metrics(cli: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    services = chart_services()
    assert len(services) == 2
    cli.put("services", *services)
    cli.put("secrets", {"metadata": {"name": "xmr-escrow-operator-gateway-tls"}, "data": {}})
    # No authority is told, and the system's are taken.
    assert found(cli, monkeypatch) == ("xmr-escrow-system", "xmr-escrow-operator-gateway")


@pytest.mark.parametrize("number", [0, 2])
def test_who_has_none_or_several_names_it(cli: Bench, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    (service, *_) = [body for body in chart_services() if body["spec"]["ports"][0]["name"] == "https"]
    cli.put("services", *[service] * number)
    with pytest.raises(CliError, match=f"There are {number} gateways"):
        found(cli, monkeypatch)


def fake_kubectl(folder: Path, script: str) -> Path:
    """A kubectl that notes its arguments, a line each time."""
    file = folder / "kubectl"
    file.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\n{script}\n')
    file.chmod(0o755)
    return file


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_forward_that_ended_with_its_pod_begins_again_on_the_same_port(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gateway, "AGAIN_SECONDS", 0.01)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    calls = fake_kubectl(tmp_path, "echo 'Forwarding from 127.0.0.1:4711 -> 8443'; sleep 0.05").parent / "calls"
    with gateway._forwarded("home", "gate", "ctx") as port:
        assert port == 4711
        until(lambda: len(calls.read_text().splitlines()) >= 3)
    first, second, *_ = calls.read_text().splitlines()
    assert first == "--context ctx --namespace home port-forward --address 127.0.0.1 service/gate :443"
    assert second.endswith("service/gate 4711:443")


def test_one_that_does_not_begin_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    fake_kubectl(tmp_path, "echo 'error: no such service'; exit 1")
    with pytest.raises(CliError, match="no such service"), gateway._forwarded("home", "gate", None):
        pass
