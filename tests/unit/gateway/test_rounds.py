"""Signing rounds at the gateway."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from escrow_gateway.sessions import Sessions
from escrow_operator.adapters.kube import SESSIONS
from escrow_operator.core.signing import EXCHANGE, read_rounds
from escrow_operator.models.common import Label, Role, format_time
from escrow_operator.models.session import Phase, Session
from unit.gateway.bench import BUYERS, Bench
from unit.gateway.test_app import kind

EXPORT = "export_multisig_info"


@pytest.fixture(autouse=True)
def second_user(gateway: Bench) -> None:
    """Who may sign with the buyer's wallet as well."""
    gateway.kube.tokens["seconds"] = "second"
    gateway.allow("second", "buyer", "read", "sign", "relay")
    gateway.wallets[Role.BUYER].results |= {EXPORT: {"info": "x"}, "submit_multisig": {"tx_hash_list": []}}
    gateway.wallets[Role.VENDOR].results |= {EXPORT: {"info": "x"}}


def rounds(gateway: Bench) -> dict[Role, str]:
    """Who has a round of which wallet."""
    body = gateway.kube.find(SESSIONS, "demo")
    assert body is not None
    found = read_rounds(Session.parse(body).signing, now=datetime.now(UTC))
    return {role: one.by for role, one in found.items()}


async def test_an_export_begins_a_round_and_others_must_wait(gateway: Bench) -> None:
    assert (await gateway.call(EXPORT)).status_code == 200
    assert rounds(gateway) == {Role.BUYER: "buyer"}
    refused = await gateway.call(EXPORT, token="seconds")
    assert (refused.status_code, kind(refused.json())) == (409, "signing-round")
    assert "buyer has exported" in refused.json()["detail"]
    assert 0 < int(refused.headers["retry-after"]) <= 600
    assert [method for method, _ in gateway.wallets[Role.BUYER].calls] == [EXPORT]


async def test_who_has_the_round_may_export_again_and_writes_nothing_for_it(gateway: Bench) -> None:
    for _ in range(5):
        assert (await gateway.call(EXPORT)).status_code == 200
    await gateway.sessions.settle()
    assert len(gateway.kube.written("merge")) == 2, "the round, and the touch"


async def test_a_round_is_of_one_wallet(gateway: Bench) -> None:
    gateway.allow("second", "vendor", "sign")
    await gateway.call(EXPORT)
    assert (await gateway.call(EXPORT, role="vendor", token="seconds")).status_code == 200
    assert rounds(gateway) == {Role.BUYER: "buyer", Role.VENDOR: "second"}


async def test_other_calls_are_not_held_up(gateway: Bench) -> None:
    await gateway.call(EXPORT)
    assert (await gateway.call("get_balance", token="seconds")).status_code == 200
    assert (await gateway.call("sign_multisig", token="seconds")).status_code == 200


async def test_a_submitted_transaction_ends_all_rounds(gateway: Bench) -> None:
    await gateway.call(EXPORT)
    await gateway.call("submit_multisig", token="seconds")
    await gateway.rounds.settle()
    assert rounds(gateway) == {}
    assert (await gateway.call(EXPORT, token="seconds")).status_code == 200


async def test_a_submission_that_fails_ends_no_round(gateway: Bench) -> None:
    await gateway.call(EXPORT)
    gateway.wallets[Role.BUYER].results.pop("submit_multisig")
    await gateway.call("submit_multisig", token="seconds")
    await gateway.rounds.settle()
    assert rounds(gateway) == {Role.BUYER: "buyer"}


async def test_an_export_that_fails_begins_no_round(gateway: Bench) -> None:
    gateway.wallets[Role.BUYER].results.pop(EXPORT)
    await gateway.call(EXPORT)
    await gateway.rounds.settle()
    assert rounds(gateway) == {}
    gateway.wallets[Role.BUYER].results[EXPORT] = {"info": "x"}
    await gateway.call(EXPORT)
    gateway.wallets[Role.BUYER].results.pop(EXPORT)
    await gateway.call(EXPORT)
    await gateway.rounds.settle()
    assert rounds(gateway) == {Role.BUYER: "buyer"}, "the first export's nonces are still there"


async def test_a_round_ends_by_itself(gateway: Bench) -> None:
    over = format_time(datetime.now(UTC) - timedelta(seconds=1))
    gateway.put_session(
        Phase.ACTIVE, annotations={Label.SIGNING_ROUND: f'{{"buyer":{{"by":"buyer","until":"{over}"}}}}'}
    )
    assert (await gateway.call(EXPORT, token="seconds")).status_code == 200


async def test_nobody_exports_while_the_operator_exchanges(gateway: Bench) -> None:
    gateway.put_session(Phase.ACTIVE, annotations={Label.KEY_IMAGES: format_time(datetime.now(UTC))})
    refused = await gateway.call(EXPORT)
    assert (refused.status_code, kind(refused.json())) == (409, "signing-round")
    assert not gateway.wallets[Role.BUYER].calls
    earlier = format_time(datetime.now(UTC) - EXCHANGE)
    gateway.put_session(Phase.ACTIVE, annotations={Label.KEY_IMAGES: earlier})
    assert (await gateway.call(EXPORT)).status_code == 200


async def test_of_an_export_and_an_exchange_one_sees_the_other(gateway: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator notes its exchange between the gateway's look and its write."""
    read = Sessions.read
    looked = 0

    async def late(self: Sessions, *args: object, **options: object) -> Session:
        nonlocal looked
        found = await read(self, *args, **options)  # type: ignore[arg-type]
        looked += 1
        if looked == 1:
            gateway.put_session(Phase.ACTIVE, annotations={Label.KEY_IMAGES: format_time(datetime.now(UTC))})
        return found

    monkeypatch.setattr(Sessions, "read", late)
    assert (await gateway.call(EXPORT)).status_code == 409
    assert not gateway.wallets[Role.BUYER].calls


@pytest.mark.parametrize("text", ["nonsense", '{"buyer":{"by":"x","until":"9999-01-01T00:00:00Z"}}'])
async def test_what_a_tenant_writes_there_holds_nobody_up(gateway: Bench, text: str) -> None:
    gateway.put_session(Phase.ACTIVE, annotations={Label.SIGNING_ROUND: text})
    assert (await gateway.call(EXPORT, token=BUYERS)).status_code == 200
