"""What deeds and users' Secrets are read for, and what is told of them."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.adapters.kube import SECRETS
from escrow_operator.adapters.kube_errors import ConflictError
from escrow_operator.core.manifests.common import deed_name
from escrow_operator.core.manifests.session import DEED_TYPE
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.session import Session
from escrow_operator.services.runtime.outcomes import Blocked, Failed
from escrow_operator.services.wallets.deeds import DeedStore, must_name_secrets
from unit.factories import session
from unit.kube import InstantKube
from unit.world.context import make_context

HIDDEN = "correct-horse-battery-staple"
ADDRESS = "4" + "A" * 94


def holding(secrets: dict[str, dict[str, Any]] | None = None) -> InstantKube:
    """An API server with these Secrets, by their names."""
    kube = InstantKube()
    for name, body in (secrets or {}).items():
        kube.put(SECRETS, body | {"metadata": body["metadata"] | {"name": name, "namespace": "shop"}})
    return kube


def sealed(kube: InstantKube) -> list[bool]:
    """Whether each of the deeds is."""
    return [body.get("immutable") is True for body in kube.all(SECRETS)]


def secret(kind: str = "Opaque", **data: bytes) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"xmr-escrow.dev/secret-use": "wallet-password"}},
        "type": kind,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def opens(name: str = "bank", key: str = "password") -> Session:
    wallet = {"file": "f", "secretRef": {"name": name, "key": key}}
    return session(spec={"setup": "Open", "wallets": {role.value: wallet for role in ROLES}})


def service(kube: InstantKube) -> DeedStore:
    return DeedStore(make_context(kube))


async def told(subject: Session, secrets: dict[str, dict[str, Any]]) -> Blocked:
    """Why a session does not go on."""
    with pytest.raises(Blocked) as caught:
        await service(holding(secrets)).resolve(subject, height=1)
    return caught.value


CLIMBS = "../../other-namespace/secrets/bank"


@pytest.mark.parametrize("name", [CLIMBS, "bank?", "%2e", "Bank", "bank\x1b[31m", ".."])
async def test_a_session_of_before_the_pattern_fails_with_a_reason(name: str) -> None:
    with pytest.raises(Failed) as caught:
        must_name_secrets(opens(name))
    assert caught.value.reason == "SecretNameInvalid"
    assert "spec.wallets.buyer.secretRef.name" in caught.value.message
    assert caught.value.message.isprintable()
    # Its state can be noted, and looked at again, without an error that the queue would repeat for ever.
    assert await service(holding()).versions(opens(name)) == "-/-/-"


def test_a_plain_name_is_none_of_that() -> None:
    must_name_secrets(opens())
    must_name_secrets(session())


async def test_which_keys_a_secret_has_is_not_told() -> None:
    blocked = await told(opens(), {"bank": secret(pin=HIDDEN.encode(), iban=b"x")})

    assert blocked.reason == "SecretKeyMissing"
    assert "pin" not in blocked.message
    assert "iban" not in blocked.message


async def test_only_the_key_that_was_named_is_looked_at() -> None:
    fine = {"bank": secret(password=b"p", other=b"\xff\xfe")}

    assert (await service(holding(fine)).resolve(opens(), height=1))[Role.BUYER].password == "p"
    blocked = await told(opens(key="other"), fine)
    assert blocked.reason == "SecretInvalid"
    assert "255" not in str(blocked)
    assert "0xff" not in str(blocked)


def of_deed(**data: bytes) -> dict[str, dict[str, Any]]:
    return {deed_name(session().key, role): secret(DEED_TYPE, **data) for role in ROLES}


@pytest.mark.parametrize(
    "data",
    [
        {"file": b"f", "password": b"p", "restoreHeight": HIDDEN.encode()},
        {"file": b"f", HIDDEN: b"p"},
        {"file": b"f", "password": HIDDEN.encode() + b"\xff"},
    ],
)
async def test_a_damaged_deed_is_not_quoted(data: dict[str, bytes]) -> None:
    blocked = await told(session(), of_deed(**data))

    assert blocked.reason == "SecretInvalid"
    assert HIDDEN not in str(blocked)
    assert "0xff" not in str(blocked)


async def test_a_secret_that_has_a_deeds_name_is_none() -> None:
    """Whoever may choose a session's name chooses which Secrets are read as its deeds."""
    foreign = {
        name: {**body, "type": "Opaque"}
        for name, body in of_deed(file=b"f", password=b"p", pool=HIDDEN.encode()).items()
    }
    blocked = await told(session(), foreign)

    assert blocked.reason == "SecretInvalid"
    assert HIDDEN not in blocked.message


@given(st.dictionaries(st.sampled_from(["file", "password", "address", "restoreHeight", "pool"]), st.binary()))
async def test_whatever_a_deed_holds_is_read_or_blocked(data: dict[str, bytes]) -> None:
    with contextlib.suppress(Blocked):
        await service(holding(of_deed(**data))).resolve(session(), height=1)


async def test_i4_a_deed_that_money_may_depend_on_is_sealed() -> None:
    kube = holding()
    deeds = await service(kube).resolve(session(), height=1)
    assert sealed(kube) == [False] * 3, "its file may still have to change"
    deeds = await service(kube).renew_files(session(), deeds, height=2, roles=tuple(Role))
    await service(kube).record_address(session(), deeds, ADDRESS)
    assert sealed(kube) == [True] * 3
    kept = await service(kube).resolve(session(), height=3)
    assert {(deed.address, deed.sealed, deed.restore_height) for deed in kept.values()} == {(ADDRESS, True, 2)}
    written = len(kube.writes)
    await service(kube).record_address(session(), kept, ADDRESS)
    assert len(kube.writes) == written, "nothing is left to be written"


async def test_i4_a_crash_between_the_three_seals_is_continued() -> None:
    kube = holding()
    deeds = await service(kube).resolve(session(), height=1)
    await service(kube).record_address(session(), {Role.BUYER: deeds[Role.BUYER]}, ADDRESS)
    again = await service(kube).resolve(session(), height=2)
    assert {deed.file for deed in again.values()} == {deed.file for deed in deeds.values()}
    await service(kube).record_address(session(), again, ADDRESS)
    assert sealed(kube) == [True] * 3


async def test_i4_deeds_of_before_are_sealed_when_they_are_opened_next() -> None:
    kube = holding(of_deed(file=b"f", password=b"p", address=ADDRESS.encode(), pool=b"default"))
    deeds = await service(kube).resolve(session(), height=1)
    await service(kube).record_address(session(), deeds, ADDRESS)
    assert sealed(kube) == [True] * 3


def led(kube: InstantKube, term: int) -> DeedStore:
    """The deeds of an operator that leads in a term."""
    ctx = make_context(kube)
    ctx.fence.term = term
    return DeedStore(ctx)


async def test_i4_what_a_former_leader_seals_late_is_refused() -> None:
    """It may have ended a key exchange of which the next leader knows nothing."""
    kube, subject = holding(), session()
    former, present = led(kube, 1), led(kube, 2)
    seen = await former.resolve(subject, height=7)
    mine = await present.resolve(subject, height=7)
    assert {role: (deed.file, deed.password) for role, deed in mine.items()} == {
        role: (deed.file, deed.password) for role, deed in seen.items()
    }
    with pytest.raises(ConflictError):
        await former.record_address(subject, seen, ADDRESS)
    with pytest.raises(ConflictError):
        await former.renew_files(subject, seen, 8, ROLES)
    assert not any(sealed(kube))
    await present.record_address(subject, mine, ADDRESS)
    assert all(sealed(kube))


async def test_deeds_are_taken_up_once_in_a_term_and_not_when_they_are_sealed() -> None:
    kube, subject = holding(), session()
    await led(kube, 1).resolve(subject, height=7)
    assert len(kube.writes) == len(ROLES)
    for _ in range(2):
        deeds = await led(kube, 2).resolve(subject, height=7)
        assert len(kube.writes) == 2 * len(ROLES)
    await led(kube, 2).record_address(subject, deeds, ADDRESS)
    written = len(kube.writes)
    await led(kube, 3).resolve(subject, height=7)
    assert len(kube.writes) == written
