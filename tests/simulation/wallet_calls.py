"""The calls of monero-wallet-rpc that change something: files, the key exchange, exports and imports.

How long they take is the process's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from escrow_operator.models.monero import Login
from simulation.monerod import DaemonAway, Monerod
from simulation.wallet_cache import Cache
from simulation.wallet_files import FileTrouble, Volume
from simulation.wallet_keys import AlreadyComplete, BadMessages, Keys
from simulation.wallet_reads import Fault, Open, Params, Reads, Result

VERSION = 1 << 16 | 32
_HEX = re.compile(r"([0-9a-fA-F]{2})*")


class Calls(Reads):
    """State and calls of one process, which is ``holder`` to the volume."""

    def __init__(
        self,
        volume: Volume,
        daemon: Monerod,
        holder: object,
        daemons: Callable[[str], Monerod | None],
        login: Login | None,
    ) -> None:
        super().__init__(daemon, login)
        self.exports = 0
        self._volume = volume
        # What is random in truth is an id that nobody has yet, the same in each run of a story.
        self._random = daemon.chain.new_id
        self._holder = holder
        self._daemons = daemons
        self._first_daemon = daemon

    def end(self) -> None:
        """The process ends: nothing is open any more."""
        if self.open is not None:
            self._volume.release(self.open.name, self._holder)
            self.open = None

    def store_at_exit(self) -> None:
        """As SIGTERM does; if that fails nobody hears of it."""
        if self.open is not None:
            try:
                self._volume.store(self.open.name, self.open.cache)
            except FileTrouble:
                return

    # Files

    def _on_get_version(self, _: Params) -> Result:
        return {"version": VERSION, "release": True}

    def _on_create_wallet(self, params: Params) -> Result:
        name, password = params["filename"], params.get("password", "")
        if name in self._volume.files:
            raise Fault(-21, "Cannot create wallet. Already exists.")
        keys = Keys(self._random("wallet"))
        self._volume.create(name, password, keys, self._holder)
        try:
            # After the new one was made: a file may be left that nobody opened.
            self._store_open()
        except FileTrouble:
            self._volume.release(name, self._holder)
            raise
        self._replace(Open(name, password, keys, Cache()))
        return {}

    def _on_open_wallet(self, params: Params) -> Result:
        name, password = params["filename"], params.get("password", "")
        self._store_open()
        try:
            file = self._volume.open(name, password, self._holder)
        except FileTrouble as trouble:
            raise Fault(trouble.code, f"Failed to open wallet : {trouble}") from None
        self._replace(Open(name, password, file.keys, file.cache or Cache()))
        return {}

    def _on_close_wallet(self, params: Params) -> Result:
        self._wallet()
        if params.get("autosave_current", True):
            self._store_open()
        self.end()
        return {}

    def _on_store(self, _: Params) -> Result:
        self._wallet()
        self._store_open()
        return {}

    def _on_set_attribute(self, params: Params) -> Result:
        self._wallet().cache.attributes[params["key"]] = params["value"]
        return {}

    def _on_set_daemon(self, params: Params) -> Result:
        self._wallet()
        self._daemon = self._daemons(str(params.get("address", "")))
        return {}

    # The key exchange

    def _on_is_multisig(self, _: Params) -> Result:
        keys = self._wallet().keys
        return {
            "multisig": keys.multisig,
            "ready": keys.ready,
            "threshold": keys.threshold,
            "total": len(keys.signers),
            "kex_is_done": keys.ready,
        }

    def _on_prepare_multisig(self, params: Params) -> Result:
        wallet = self._wallet()
        if wallet.keys.multisig:
            raise Fault(-28, "This wallet is already multisig")
        if not params.get("enable_multisig_experimental"):
            raise Fault(-48, "This wallet is not multisig-enabled")
        return {"multisig_info": wallet.keys.message(self._random("signature"))}

    def _on_make_multisig(self, params: Params) -> Result:
        wallet = self._wallet()
        if wallet.keys.multisig:
            raise Fault(-28, "This wallet is already multisig")
        try:
            wallet.keys = wallet.keys.made(params["multisig_info"], params["threshold"])
        except BadMessages as bad:
            raise Fault(-1, str(bad)) from None
        # The wallet in memory is multisig from here on, whatever comes.
        wallet.cache = Cache()
        return self._exchanged(wallet, params.get("password", ""))

    def _on_exchange_multisig_keys(self, params: Params) -> Result:
        wallet = self._wallet()
        if not wallet.keys.multisig:
            raise Fault(-31, "This wallet is not multisig")
        if len(params["multisig_info"]) + 1 < len(wallet.keys.signers):
            raise Fault(-33, "Needs multisig info from more participants")
        try:
            wallet.keys = wallet.keys.exchanged(params["multisig_info"])
        except BadMessages as bad:
            raise Fault(-1, f"Error calling exchange_multisig_info: {bad}") from None
        except AlreadyComplete:
            text = "multisig account: tried to initialize kex update, but kex is already complete."
            raise Fault(-1, f"Error calling exchange_multisig_info: {text}") from None
        return self._exchanged(wallet, params.get("password", ""))

    def _exchanged(self, wallet: Open, password: str) -> Result:
        if password != wallet.password:
            raise Fault(-1, "invalid password")
        self._volume.write_keys(wallet.name, wallet.keys)
        self._store_open()
        between = wallet.keys.rounds and not wallet.keys.ready
        info = wallet.keys.message(self._random("signature"))
        return {"address": "" if between else wallet.keys.address, "multisig_info": info}

    def _on_export_multisig_info(self, _: Params) -> Result:
        wallet = self._ready()
        info = wallet.cache.export(wallet.keys, self._random("nonces"))
        self.exports += 1
        # Written before anybody sees it, so that no nonce is used again after a crash.
        self._store_open()
        return {"info": info}

    def _on_import_multisig_info(self, params: Params) -> Result:
        wallet = self._ready()
        if len(params["info"]) < wallet.keys.threshold - 1:
            raise Fault(-33, "Needs multisig export info from more participants")
        if not all(map(_HEX.fullmatch, params["info"])):
            raise Fault(-26, "Failed to parse hex.")
        try:
            return {"n_outputs": wallet.cache.take_in(params["info"], wallet.keys, self._reached)}
        except BadMessages as bad:
            raise Fault(-1, f"Error calling import_multisig: {bad}") from None
        except DaemonAway:
            raise Fault(-1, "Error calling import_multisig: no connection to daemon") from None

    # Inside

    def _ready(self) -> Open:
        wallet = self._wallet()
        if not wallet.keys.multisig:
            raise Fault(-31, "This wallet is not multisig")
        if not wallet.keys.ready:
            raise Fault(-31, "This wallet is multisig, but not yet finalized")
        return wallet

    def _store_open(self) -> None:
        if self.open is not None:
            self._volume.store(self.open.name, self.open.cache)

    def _replace(self, wallet: Open) -> None:
        """Another wallet in place of the one that is open."""
        if self.open is not None and self.open.name != wallet.name:
            self._volume.release(self.open.name, self._holder)
        self.open = wallet
        # A party's set_daemon is of the wallet that was open.
        self._daemon = self._first_daemon
