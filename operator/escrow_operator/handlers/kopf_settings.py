"""kopf's settings for this operator."""

from __future__ import annotations

import kopf

from escrow_operator.handlers.backoff import Backoff
from escrow_operator.handlers.nodiff import NoDiff
from escrow_operator.models.common import GROUP

WATCH_SECONDS = 300
"""Seconds that one watch request lasts; kopf's inactivity timeout notices a watch that dies silently before that."""

REQUEST_SECONDS = 20
"""Deadline in seconds of kopf's own API requests (its default of 300 s hides an API server that hangs)."""

PAGE = 250
"""Objects in one page of a list. 10,000 sessions took 291 MB (peak 336 MB) without pages, 239 MB with them."""

WORKERS = 200
"""Objects whose events are handled concurrently; without a limit a list of 10,000 would start 10,000 tasks at once."""

IDLE_SECONDS = 0.05
"""Seconds for which a kopf worker waits for another event of its object before it makes room for the next one.
Short, as the handlers here wait for nothing."""


EXIT_SECONDS = 0.5
"""Seconds that kopf waits for handlers when the operator ends: another one waits to lead, and they only note things."""


def configure(settings: kopf.OperatorSettings) -> None:
    """Override the defaults of kopf that do not suit this operator."""
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.networking.error_backoffs = Backoff()
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.chunk_size = PAGE
    settings.queueing.worker_limit = WORKERS
    settings.queueing.idle_timeout = IDLE_SECONDS
    settings.queueing.exit_timeout = EXIT_SECONDS
    settings.persistence.finalizer = f"{GROUP}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}")
    settings.persistence.diffbase_storage = NoDiff()
