"""The operator starts when the API server lets it, however often that takes."""

from __future__ import annotations

import socket
from typing import Any, NoReturn

import kopf
import pytest

from escrow_operator.adapters.kube import Kube
from escrow_operator.adapters.kube_errors import KubeError, NotFoundError, UnavailableError
from escrow_operator.handlers.registry import Handlers
from escrow_operator.settings import Settings


class Failing:
    """A connection to an API server that refuses every list."""

    def __init__(self, error: KubeError) -> None:
        self._error = error
        self.closed = 0
        self.requests: dict[tuple[str, str], int] = {}

    async def list(self, *_: object) -> NoReturn:
        raise self._error

    async def close(self) -> None:
        self.closed += 1


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        port: int = one.getsockname()[1]
        return port


def handlers_at(api: Failing, monkeypatch: pytest.MonkeyPatch) -> Handlers:
    async def connect() -> Any:
        return api

    monkeypatch.setattr(Kube, "connect", connect)
    return Handlers(Settings(slot_login_image="operator", metrics_port=free_port()))


async def test_a_start_that_fails_leaves_nothing_in_the_way_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Failing(UnavailableError(503, "Unavailable", "the API server does not answer"))
    handlers = handlers_at(api, monkeypatch)

    for attempt in (1, 2):
        # The second one needs the port of the first one's metrics.
        with pytest.raises(kopf.TemporaryError, match="does not answer"):
            await handlers.startup(settings=kopf.OperatorSettings())
        assert api.closed == attempt


async def test_without_crds_it_gives_up_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = handlers_at(Failing(NotFoundError(404, "NotFound", "no such resource")), monkeypatch)

    with pytest.raises(kopf.PermanentError, match="kubectl apply -f crds/"):
        await handlers.startup(settings=kopf.OperatorSettings())
