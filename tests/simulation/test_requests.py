"""What a session costs: its requests up to Ready, and what an operator keeps of it when it is gone.

A count that grows is a cost that grows: who changes one here has a reason to tell.
"""

from __future__ import annotations

import functools
import gc
import operator
from collections import Counter, deque
from collections.abc import Iterable

import pytest

from escrow_operator.models.common import ROLES
from escrow_operator.services.state import indexes
from escrow_operator.services.wallets import clients
from escrow_operator.wiring import Operator
from simulation.preparing import warm
from simulation.story import active, gone
from simulation.world import World, run

COMMON = {
    "patch escrowsessions": 1,  # the finalizer
    "create secrets": 3,  # deeds
    "patch pods": 3,
    "patch secrets": 3,  # the address in the deeds
    "apply endpointslices": 1,
    "apply secrets": 3,  # connections
}

PREPARED = COMMON | {
    "patch secrets": 4,  # the claim before all
    "patch status of escrowsessions": 1,
    "get_attribute": 3,
    "set_attribute": 3,
    "store": 3,
    "get_address": 7,
    "refresh": 3,
    "get_transfers": 3,
    "incoming_transfers": 3,
    "get_height": 3,
}

MADE = COMMON | {
    "patch status of escrowsessions": 2,
    "create_wallet": 3,
    "prepare_multisig": 3,
    "make_multisig": 3,
    "exchange_multisig_keys": 6,
    "close_wallet": 6,
    "open_wallet": 3,
    "is_multisig": 6,
    "get_address": 10,
    "refresh": 1,
    "get_transfers": 1,
    "incoming_transfers": 1,
    "get_height": 1,
}

SOME = 3
IN_A_ROW = 3 * SOME
"""In the first three comes what is kept once; what is tidied up now and then is so within three."""


def kinds(steps: Iterable[str]) -> Counter[str]:
    """Steps by what they do to which kind of object; without what the pool says of itself."""
    found = Counter(step.rpartition(" at " if " at " in step else " ")[0] for step in steps)
    del found["patch status of walletpools"]
    return found


def held(whole: Operator) -> Counter[str]:
    """Objects that can be reached from an operator without leaving its own code and the containers in it, by type."""
    found: Counter[str] = Counter()
    seen = {id(whole)}
    queue: deque[object] = deque([whole])
    while queue:
        for thing in gc.get_referents(queue.popleft()):
            kind = type(thing)
            is_ours = kind.__module__.startswith("escrow_operator")
            if id(thing) not in seen and (is_ours or kind in (dict, list, tuple, set, deque, Counter)):
                seen.add(id(thing))
                queue.append(thing)
                found[kind.__name__] += 1
    return found


def most(counts: Iterable[Counter[str]]) -> Counter[str]:
    """The largest count of each."""
    return functools.reduce(operator.or_, counts)


async def sessions_in_a_row(prepared: int) -> tuple[list[Counter[str]], list[Counter[str]]]:
    """Of each session the requests from its creation to Ready, and what the operator holds when it is gone."""
    world = World(prepared=prepared)
    world.make_pool(prepared=prepared)
    await world.operate()
    requests, kept = [], []
    for number in range(IN_A_ROW):
        name = f"trade-{number}"
        await warm(world)
        before = len(world.steps)
        world.apply(name)
        await active(world, name)
        requests.append(kinds(world.steps[before:]))
        world.delete(name)
        await gone(world, name)
        await warm(world)
        await world.quiet()
        kept.append(held(world.operators[world.processes[-1].name]))
    return requests, kept


@pytest.mark.parametrize(("prepared", "wanted"), [(1, PREPARED), (0, MADE)])
def test_every_session_costs_the_same_and_leaves_nothing(
    prepared: int, wanted: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is bounded by a number is so by a small one here.
    monkeypatch.setattr(clients, "RECENT", len(ROLES))
    monkeypatch.setattr(indexes, "TIDY_AFTER", 1)
    requests, kept = run(sessions_in_a_row(prepared))
    assert [dict(found) for found in requests] == [wanted] * IN_A_ROW
    assert not most(kept[-SOME:]) - most(kept[SOME:-SOME]), "it grows"
