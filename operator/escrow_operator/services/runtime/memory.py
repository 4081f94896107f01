"""In-memory records about the objects in the cluster, dropped when an object is gone."""

from __future__ import annotations

from typing import Any, TypeVar

M = TypeVar("M")


class Memory:
    """For each object, by its uid, one record of each kind that a service keeps of it.

    A kind is a class of the service; those for ``of`` can be constructed without arguments. The store reports which
    objects exist. Nothing is kept of an object that is gone: a task that still works for it gets a record that no other
    task sees.
    """

    def __init__(self) -> None:
        self._records: dict[str, dict[type[Any], Any]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def begin(self, uid: str) -> None:
        """Keep records of an object from now on; those of a known object stay."""
        if uid not in self._records:
            self._records[uid] = {}

    def find(self, uid: str, kind: type[M]) -> M | None:
        """The object's record of this kind, or None."""
        records = self._records.get(uid)
        return records.get(kind) if records else None

    def of(self, uid: str, kind: type[M]) -> M:
        """The object's record of this kind, created when there is none."""
        found = self.find(uid, kind)
        if found is None:
            found = kind()
            self.put(uid, found)
        return found

    def put(self, uid: str, record: object) -> None:
        """Keep a record in place of the former one of its kind."""
        if uid in self._records:
            self._records[uid][type(record)] = record

    def drop(self, uid: str, kind: type[Any]) -> None:
        """Forget the record of one kind."""
        records = self._records.get(uid)
        if records:
            records.pop(kind, None)

    def clear(self, uid: str) -> None:
        """Forget all records of an object that is still there."""
        if uid in self._records:
            self._records[uid] = {}

    def clear_all(self) -> None:
        """Forget all records of all objects: what made them has ended."""
        self._records = {uid: {} for uid in self._records}

    def end(self, uid: str) -> None:
        """Forget an object that is gone, with all its records."""
        self._records.pop(uid, None)
