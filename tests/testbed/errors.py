"""The one exception of the tooling: what went wrong, and what to do next."""

from __future__ import annotations


class ToolingError(Exception):
    """A step of the tooling failed.

    ``message`` says what happened, ``hint`` what the person at the terminal can do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  What to do next: {self.hint}" if self.hint else self.message
