"""Amounts convert exactly, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.models.monero import MAX_PICONERO, format_xmr, parse_xmr


@pytest.mark.parametrize(
    ("text", "piconero"),
    [
        ("0", 0),
        ("0.35", 350_000_000_000),
        ("2", 2 * 10**12),
        ("100", 10**14),
        ("0.000000000001", 1),
        ("18446744.073709551615", MAX_PICONERO),
    ],
)
def test_amounts(text: str, piconero: int) -> None:
    assert parse_xmr(text) == piconero
    assert format_xmr(piconero) == text


@given(st.integers(0, MAX_PICONERO))
def test_every_amount_survives_the_round_trip(piconero: int) -> None:
    assert parse_xmr(format_xmr(piconero)) == piconero


def test_trailing_zeros_are_read_but_not_written() -> None:
    assert format_xmr(parse_xmr("1.500")) == "1.5"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "18446744.073709551616",
        "99999999",
        "1" * 400,
        " 1",
        "1\n",
        "-1",
        "+1",
        "1.",
        ".5",
        "1e3",
        "1,5",
        "01",
        "0x1",
        "NaN",
        "inf",
        "١",
        "0.0000000000001",
    ],
)
def test_what_is_not_an_amount(text: str) -> None:
    with pytest.raises(ValueError, match="an XMR amount"):
        parse_xmr(text)


@pytest.mark.parametrize("piconero", [-1, MAX_PICONERO + 1])
def test_what_no_output_can_hold(piconero: int) -> None:
    with pytest.raises(ValueError, match="piconero"):
        format_xmr(piconero)
