"""The raw key exchange: what a client written by hand does with three warm wallet-rpc processes, step by step timed.

It runs inside the operator's pod, which is a place in the cluster's network with the calls at hand, so that no
port-forward is measured. Its text is all that gets there: it imports nothing of the tests.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.errors import WalletError
from escrow_operator.models.monero import Login, MultisigInfo

THRESHOLD = 2
EXCHANGE_ROUNDS = 2

DEADLINE = 600.0
"""Seconds for each call. The baseline is what wallets take: who gives up on a busy machine takes longer."""


class NoEscrow(Exception):
    """The rounds ran, and the three wallets are not one."""


async def exchange(wallets: Mapping[str, WalletRpc], file: str, password: str) -> dict[str, float]:
    """Three fresh wallets that share an address, stored and left open; the seconds of each step, in order.

    Raises WalletErrors, or NoEscrow.
    """
    steps: dict[str, float] = {}
    last = time.monotonic()

    def done(step: str) -> None:
        nonlocal last
        now = time.monotonic()
        steps[step], last = now - last, now

    roles = list(wallets)
    await asyncio.gather(*(wallets[role].create_wallet(file, password, deadline=DEADLINE) for role in roles))
    done("create_wallet")
    infos = dict(
        zip(
            roles,
            await asyncio.gather(*(wallets[role].prepare_multisig(deadline=DEADLINE) for role in roles)),
            strict=True,
        )
    )
    done("prepare_multisig")
    made = await asyncio.gather(
        *(wallets[role].make_multisig(_peers(infos, role), THRESHOLD, password, deadline=DEADLINE) for role in roles)
    )
    done("make_multisig")
    for number in range(1, EXCHANGE_ROUNDS + 1):
        infos = {role: keys.info for role, keys in zip(roles, made, strict=True)}
        made = await asyncio.gather(
            *(wallets[role].exchange_multisig_keys(_peers(infos, role), password, deadline=DEADLINE) for role in roles)
        )
        done(f"exchange_multisig_keys, round {number}")
    states = await asyncio.gather(*(wallets[role].is_multisig(deadline=DEADLINE) for role in roles))
    addresses = set(await asyncio.gather(*(wallets[role].address(deadline=DEADLINE) for role in roles)))
    wanted = MultisigInfo(multisig=True, ready=True, threshold=THRESHOLD, total=len(roles))
    if any(state != wanted for state in states) or len(addresses) != 1:
        raise NoEscrow("the key exchange did not end in one shared wallet")
    await asyncio.gather(*(wallets[role].call("store", {}, DEADLINE) for role in roles))
    done("check and store")
    return steps


async def play(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each escrow of a job at its moment: ``rate`` (1/s) after the one before, all at once at rate None.

    Of each ``file``, ``password`` and the ``wallets`` (``url``, ``user``, ``password`` and ``certificate`` by role).
    Returns of each, in seconds, ``begun`` and ``ended`` since the first one's moment and its ``steps``, or the
    ``error``.
    """
    async with AsyncExitStack() as stack:
        escrows = []
        for escrow in job["escrows"]:
            clients = {}
            for role, to in escrow["wallets"].items():
                pinned = bytes.fromhex(to["certificate"]) if to["certificate"] else None
                clients[role] = WalletRpc(to["url"], Login(to["user"], to["password"]), certificate=pinned)
                stack.push_async_callback(clients[role].aclose)
            escrows.append((escrow, clients))
        # The connections stand before the clock runs.
        await asyncio.gather(
            *(client.call("get_version", {}, DEADLINE) for _, clients in escrows for client in clients.values())
        )
        start = time.monotonic()

        async def one(number: int, escrow: Mapping[str, Any], clients: Mapping[str, WalletRpc]) -> dict[str, Any]:
            due = number / job["rate"] if job["rate"] else 0.0
            await asyncio.sleep(max(0.0, start + due - time.monotonic()))
            begun = time.monotonic() - start
            try:
                steps = await exchange(clients, escrow["file"], escrow["password"])
            except (WalletError, NoEscrow) as error:
                return {"begun": begun, "error": f"{type(error).__name__}: {error}"}
            return {"begun": begun, "ended": time.monotonic() - start, "steps": steps}

        return await asyncio.gather(*(one(n, escrow, clients) for n, (escrow, clients) in enumerate(escrows)))


def _peers(infos: Mapping[str, str], role: str) -> list[str]:
    return [info for peer, info in infos.items() if peer != role]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(play(json.load(sys.stdin)))))
