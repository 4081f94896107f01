"""Keeps the newest version of each object of one kind; a deleted object stays deleted.

Watch events, pages of lists and answers to own writes come late, twice and in any order. The resourceVersion alone
decides, also between objects of one name with different uids: versions of one kind compare as numbers (documented by
Kubernetes since 1.35, true long before), a recreated object has a higher one than its predecessor ever had, and the
event of a deletion carries the version of the deletion.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Set
from typing import Generic, NamedTuple, Protocol, TypeVar

TOMBSTONES = 10_000
"""Names to remember of objects deleted after the last full list; the list itself covers earlier deletions."""


class Listed(NamedTuple):
    """The uids in a full list of a namespace (None: of the cluster), and the version of the list."""

    namespace: str | None
    uids: Set[str]
    version: str


class Versioned(Protocol):
    """An object at one version."""

    @property
    def uid(self) -> str:
        """Differs between objects of the same name."""

    @property
    def resource_version(self) -> str:
        """A number, as text."""


K = TypeVar("K", bound=tuple[str, str])
R = TypeVar("R", bound=Versioned)


class Newest(Generic[K, R]):
    """The known objects of one kind and the deleted ones, by (namespace, name)."""

    def __init__(self) -> None:
        self.known: dict[K, R] = {}
        self._gone: OrderedDict[K, int] = OrderedDict()
        self._complete: dict[str | None, int] = {}

    def is_known(self, key: K, version: str) -> bool:
        """Whether exactly this version is the known one."""
        known = self.known.get(key)
        return known is not None and known.resource_version == version

    def is_news(self, key: K, seen: R) -> bool:
        """Whether this version is newer than all that is known of its name, deletions included."""
        version = int(seen.resource_version)
        known = self.known.get(key)
        if known is not None:
            return version > int(known.resource_version)
        # An unknown object with an older version than a full list was deleted before that list, or since.
        return version > max(self._gone.get(key, 0), self._complete.get(None, 0), self._complete.get(key[0], 0))

    def note(self, key: K, seen: R) -> R | None:
        """Keep a version that is news; returns the object known by this name before, or None."""
        former = self.known.get(key)
        self.known[key] = seen
        self._gone.pop(key, None)
        return former

    def drop(self, key: K, version: str) -> R | None:
        """Note that no object of a name exists at a version; returns the dropped object, None if unknown or newer."""
        known = self.known.get(key)
        if known is not None and int(known.resource_version) > int(version):
            return None
        self._gone[key] = max(int(version), self._gone.pop(key, 0))
        while len(self._gone) > TOMBSTONES:
            self._gone.popitem(last=False)
        return self.known.pop(key, None)

    def absent(self, listed: Listed) -> list[K]:
        """Keys of known objects that a full list does not contain, to be dropped at its version; newer objects stay."""
        version = int(listed.version)
        self._complete[listed.namespace] = max(version, self._complete.get(listed.namespace, 0))
        return [
            key
            for key, one in self.known.items()
            if listed.namespace in (None, key[0])
            and one.uid not in listed.uids
            and int(one.resource_version) <= version
        ]
