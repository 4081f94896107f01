"""Maps monero-wallet-rpc's error answers to the operator's errors.

Codes are those of src/wallet/wallet_rpc_server_error_codes.h. Most failures of files and key exchange have code -1
("unknown error"); they are distinguished by method, and by texts recorded from v0.18.5.3.
"""

import re
from collections.abc import Collection

from escrow_operator.adapters.json_rpc import Fault
from escrow_operator.errors import (
    AlreadyMultisig,
    AttributeNotFound,
    BadMultisigInfo,
    InvalidPassword,
    MultisigDisabled,
    NotMultisig,
    NoWalletOpen,
    StaleMultisigNonces,
    WalletDaemonUnavailable,
    WalletError,
    WalletFileDamaged,
    WalletFileExists,
    WalletFileLocked,
    WalletFileNotFound,
    WalletRpcError,
    WalletStorageError,
)
from escrow_operator.models.common import printable

UNKNOWN_ERROR = -1
MULTISIG_DATA_METHODS = {"make_multisig", "exchange_multisig_keys", "import_multisig_info"}
"""Methods whose remaining errors of code -1 are about the peers' messages."""

_BY_CODE: dict[int, tuple[type[WalletError], str]] = {
    # An exception from the connection to the daemon: get_transfer_by_txid with the daemon down.
    0: (WalletDaemonUnavailable, "the wallet's daemon does not answer"),
    -3: (WalletDaemonUnavailable, "the wallet's daemon is busy"),
    -13: (NoWalletOpen, "no wallet is open"),
    -21: (WalletFileExists, "a wallet of this name exists already"),
    -22: (InvalidPassword, "wrong password"),
    -26: (BadMultisigInfo, "a multisig message is not hexadecimal"),
    -28: (AlreadyMultisig, "the wallet is multisig already"),
    -30: (BadMultisigInfo, "a multisig message is not acceptable"),
    -31: (NotMultisig, "the wallet is not multisig or its key exchange is not complete"),
    -33: (BadMultisigInfo, "multisig data of more participants is needed"),
    -35: (StaleMultisigNonces, "the multisig nonces are stale: a fresh round of exports is needed"),
    -38: (WalletDaemonUnavailable, "the wallet has no connection to its daemon"),
    -45: (AttributeNotFound, "the wallet has no attribute of this name"),
    -48: (MultisigDisabled, "multisig is switched off in this wallet"),
}

_BY_TEXT: tuple[tuple[str, type[WalletError], str], ...] = (
    ("invalid password", InvalidPassword, "wrong password"),
    ("file not found", WalletFileNotFound, "there is no wallet of this name"),
    ("is opened by another wallet program", WalletFileLocked, "another process has this wallet open"),
    ("kex is already complete", AlreadyMultisig, "the key exchange is complete already"),
    # The texts of wallet-rpc and of the C library for an existing file that cannot be read or written.
    *(
        (words, WalletStorageError, "the volume cannot be read or written")
        for words in (
            "failed to read file",
            "failed to save file",
            "disk quota exceeded",
            "input/output error",
            "no space left on device",
            "permission denied",
            "read-only file system",
            "stale file handle",
            "transport endpoint is not connected",
        )
    ),
)

_MAX_TEXT = 200
_LONGEST_READ = 10_000
_MIN_SECRET = 4
"""Shorter strings occur in ordinary words, where their removal would give away more than it hides."""

# Keys, messages and transaction sets are long runs of hexadecimal or base58; words are not.
_LONG_RUN = re.compile(r"[0-9A-Za-z+/=]{40,}")
_REDACTED = "[redacted]"


def wallet_error(method: str, fault: Fault, sent: Collection[str]) -> WalletError:
    """The error to raise for an error answer; `sent` are the request's strings, which the error does not quote."""
    by_code = _BY_CODE.get(fault.code)
    if by_code is not None:
        error_type, text = by_code
        return error_type(f"{method}: {text}", code=fault.code)
    if fault.code == UNKNOWN_ERROR:
        lowered = fault.message[:_LONGEST_READ].lower()
        for needle, error_type, text in _BY_TEXT:
            if needle in lowered:
                return error_type(f"{method}: {text}", code=fault.code)
        if method == "open_wallet":
            return WalletFileDamaged(f"{method}: the wallet's files cannot be read", code=fault.code)
        if method == "refresh":
            # A refresh does nothing but query the daemon.
            return WalletDaemonUnavailable(f"{method}: {_quotable(fault.message, sent)}", code=fault.code)
        if method in MULTISIG_DATA_METHODS:
            return BadMultisigInfo(f"{method}: {_quotable(fault.message, sent)}", code=fault.code)
    return WalletRpcError(f"{method}: error {fault.code}: {_quotable(fault.message, sent)}", code=fault.code)


def _quotable(text: str, sent: Collection[str]) -> str:
    """The server's text, fit for a terminal, without the request's strings and anything that looks like key material.

    A text above ``_LONGEST_READ`` is not quoted at all: truncation could leave part of a string that is to be removed.
    """
    if len(text) > _LONGEST_READ:
        return "(an error text too long to be one)"
    for value in sorted(sent, key=len, reverse=True):
        if len(value) >= _MIN_SECRET:
            text = text.replace(value, _REDACTED)
    return printable(_LONG_RUN.sub(_REDACTED, text), _MAX_TEXT)
