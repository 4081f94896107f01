"""Delays between kopf's retries of a failed API request."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

DELAYS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds between the attempts of one of kopf's requests; the last value repeats."""


class Backoff(Iterable[float]):
    """Endless retry delays, in seconds.

    After the last delay kopf gives up the request and ends the whole operator. An unreachable API server comes back,
    and one namespace that was deleted together with the operator's rights in it (kopf retries at 403 as well) must not
    end the service of all others.
    """

    def __iter__(self) -> Iterator[float]:
        """Start the delays anew for each request."""
        return itertools.chain(DELAYS, itertools.repeat(DELAYS[-1]))
