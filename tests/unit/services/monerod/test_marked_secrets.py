"""Which Secrets a session may name, and what is told of those it may not (invariant I11)."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from escrow_operator.adapters.kube import Resource
from escrow_operator.adapters.kube_errors import NotFoundError
from escrow_operator.models.common import ROLES
from escrow_operator.models.session import Session
from escrow_operator.services.runtime.outcomes import Blocked
from escrow_operator.services.wallets.deeds import DeedStore
from unit.factories import session
from unit.world.context import make_context

NAME = "somebody-elses"
MARK = {"xmr-escrow.dev/secret-use": "wallet-password"}


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
        await DeedStore(make_context(Secrets(*bodies))).resolve(of, 1)
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
        deeds = await DeedStore(make_context(Secrets(body))).resolve(opening(), 1)
        assert {deed.password for deed in deeds.values()} == {"p"}
