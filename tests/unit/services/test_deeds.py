"""The Secrets that open wallets: which ones a spec may name, and what is told of those it may not."""

from __future__ import annotations

import base64
from typing import Any, cast

import pytest

from escrow_operator.adapters.kube import Kube, Resource
from escrow_operator.adapters.kube_errors import NotFoundError
from escrow_operator.models.common import ROLES
from escrow_operator.models.session import Session
from escrow_operator.services.blocked import Blocked
from escrow_operator.services.deeds import DeedService
from unit.factories import session

NAME = "somebody-elses"
MARK = {"xmr-escrow.dev/secret-use": "wallet-password"}
DEED = {"file": "shop.demo.ab12", "password": "correct-horse", "restoreHeight": "5", "pool": "default"}


class Secrets:
    """An API server with some Secrets."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        self._bodies = {body["metadata"]["name"]: body for body in bodies}

    async def get(self, _: Resource, __: str, name: str) -> dict[str, Any]:
        if name not in self._bodies:
            raise NotFoundError(404, "NotFound", name)
        return self._bodies[name]


def secret(name: str = NAME, *, kind: str = "Opaque", labels: Any = None, **data: Any) -> dict[str, Any]:
    raw = {key: value if isinstance(value, bytes) else value.encode() for key, value in data.items()}
    return {
        "metadata": {"name": name, "resourceVersion": "1", "labels": labels or {}},
        "type": kind,
        "data": {key: base64.b64encode(value).decode() for key, value in raw.items()},
    }


def opening(name: str = NAME, key: str = "password") -> Session:
    wallet = {"file": "w", "secretRef": {"name": name, "key": key}}
    return session(spec={"setup": "Open", "wallets": {role.value: wallet for role in ROLES}})


async def refusal(of: Session, *bodies: dict[str, Any]) -> Blocked:
    with pytest.raises(Blocked) as caught:
        await DeedService(cast("Kube", Secrets(*bodies))).resolve(of, 1)
    return caught.value


@pytest.mark.parametrize("key", ["password", "token"])
@pytest.mark.parametrize("labels", [{}, {"xmr-escrow.dev/secret-use": "monerod"}])
async def test_a_secret_that_is_not_marked_is_not_used_and_nothing_of_it_is_told(
    key: str, labels: dict[str, str]
) -> None:
    told = await refusal(opening(key=key), secret(token="s3cret", labels=labels))
    assert told.reason == "SecretNotMarked"
    assert f"kubectl -n shop label secret {NAME} xmr-escrow.dev/secret-use=wallet-password" in told.message
    asked = await refusal(opening(key=key), secret(password="s3cret", labels=labels))
    assert asked.message == told.message, "the message tells whether a key is there"


async def test_a_secret_that_is_no_text_tells_nothing_before_it_is_marked() -> None:
    told = await refusal(opening(), secret(password=b"\xff"))
    assert told.reason == "SecretNotMarked"
    assert (await refusal(opening(), secret(password=b"\xff", labels=MARK))).reason == "SecretInvalid"


async def test_marked_secrets_and_deeds_open_wallets() -> None:
    for body in (secret(password="p", labels=MARK), secret(password="p", kind="xmr-escrow.dev/wallet-deed")):
        deeds = await DeedService(cast("Kube", Secrets(body))).resolve(opening(), 1)
        assert {deed.password for deed in deeds.values()} == {"p"}


async def test_other_keys_of_a_marked_secret_do_not_matter_and_are_not_listed() -> None:
    body = secret(password="p", keystore=b"\xfe\xff", labels=MARK)
    deeds = await DeedService(cast("Kube", Secrets(body))).resolve(opening(), 1)
    assert {deed.password for deed in deeds.values()} == {"p"}
    told = await refusal(opening(key="other"), body)
    assert told.reason == "SecretKeyMissing"
    assert "keystore" not in told.message


async def test_what_is_in_a_deeds_place_must_be_a_deed() -> None:
    """A session may have any name: that of another Secret of the namespace, without its ending, too."""
    bodies = [secret(f"demo-{role}-wallet", **DEED) for role in ROLES]
    assert (await refusal(session(), *bodies)).reason == "SecretNotMarked"
    for allowed in ({"kind": "xmr-escrow.dev/wallet-deed"}, {"labels": MARK}):
        marked = [secret(f"demo-{role}-wallet", **allowed, **DEED) for role in ROLES]
        deeds = await DeedService(cast("Kube", Secrets(*marked))).resolve(session(), 1)
        assert {deed.file for deed in deeds.values()} == {DEED["file"]}


async def test_a_deed_that_is_damaged_is_not_quoted() -> None:
    bodies = [secret(f"demo-{role}-wallet", labels=MARK, **DEED | {"restoreHeight": "s3cret"}) for role in ROLES]
    told = await refusal(session(), *bodies)
    assert told.reason == "SecretInvalid"
    assert "s3cret" not in told.message
