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
    argv += ["--address", "127.0.0.1", f"service/{service}", ":443"]
    process = subprocess.Popen(  # noqa: S603 - the user's kubectl
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        # To the end: a full pipe would stop it.
        for line in process.stdout or ():
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    try:
        said = []
        while True:
            try:
                line = lines.get(timeout=PATIENCE)
            except queue.Empty:
                line = ""
            found = _FORWARDING.search(line)
            if found:
                yield int(found[1])
                return
            said.append(line.strip())
            if not line:
                raise CliError(f"kubectl port-forward did not begin: {' '.join(said).strip()}", Exit.AWAY)
    finally:
        process.terminate()
        process.wait(timeout=10)
