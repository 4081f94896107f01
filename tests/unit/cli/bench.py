"""The command line on an API server of dicts, and a gateway that answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from escrow_cli import main
from escrow_cli.api import Api
from escrow_cli.errors import CliError
from escrow_cli.shared import shared
from unit.factories import pool_body, session_body

Body = dict[str, Any]

READY = {
    "type": "Ready",
    "status": "True",
    "reason": "WalletsOpen",
    "message": "Open.",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


class Bench:
    """``objects`` by path of their collection; ``answers`` for single paths, before these."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.objects: dict[str, list[Body]] = {}
        self.answers: dict[tuple[str, str], Callable[[httpx.Request], httpx.Response]] = {}
        self.asked: list[httpx.Request] = []
        http = httpx.Client(transport=httpx.MockTransport(self._answer), base_url="https://cluster")
        self.api = Api(http, "shop")
        self.monkeypatch = monkeypatch
        monkeypatch.setattr(shared, "_api", self.api)
        monkeypatch.setattr("escrow_cli.api.time.sleep", lambda _: None)

    def put(self, collection: str, *bodies: Body) -> None:
        """Objects of a collection, such as ``escrowsessions``."""
        self.objects.setdefault(collection, []).extend(bodies)

    def session(self, name: str = "demo", **status: Any) -> Body:
        """A session, Ready unless told otherwise."""
        body = session_body(name, status={"phase": "Active", "conditions": [READY], "observedGeneration": 1} | status)
        self.put("escrowsessions", body)
        return body

    def pool(self, **status: Any) -> Body:
        """A pool."""
        body = pool_body()
        body["status"] = {"conditions": [READY]} | status
        self.put("walletpools", body)
        return body

    def run(self, *args: str, stdin: str = "") -> Result:
        """One command; its exit code and what it printed, errors included."""
        wide = {"width": 220, "color_system": None}
        self.monkeypatch.setattr(shared, "out", Console(**wide))  # type: ignore[arg-type]
        self.monkeypatch.setattr(shared, "err", Console(stderr=True, **wide))  # type: ignore[arg-type]
        return CliRunner().invoke(main.app, list(args), input=stdin)

    def code(self, *args: str) -> int:
        """The exit code of the process."""
        found = self.run(*args)
        if isinstance(found.exception, CliError):
            return int(found.exception.code)
        return found.exit_code

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.get((request.method, request.url.path))
        if answer is not None:
            return answer(request)
        parts = request.url.path.strip("/").split("/")
        for collection, found in self.objects.items():
            if parts[-1] == collection and request.method == "GET":
                return httpx.Response(200, json={"items": found})
            if len(parts) > 1 and parts[-2] == collection:
                body = next((b for b in found if b["metadata"]["name"] == parts[-1]), None)
                if body is not None and request.method in ("GET", "PATCH", "DELETE"):
                    return httpx.Response(200, json=body)
        if request.method == "GET" and not any(parts[-1] == c for c in self.objects) and parts[-1].endswith("s"):
            return httpx.Response(200, json={"items": []})
        return httpx.Response(404, json={"message": f"{parts[-1]} not found"})


def sent(request: httpx.Request) -> Any:
    """The body of a request."""
    return json.loads(request.content)
