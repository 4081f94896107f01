"""``python -m escrow_operator``: run the operator until SIGTERM."""

from __future__ import annotations

import logging
import socket
import sys
from typing import Any, cast

import kopf
import uvloop
from pydantic import ValidationError

from escrow_operator.handlers import Memo
from escrow_operator.settings import Settings


def main() -> int:
    """Exit code 2 with the variable at fault when the settings are wrong."""
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
    # A line per watch event and per request of every wallet drowns the story.
    for noisy in ("kopf.objects", "kopf.activities", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # A line per attempt of a watch that is refused; the operator says so once, of its own watch beside it.
    logging.getLogger("kopf._cogs.clients.watching").setLevel(logging.CRITICAL)
    # A sixth less CPU for each request than with asyncio's own loop (docs/architecture.md).
    uvloop.run(
        kopf.operator(
            memo=Memo(settings),
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            standalone=True,
            # Else kopf asks for the user's name, which a container's bare uid does not have.
            identity=cast("Any", socket.gethostname()),
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
