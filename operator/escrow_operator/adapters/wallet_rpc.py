"""Client of one monero-wallet-rpc process (v0.18.5), which serves one wallet at a time.

Every method raises a WalletError of escrow_operator.errors: WalletUnreachable, WalletTimeout,
WalletUnauthorized or WalletProtocolError from the transport, otherwise the ones its docstring names.
Method names and semantics are those of https://docs.getmonero.org/rpc-library/wallet-rpc/; behaviour that it
does not document was measured on v0.18.5.3.
"""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence

import aiohttp

from escrow_operator.adapters.answer import Answer
from escrow_operator.adapters.fence import Fence
from escrow_operator.adapters.json_rpc import ErrorTypes, Fault, JsonRpcClient
from escrow_operator.adapters.wallet_faults import wallet_error
from escrow_operator.errors import (
    AttributeNotFound,
    InvalidWalletFileName,
    WalletAnswerTooLong,
    WalletProtocolError,
    WalletTimeout,
    WalletUnauthorized,
    WalletUnreachable,
)
from escrow_operator.models.monero import (
    KeyExchange,
    Login,
    MultisigInfo,
    Output,
    Transfer,
    TransferType,
    WalletBalance,
)

READ_DEADLINE = 10.0
"""Seconds for calls that take milliseconds, but wait while the only thread of the process scans blocks."""

FILE_DEADLINE = 60.0
"""Seconds to create, open, store or close. Opening takes 0.3 to 2 s of CPU (in images other than the project's own most
of it to make an RSA key) and many times that on a throttled pod beside others, and a mainnet wallet's cache of tens of
MB may be on a network volume."""

MULTISIG_DEADLINE = 60.0
"""Seconds for a step of the key exchange or of a signing round: up to 1.1 s of CPU on an idle machine."""

REFRESH_DEADLINE = 120.0
"""Seconds to scan blocks: takes milliseconds in step with the chain, minutes after a long absence."""

# Plain names only: monero-wallet-rpc refuses '/', but accepts '' (a wallet that is never saved) and '..'.
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TXID = re.compile(r"[0-9a-f]{64}")
WALLET_ERRORS = ErrorTypes(
    unreachable=WalletUnreachable,
    timeout=WalletTimeout,
    unauthorized=WalletUnauthorized,
    protocol=WalletProtocolError,
    too_long=WalletAnswerTooLong,
)


class WalletRpc:
    """The client of a pod; use one per pod: calls share a connection, to which digest nonces are tied.

    The pod must show the `certificate` whose DER has this SHA-256, where its URL is https; WalletUnreachable says that
    it did not. Calls run one by one; behind a `fence` they raise NotLeading once its term is over. For `session` and
    `on_request` see JsonRpcClient. The `deadline` of a method is in seconds and includes waiting for earlier calls of
    this client; a call that exceeded it may still be running in the process.
    """

    def __init__(
        self,
        base_url: str,
        login: Login | None,
        *,
        certificate: bytes | None = None,
        session: aiohttp.ClientSession | None = None,
        on_request: Callable[[], None] | None = None,
        fence: Fence | None = None,
    ) -> None:
        self._fence = fence
        pinned = aiohttp.Fingerprint(certificate) if certificate else None
        self._rpc = JsonRpcClient(
            base_url, WALLET_ERRORS, login=login, tls=pinned, session=session, on_request=on_request
        )

    async def aclose(self) -> None:
        """Close the connection; the wallet stays open."""
        await self._rpc.aclose()

    async def address(self, *, deadline: float = READ_DEADLINE) -> str:
        """Primary address of the open wallet. Raises NoWalletOpen."""
        answer = await self.call("get_address", {"account_index": 0}, deadline)
        address = answer.text("address")
        if not address:
            # Three wallets without an address would agree on it.
            raise answer.unexpected("address")
        return address

    async def create_wallet(self, file: str, password: str, *, deadline: float = FILE_DEADLINE) -> None:
        """Create a wallet and open it in place of the open wallet, which is stored first.

        Raises WalletFileExists (the open wallet then stays open), InvalidWalletFileName.
        """
        params = {"filename": plain_name(file), "password": password, "language": "English"}
        await self.call("create_wallet", params, deadline)

    async def open_wallet(self, file: str, password: str, *, deadline: float = FILE_DEADLINE) -> None:
        """Open a wallet in place of the open one. Callers must compare address() afterwards.

        On failure the wallet that was open stays open. Raises InvalidPassword (also for some damaged keys
        files), WalletFileNotFound, WalletFileLocked, WalletFileDamaged, InvalidWalletFileName.
        """
        await self.call("open_wallet", {"filename": plain_name(file), "password": password}, deadline)

    async def close_wallet(self, *, deadline: float = FILE_DEADLINE) -> None:
        """Store the wallet and close it; it stays open if storing fails. Raises NoWalletOpen."""
        await self.call("close_wallet", {"autosave_current": True}, deadline)

    async def store(self, *, deadline: float = FILE_DEADLINE) -> None:
        """Write the wallet to its files; it stays open. Raises NoWalletOpen."""
        await self.call("store", {}, deadline)

    async def attribute(self, name: str, *, deadline: float = READ_DEADLINE) -> str | None:
        """A text that was stored in the wallet under this name, None without one. Raises NoWalletOpen."""
        try:
            return (await self.call("get_attribute", {"key": name}, deadline)).text("value")
        except AttributeNotFound:
            return None

    async def set_attribute(self, name: str, value: str, *, deadline: float = READ_DEADLINE) -> None:
        """Keep a text in the wallet's cache, which ``store`` writes. Raises NoWalletOpen."""
        await self.call("set_attribute", {"key": name, "value": value}, deadline)

    async def is_multisig(self, *, deadline: float = READ_DEADLINE) -> MultisigInfo:
        """Whether the open wallet is multisig and its key exchange complete. Raises NoWalletOpen."""
        answer = await self.call("is_multisig", {}, deadline)
        return MultisigInfo(
            multisig=answer.flag("multisig"),
            ready=answer.flag("ready"),
            threshold=answer.integer("threshold"),
            total=answer.integer("total"),
        )

    async def prepare_multisig(self, *, deadline: float = MULTISIG_DEADLINE) -> str:
        """First message of the key exchange, confidential. Raises AlreadyMultisig."""
        params = {"enable_multisig_experimental": True}
        return (await self.call("prepare_multisig", params, deadline)).text("multisig_info")

    async def make_multisig(
        self, infos: Sequence[str], threshold: int, password: str, *, deadline: float = MULTISIG_DEADLINE
    ) -> KeyExchange:
        """Make the wallet multisig with the peers' first messages.

        After an error about the password the wallet in memory is multisig all the same: start over with a
        fresh file. Raises BadMultisigInfo, InvalidPassword, AlreadyMultisig.
        """
        params = {"multisig_info": list(infos), "threshold": threshold, "password": password}
        return _key_exchange(await self.call("make_multisig", params, deadline))

    async def exchange_multisig_keys(
        self, infos: Sequence[str], password: str, *, deadline: float = MULTISIG_DEADLINE
    ) -> KeyExchange:
        """Run the next round of the key exchange with the peers' last messages; 2-of-3 takes two rounds.

        Raises BadMultisigInfo, NotMultisig before make_multisig, AlreadyMultisig if the exchange is complete.
        """
        params = {"multisig_info": list(infos), "password": password}
        return _key_exchange(await self.call("exchange_multisig_keys", params, deadline))

    async def export_multisig_info(self, *, deadline: float = MULTISIG_DEADLINE) -> str:
        """Key images and nonces for the peers, hexadecimal, confidential.

        Each export erases the nonces of the previous one: a transaction set built on those cannot be signed any
        more. Raises NotMultisig.
        """
        return (await self.call("export_multisig_info", {}, deadline)).text("info")

    async def import_multisig_info(self, infos: Sequence[str], *, deadline: float = MULTISIG_DEADLINE) -> int:
        """Import the exports of at least one peer; returns the number of outputs that they cover. Refresh first.

        Raises BadMultisigInfo, NotMultisig.
        """
        return (await self.call("import_multisig_info", {"info": list(infos)}, deadline)).integer("n_outputs")

    async def refresh(self, *, deadline: float = REFRESH_DEADLINE) -> int:
        """Scan new blocks and the pool; returns the number of blocks fetched.

        Raises WalletDaemonUnavailable, NoWalletOpen.
        """
        return (await self.call("refresh", {}, deadline)).integer("blocks_fetched")

    async def height(self, *, deadline: float = READ_DEADLINE) -> int:
        """Number of blocks that the wallet has scanned: the daemon's height if it is in step. Raises NoWalletOpen."""
        return (await self.call("get_height", {}, deadline)).integer("height")

    async def balance(self, *, deadline: float = READ_DEADLINE) -> WalletBalance:
        """Balance of the first account as of the last refresh; answered even with the daemon down.

        Raises NoWalletOpen.
        """
        answer = await self.call("get_balance", {"account_index": 0}, deadline)
        return WalletBalance(
            total=answer.integer("balance"),
            unlocked=answer.integer("unlocked_balance"),
            blocks_to_unlock=answer.integer("blocks_to_unlock"),
            time_to_unlock=answer.integer("time_to_unlock"),
            multisig_import_needed=answer.flag("multisig_import_needed"),
        )

    async def transfers(
        self,
        *,
        incoming: bool = False,
        outgoing: bool = False,
        pool: bool = False,
        deadline: float = READ_DEADLINE,
    ) -> list[Transfer]:
        """Transfers of the first account, of the chosen kinds.

        A transaction that pays several subaddresses is listed once for each. Raises NoWalletOpen,
        WalletDaemonUnavailable.
        """
        kinds = {"in": incoming, "out": outgoing, "pool": pool}
        answer = await self.call("get_transfers", {"account_index": 0, **kinds}, deadline)
        return [_transfer(item) for kind in kinds for item in answer.items(kind)]

    async def outputs(self, *, deadline: float = READ_DEADLINE) -> list[Output]:
        """Every mined output of the first account, spent ones included, in the order in which the wallet found them.

        Raises NoWalletOpen.
        """
        answer = await self.call("incoming_transfers", {"transfer_type": "all", "account_index": 0}, deadline)
        return [
            Output(
                txid=_hash(found, "tx_hash"),
                public_key=_hash(found, "pubkey"),
                amount=found.integer("amount"),
                key_image=_hash(found, "key_image") if found.text("key_image") else "",
            )
            for found in answer.items("transfers")
        ]

    async def call(self, method: str, params: Mapping[str, object], deadline: float) -> Answer:
        """Call any method, for callers that need more methods than the operator does."""
        try:
            async with self._fence.passing() if self._fence else contextlib.nullcontext():
                return await self._rpc.call(method, params, deadline)
        except Fault as fault:
            raise wallet_error(method, fault, _strings(params)) from None


def plain_name(file: str) -> str:
    """The wallet file name, if it is plain: inside the wallet directory, and not the keys file of another wallet.

    Raises InvalidWalletFileName.
    """
    if not _FILE_NAME.fullmatch(file) or file.endswith(".keys"):
        raise InvalidWalletFileName(
            "a wallet file name has 1 to 128 letters, digits, '.', '_' or '-', starts with a letter or digit "
            "and does not end in .keys"
        )
    return file


def _strings(params: Mapping[str, object]) -> list[str]:
    found = [value for value in params.values() if isinstance(value, str)]
    for value in params.values():
        if isinstance(value, list):
            found.extend(item for item in value if isinstance(item, str))
    return found


def _key_exchange(answer: Answer) -> KeyExchange:
    return KeyExchange(address=answer.text("address"), info=answer.text("multisig_info"))


def _hash(answer: Answer, name: str) -> str:
    """A hash, a key or a key image: 64 hexadecimal digits. Raises the protocol error for anything else."""
    value = answer.text(name)
    if not _TXID.fullmatch(value):
        raise answer.unexpected(name)
    return value


def _transfer(answer: Answer) -> Transfer:
    return Transfer(
        txid=_hash(answer, "txid"),
        type=answer.choice("type", TransferType),
        amount=answer.integer("amount"),
        fee=answer.integer("fee"),
        confirmations=answer.integer("confirmations", 0),
        height=answer.integer("height"),
        double_spend_seen=answer.flag("double_spend_seen"),
        locked=answer.flag("locked"),
        timestamp=answer.integer("timestamp"),
        unlock_time=answer.integer("unlock_time"),
    )
