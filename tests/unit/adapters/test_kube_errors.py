"""Whatever comes back, it becomes an error that says what the caller can do."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.adapters.kube_errors import (
    ConflictError,
    ExpiredError,
    KubeError,
    NotFoundError,
    UnavailableError,
    error_of,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["reason", "message", "details", "causes"]), inner),
)


@given(
    status=st.integers(400, 599),
    data=st.binary() | JSON.map(lambda value: json.dumps(value).encode()),
    is_patch=st.booleans(),
)
def test_every_answer_becomes_an_error(status: int, data: bytes, is_patch: bool) -> None:
    error = error_of(status, data, is_patch=is_patch)
    assert isinstance(error, KubeError)
    assert error.status == status


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFoundError), (409, ConflictError), (410, ExpiredError), (503, UnavailableError)]
)
def test_kinds(status: int, kind: type[KubeError]) -> None:
    assert type(error_of(status, b"{}")) is kind


def test_a_page_of_a_proxy_is_quoted_and_a_failed_test_is_a_conflict() -> None:
    assert "gateway" in str(error_of(422, b"<html>bad gateway</html>", is_patch=True))
    assert type(error_of(422, b'{"message": "the test failed"}', is_patch=True)) is ConflictError
    causes = b'{"message": "invalid", "details": {"causes": [{"field": "spec"}]}}'
    assert type(error_of(422, causes, is_patch=True)) is KubeError


def test_deeply_nested_json_is_no_answer() -> None:
    assert isinstance(error_of(500, b"[" * 200_000), UnavailableError)


def test_an_object_that_is_gone_is_told_from_a_kind_that_is_not_known() -> None:
    gone = error_of(404, b'{"message": "escrowsessions.xmr-escrow.dev \\"demo\\" not found"}')
    unknown = error_of(404, b'{"message": "the server could not find the requested resource"}')
    assert isinstance(gone, NotFoundError)
    assert isinstance(unknown, NotFoundError)
    assert gone.is_about("demo")
    assert not gone.is_about("other")
    assert not unknown.is_about("demo")
