"""The table of methods, against the list of wallet-rpc itself."""

from __future__ import annotations

from pathlib import Path

from escrow_gateway.methods import HARMLESS_UNLESS_RELAYED, METHODS, NEVER, Access, access_to

WALLET_RPC = set((Path(__file__).parent / "wallet_rpc_methods.txt").read_text().split())
"""All names in the JSON-RPC map of monero's src/wallet/wallet_rpc_server.h, master at 0073bdfa."""

GONE = {"finalize_multisig"}
"""What older versions had."""


def test_every_method_of_wallet_rpc_has_a_class_and_no_other() -> None:
    assert METHODS.keys() - GONE == WALLET_RPC


def test_what_opens_closes_creates_restores_or_stops_is_never_forwarded() -> None:
    words = (
        "open_",
        "close_",
        "create_wallet",
        "restore",
        "generate",
        "change_wallet",
        "set_daemon",
        "stop_",
        "make_mu",
    )
    for method in WALLET_RPC:
        if method.startswith(words):
            assert METHODS[method] is Access.NEVER, method
            assert NEVER[method]


def test_what_may_send_a_transaction_needs_relay_unless_it_is_told_not_to() -> None:
    for method in HARMLESS_UNLESS_RELAYED:
        assert access_to(method, {}) is Access.RELAY
        assert access_to(method, {"do_not_relay": True}) is Access.SIGN
        for other in (False, None, 1, "true", "True", [True]):
            assert access_to(method, {"do_not_relay": other}) is Access.RELAY
    for method in ("relay_tx", "submit_multisig", "submit_transfer"):
        assert access_to(method, {"do_not_relay": True}) is Access.RELAY


def test_who_asks_for_transaction_keys_needs_the_right_to_keys() -> None:
    for method, name in (
        ("transfer", "get_tx_key"),
        ("transfer_split", "get_tx_keys"),
        ("sweep_all", "get_tx_keys"),
    ):
        for told in (True, 1, "true"):
            assert access_to(method, {name: told, "do_not_relay": True}) is Access.KEYS
        assert access_to(method, {name: False}) is not Access.KEYS
    assert access_to("get_balance", {"get_tx_key": True}) is Access.READ


def test_an_unknown_method_has_no_class() -> None:
    assert access_to("open_sesame", {}) is None
    assert access_to("GET_BALANCE", {}) is None
