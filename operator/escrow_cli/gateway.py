"""Calls through the gateway: where it is, whose token, and whom to trust."""

from __future__ import annotations

import base64
import contextlib
import queue
import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from escrow_cli.api import SECRETS, SERVICES, Api
from escrow_cli.errors import CliError, Exit

LABELS = "app.kubernetes.io/name=xmr-escrow-gateway"
AUDIENCE = "xmr-escrow-gateway"

HTTPS = "https"
"""The port of the gateway's Service."""
ACCOUNTS = "/api/v1", "serviceaccounts"

PATIENCE = 15.0
AGAIN_SECONDS = 1.0
SECONDS = 150.0
"""A call waits for its session and its wallet."""

_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")

_CODES = {
    401: Exit.FORBIDDEN,
    403: Exit.FORBIDDEN,
    404: Exit.NOT_FOUND,
    400: Exit.USAGE,
    502: Exit.AWAY,
    503: Exit.AWAY,
}


def token_of(api: Api, account: str) -> str:
    """A token of a service account in the chosen namespace, for the gateway, good for ten minutes."""
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [AUDIENCE], "expirationSeconds": 600},
    }
    found: str = api.create(ACCOUNTS, body, sub=f"{account}/token")["status"]["token"]
    return found


@contextlib.contextmanager
def reached(api: Api, url: str | None, authority: Path | None, context: str | None) -> Iterator[httpx.Client]:
    """A client of the gateway at a URL, or of the one in the cluster, through ``kubectl port-forward``."""
    if url is not None:
        trust = ssl.create_default_context(cafile=str(authority) if authority else None)
        with httpx.Client(base_url=url, verify=trust, timeout=SECONDS) as http:
            yield http
        return
    found = [service for service in api.list(SERVICES, "", labels=LABELS) if _is_for_callers(service)]
    if len(found) != 1:
        raise CliError(
            f"There are {len(found)} gateways in the cluster: name one with --gateway URL (and --authority FILE).",
            Exit.NOT_FOUND,
        )
    meta = found[0]["metadata"]
    if authority is None:
        secret = api.get(SECRETS, f"{meta['name']}-tls", meta["namespace"])
        text = base64.b64decode((secret.get("data") or {}).get("ca.crt", "")).decode()
        trust = ssl.create_default_context(cadata=text or None)
    else:
        trust = ssl.create_default_context(cafile=str(authority))
    with (
        _forwarded(meta["namespace"], meta["name"], context) as port,
        httpx.Client(base_url=f"https://localhost:{port}", verify=trust, timeout=SECONDS) as http,
    ):
        yield http


def _is_for_callers(service: dict[str, Any]) -> bool:
    """Not the one in front of /metrics."""
    return any(port.get("name") == HTTPS for port in service["spec"].get("ports") or ())


@dataclass(frozen=True)
class Wallet:
    """Which wallet is called."""

    namespace: str
    session: str
    role: str

    @property
    def path(self) -> str:
        """Its JSON-RPC at the gateway."""
        return f"/v1/namespaces/{self.namespace}/escrowsessions/{self.session}/wallets/{self.role}/json_rpc"


def call(http: httpx.Client, wallet: Wallet, method: str, params: Mapping[str, Any], *, token: str) -> Any:
    """The result of a wallet's method. Raises CliError with what gateway or wallet said."""
    body = {"jsonrpc": "2.0", "id": "0", "method": method, "params": dict(params)}
    try:
        response = http.post(wallet.path, json=body, headers={"Authorization": f"Bearer {token}"})
    except httpx.HTTPError as error:
        raise CliError(f"The gateway does not answer: {error}", Exit.AWAY) from None
    try:
        answer = response.json()
    except ValueError:
        raise CliError(f"The gateway answered with status {response.status_code}, and no JSON.", Exit.AWAY) from None
    if response.is_error:
        raise CliError(str(answer.get("detail")), _CODES.get(response.status_code, Exit.FAILED))
    if "error" in answer:
        raise CliError(f"The wallet says: {answer['error'].get('message')} ({answer['error'].get('code')})")
    return answer.get("result")


@contextlib.contextmanager
def _forwarded(namespace: str, service: str, context: str | None) -> Iterator[int]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise CliError("kubectl is needed to reach the gateway: install it, or use --gateway URL.", Exit.USAGE)
    argv = [kubectl, *(("--context", context) if context else ()), "--namespace", namespace, "port-forward"]
    argv += ["--address", "127.0.0.1", f"service/{service}"]
    forward = _Forward(argv)
    try:
        yield forward.begin()
    finally:
        forward.end()


class _Forward:
    """``kubectl port-forward``, which ends with the pod that it chose, and is begun again on the same port."""

    def __init__(self, argv: list[str]) -> None:
        self._argv = argv
        self._port = ""
        self._lines: queue.Queue[str] = queue.Queue()
        self._ended = threading.Event()
        self._process = self._start()
        self._reader = threading.Thread(target=self._follow, daemon=True)

    def begin(self) -> int:
        """The local port, once it is open. Raises CliError."""
        self._reader.start()
        said = []
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE)
            except queue.Empty:
                line = ""
            found = _FORWARDING.search(line)
            if found:
                self._port = found[1]
                return int(found[1])
            said.append(line.strip())
            if not line:
                raise CliError(f"kubectl port-forward did not begin: {' '.join(said).strip()}", Exit.AWAY)

    def end(self) -> None:
        """Stop it."""
        self._ended.set()
        self._process.terminate()
        self._process.wait(timeout=10)

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603 - the user's kubectl
            [*self._argv, f"{self._port}:443"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _follow(self) -> None:
        while True:
            # To the end: a full pipe would stop it.
            for line in self._process.stdout or ():
                if not self._port:
                    self._lines.put(line)
            if not self._port:
                self._lines.put("")
                return
            if self._ended.wait(AGAIN_SECONDS):
                return
            self._process = self._start()
            if self._ended.is_set():
                self._process.terminate()
