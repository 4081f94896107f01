"""Which Service of the cluster is the gateway's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

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
