"""What a wallet has seen of the chain: its cache, which is stored now and then, and lost with a killed process."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

from simulation.chain import Block, Transaction, TxOutput, digest, key_image
from simulation.monerod import Monerod
from simulation.wallet_keys import BadMessages, Keys

_MAGIC = b"Monero multisig export\1".hex()


@dataclass
class Received:
    """An output in a block. Its key image is empty as long as the wallet cannot know it."""

    output: TxOutput
    transaction: Transaction
    block: Block
    key_image: str = ""


@dataclass
class Cache:
    """``top`` is the newest block it has scanned, None in a fresh one.

    ``nonces`` are those of its last export, which erased those before; ``peers`` are those that its peers exported when
    it imported from them, by signer. ``attributes`` are texts that its clients left in it.
    """

    top: Block | None = None
    received: list[Received] = field(default_factory=list)
    spent: set[str] = field(default_factory=set)
    pool: tuple[Transaction, ...] = ()
    nonces: str = ""
    peers: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)

    def copy(self) -> Cache:
        """One that does not change with this one."""
        return replace(
            self,
            received=[replace(one) for one in self.received],
            spent=set(self.spent),
            peers=dict(self.peers),
            attributes=dict(self.attributes),
        )

    @property
    def height(self) -> int:
        """Blocks it has scanned; the first one needs no daemon."""
        return self.top.index + 1 if self.top else 1

    @property
    def images(self) -> set[str]:
        """Key images of its outputs that it knows."""
        return {one.key_image for one in self.received if one.key_image}

    @property
    def import_needed(self) -> bool:
        """Whether it has outputs of which it cannot tell whether they are spent."""
        return any(not one.key_image for one in self.received)

    def refresh(self, daemon: Monerod, keys: Keys) -> int:
        """Scan what is new, in blocks and in the pool; the number of blocks fetched.

        A wallet that is above its daemon, on the same chain, stays there.
        """
        fetched = 0
        common = self.top
        while common and (common.index >= daemon.height or daemon.block(common.index) is not common):
            common = common.before
        first = common.index + 1 if common else 0
        if first < daemon.height:
            self._detach(common)
            for index in range(first, daemon.height):
                self._scan(daemon.block(index), keys)
            fetched = daemon.height - max(first, 1)
        self.look_into_pool(daemon)
        return fetched

    def look_into_pool(self, daemon: Monerod) -> None:
        """Take in what waits there."""
        self.pool = tuple(daemon.pool)

    def _detach(self, common: Block | None) -> None:
        """Forget the blocks above one."""
        while self.top is not common:
            assert self.top
            self.spent -= {image for transaction in self.top.transactions for image in transaction.spends}
            self.top = self.top.before
        self.received = [one for one in self.received if common and one.block.index <= common.index]

    def _scan(self, block: Block, keys: Keys) -> None:
        self.top = block
        for transaction in block.transactions:
            self.spent |= transaction.spends
            for output in transaction.outputs:
                if output.address == keys.address:
                    known = "" if keys.multisig else output.key_image
                    self.received.append(Received(output, transaction, block, known))

    # Key images

    def export(self, keys: Keys, nonces: str) -> str:
        """For the peers; the nonces of the export before are gone."""
        self.nonces = nonces
        outputs = [one.output.public_key for one in self.received]
        body = asdict(_Export(keys.signer, keys.address, nonces, tuple(outputs)))
        return _MAGIC + json.dumps(body).encode().hex()

    def take_in(self, infos: Sequence[str], keys: Keys, daemon: Callable[[], Monerod]) -> int:
        """Learn key images from peers' exports; the number of outputs that all of them cover.

        They are matched by their place in each wallet's list, and nothing is checked: an export of other outputs gives
        key images that are nothing's. The blocks from the first output on that was not known are scanned again. Raises
        BadMessages, and what ``daemon`` raises: the wallet has forgotten those blocks then.
        """
        exports: dict[str, _Export] = {}
        for export in map(_read, infos):
            if export.address != keys.address:
                raise BadMessages("Multisig info is for a different account")
            if export.signer != keys.signer:
                exports.setdefault(export.signer, export)
        if not keys.threshold - 1 <= len(exports) < len(keys.signers):
            raise BadMessages("Wrong number of multisig sources")
        covered = min(len(self.received), *(len(export.outputs) for export in exports.values()))
        self.peers |= {signer: export.nonces for signer, export in exports.items()}
        if not covered:
            return 0
        unknown = next((one.block for one in self.received[:covered] if not one.key_image), None)
        if unknown is not None:
            self._detach(unknown.before)
        self._learn(exports.values(), covered)
        self.refresh(daemon(), keys)
        self._learn(exports.values(), covered)
        return covered

    def _learn(self, exports: Collection[_Export], covered: int) -> None:
        for place, one in enumerate(self.received[:covered]):
            theirs = {export.outputs[place] for export in exports}
            own = one.output.public_key
            one.key_image = key_image(own) if theirs == {own} else digest("wrong", own, *sorted(theirs))

    # Transactions

    def transactions(self) -> Iterator[tuple[Transaction, Block | None]]:
        """All it has seen, the newest first; those of the pool have no block."""
        for transaction in self.pool:
            yield transaction, None
        block = self.top
        while block:
            for transaction in block.transactions:
                yield transaction, block
            block = block.before


@dataclass(frozen=True)
class _Export:
    signer: str
    address: str
    nonces: str
    outputs: tuple[str, ...]


def _read(info: str) -> _Export:
    if not info.startswith(_MAGIC):
        raise BadMessages("Bad multisig info file magic in ")
    try:
        body = json.loads(bytes.fromhex(info.removeprefix(_MAGIC)))
        return _Export(body["signer"], body["address"], body["nonces"], tuple(body["outputs"]))
    except (ValueError, KeyError, TypeError):
        raise BadMessages("Failed to decrypt multisig info") from None
