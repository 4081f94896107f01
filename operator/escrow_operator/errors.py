"""All exceptions raised on purpose, classified by what the caller can do about them.

No message carries a password, key, multisig message or request parameter: messages end up in logs, events
and status fields, which more people may read than the Secrets those values come from.
"""


class EscrowError(Exception):
    """Base of every error this operator raises on purpose."""


class NotLeading(EscrowError):
    """This process may not act, or not any more: another one may lead. Nothing is to be tried again here."""

    def __init__(self, term: int) -> None:
        super().__init__(f"leadership {term} is over" if term else "this process does not lead")


class WalletError(EscrowError):
    """A monero-wallet-rpc call did not succeed.

    `code` is the JSON-RPC error code of the answer, None where there was no such answer.
    """

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class WalletUnreachable(WalletError):
    """No answer over the network: refused, reset, no such host, or TLS failed. The call may have run."""


class WalletTimeout(WalletError):
    """The deadline passed. The process is single-threaded and may still be working on the call."""


class WalletUnauthorized(WalletError):
    """The digest login was refused (HTTP 401)."""


class WalletProtocolError(WalletError):
    """The answer is not what monero-wallet-rpc sends: another service, or an incompatible version."""


class WalletAnswerTooLong(WalletProtocolError):
    """The answer exceeds the limits on length or on number of parts."""


class WalletRpcError(WalletError):
    """monero-wallet-rpc answered with an error that has no class of its own here; see `code`."""


class WalletDaemonUnavailable(WalletError):
    """The wallet process runs, but its daemon does not answer it; the wallet's data may be out of date."""


class NoWalletOpen(WalletError):
    """The process has no wallet open."""


class InvalidWalletFileName(WalletError):
    """The name is not a plain file name; nothing was sent."""


class InvalidPassword(WalletError):
    """Wrong password; a retry cannot help. A damaged keys file may cause this error, too."""


class WalletFileNotFound(WalletError):
    """There is no keys file of this name in the wallet directory."""


class WalletFileExists(WalletError):
    """A wallet of this name exists already; it was not touched."""


class WalletFileLocked(WalletError):
    """Another process has this wallet open, or its keys file cannot be opened for writing (a read-only volume)."""


class WalletFileDamaged(WalletError):
    """The keys or cache file cannot be read."""


class WalletStorageError(WalletError):
    """The volume cannot be read or written at present: full, read-only, or failing; the files may be intact."""


class AttributeNotFound(WalletError):
    """The open wallet has no attribute of this name."""


class NotMultisig(WalletError):
    """The open wallet is not multisig, or its key exchange is not complete."""


class AlreadyMultisig(WalletError):
    """The open wallet is multisig already, or its key exchange is complete already."""


class BadMultisigInfo(WalletError):
    """A peer's multisig message is malformed, of another wallet or round, or one is missing."""


class StaleMultisigNonces(WalletError):
    """The transaction set was made from nonces that a later export erased: discard it and run a fresh round."""


class MultisigDisabled(WalletError):
    """The wallet has multisig, an experimental feature of Monero, switched off."""


class DaemonError(EscrowError):
    """A monerod call did not succeed.

    `code` is the JSON-RPC error code of the answer, None where there was no such answer.
    """

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class DaemonUnreachable(DaemonError):
    """No answer over the network: refused, reset, no such host, or TLS failed."""


class DaemonTimeout(DaemonError):
    """The deadline passed without an answer."""


class DaemonUnauthorized(DaemonError):
    """The digest login was refused (HTTP 401)."""


class DaemonProtocolError(DaemonError):
    """The answer is not what monerod sends: another service, or an incompatible version."""


class DaemonAnswerTooLong(DaemonProtocolError):
    """The answer exceeds the limits on length or on number of parts."""


class DaemonRpcError(DaemonError):
    """monerod answered with an error; see `code`."""
