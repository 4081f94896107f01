"""kopf without the differences that nobody asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import kopf
from kopf import Body, Patch


class NoDiff(kopf.DiffBaseStorage):
    """Keeps and computes nothing.

    kopf copies each object of each event deeply, to compare it with its last known essence, although only handlers of
    changes look at the difference, and this operator has none: a seventh of its CPU under load.
    """

    def build(self, *, body: Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:  # noqa: ARG002 - the names are kopf's
        """No essence."""
        return kopf.BodyEssence()

    def fetch(self, *, body: Body) -> kopf.BodyEssence | None:  # noqa: ARG002
        """None was kept."""
        return None

    def store(self, *, body: Body, patch: Patch, essence: kopf.BodyEssence) -> None:
        """Keep nothing."""
