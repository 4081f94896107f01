"""``python -m escrow_operator``: run the operator until SIGTERM."""

from __future__ import annotations

import logging
import socket
import sys
from typing import Any, cast

import kopf
import uvloop
from pydantic import ValidationError

from escrow_operator.adapters import tracing
from escrow_operator.handlers import Memo
from escrow_operator.settings import Settings


def main() -> int:
    """Run the operator. Returns the exit code: 2, with the variable at fault on stderr, if the settings are wrong."""
    try:
        settings = Settings()
    except ValidationError as error:
        sys.stderr.write(f"The operator's settings (environment variables XMR_ESCROW_…) are wrong: {error}\n")
        return 2
    kopf.configure(
        log_format=kopf.LogFormat.JSON if settings.log_format == "json" else kopf.LogFormat.FULL,
        debug=settings.log_level == "DEBUG",
    )
    logging.getLogger().setLevel(settings.log_level)
    # These log a line per watch event and per request, in which the operator's own lines would be lost.
    for noisy in ("kopf.objects", "kopf.activities", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # This logs a line per attempt of a refused watch; the operator logs the refusal of its own watch once.
    logging.getLogger("kopf._cogs.clients.watching").setLevel(logging.CRITICAL)
    end_traces = tracing.begin("xmr-escrow-operator")
    # uvloop takes a sixth less CPU per request than asyncio's own event loop (docs/architecture.md).
    try:
        uvloop.run(
            kopf.operator(
                memo=Memo(settings),
                clusterwide=not settings.namespaces,
                namespaces=settings.namespaces,
                standalone=True,
                # By default kopf looks up the user's name, which the uid of a container does not have.
                identity=cast("Any", socket.gethostname()),
            )
        )
    finally:
        end_traces()
    return 0


if __name__ == "__main__":
    sys.exit(main())
