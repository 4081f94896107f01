"""Which right each method of monero-wallet-rpc needs: the gateway's whole policy about methods, in one table.

The list is that of monero's ``src/wallet/wallet_rpc_server.h`` (master after v0.18.5). A method that is not in it is
not forwarded: a wallet-rpc of tomorrow may have one that opens another file.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Access(StrEnum):
    """What a method does with the wallet; each value but NEVER is the verb that Kubernetes is asked about."""

    READ = "read"
    """Tells what the wallet knows, or computes something of what the caller sends; changes nothing that lasts."""
    SIGN = "sign"
    """Takes part in signing, or changes what the wallet notes; nothing leaves for the network."""
    RELAY = "relay"
    """May send a transaction."""
    KEYS = "keys"
    """Tells secret keys; the pool has to allow it as well."""
    NEVER = "never"
    """Not for callers of the gateway."""


_READ = """
check_reserve_proof check_spend_proof check_tx_key check_tx_proof estimate_tx_size_and_weight frozen get_account_tags
get_accounts get_address get_address_book get_address_index get_attribute get_balance get_bulk_payments
get_default_fee_priority get_height get_languages get_payments get_transfer_by_txid get_transfers get_tx_notes
get_version getaddress getbalance getheight incoming_transfers is_multisig make_integrated_address make_uri
make_uri_multi parse_uri parse_uri_multi refresh split_integrated_address validate_address verify
"""

_SIGN = """
add_address_book create_account create_address delete_address_book describe_transfer edit_address_book
export_key_images export_multisig_info export_outputs freeze get_reserve_proof get_tx_proof import_key_images
import_multisig_info import_outputs label_account label_address rescan_spent scan_tx set_account_tag_description
set_tx_notes sign_multisig store tag_accounts thaw untag_accounts
"""

_RELAY = """
relay_tx submit_multisig submit_transfer sweep_all sweep_dust sweep_single sweep_unmixable transfer transfer_split
"""

_KEYS = "get_tx_key query_key"

NEVER: Mapping[str, str] = {
    **dict.fromkeys(
        ("open_wallet", "close_wallet", "create_wallet", "generate_from_keys", "restore_deterministic_wallet"),
        "the operator alone decides which file a pod has open",
    ),
    **dict.fromkeys(
        (
            "prepare_multisig",
            "make_multisig",
            "exchange_multisig_keys",
            "finalize_multisig",
            "get_multisig_key_exchange_booster",
        ),
        "the operator makes the escrow's wallets, and they are complete",
    ),
    "change_wallet_password": "the wallet would no longer open with the password in its deed",
    "set_daemon": "the pool decides which monerod is believed",
    "stop_wallet": "it would end the pod's process; delete or suspend the EscrowSession instead",
    **dict.fromkeys(
        ("sign", "get_spend_proof", "sign_transfer"),
        "it takes a whole key, which no wallet of a multisig has; sign ends the process of wallet-rpc 0.18.5 there",
    ),
    "set_attribute": "the operator marks in attributes whose escrow a wallet is",
    "rescan_blockchain": "it forgets what the wallet knows, and blocks it for hours",
    "auto_refresh": "the operator keeps the wallet at monerod's height",
    "set_subaddress_lookahead": "it would change which payments the wallet sees",
    **dict.fromkeys(("start_mining", "stop_mining"), "monerod serves other wallets too"),
    **dict.fromkeys(
        ("setup_background_sync", "start_background_sync", "stop_background_sync"),
        "a wallet that syncs in the background cannot be used",
    ),
    **dict.fromkeys(("set_log_level", "set_log_categories"), "wallet-rpc's log can hold what is secret"),
}
"""Why each method that is never forwarded is not."""

METHODS: Mapping[str, Access] = {
    **dict.fromkeys(_READ.split(), Access.READ),
    **dict.fromkeys(_SIGN.split(), Access.SIGN),
    **dict.fromkeys(_RELAY.split(), Access.RELAY),
    **dict.fromkeys(_KEYS.split(), Access.KEYS),
    **dict.fromkeys(NEVER, Access.NEVER),
}

HARMLESS_UNLESS_RELAYED = frozenset(
    {"sweep_all", "sweep_dust", "sweep_single", "sweep_unmixable", "transfer", "transfer_split"}
)
"""Methods of which ``do_not_relay: true`` makes one that signs only."""


SHOWS_KEYS = ("get_tx_key", "get_tx_keys")
"""Parameters of such methods that ask for transaction keys as well, as the method get_tx_key does."""


def access_to(method: str, params: Mapping[str, object]) -> Access | None:
    """The right that a call needs; None for a method that is not in the table."""
    access = METHODS.get(method)
    if access in (Access.SIGN, Access.RELAY) and any(params.get(name) not in (None, False) for name in SHOWS_KEYS):
        return Access.KEYS
    if method in HARMLESS_UNLESS_RELAYED and params.get("do_not_relay") is True:
        return Access.SIGN
    return access
