"""How kopf is set for this operator."""

from __future__ import annotations

import kopf

from escrow_operator.handlers.backoff import Backoff
from escrow_operator.handlers.nodiff import NoDiff
from escrow_operator.models.common import GROUP

WATCH_SECONDS = 300
"""How long one watch request lasts; a watch that dies silently is noticed by kopf's inactivity timeout before."""

REQUEST_SECONDS = 20
"""Deadline of kopf's own API requests (its default of 300 s hides an API server that hangs)."""

PAGE = 250
"""Objects in one page of a list. Without pages 10,000 sessions took 291 MB and a peak of 336, with them 239."""

WORKERS = 200
"""Objects whose events are handled at the same time; a list of 10,000 would else be as many tasks at once."""

IDLE_SECONDS = 0.05
"""For which a worker waits for another event of its object. Handlers do not wait for anything, so the next object need
not wait either."""


def configure(settings: kopf.OperatorSettings) -> None:
    """Set all that is not as this operator needs it."""
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.networking.error_backoffs = Backoff()
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.chunk_size = PAGE
    settings.queueing.worker_limit = WORKERS
    settings.queueing.idle_timeout = IDLE_SECONDS
    settings.persistence.finalizer = f"{GROUP}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}")
    settings.persistence.diffbase_storage = NoDiff()
