"""The raw client does what a key exchange takes, says what went wrong, and needs nothing but the operator's package."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from benchmarks import exchange
from escrow_operator.errors import WalletFileExists
from escrow_operator.models.monero import KeyExchange, Login, MultisigInfo
from testbed.settings import REPO_ROOT

ROLES = ("buyer", "vendor", "arbiter")


class Wallet:
    """One that keeps what it was asked; it is told apart by its URL."""

    made: ClassVar[dict[str, Wallet]] = {}

    def __init__(self, url: str, login: Login, *, certificate: bytes | None) -> None:
        assert certificate is None
        self.name = url
        self.login = login
        self.asked: list[tuple[Any, ...]] = []
        self.closed = False
        self.made[url] = self

    async def create_wallet(self, file: str, password: str, *, deadline: float) -> None:
        assert deadline == exchange.DEADLINE
        if "taken" in self.name:
            raise WalletFileExists("it is there")
        self.asked.append(("create", file, password))

    async def prepare_multisig(self, *, deadline: float) -> str:
        assert deadline == exchange.DEADLINE
        return f"{self.name} 0"

    async def make_multisig(
        self, infos: Sequence[str], threshold: int, password: str, *, deadline: float
    ) -> KeyExchange:
        assert deadline == exchange.DEADLINE
        self.asked.append(("make", tuple(infos), threshold, password))
        return KeyExchange(address="", info=f"{self.name} 1")

    async def exchange_multisig_keys(self, infos: Sequence[str], password: str, *, deadline: float) -> KeyExchange:
        assert deadline == exchange.DEADLINE
        self.asked.append(("exchange", tuple(infos), password))
        return KeyExchange(address="4shared", info=f"{self.name} {1 + sum(a[0] == 'exchange' for a in self.asked)}")

    async def is_multisig(self, *, deadline: float) -> MultisigInfo:
        assert deadline == exchange.DEADLINE
        return MultisigInfo(multisig=True, ready="unready" not in self.name, threshold=2, total=3)

    async def address(self, *, deadline: float) -> str:
        assert deadline == exchange.DEADLINE
        return "4other" if "other" in self.name else "4shared"

    async def call(self, method: str, params: dict[str, Any], deadline: float) -> None:
        assert deadline == exchange.DEADLINE
        assert params == {}
        self.asked.append((method.removeprefix("get_"),))

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def wallets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Wallet]:
    monkeypatch.setattr(exchange, "WalletRpc", Wallet)
    monkeypatch.setattr(Wallet, "made", {})
    return Wallet.made


def escrow(*names: str) -> dict[str, Any]:
    reach = {
        role: {"url": name, "user": "user", "password": f"of {name}", "certificate": None}
        for role, name in zip(ROLES, names, strict=True)
    }
    return {"file": "fresh", "password": "secret", "wallets": reach}


async def test_every_wallet_gets_the_messages_of_the_two_others(wallets: dict[str, Wallet]) -> None:
    (done,) = await exchange.play({"rate": None, "escrows": [escrow("a", "b", "c")]})
    assert wallets["b"].asked == [
        ("version",),
        ("create", "fresh", "secret"),
        ("make", ("a 0", "c 0"), 2, "secret"),
        ("exchange", ("a 1", "c 1"), "secret"),
        ("exchange", ("a 2", "c 2"), "secret"),
        ("store",),
    ]
    assert wallets["b"].login == Login("user", "of b")
    assert all(wallet.closed for wallet in wallets.values())
    assert sum(done["steps"].values()) <= done["ended"] - done["begun"]


async def test_one_that_fails_is_told_and_the_others_end() -> None:
    names = [("a", "b", "c"), ("d", "taken", "f"), ("g", "other", "i"), ("j", "unready", "l")]
    found = await exchange.play({"rate": None, "escrows": [escrow(*three) for three in names]})
    assert "steps" in found[0]
    assert [one["error"].partition(":")[0] for one in found[1:]] == ["WalletFileExists", "NoEscrow", "NoEscrow"]


async def test_at_a_rate_each_begins_at_its_moment() -> None:
    found = await exchange.play({"rate": 100.0, "escrows": [escrow(f"a{n}", f"b{n}", f"c{n}") for n in range(3)]})
    assert found[1]["begun"] >= 0.005
    assert found[2]["begun"] >= 0.015


def test_its_text_runs_where_only_the_operator_is(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", Path(exchange.__file__).read_text()],
        input=json.dumps({"rate": None, "escrows": []}),
        env={"PYTHONPATH": str(REPO_ROOT / "operator")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
