"""Who leads: decisions on a Lease, by this process's own monotonic clock; no two clocks are ever compared.

The holder counts from the moment before it sent its last renewal, everybody else from the moment after they saw the
Lease change. A renewal is sent before anybody can see it, and the holder stops sooner (``renew``) than others begin
(``lease``): so nobody takes a lease whose holder may still act.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds: for which a lease that is not renewed is left alone (``lease``), after which a holder that could not
    renew it stops (``renew``), and between two attempts (``retry``)."""

    lease: float
    renew: float
    retry: float

    @property
    def patience(self) -> float:
        """Seconds for one request: a connection that hangs leaves time for another attempt."""
        return self.renew / 2


@dataclass(frozen=True)
class Holding:
    """What a Lease says.

    ``holder`` is empty when it was released. ``term`` counts the leaderships, this one included. ``seconds`` is how
    long its holder wants it left alone; ``version`` the Lease's resourceVersion, which changes with each renewal.
    """

    holder: str
    term: int
    seconds: float
    version: str


@dataclass(frozen=True)
class Observed:
    """What a candidate saw last (None: no Lease), unchanged ``since`` a moment of its monotonic clock.

    ``patience`` is for how many seconds it must stay so before the candidate may take the lease; ``term`` is the
    highest that it ever saw.
    """

    holding: Holding | None
    since: float
    patience: float
    term: int


def observe(before: Observed | None, holding: Holding | None, *, me: str, now: float, lease: float) -> Observed:
    """What is known after another look, whose answer came at ``now``; ``before`` is what was known until then.

    Where there is no Lease it was deleted, and its holder may not know yet: it is left alone for ``lease`` seconds.
    """
    if before is not None and before.holding == holding:
        return before
    known = before.term if before else 0
    if holding is None:
        return Observed(None, now, lease, known)
    free = holding.holder in ("", me)
    return Observed(holding, now, 0.0 if free else holding.seconds, max(known, holding.term))


def taken(observed: Observed, term: int) -> Observed:
    """What is known after the candidate itself took the lease for a term: nobody else has held it since."""
    return dataclasses.replace(observed, patience=0.0, term=term)


def seconds_to_wait(observed: Observed, *, now: float) -> float:
    """Seconds until a candidate may take the lease, if nothing happens to it; 0 when it may."""
    return max(0.0, observed.since + observed.patience - now)


def holds_until(sent: float, timing: Timing) -> float:
    """Until when a process may act whose request for the lease, or for its renewal, was sent at ``sent``."""
    return sent + timing.renew
