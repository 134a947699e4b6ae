import datetime as dt
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanta_pipelines.protocol.conversion import Conversion, NoRate, Rate, converted
from quanta_pipelines.protocol.errors import InvalidEntries

NOON = dt.datetime(2025, 11, 21, 12, tzinfo=dt.UTC)
DOLLARS = Rate("USD", "0.0213", "the subnet's pool at block 6 000 000", NOON)
DIGITS = st.integers(0, 10**12 - 1)


def test_an_amount_is_multiplied_exactly_and_rounded_down():
    # 1000.10 * 0.0213 = 21.30213 ALPHA
    assert converted("external", "1000.10", "USD", DOLLARS).rao == 21_302_130_000
    # a third has no decimal; 0.3333333333333 of one TAO: 333 333 333.3333 rao
    third = Conversion("emission", "1", Rate("TAO", "0.3333333333333", "an oracle", NOON))
    assert (third.rao, third.left_rao) == (333_333_333, Fraction(3333, 10_000))


def test_many_digits_are_not_rounded():
    # a float holds 15 to 17 digits, these products 28: 9e9 + 1e-9 tokens at 1.000000001
    amount = Conversion("external", "9000000000.000000001", Rate("TAO", "1.000000001", "x", NOON))
    assert amount.rao == 9_000_000_009_000_000_001


@given(DIGITS, DIGITS, st.integers(1, 10**12))
def test_nothing_is_made_and_less_than_a_rao_is_left(whole, after, rate):
    amount = f"{whole}.{after:012d}"
    found = Conversion("external", amount, Rate("TAO", str(rate), "x", NOON))
    units = whole * 10**12 + after  # in 10^-12 of a token
    assert found.rao * 10**3 <= units * rate < (found.rao + 1) * 10**3
    assert found.rao + found.left_rao == Fraction(units * rate, 10**3)


def test_without_a_rate_nothing_is_converted():
    with pytest.raises(NoRate, match="external is stated in EUR, and no rate of EUR in ALPHA is"):
        converted("external", "5", "EUR", None)
    with pytest.raises(NoRate, match="no rate of EUR"):
        converted("external", "5", "EUR", DOLLARS)


@pytest.mark.parametrize("text", ["", "-1", "1e3", "NaN", "1,000", " 1", "1.", ".5", "1" * 31])
def test_a_number_is_written_in_digits(text):
    with pytest.raises(InvalidEntries, match="external in USD is written in digits"):
        converted("external", text, "USD", DOLLARS)
    with pytest.raises(InvalidEntries, match="the rate of USD is written in digits"):
        replace(DOLLARS, alpha=text)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unit": "ALPHA"}, "other than ALPHA, not 'ALPHA'"),
        ({"unit": "usd"}, "not 'usd'"),
        ({"alpha": "0.000"}, "above 0"),
        ({"source": "  "}, "names its source"),
        ({"source": "x" * 201}, "names its source"),
        ({"quoted_at": NOON.replace(tzinfo=None)}, "has none"),
    ],
)
def test_a_rate_that_says_too_little_is_refused(changes, said):
    with pytest.raises(InvalidEntries, match=said):
        replace(DOLLARS, **changes)


def test_only_emission_and_revenue_are_converted():
    with pytest.raises(InvalidEntries, match="not 'carry'"):
        Conversion("carry", "1", DOLLARS)
