"""What people do in the simulated world: those who trade, those who run pools, and those who look."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from escrow_operator.adapters.kube import DISRUPTION_BUDGETS, PODS, POOLS, SECRETS, SESSIONS
from escrow_operator.adapters.kube_errors import NotFoundError
from escrow_operator.core.secretuse import SecretUse
from escrow_operator.core.signing import ROUND, Round, write_rounds
from escrow_operator.models.common import API_VERSION, ROLES, Label, Role, format_time
from escrow_operator.models.deed import secret_data
from escrow_operator.models.monero import parse_xmr

from .apiserver import ApiServer, Body
from .chain import Chain
from .clock import SimClock
from .invariants import Watchman
from .names import DAEMON, POOL, place


class Users:
    """Names of sessions and pools are those of the shop's namespace, unless they name another: "other/trade"."""

    clock: SimClock
    server: ApiServer
    chain: Chain
    watchman: Watchman

    # Those who run pools

    def make_pool(
        self, name: str = POOL, *, warm: int = 1, prepared: int = 0, daemon: Body | None = None, **spec: Any
    ) -> None:
        """What ``kubectl apply`` does with a pool."""
        namespace, name = place(name)
        body = {
            "apiVersion": API_VERSION,
            "kind": "WalletPool",
            "metadata": {"name": name},
            "spec": {
                "image": "wallet",
                "daemon": {"address": DAEMON, "network": "regtest", "trusted": True, **(daemon or {})},
                "warmSlots": warm,
                "preparedEscrows": prepared,
                **spec,
            },
        }
        self.server.apply(POOLS, namespace, body)

    def delete_pool(self, name: str = POOL) -> None:
        """What ``kubectl delete --wait=false`` does."""
        try:
            self.server.delete(POOLS, *place(name))
        except NotFoundError:
            return

    def make_secret(self, name: str, use: SecretUse | None, **data: str) -> None:
        """Create a Secret, or change it; without a use it is marked for none."""
        namespace, name = place(name)
        marks = {Label.SECRET_USE: use.value} if use else {}
        self.server.apply(SECRETS, namespace, {"metadata": {"name": name, "labels": marks}, "stringData": data})

    # Those who trade

    def apply(self, name: str, **spec: Any) -> None:
        """What ``kubectl apply`` does with a session."""
        namespace, name = place(name)
        body = {
            "apiVersion": API_VERSION,
            "kind": "EscrowSession",
            "metadata": {"name": name},
            "spec": {"poolRef": {"name": POOL}, "amount": "0.35", **spec},
        }
        self.server.apply(SESSIONS, namespace, body)

    def apply_with_wallets_of(self, other: str, name: str, **passwords: str) -> None:
        """A session that opens the wallets of another one, with copies of their passwords, but for those given."""
        namespace, former = place(other)
        wallets = {}
        for role in ROLES:
            data = secret_data(self.server.get(SECRETS, namespace, f"{former}-{role.value}-wallet"), "file", "password")
            copy = f"{name}-{role.value}"
            self.make_secret(copy, SecretUse.WALLET_PASSWORD, password=passwords.get(role.value, data["password"]))
            wallets[role.value] = {"file": data["file"], "secretRef": {"name": copy}}
        self.apply(name, setup="Open", wallets=wallets)

    def delete(self, name: str) -> None:
        """What ``kubectl delete --wait=false`` does."""
        try:
            self.server.delete(SESSIONS, *place(name))
        except NotFoundError:
            return

    def touch(self, name: str, text: str | None = None) -> None:
        """Use a session, as a client tells that it does."""
        namespace, name = place(name)
        annotations = {Label.TOUCH: text or format_time(self.clock.now())}
        self.server.apply(SESSIONS, namespace, {"metadata": {"name": name, "annotations": annotations}})

    def begin_round(self, name: str) -> None:
        """A party exports for a signing round; the gateway notes it."""
        namespace, name = place(name)
        rounds = write_rounds({Role.VENDOR: Round("vendor", self.clock.now() + ROUND)})
        self.server.merge(SESSIONS, namespace, name, {"metadata": {"annotations": {Label.SIGNING_ROUND: rounds}}})

    def end_round(self, name: str) -> None:
        """The transaction was submitted; the gateway notes that."""
        namespace, name = place(name)
        self.server.merge(SESSIONS, namespace, name, {"metadata": {"annotations": {Label.SIGNING_ROUND: None}}})

    def pay(self, name: str, xmr: str, *, confirmations: int = 0) -> str:
        """A customer pays into an escrow; the txid."""
        txid = self.chain.pay(self.status(name)["address"], parse_xmr(xmr))
        self.chain.mine(confirmations)
        return txid

    def pay_out(self, name: str, *, confirmations: int = 0) -> str:
        """Two parties sign a payout of all that is in the escrow; the txid."""
        txid = self.chain.pay_out(self.status(name)["address"])
        self.chain.mine(confirmations)
        return txid

    def reorganise(self, depth: int, *, grow: int = 0, vanish: Collection[str] = ()) -> None:
        """The newest blocks are replaced by others."""
        self.watchman.before_reorganisation()
        self.chain.reorganise(depth, grow=grow, vanish=vanish)

    # Looking

    def session(self, name: str) -> Body | None:
        """The object as it is."""
        return self.server.find(SESSIONS, *place(name))

    def status(self, name: str) -> Body:
        """Its status, empty without."""
        return (self.session(name) or {}).get("status") or {}

    def phase(self, name: str) -> str | None:
        """Its phase; None without an object."""
        return self.status(name).get("phase")

    def is_true(self, name: str, kind: str) -> bool:
        """Whether a condition is True."""
        return self.condition(name, kind).get("status") == "True"

    def reason(self, name: str, kind: str) -> str | None:
        """The reason of a condition."""
        return self.condition(name, kind).get("reason")

    def condition(self, name: str, kind: str) -> Body:
        """A condition of a session, empty without."""
        return next((c for c in self.status(name).get("conditions") or () if c["type"] == kind), {})

    def pool_reason(self, name: str = POOL) -> str | None:
        """The reason of a pool's Ready condition."""
        conditions = ((self.server.find(POOLS, *place(name)) or {}).get("status") or {}).get("conditions") or ()
        return next((c["reason"] for c in conditions if c["type"] == "Ready"), None)

    def pods_of(self, name: str) -> list[Body]:
        """The pods that a session has adopted."""
        namespace, name = place(name)
        return [pod for pod in self.server.all(PODS, namespace) if pod["metadata"]["labels"].get(Label.SESSION) == name]

    def free_pods(self) -> list[Body]:
        """The pods that no session has."""
        return [pod for pod in self.server.all(PODS) if Label.SESSION not in pod["metadata"]["labels"]]

    def is_guarded(self, name: str) -> bool:
        """Whether nobody can evict the session's pods."""
        namespace, name = place(name)
        return self.server.find(DISRUPTION_BUDGETS, namespace, f"{name}-signing") is not None

    def secret(self, name: str) -> Body | None:
        """A Secret, as it is."""
        return self.server.find(SECRETS, *place(name))
