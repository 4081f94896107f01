"""The object that kopf passes to every handler."""

from __future__ import annotations

from typing import Self

import kopf

from escrow_operator.adapters.web import WebServer
from escrow_operator.replica import Replica
from escrow_operator.services.runtime.paged_watch import PagedWatch
from escrow_operator.settings import Settings
from escrow_operator.wiring import Operator


class Memo:
    """kopf's ``memo``: one instance for all handlers and all objects."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.probes: WebServer | None = None
        self.metrics: WebServer | None = None
        self.slots: PagedWatch | None = None
        self.replica: Replica | None = None
        """None until the first full lists have been read."""

    def __copy__(self) -> Self:
        """Itself: kopf copies the memo to keep data of each object in the copy, and here the store has such data."""
        return self

    @property
    def operator(self) -> Operator:
        """The operator of the present term, or of the next one. Raises kopf.TemporaryError while the process starts."""
        if self.replica is None:
            raise kopf.TemporaryError("the operator is still starting", delay=1)
        return self.replica.operator
