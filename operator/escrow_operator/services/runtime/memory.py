"""In-memory records about the objects in the cluster, dropped when an object is gone."""

from __future__ import annotations

from typing import Any, TypeVar

M = TypeVar("M")


class Memory:
    """For each object, by its uid, one record of each kind that a service keeps of it.

    A kind is a class of the service that can be constructed without arguments. The store reports which objects exist.
    Nothing is kept of an object that is gone: a task that still works for it gets a record that no other task sees.
    """

    def __init__(self) -> None:
        self._records: dict[str, dict[type[Any], Any]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def begin(self, uid: str) -> None:
        """Keep records of an object from now on; those of a known object stay."""
        if uid not in self._records:
            self._records[uid] = {}

    def of(self, uid: str, kind: type[M]) -> M:
        """The object's record of this kind, created when there is none."""
        records = self._records.get(uid)
        if records is None:
            return kind()
        found: M | None = records.get(kind)
        if found is None:
            found = records[kind] = kind()
        return found

    def drop(self, uid: str, kind: type[Any]) -> None:
        """Forget the record of one kind."""
        self._records.get(uid, {}).pop(kind, None)

    def clear(self, uid: str) -> None:
        """Forget all records of an object that is still there."""
        if uid in self._records:
            self._records[uid] = {}

    def end(self, uid: str) -> None:
        """Forget an object that is gone, with all its records."""
        self._records.pop(uid, None)
