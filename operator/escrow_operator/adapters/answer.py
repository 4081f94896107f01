"""Typed access to the answers of Monero's servers. Errors contain nothing of an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol, TypeVar

from pydantic_core import from_json

from escrow_operator.errors import EscrowError
from escrow_operator.models.monero import MAX_PICONERO

LONGEST_WORD = 64
MAX_BLOCKS = 500_000_000
"""Monero's own bound of block heights (CRYPTONOTE_MAX_BLOCK_NUMBER)."""

_HASH = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(rf"[ -~]{{0,{LONGEST_WORD}}}")

FORMATS = {
    "txid": _HASH,
    "tx_hash": _HASH,
    "top_block_hash": _HASH,
    "address": re.compile(r"[1-9A-HJ-NP-Za-km-z]{0,128}"),
    "status": _WORD,
    "version": _WORD,
}
"""Formats of the texts that reach a status, an Event or a log, by field name, which is the same in all answers. The
address is empty before the last round of a key exchange."""

BLOCKS = frozenset({"height", "target_height", "confirmations", "blocks_to_unlock", "tx_pool_size"})
"""Integers that count blocks, or transactions that wait for one. A status has 63 bits for an integer."""

Choice = TypeVar("Choice", bound=StrEnum)


class ErrorType(Protocol):
    """An error class that takes its message and, optionally, the code of the answer."""

    def __call__(self, message: str, *, code: int | None = None) -> EscrowError:
        """Make the error."""
        ...


class Answer:
    """Typed access to a result object.

    Reading a field that is missing, ill-typed or malformed raises the protocol error.
    """

    def __init__(self, fields: Mapping[str, object], method: str, protocol_error: ErrorType) -> None:
        self._fields = fields
        self._method = method
        self._protocol_error = protocol_error

    def integer(self, name: str, default: int | None = None) -> int:
        """An unsigned 64-bit integer; a field in ``BLOCKS`` is at most ``MAX_BLOCKS``."""
        value = self._fields.get(name, default)
        most = MAX_BLOCKS if name in BLOCKS else MAX_PICONERO
        # bool is an int to Python
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise self.unexpected(name)
        return value

    def text(self, name: str) -> str:
        """A string of printable ASCII, like all that Monero writes; a field in ``FORMATS`` has that format."""
        value = self._fields.get(name)
        if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
            raise self.unexpected(name)
        if name in FORMATS and not FORMATS[name].fullmatch(value):
            raise self.unexpected(name)
        return value

    def flag(self, name: str) -> bool:
        """A boolean."""
        value = self._fields.get(name)
        if not isinstance(value, bool):
            raise self.unexpected(name)
        return value

    def choice(self, name: str, options: type[Choice]) -> Choice:
        """One of an enumeration's values."""
        try:
            return options(self.text(name))
        except ValueError:
            raise self.unexpected(name) from None

    def integers(self, name: str) -> list[int]:
        """A list of unsigned 64-bit integers; a missing one is empty, as Monero leaves empty lists out."""
        values = self._fields.get(name, [])
        if not isinstance(values, list):
            raise self.unexpected(name)
        return [Answer({name: value}, self._method, self._protocol_error).integer(name) for value in values]

    def has(self, name: str) -> bool:
        """Whether there is such a field."""
        return name in self._fields

    def document(self, name: str) -> Answer:
        """An object serialised as JSON in a string, as monerod returns decoded transactions."""
        value = self._fields.get(name)
        if not isinstance(value, str):
            raise self.unexpected(name)
        try:
            # The parser limits the depth itself.
            return self._nested(name, from_json(value, allow_inf_nan=False))
        except ValueError:
            raise self.unexpected(name) from None

    def item(self, name: str) -> Answer:
        """A nested object."""
        return self._nested(name, self._fields.get(name))

    def items(self, name: str) -> list[Answer]:
        """A list of objects; a missing one is empty, as Monero leaves empty lists out."""
        values = self._fields.get(name, [])
        if not isinstance(values, list):
            raise self.unexpected(name)
        return [self._nested(name, value) for value in values]

    def unexpected(self, name: str) -> EscrowError:
        """The protocol error for a field, without its value."""
        return self._protocol_error(f"{self._method}: field {name!r} is missing or not of the expected type")

    def _nested(self, name: str, value: object) -> Answer:
        if not isinstance(value, dict):
            raise self.unexpected(name)
        return Answer(value, f"{self._method}.{name}", self._protocol_error)
