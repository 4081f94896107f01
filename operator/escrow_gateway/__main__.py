"""``python -m escrow_gateway``: serve calls until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import uvloop
from prometheus_client import REGISTRY
from pydantic import ValidationError
from pythonjsonlogger.json import JsonFormatter

from escrow_gateway.app import Gateway, make_app
from escrow_gateway.audit import AuditLog
from escrow_gateway.certificate import follow_certificate
from escrow_gateway.identity import Identities
from escrow_gateway.lifecycle import Lifecycle
from escrow_gateway.logins import Logins
from escrow_gateway.meters import Meters
from escrow_gateway.overview import Overview
from escrow_gateway.page import Page
from escrow_gateway.pools import Pools
from escrow_gateway.rounds import Rounds
from escrow_gateway.server import DRAIN_SECONDS, Probes, listen, make_server
from escrow_gateway.sessions import Sessions
from escrow_gateway.settings import Settings
from escrow_gateway.traces import Traced
from escrow_gateway.wallets import KEEPALIVE, Wallets
from escrow_operator.adapters import tracing
from escrow_operator.adapters.json_rpc import rpc_session
from escrow_operator.adapters.kube import Kube
from escrow_operator.adapters.web import WebServer

_LOG = logging.getLogger("escrow_gateway")


def main() -> int:
    """Run the gateway. Returns the exit code: 2, with what is wrong on stderr, if it cannot be started as it is set."""
    try:
        settings = Settings()
    except ValidationError as error:
        sys.stderr.write(f"The gateway's settings (environment variables XMR_ESCROW_GATEWAY_…) are wrong: {error}\n")
        return 2
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter("{levelname}{message}{name}", style="{", timestamp=True))
    logging.basicConfig(level=settings.log_level, handlers=[handler])
    # Both log a line per request.
    for noisy in ("aiohttp.access", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    end_traces = tracing.begin("xmr-escrow-gateway")
    try:
        return uvloop.run(serve(settings))
    finally:
        end_traces()


async def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT."""
    kube = await Kube.connect()
    session = rpc_session(KEEPALIVE)
    meters = Meters(REGISTRY)
    sessions = Sessions(kube, meters.touches)
    rounds = Rounds(sessions)
    logins = Logins(kube, settings.own_namespace, settings.logins_secret)
    identities = Identities(kube, settings.audience)
    gateway = Gateway(
        settings,
        identities=identities,
        lifecycle=Lifecycle(kube, sessions),
        pools=Pools(kube),
        rounds=rounds,
        sessions=sessions,
        wallets=Wallets(
            session,
            logins,
            longest=settings.longest_answer,
            deadline=settings.call_deadline.total_seconds(),
        ),
    )
    page = Page(gateway.user, gateway.places, identities, Overview(kube)) if settings.page else None
    try:
        app = Traced(make_app(gateway, AuditLog(), meters, page), settings.trust_traceparent)
        server = make_server(app, settings)
        listening = listen(settings.port)
    except OSError as error:
        sys.stderr.write(f"The certificate cannot be used, or the port is taken: {error}\n")
        return 2
    probes = Probes(logins)
    plain = await WebServer.serve(probes.app(), settings.probe_port)
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    following = None
    if server.config.ssl is not None and settings.certificate is not None and settings.key is not None:
        following = asyncio.create_task(
            follow_certificate(server.config.ssl, settings.certificate, settings.key, meters)
        )
    stop = asyncio.create_task(ending.wait())
    await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
    probes.draining = True
    if not serving.done():
        await asyncio.sleep(DRAIN_SECONDS)
        server.should_exit = True
    await serving
    for task in (stop, following):
        if task is not None:
            task.cancel()
    await rounds.settle()
    await sessions.settle()
    await plain.close()
    await session.close()
    await kube.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
