"""Errors as exit codes: what a script needs to tell apart."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of all commands."""

    OK = 0
    FAILED = 1
    """What was asked for did not happen: a session is not Ready in time, a finding of doctor is bad."""
    USAGE = 2
    """Arguments that make no sense; a manifest that the API server rejects."""
    NOT_FOUND = 3
    """There is no such session, pool, or custom resource."""
    FORBIDDEN = 4
    """Kubernetes knows the caller, and does not let him; or does not know him."""
    AWAY = 5
    """The API server, or the gateway, did not answer."""


class CliError(Exception):
    """Ends a command with a text for people, which says what to do, and an exit code."""

    def __init__(self, text: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(text)
        self.code = code
