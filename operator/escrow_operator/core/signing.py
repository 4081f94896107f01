"""Signing rounds: who exported for one lately, so that nobody else's export erases the nonces before it is signed.

An export (``export_multisig_info``) replaces the nonces of the export before it. Between a party's export and his
signature nobody else may make his wallet export, and the operator, whose exchange of key images is one as well, waits.
The gateway notes rounds in an annotation of the session; both it and the operator write to that object on what they
saw, so of an export and an exchange one sees the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from escrow_operator.models.common import Role, format_time, parse_time
from escrow_operator.models.session import LONGEST_ROUNDS

ROUND = timedelta(minutes=10)
"""After an export, unless the transaction is submitted before; people sign by hand."""

EXCHANGE = timedelta(minutes=3)
"""In which the operator's exchange of key images has ended after it was noted; most take a second, and say when they
have ended."""

LONGEST_DEFERRAL = timedelta(minutes=10)
"""For which the operator waits for rounds in all, until it has exchanged: no party may keep it from seeing money."""

LONGEST_NAME = 300


@dataclass(frozen=True, slots=True)
class Round:
    """One wallet's round: who exported, and until when it counts."""

    by: str
    until: datetime


def read_rounds(text: str | None, *, now: datetime) -> dict[Role, Round]:
    """The rounds under way, by wallet. What is over, not readable or further ahead than any round is none."""
    if not text or len(text) > LONGEST_ROUNDS:
        return {}
    try:
        told = json.loads(text)
        found = {Role(role): Round(str(one["by"]), parse_time(one["until"])) for role, one in told.items()}
        return {role: one for role, one in found.items() if now < one.until <= now + 2 * ROUND}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return {}


def write_rounds(rounds: Mapping[Role, Round]) -> str:
    """The annotation's text."""
    told = {
        role.value: {"by": one.by[:LONGEST_NAME], "until": format_time(one.until)}
        for role, one in sorted(rounds.items())
    }
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False)


def is_exchanging(text: str | None, *, now: datetime) -> bool:
    """Whether the operator noted an exchange of key images (``Label.KEY_IMAGES``) that may not have ended yet."""
    if not text:
        return False
    try:
        # Two clocks never agree.
        return abs(now - parse_time(text)) < EXCHANGE
    except (ValueError, TypeError, OverflowError):
        return False
