"""Derives the RPC login of each slot, so that it need not be stored.

A pool has one secret login key. A slot's password is HMAC-SHA256(key, pod uid): the slot's init container derives it,
and so does the operator. The wallet-rpc container never sees the key, so one slot's login reveals nothing of another's.

It imports little more than the standard library, so that the init container starts in a fraction of a second.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from escrow_operator.models.monero import Login


def derive_login(key: str, pod_uid: str) -> Login:
    """The login of the slot with this pod uid. 256 bits; only URL-safe characters."""
    digest = hmac.new(key.encode(), pod_uid.encode(), hashlib.sha256).digest()
    return Login(f"slot-{pod_uid}", base64.urlsafe_b64encode(digest).rstrip(b"=").decode())


def key_id(key: str) -> str:
    """A hash that identifies a login key without revealing it: pods carry it as an annotation."""
    return hashlib.sha256(f"xmr-escrow login key id {key}".encode()).hexdigest()[:12]


def is_configurable(login: Login) -> bool:
    """Whether a login can be written to wallet-rpc's configuration file unchanged.

    Text after a line break would be read as further options, such as ``tx-notify``, a program that is run beside the
    open wallets; a ``#`` begins a comment, spaces at the ends are dropped, and the first ``:`` ends the user name.
    """
    return ":" not in login.user and all(
        text.isprintable() and "#" not in text and text == text.strip() for text in (login.user, login.password)
    )
