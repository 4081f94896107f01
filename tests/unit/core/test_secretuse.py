"""A spec has no Secret used that does not say itself what it is for (invariant I11)."""

from __future__ import annotations

from typing import Any

import pytest

from escrow_operator.core.manifests.session import CONNECTION_TYPE, DEED_TYPE
from escrow_operator.core.secretuse import SecretUse, how_to_mark, is_marked
from escrow_operator.models.common import Label


def secret(labels: dict[str, str] | None = None, kind: str = "Opaque", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": "bank", "labels": labels}, "type": kind, "data": {"password": "aGlkZGVu"}} | more


@pytest.mark.parametrize("use", SecretUse)
@pytest.mark.parametrize("marked", [*SecretUse, "", "true", "monerod,wallet-password", "Monerod"])
def test_i11_a_secret_is_for_what_it_is_marked_for_and_nothing_else(use: SecretUse, marked: str) -> None:
    assert is_marked(secret({Label.SECRET_USE: str(marked)}), use) is (marked == use)


@pytest.mark.parametrize("use", SecretUse)
@pytest.mark.parametrize("labels", [None, {}, {"secret-use": "monerod"}, {Label.POOL: "monerod"}])
def test_i11_without_the_mark_it_is_for_nothing(use: SecretUse, labels: dict[str, str] | None) -> None:
    assert not is_marked(secret(labels), use)
    annotated = secret(labels)
    annotated["metadata"]["annotations"] = {Label.SECRET_USE: use.value}
    assert not is_marked(annotated, use)


def test_i11_a_deed_opens_wallets_and_is_no_login_of_monerod() -> None:
    """Its password would be sent to whatever address the pool names."""
    assert is_marked(secret(kind=DEED_TYPE), SecretUse.WALLET_PASSWORD)
    assert not is_marked(secret(kind=DEED_TYPE), SecretUse.MONEROD)
    for use in SecretUse:
        assert not is_marked(secret(kind=CONNECTION_TYPE), use)
        assert not is_marked(secret(kind=DEED_TYPE.upper()), use)


@pytest.mark.parametrize("use", SecretUse)
def test_the_command_that_is_told_marks_it(use: SecretUse) -> None:
    key, _, value = how_to_mark("shop", "bank", use).rpartition(" ")[2].partition("=")
    assert is_marked(secret({key: value}), use)
    assert "kubectl -n shop label secret bank " in how_to_mark("shop", "bank", use)
