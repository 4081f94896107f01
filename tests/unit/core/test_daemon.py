"""Whether a pool's monerod can be relied on: it answers, is on the pool's network, and has all blocks."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.daemon import BEHIND_BLOCKS, DaemonView, daemon_condition
from escrow_operator.models.monero import DaemonInfo, NetType
from escrow_operator.models.pool import DaemonSpec, Network
from unit.factories import daemon_info

SPEC = DaemonSpec(address="monerod:18081", network=Network.REGTEST)
ONLINE = {"offline": False, "height": 1000, "target_height": 1000}


def info(**said: Any) -> DaemonInfo:
    return dataclasses.replace(daemon_info(), **said)


def synced(spec: DaemonSpec = SPEC, **said: Any) -> tuple[bool | None, str]:
    condition = daemon_condition(DaemonView(info(**said)), spec)
    return condition.status, condition.reason


def test_before_it_was_asked_nothing_is_known() -> None:
    condition = daemon_condition(None, SPEC)
    assert (condition.status, condition.reason) == (None, "NotChecked")


def test_one_that_does_not_answer_is_named_with_its_problem() -> None:
    condition = daemon_condition(DaemonView(None, "connection refused"), SPEC)
    assert (condition.status, condition.reason) == (False, "DaemonUnreachable")
    assert "monerod:18081" in condition.message
    assert "connection refused" in condition.message


@pytest.mark.parametrize("network", Network)
@pytest.mark.parametrize("nettype", NetType)
def test_another_network_than_the_pools_is_never_well(network: Network, nettype: NetType) -> None:
    """Regtest has mainnet's addresses: a wallet that is opened there would publish an address to be paid for real."""
    ours = DaemonSpec(address="monerod:18081", network=network)
    same = (network.value == nettype.value) or (network, nettype) == (Network.REGTEST, NetType.FAKECHAIN)
    assert synced(ours, nettype=nettype) == ((True, "Synced") if same else (False, "WrongNetwork"))


@pytest.mark.parametrize(
    ("said", "well"),
    [
        (ONLINE, True),
        (ONLINE | {"target_height": 0}, True),
        (ONLINE | {"target_height": 900}, True),
        (ONLINE | {"target_height": 1000 + BEHIND_BLOCKS}, True),
        (ONLINE | {"target_height": 1001 + BEHIND_BLOCKS}, False),
        (ONLINE | {"busy_syncing": True}, False),
        (ONLINE | {"synchronized": False}, False),
        ({"offline": True, "synchronized": False}, True),
    ],
)
def test_it_may_trail_its_peers_by_a_moment_and_not_more(said: dict[str, Any], well: bool) -> None:
    assert synced(**said) == ((True, "Synced") if well else (False, "DaemonSyncing"))


def test_the_message_never_counts_to_less_than_there_is() -> None:
    said = info(**ONLINE | {"target_height": 0, "synchronized": False})
    assert "block 1000 of 1000" in daemon_condition(DaemonView(said), SPEC).message


@given(top=st.sampled_from("ab"), height=st.integers(1, 3), waiting=st.integers(0, 3))
def test_whatever_may_be_news_to_a_wallet_changes_the_mark(top: str, height: int, waiting: int) -> None:
    """A reorganisation can leave the height as it was."""
    before = DaemonView(info(top_block_hash="a", height=1, tx_pool_size=0)).mark
    now = DaemonView(info(top_block_hash=top, height=height, tx_pool_size=waiting)).mark
    assert (now == before) is ((top, height, waiting) == ("a", 1, 0))
    assert DaemonView(None, "it is down").mark is None
