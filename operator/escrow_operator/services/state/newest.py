"""Of all that is heard of one kind of object, the newest version, and what is gone stays gone.

Watch events, pages of lists and answers to own writes come late, twice and in any order. What decides is the resource
version alone, also between objects of one name with different uids: versions of one kind compare as numbers (documented
by Kubernetes since 1.35, true long before), one that is made anew has a higher one than its predecessor ever had, and
the event of a deletion carries the version of the deletion.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Set
from typing import Generic, NamedTuple, Protocol, TypeVar

TOMBSTONES = 10_000
"""Names to remember of what was deleted after the last full list, which vouches for all that went before it."""


class Listed(NamedTuple):
    """What a full list of a namespace (None: of the cluster) contained, and as of which version."""

    namespace: str | None
    uids: Set[str]
    version: str


class Versioned(Protocol):
    """An object as it was at one version."""

    @property
    def uid(self) -> str:
        """Another one for another object of the same name."""

    @property
    def resource_version(self) -> str:
        """A number, as text."""


K = TypeVar("K", bound=tuple[str, str])
R = TypeVar("R", bound=Versioned)


class Newest(Generic[K, R]):
    """Keys are (namespace, name)."""

    def __init__(self) -> None:
        self.known: dict[K, R] = {}
        self._gone: OrderedDict[K, int] = OrderedDict()
        self._complete: dict[str | None, int] = {}

    def is_known(self, key: K, version: str) -> bool:
        """Whether this very version is the one that is known."""
        known = self.known.get(key)
        return known is not None and known.resource_version == version

    def is_news(self, key: K, seen: R) -> bool:
        """Whether this version is newer than all that was heard of its name."""
        version = int(seen.resource_version)
        known = self.known.get(key)
        if known is not None:
            return version > int(known.resource_version)
        # An object that is not known although a full list is newer than it was deleted before that list, or since.
        return version > max(self._gone.get(key, 0), self._complete.get(None, 0), self._complete.get(key[0], 0))

    def note(self, key: K, seen: R) -> R | None:
        """Keep a version that is news; what was known of the name before."""
        former = self.known.get(key)
        self.known[key] = seen
        self._gone.pop(key, None)
        return former

    def drop(self, key: K, version: str) -> R | None:
        """At this version there was no object of the name; what was known of it, unless that is newer."""
        known = self.known.get(key)
        if known is not None and int(known.resource_version) > int(version):
            return None
        self._gone[key] = max(int(version), self._gone.pop(key, 0))
        while len(self._gone) > TOMBSTONES:
            self._gone.popitem(last=False)
        return self.known.pop(key, None)

    def absent(self, listed: Listed) -> list[K]:
        """What a full list does not contain, to be dropped at its version; what was seen since is not counted."""
        version = int(listed.version)
        self._complete[listed.namespace] = max(version, self._complete.get(listed.namespace, 0))
        return [
            key
            for key, one in self.known.items()
            if listed.namespace in (None, key[0])
            and one.uid not in listed.uids
            and int(one.resource_version) <= version
        ]
