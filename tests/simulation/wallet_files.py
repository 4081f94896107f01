"""The volume with the wallet files of one role, and its file locks, which may not hold."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from simulation.wallet_cache import Cache
from simulation.wallet_keys import Keys


class FileTrouble(Exception):
    """An error of wallet-rpc, in its words; its code is -1 but for a file that exists already."""

    def __init__(self, message: str, code: int = -1) -> None:
        super().__init__(message)
        self.code = code


class Damage(StrEnum):
    """What is wrong with a file, in wallet-rpc's words when it opens it."""

    KEYS = "internal error: failed to deserialize keys buffer"
    CACHE = "input stream error"
    PASSWORD = "Invalid password."
    """Some damaged keys files look as if the password were wrong."""
    UNREADABLE = "basic_filebuf::underflow error: Input/output error"


@dataclass
class WalletFile:
    """``name``.keys and, when it was stored, ``name``: the cache."""

    password: str
    keys: Keys
    cache: Cache | None = None
    damage: Damage | None = None

    def copy(self) -> WalletFile:
        """As of now."""
        return replace(self, cache=self.cache.copy() if self.cache else None)


@dataclass
class Volume:
    """``locking`` False is storage on which each node has locks of its own.

    ``full``, ``broken`` and ``read_only`` are its troubles. ``opened_twice`` names a file each time that a second
    living process had it open at the same time (evidence against invariant I1), whatever the locks said.
    """

    directory: str = "/wallets"
    locking: bool = True
    files: dict[str, WalletFile] = field(default_factory=dict)
    full: bool = False
    broken: bool = False
    read_only: bool = False
    opened_twice: list[str] = field(default_factory=list)
    _holders: dict[str, list[object]] = field(default_factory=dict)
    _locks: dict[str, object] = field(default_factory=dict)

    # What happens to it

    def add(self, name: str, password: str, keys: Keys) -> None:
        """A file that was made elsewhere."""
        self.files[name] = WalletFile(password, keys)

    def remove(self, name: str) -> WalletFile:
        """It is lost; what it was."""
        return self.files.pop(name)

    def damage(self, name: str, damage: Damage) -> None:
        """It cannot be read any more."""
        self.files[name].damage = damage

    def backup(self, name: str) -> WalletFile:
        """A copy, to be restored."""
        return self.files[name].copy()

    def restore(self, name: str, copy: WalletFile) -> None:
        """Put a copy in its place. A process that has the file open goes on with what it read."""
        self.files[name] = copy.copy()

    def holders(self, name: str) -> tuple[object, ...]:
        """The processes that have it open."""
        return tuple(self._holders.get(name, ()))

    # What processes do with it

    def create(self, name: str, password: str, keys: Keys, holder: object) -> None:
        """Make a file, and hold it. Raises FileTrouble."""
        if name in self.files:
            raise FileTrouble("Cannot create wallet. Already exists.", -21)
        self._must_save(f"{name}.keys")
        self.files[name] = WalletFile(password, keys, Cache())
        self._hold(name, holder)

    def open(self, name: str, password: str, holder: object) -> WalletFile:
        """A copy of a file, which is held then. Raises FileTrouble.

        Opening what the process holds already drops its lock, even when it fails, and another can open it.
        """
        file = self.files.get(name)
        if file is None:
            raise FileTrouble(f'file not found "{self.directory}/{name}.keys"')
        if self.broken:
            raise FileTrouble(Damage.UNREADABLE)
        owner = self._locks.get(name)
        if self.read_only or (self.locking and owner is not None and owner is not holder):
            path = f'"{self.directory}/{name}.keys"'
            raise FileTrouble(f"internal error: {path} is opened by another wallet program")
        held_before = owner is holder
        if held_before:
            del self._locks[name]
        if password != file.password:
            raise FileTrouble(Damage.PASSWORD)
        if file.damage is not None:
            raise FileTrouble(file.damage)
        self._hold(name, holder, lock=not held_before)
        return file.copy()

    def store(self, name: str, cache: Cache) -> None:
        """Write a cache. Raises FileTrouble."""
        self._must_save(f"{name}.new")
        if name in self.files:
            self.files[name].cache = cache.copy()

    def write_keys(self, name: str, keys: Keys) -> None:
        """Write a keys file anew. Raises FileTrouble."""
        self._must_save(f"{name}.keys")
        if name in self.files:
            self.files[name].keys = keys

    def release(self, name: str, holder: object) -> None:
        """A process closed it, or ended."""
        self._holders[name] = [one for one in self._holders.get(name, ()) if one is not holder]
        if self._locks.get(name) is holder:
            del self._locks[name]

    def _hold(self, name: str, holder: object, *, lock: bool = True) -> None:
        holders = self._holders.setdefault(name, [])
        if any(one is not holder for one in holders):
            self.opened_twice.append(name)
        if holder not in holders:
            holders.append(holder)
        if lock:
            self._locks[name] = holder

    def _must_save(self, file: str) -> None:
        if self.full or self.broken or self.read_only:
            raise FileTrouble(f'failed to save file "{self.directory}/{file}"')
