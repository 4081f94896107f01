"""What the gateway makes of requests: the wallet sees what was understood, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_gateway.envelope import DEEPEST, Call, read_call
from escrow_gateway.methods import METHODS, Access
from escrow_gateway.problems import Kind, Problem


def problem(data: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        read_call(data)
    return caught.value


def test_a_request_is_written_anew() -> None:
    call = read_call(b' {"method" : "get_balance", "params": {"account_index": 0}, "id": 7} ')
    assert call == Call(
        "get_balance", Access.READ, b'{"jsonrpc":"2.0","id":7,"method":"get_balance","params":{"account_index":0}}'
    )


def test_amounts_pass_exactly() -> None:
    call = read_call(b'{"method":"transfer","params":{"destinations":[{"amount":18446744073709551615}]}}')
    assert b'"amount":18446744073709551615' in call.body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"[]",
        b"[" * 100_000,
        b'[{"method":"get_balance"}]',
        b'"get_balance"',
        b"{}",
        b'{"method":null}',
        b'{"method":7}',
        b'{"method":"get_balance","params":[]}',
        b'{"method":"get_balance","params":"x"}',
        b'{"method":"get_balance","jsonrpc":"1.0"}',
        b'{"method":"get_balance","more":1}',
        b'{"method":"get_balance","id":{}}',
        b'{"method":"get_balance","id":true}',
        b'{"method":"get_balance","id":1.5}',
        b'{"method":"transfer","params":{"amount":0.1}}',
        b'{"method":"transfer","params":{"amount":1e3}}',
        b'{"method":"transfer","params":{"amount":NaN}}',
        b'{"method":"transfer","params":{"amount":Infinity}}',
        b'{"method":"transfer","params":{"amount":111111111111111111111}}',
        b'{"method":"verify","params":{"data":"\\ud800"}}',
        b'{"method":"get_balance"} {"method":"stop_wallet"}',
        b'{"method":"get_balance"}\x00',
    ],
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    assert problem(data).kind is Kind.MALFORMED


@pytest.mark.parametrize(
    "data",
    [
        b'{"method":"get_balance","method":"stop_wallet"}',
        b'{"method":"get_balance","\\u006dethod":"stop_wallet"}',
        b'{"method":"transfer","params":{"do_not_relay":true,"do_not_relay":false}}',
        b'{"method":"transfer","params":{"do_not_relay":true,"do_not_rel\\u0061y":false}}',
        b'{"method":"transfer","params":{"do_not_relay":true},"params":{}}',
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes) -> None:
    assert problem(data).kind is Kind.MALFORMED


def test_an_escaped_name_reaches_the_wallet_as_it_was_understood() -> None:
    call = read_call(b'{"method":"tr\\u0061nsfer","params":{"do_not_rel\\u0061y":true}}')
    assert (call.method, call.access) == ("transfer", Access.SIGN)
    assert call.body == b'{"jsonrpc":"2.0","id":"0","method":"transfer","params":{"do_not_relay":true}}'


def test_deep_nesting_is_refused_and_brackets_in_a_text_are_not() -> None:
    deep = '{"method":"verify","params":{"data":' + "[" * DEEPEST + "]" * DEEPEST + "}}"
    assert problem(deep.encode()).kind is Kind.MALFORMED
    flat = {"method": "verify", "params": {"data": "{}" * 1000}}
    assert read_call(json.dumps(flat).encode()).method == "verify"


@pytest.mark.parametrize("data", [b'"' + b'\\"' * 400_000, b'{"a":"' + b"\\" * 900_000, b'"' * 900_000])
def test_no_text_takes_more_time_than_its_length(data: bytes) -> None:
    """A search that begins again at each quote would take hours."""
    assert problem(data).kind is Kind.MALFORMED


@pytest.mark.parametrize("data", [b"[" + b"[]," * 300_000 + b"[]]", b'{"params":[' + b"{}," * 300_000 + b"{}]}"])
def test_a_request_of_many_parts_is_refused_before_it_is_parsed(data: bytes) -> None:
    assert "more parts" in problem(data).detail


def test_what_is_never_forwarded_says_why() -> None:
    found = problem(b'{"method":"open_wallet","params":{"filename":"x","password":"secret"}}')
    assert found.kind is Kind.NEVER_FORWARDED
    assert "the operator alone decides" in found.detail
    assert "secret" not in found.detail


def test_an_unknown_method_is_refused() -> None:
    assert problem(b'{"method":"open_sesame"}').kind is Kind.UNKNOWN_METHOD


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(METHODS)), st.dictionaries(st.text(), _JSON, max_size=4))
def test_parameters_arrive_as_they_were_sent(method: str, params: dict[str, Any]) -> None:
    sent = json.dumps({"method": method, "params": params}).encode()
    if METHODS[method] is Access.NEVER:
        assert problem(sent).kind is Kind.NEVER_FORWARDED
    else:
        assert json.loads(read_call(sent).body)["params"] == params


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    with pytest.raises(Problem):
        read_call(data)
