"""The context of a service that is tested alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar, cast

from prometheus_client import CollectorRegistry

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube import Kube
from escrow_operator.core.daemon import DaemonView
from escrow_operator.models.pool import DaemonKey, Pool, PoolKey
from escrow_operator.models.session import Session, SessionKey
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.events import EventRecorder
from escrow_operator.services.runtime.memory import Memory
from escrow_operator.services.runtime.stage_timer import StageTimer
from escrow_operator.services.scheduling import Wakeups
from escrow_operator.services.state.store import Store
from escrow_operator.settings import SessionSettings, Settings

M = TypeVar("M")


class NotedWakeups(Wakeups):
    """Notes who is woken, and wakes nobody."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx.store, ctx.meters, ctx.settings.namespaces)
        self.woken_sessions: list[SessionKey] = []
        self.woken_pools: list[PoolKey] = []
        self.daemons: list[DaemonKey] = []
        self.only_mempool: list[bool] = []

    def session(self, key: SessionKey) -> None:
        self.woken_sessions.append(key)

    def sessions(self, keys: Iterable[SessionKey]) -> None:
        self.woken_sessions.extend(keys)

    def pool(self, key: PoolKey) -> None:
        self.woken_pools.append(key)

    def daemon(self, key: DaemonKey) -> None:
        self.daemons.append(key)

    def daemon_changed(self, key: PoolKey, view: DaemonView, *, only_mempool: bool) -> None:  # noqa: ARG002
        self.woken_pools.append(key)
        self.only_mempool.append(only_mempool)

    def prepare(self, key: PoolKey) -> None: ...

    def place_free(self) -> None: ...

    def slot_free(self, pool: PoolKey) -> None: ...


class NotedEvents(EventRecorder):
    """Notes the reasons of Events, and writes none."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx.kube, ctx.clock, ctx.meters)
        self.reasons: list[str] = []
        self.messages: list[str] = []

    def record(self, about: Session | Pool, reason: str, message: str, *, warning: bool = False) -> None:  # noqa: ARG002
        self.reasons.append(reason)
        self.messages.append(message)


class FullMemory(Memory):
    """Remembers of objects, too, that no store has seen."""

    def put(self, uid: str, record: object) -> None:
        self.begin(uid)
        super().put(uid, record)


def make_context(
    kube: object = None, *, clock: Clock | None = None, settings: Settings | None = None, **sessions: Any
) -> Context:
    """Everything real but who is woken and told. ``sessions`` are settings of sessions."""
    settings = settings or Settings(slot_login_image="operator", sessions=SessionSettings(**sessions))
    ctx = Context.make(cast("Kube", kube), settings, clock or Clock(), CollectorRegistry())
    memory = FullMemory()
    ctx = dataclasses.replace(ctx, memory=memory, store=Store(memory), stages=StageTimer(ctx.meters, ctx.clock, memory))
    return dataclasses.replace(ctx, wakeups=NotedWakeups(ctx), events=NotedEvents(ctx))


def woken(ctx: Context) -> NotedWakeups:
    """Who was woken."""
    assert isinstance(ctx.wakeups, NotedWakeups)
    return ctx.wakeups


def told(ctx: Context) -> list[str]:
    """The reasons of the Events."""
    assert isinstance(ctx.events, NotedEvents)
    return ctx.events.reasons
