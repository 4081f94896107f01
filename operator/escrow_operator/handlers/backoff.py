"""How long kopf waits between the attempts of a request that fails."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

DELAYS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds between the attempts of one of kopf's requests; the last one again and again."""


class Backoff(Iterable[float]):
    """Delays between attempts, without an end.

    kopf gives up a request after its last delay, and the whole operator with it. An API server that is away comes
    back; one namespace that was deleted with the operator's rights in it (kopf tries again at 403 as well) may not be
    the end of all others.
    """

    def __iter__(self) -> Iterator[float]:
        """Anew for each request."""
        return itertools.chain(DELAYS, itertools.repeat(DELAYS[-1]))
