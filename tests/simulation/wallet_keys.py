"""What is in a wallet's keys file, and the rounds of the multisig key exchange that change it.

A message names its round, its sender and the wallets that the sender exchanges with. Wallets come to one address only
when each got the messages of the same round from the same others; anything else is an error, as it is in truth, where
signatures and points do not fit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulation.chain import digest

ROUNDS = 2
"""Calls of exchange_multisig_keys that complete an exchange."""

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ADDRESS_LENGTH = 95
_FIRST, _LATER = "MultisigxV2R1", "MultisigxV2Rn"


class BadMessages(Exception):
    """Messages that do not belong together, with wallet-rpc's kind of words for it."""


class AlreadyComplete(Exception):
    """There is no further round."""


@dataclass(frozen=True)
class Keys:
    """``secret`` is all that a wallet is made of; ``signers`` are all wallets of its multisig, itself included.

    ``rounds`` counts exchanges done: 0 after make_multisig, ``ROUNDS`` when complete.
    """

    secret: str
    signers: tuple[str, ...] = ()
    threshold: int = 0
    rounds: int = 0

    @property
    def signer(self) -> str:
        """Who it is in an exchange."""
        return digest("signer", self.secret)

    @property
    def multisig(self) -> bool:
        """Whether it was made one."""
        return bool(self.signers)

    @property
    def ready(self) -> bool:
        """Whether its exchange is complete."""
        return self.multisig and self.rounds == ROUNDS

    @property
    def address(self) -> str:
        """Its own, or the common one, which it has before its exchange is complete: the last round only verifies.

        After make_multisig it is one that nobody has the keys of, although all three have the same.
        """
        if self.rounds:
            return address_of("multisig", self.threshold, *self.signers)
        if self.multisig:
            return address_of("placeholder", self.threshold, *self.signers)
        return address_of("single", self.secret)

    def message(self, salt: str) -> str:
        """For the peers, in the next round. ``salt`` changes its text and nothing else.

        One that is complete goes on saying what it said in the last round, for a peer that is late.
        """
        number = min(self.rounds + self.multisig, ROUNDS)
        body = {"round": number, "signer": self.signer, "of": [*self.signers, self.threshold], "salt": salt}
        return (_LATER if self.multisig else _FIRST) + json.dumps(body).encode().hex()

    def made(self, infos: Sequence[str], threshold: int) -> Keys:
        """After make_multisig. Raises BadMessages."""
        peers = self._peers(infos, 0, [0])
        total = len(peers) + 1
        if not 2 <= threshold <= total:
            raise BadMessages("Invalid threshold")
        return replace(self, signers=tuple(sorted((*peers, self.signer))), threshold=threshold)

    def exchanged(self, infos: Sequence[str]) -> Keys:
        """After another round. Raises BadMessages, AlreadyComplete."""
        if self.ready:
            raise AlreadyComplete
        peers = self._peers(infos, self.rounds + 1, [*self.signers, self.threshold])
        if {*peers, self.signer} != set(self.signers):
            raise BadMessages("Multisig kex round messages from unexpected or missing signers.")
        return replace(self, rounds=self.rounds + 1)

    def _peers(self, infos: Sequence[str], number: int, of: list[object]) -> list[str]:
        """The senders of a round's messages."""
        senders = []
        for info in infos:
            body = _read(info)
            if body["round"] != number:
                raise BadMessages("Multisig kex msg is for another round.")
            if body["of"] != of:
                raise BadMessages("Multisig kex msg is of another group of signers.")
            senders.append(str(body["signer"]))
        if not senders or len({*senders, self.signer}) != len(senders) + 1:
            raise BadMessages("Multisig kex messages: a signer's is there twice, or none.")
        return senders


def complete(seed: object, parties: int = 3, threshold: int = 2) -> tuple[Keys, ...]:
    """The keys of one multisig that was made elsewhere."""
    fresh = [Keys(digest("made elsewhere", seed, number)) for number in range(parties)]
    made = [one.made([peer.message("") for peer in fresh if peer is not one], threshold) for one in fresh]
    return tuple(replace(one, rounds=ROUNDS) for one in made)


def address_of(*parts: object) -> str:
    """Looks like an address of mainnet and of regtest."""
    number = int(digest(*parts) + digest("more", *parts), 16)
    text = "4"
    while len(text) < _ADDRESS_LENGTH:
        number, digit = divmod(number, len(_ALPHABET))
        text += _ALPHABET[digit]
    return text


def _read(info: str) -> dict[str, object]:
    head, body = info[: len(_FIRST)], info[len(_FIRST) :]
    if head not in (_FIRST, _LATER):
        raise BadMessages("Kex message unexpectedly small.")
    try:
        found = json.loads(bytes.fromhex(body))
    except ValueError:
        found = None
    if not isinstance(found, dict) or {"round", "signer", "of"} - found.keys():
        raise BadMessages("Multisig kex msg signature invalid.")
    return found
