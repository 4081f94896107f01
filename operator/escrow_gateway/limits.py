"""How much may be in flight: calls of one caller, to one wallet, and in all; and bytes of requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager

from escrow_gateway.problems import Kind, Problem


class InFlight:
    """Counts what is in flight by key; nothing is kept of a key with none."""

    def __init__(self, most: int, what: str) -> None:
        self._most, self._what = most, what
        self._now: Counter[Hashable] = Counter()

    @contextmanager
    def one(self, key: Hashable = None) -> Iterator[None]:
        """Count one for the block. Raises Problem when there are as many as may be."""
        if self._now[key] >= self._most:
            if not self._now[key]:
                del self._now[key]
            raise Problem(
                Kind.BUSY, f"{self._most} calls {self._what} are in flight. Wait for some of them.", retry_after=1
            )
        self._now[key] += 1
        try:
            yield
        finally:
            self._now[key] -= 1
            if not self._now[key]:
                del self._now[key]


class Budget:
    """Bytes that may be in memory at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    @contextmanager
    def some(self, size: int) -> Iterator[None]:
        """Take ``size`` bytes for the block. Raises Problem when there is no room for them."""
        if self._taken + size > self._most:
            raise Problem(Kind.BUSY, "Too many long requests are in flight. Wait for some of them.", retry_after=1)
        self._taken += size
        try:
            yield
        finally:
            self._taken -= size


class Places:
    """All limits of calls in flight. Raises Problem where one is reached."""

    def __init__(self, *, calls: int, of_caller: int, to_wallet: int, request_bytes: int) -> None:
        self._all = InFlight(calls, "in all")
        self._of_caller = InFlight(of_caller, "of yours")
        self._to_wallet = InFlight(to_wallet, "to this wallet")
        self._of_caller_to_wallet = InFlight(max(1, to_wallet // 2), "of yours to this wallet")
        self._bytes = Budget(request_bytes)

    @contextmanager
    def caller(self, name: str) -> Iterator[None]:
        """A request of a caller, whichever of his tokens he uses."""
        with self._all.one(), self._of_caller.one(name):
            yield

    @contextmanager
    def wallet(self, wallet: Hashable, name: str) -> Iterator[None]:
        """A call to a wallet, of which no caller takes all places."""
        with self._to_wallet.one(wallet), self._of_caller_to_wallet.one((wallet, name)):
            yield

    def bytes(self, size: int) -> AbstractContextManager[None]:
        """Memory for a request."""
        return self._bytes.some(size)
