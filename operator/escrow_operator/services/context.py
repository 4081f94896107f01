"""The dependencies that all services share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from prometheus_client import CollectorRegistry

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.fence import Fence
from escrow_operator.adapters.fenced_kube import FencedKube
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
    """The API client, settings and clock; the known state; metrics and Events; and the work queues.

    ``kube`` writes only while ``fence`` is open, as wallets may be called only then.
    """

    kube: Kube
    fence: Fence
    settings: Settings
    clock: Clock
    meters: Meters
    memory: Memory
    store: Store
    events: EventRecorder
    stages: StageTimer
    wakeups: Wakeups

    @classmethod
    def make(
        cls,
        kube: Kube,
        settings: Settings,
        clock: Clock,
        registry: CollectorRegistry,
        *,
        fence: Fence | None = None,
        store: Store | None = None,
    ) -> Self:
        """A new context, with an empty store unless one is given. Its metrics are registered in ``registry``."""
        meters, fence = Meters(registry), fence or Fence.without_end(clock)
        kube = FencedKube(kube, fence)
        store = store or Store(Memory())
        memory = store.memory
        return cls(
            kube=kube,
            fence=fence,
            settings=settings,
            clock=clock,
            meters=meters,
            memory=memory,
            store=store,
            events=EventRecorder(kube, clock, meters),
            stages=StageTimer(meters, clock, memory),
            wakeups=Wakeups(store, meters, settings.namespaces),
        )
