"""Defects that the operator once had, put back: a checker that finds none of them checks nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

from escrow_operator.adapters.fence import Fence
from escrow_operator.core import expiry, funding
from escrow_operator.core.leadership import Timing
from escrow_operator.core.manifests.prepared import claim
from escrow_operator.errors import NotLeading
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.prepared import PreparedEscrow
from escrow_operator.models.session import Session
from escrow_operator.models.slot import Slot
from escrow_operator.services.pools.drift import Applied
from escrow_operator.services.sessions.opening import SessionOpener
from escrow_operator.services.wallets.clients import WalletClients

PACKAGE = "escrow_operator"


@dataclass(frozen=True)
class Defect:
    """``changes``: what stands in for which names of the operator's modules."""

    name: str
    changes: dict[str, Any]

    @contextmanager
    def put_back(self) -> Iterator[None]:
        """While the block runs the operator has it."""
        with ExitStack() as stack:
            for target, change in self.changes.items():
                stack.enter_context(patch(f"{PACKAGE}.{target}", change))
            yield


async def _nothing(*_: Any, **__: Any) -> None:
    """Forgotten."""


def _no(*_: Any, **__: Any) -> bool:
    return False


def _by_any_touch(session: Session, *, now: datetime) -> datetime:
    """A touch counts as what it says."""
    touched = expiry.read_touch(session.touch) if session.touch else None
    used = _last_use(session, now=now)
    return max(used, touched) if touched else used


_last_use: Callable[..., datetime] = expiry.last_use


def _claim_of_whatever_there_is(escrow: PreparedEscrow, session: Session, term: str) -> list[dict[str, Any]]:
    """Without a look at who has it by now."""
    return [op for op in claim(escrow, session, term) if op["op"] != "test"]


_create: Callable[..., Any] = SessionOpener._create


async def _create_after_publishing(opener: SessionOpener, session: Session, slots: Any, *others: Any) -> Any:
    """Clients could connect while the keys were exchanged."""
    await opener._publish(session, slots)
    return await _create(opener, session, slots, *others)


_sum: Callable[..., int] = funding._Payments.sum


def _sum_of_all(payments: Any, *, deep: bool | None = None, certain: bool = False) -> int:  # noqa: ARG001 - forgotten
    """However deep they are."""
    return _sum(payments, certain=certain)


_client: Callable[..., Any] = WalletClients.client
_by_pod: WeakKeyDictionary[WalletClients, dict[str, Any]] = WeakKeyDictionary()


async def _client_of_the_pod(wallets: WalletClients, slot: Slot) -> Any:
    """Wherever the pod is now."""
    known = _by_pod.setdefault(wallets, {})
    if slot.uid not in known:
        known[slot.uid] = await _client(wallets, slot)
    return known[slot.uid]


_applied: WeakKeyDictionary[Applied, dict[PoolKey, dict[Any, Any]]] = WeakKeyDictionary()


def _of_the_name(applied: Applied, pool: Pool) -> dict[Any, Any]:
    """Of whichever pool had that name."""
    return _applied.setdefault(applied, {}).setdefault(pool.key, {})


DEFECTS = (
    Defect("a payment counts before it is deep enough", {"core.funding._Payments.sum": _sum_of_all}),
    Defect("a closed session says Funded", {"services.sessions.closing.unwatched": lambda *_, **__: ()}),
    Defect("a settled name opens the old trade's wallets", {"services.wallets.deeds.DeedStore.mark_settled": _nothing}),
    Defect(
        "clients can connect before the address is proven",
        {"services.sessions.opening.SessionOpener._create": _create_after_publishing},
    ),
    Defect("deeds lack the address", {"services.wallets.deeds.DeedStore.record_address": _nothing}),
    Defect(
        "a touch in the future keeps a session for ever",
        {
            f"{module}.last_use": _by_any_touch
            for module in ("core.expiry", "services.sessions.reconciler", "services.sessions.closing")
        },
    ),
    Defect("a payment under way does not keep a session open", {"core.cap.is_protected": _no}),
    Defect("an expired session does not come back", {"services.sessions.closing.is_wanted_again": _no}),
    Defect("who has a wallet open is not asked", {"services.slots.claims.wallet_holders": lambda *_, **__: {}}),
    Defect(
        "of a pool that was made again all counts as applied", {"services.pools.drift.Applied._states": _of_the_name}
    ),
    Defect(
        "a pod is called where it was before its node rebooted",
        {"services.wallets.clients.WalletClients.client": _client_of_the_pod},
    ),
    Defect(
        "two sessions are given one prepared escrow",
        {
            "services.sessions.prepared_claims.claim": _claim_of_whatever_there_is,
            "services.slots.prepared.PreparedEscrows.reserve": lambda *_: None,
        },
    ),
    Defect("what comes late hides what is newer", {"services.state.newest.Newest.is_news": lambda *_: True}),
)


def _asks_no_clock(fence: Fence) -> None:
    if fence._closed:
        raise NotLeading(fence.term)


class _NoFence(AbstractAsyncContextManager[None]):
    """Lets everybody through."""

    async def __aexit__(self, *_: object) -> None:
        """Nothing was kept back."""


def _believes_for_longer(sent: float, timing: Timing) -> float:
    """Until when others may have it already."""
    return sent + 2 * timing.lease


LEADER_DEFECTS = (
    Defect(
        "nothing asks whether the term is over",
        {
            "adapters.fence.Fence.must_be_open": lambda _: None,
            "adapters.fence.Fence.passing": lambda _: _NoFence(),
        },
    ),
    Defect(
        "the term's end is left to a timer",
        {"adapters.fence.Fence.must_be_open": _asks_no_clock},
    ),
    Defect(
        "a leader believes in its lease when others may have it",
        {"services.runtime.leadership.holds_until": _believes_for_longer},
    ),
    Defect(
        "a lease is taken that its holder still renews",
        {"services.runtime.leadership.seconds_to_wait": lambda *_, **__: 0.0},
    ),
)
"""Of leadership: found where two operators are rivals."""


def put_back(name: str | None) -> AbstractContextManager[None]:
    """The defect of this name while the block runs; none without a name."""
    known = (*DEFECTS, *LEADER_DEFECTS)
    return next(defect for defect in known if defect.name == name).put_back() if name else nullcontext()
