"""The dependencies that all services share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from prometheus_client import CollectorRegistry

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube import Kube
from escrow_operator.services.runtime.events import EventRecorder
from escrow_operator.services.runtime.memory import Memory
from escrow_operator.services.runtime.meters import Meters
from escrow_operator.services.runtime.stage_timer import StageTimer
from escrow_operator.services.scheduling import Wakeups
from escrow_operator.services.state.store import Store
from escrow_operator.settings import Settings


@dataclass(frozen=True)
class Context:
    """The API client, settings and clock; the known state; metrics and Events; and the work queues."""

    kube: Kube
    settings: Settings
    clock: Clock
    meters: Meters
    memory: Memory
    store: Store
    events: EventRecorder
    stages: StageTimer
    wakeups: Wakeups

    @classmethod
    def make(cls, kube: Kube, settings: Settings, clock: Clock, registry: CollectorRegistry) -> Self:
        """A new context with an empty store. Its metrics are registered in ``registry``."""
        meters, memory = Meters(registry), Memory()
        store = Store(memory)
        return cls(
            kube=kube,
            settings=settings,
            clock=clock,
            meters=meters,
            memory=memory,
            store=store,
            events=EventRecorder(kube, clock, meters),
            stages=StageTimer(meters, clock, memory),
            wakeups=Wakeups(store, meters, settings.namespaces),
        )
