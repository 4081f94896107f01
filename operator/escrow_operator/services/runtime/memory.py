"""What this process remembers of the objects in the cluster: dropped with each of them."""

from __future__ import annotations

from typing import Any, TypeVar

M = TypeVar("M")


class Memory:
    """For each object, by its uid, one record of each kind that a service keeps of it.

    A kind is a class of the service's own that can be made without arguments. The store says which objects there are.
    Of one that is gone nothing is kept: a task that still works for it gets a record that nobody else sees.
    """

    def __init__(self) -> None:
        self._records: dict[str, dict[type[Any], Any]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def begin(self, uid: str) -> None:
        """There is such an object; of one that is known already nothing is dropped."""
        if uid not in self._records:
            self._records[uid] = {}

    def of(self, uid: str, kind: type[M]) -> M:
        """The object's record of this kind, made when there is none."""
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
        """The object is gone."""
        self._records.pop(uid, None)
