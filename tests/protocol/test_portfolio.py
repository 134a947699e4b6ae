import hashlib
import math
import re
from decimal import Decimal
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import InvalidCommitment, InvalidEpoch, InvalidPortfolio
from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.protocol.portfolio import (
    RAO,
    Portfolio,
    accepted_positions,
    ante_rao,
    canonical_ticker,
    parse_portfolio,
    portfolio_hash,
    standing_portfolios,
)

FIVE = ("AAPL", "AMZN", "GOOGL", "MSFT", "NVDA")
EQUAL = dict.fromkeys(FIVE, "0.2")
SAMPLE = {
    "AAPL": Decimal("0.15"),
    "GOOGL": Decimal("0.15"),
    "MSFT": Decimal("0.15"),
    "AMZN": Decimal("0.15"),
    "NVDA": Decimal("0.10"),
    "META": Decimal("0.10"),
    "TSLA": Decimal("0.10"),
    "JPM": Decimal("0.10"),
}
SAMPLE_HASH = "8573465912d9d29f269d170339b4f23683e30a8077dda2d7c267475d6a13dd99"


@st.composite
def portfolios(draw: st.DrawFn) -> dict[str, Decimal]:
    """Tickers with weights in millionths that sum to one."""
    ticker = st.from_regex(r"[A-Z]{1,5}(\.[A-Z]{1,2})?", fullmatch=True)
    tickers = draw(st.lists(ticker, min_size=5, max_size=30, unique=True))
    units = [1_000_000 // len(tickers)] * len(tickers)
    units[0] += 1_000_000 - sum(units)
    for left in range(len(units) // 2):
        right = len(units) - 1 - left
        room = min(200_000 - units[left], units[right] - 1)
        moved = draw(st.integers(0, room))
        units[left], units[right] = units[left] + moved, units[right] - moved
    return {name: Decimal(unit).scaleb(-6) for name, unit in zip(tickers, units, strict=True)}


@pytest.mark.parametrize(
    ("text", "ticker"),
    [("AAPL", "AAPL"), (" aapl ", "AAPL"), ("brk-b", "BRK.B"), ("BF.B", "BF.B"), ("f", "F")],
)
def test_tickers_have_one_spelling(text: str, ticker: str) -> None:
    assert canonical_ticker(text) == ticker
    assert canonical_ticker(ticker) == ticker


@pytest.mark.parametrize(
    "text",
    [
        "",
        "TOOLONG",
        "BRK..B",
        "BRK.BBB",
        ".B",
        "AAPL.",
        "A1",
        "AAPL\n0",
        "BRK/B",
        "\uff21\uff21PL",
        "\u00dfA",
        "\u017fPY",
    ],
)
def test_text_that_is_no_ticker_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidPortfolio, match=re.escape(f"not {text!r}")):
        canonical_ticker(text)


def test_hash_of_the_specification_portfolio() -> None:
    assert portfolio_hash(SAMPLE) == SAMPLE_HASH


def test_hash_is_over_sorted_tickers_with_six_decimals() -> None:
    text = "AAPL:0.200000|AMZN:0.200000|GOOGL:0.200000|MSFT:0.200000|NVDA:0.200000"
    assert portfolio_hash(EQUAL) == hashlib.sha256(text.encode()).hexdigest()


@given(portfolios().flatmap(lambda weights: st.permutations(list(weights.items()))))
@settings(deadline=None)
def test_hash_does_not_depend_on_order_or_spelling(pairs: list[tuple[str, Decimal]]) -> None:
    respelled = [(f" {name.lower().replace('.', '-')} ", f"{w:.8f}") for name, w in pairs]
    assert portfolio_hash(respelled) == portfolio_hash(dict(sorted(pairs)))


@given(portfolios())
@settings(deadline=None)
def test_scored_weights_sum_to_one_and_keep_their_proportion(weights: dict[str, Decimal]) -> None:
    scored = parse_portfolio(weights).scored_weights()
    assert math.fsum(scored.values()) == pytest.approx(1, abs=1e-15)
    assert list(scored) == sorted(weights)
    total = sum(weights.values())
    assert all(
        scored[name] == pytest.approx(float(weight / total), rel=1e-15)
        for name, weight in weights.items()
    )


def test_scored_weights_are_divided_by_their_sum() -> None:
    # 4 x 0.2 + 0.1995 = 0.9995
    scored = parse_portfolio(EQUAL | {"NVDA": "0.1995"}).scored_weights()
    assert scored["AAPL"] == 0.2 / 0.9995
    assert scored["NVDA"] == 0.1995 / 0.9995


def test_a_portfolio_is_kept_as_submitted_in_order_of_tickers() -> None:
    portfolio = parse_portfolio({"NVDA": "0.2", **EQUAL})
    assert portfolio == parse_portfolio(EQUAL)
    assert portfolio.tickers == FIVE
    assert portfolio.positions[0] == ("AAPL", Decimal("0.2"))
    assert isinstance(hash(portfolio), int)


def test_trailing_zeros_are_no_decimals() -> None:
    assert parse_portfolio(EQUAL | {"AAPL": "0.20000000"}) == parse_portfolio(EQUAL)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ("0", r"AAPL: weight 0 outside \(0, 0.20\]"),
        (Decimal("-0.1"), r"AAPL: weight -0.1 outside"),
        ("0.200001", r"AAPL: weight 0.200001 outside \(0, 0.20\]"),
        ("0.1999999", "AAPL: 0.1999999 has over 6 decimals"),
        (Decimal("0.1" + "0" * 40 + "1"), "has over 6 decimals"),
        (Decimal("NaN"), r"not the Decimal Decimal\('NaN'\)"),
        (Decimal("sNaN"), "sNaN"),
        (Decimal("Infinity"), "Infinity"),
        ("NaN", "not the str 'NaN'"),
        ("1e-1", "not the str '1e-1'"),
        ("0_1", "not the str '0_1'"),
        (" 0.2", "not the str ' 0.2'"),
        ("0.2\n", "not the str"),
        ("-0.1", "not the str '-0.1'"),
        ("\u0660.\u0662", "not the str"),  # Arabic digits
        ("0." + "2" * 31, "not the str"),
        ("", "not the str ''"),
        (0.2, "not the float 0.2"),
        (1, "not the int 1"),
        (True, "not the bool True"),
        (None, "not the NoneType None"),
    ],
)
def test_a_weight_outside_its_limits_is_refused_by_name(weight: object, message: str) -> None:
    positions: dict[str, object] = {**EQUAL, "AAPL": weight}
    with pytest.raises(InvalidPortfolio, match=message):
        parse_portfolio(positions)  # type: ignore[arg-type]


@pytest.mark.parametrize(("last", "allowed"), [("0.199", True), ("0.198999", False)])
def test_weights_sum_to_one_within_the_tolerance(last: str, *, allowed: bool) -> None:
    # 4 x 0.2 + 0.199 = 0.999, one thousandth away
    positions = EQUAL | {"NVDA": last}
    if allowed:
        assert parse_portfolio(positions).tickers == FIVE
    else:
        with pytest.raises(InvalidPortfolio, match=r"sum to 0.998999, not to 1 within 0.001"):
            parse_portfolio(positions)


@pytest.mark.parametrize("size", [4, 31])
def test_a_portfolio_holds_five_to_thirty_tickers(size: int) -> None:
    positions = {f"A{chr(65 + n // 26)}{chr(65 + n % 26)}": "0.03" for n in range(size)}
    with pytest.raises(InvalidPortfolio, match=f"holds 5 to 30 tickers, not {size}"):
        parse_portfolio(positions)


def test_thirty_tickers_are_allowed() -> None:
    # 30 x 0.0333 = 0.999
    positions = {f"A{chr(65 + n // 26)}{chr(65 + n % 26)}": "0.0333" for n in range(30)}
    assert len(parse_portfolio(positions).tickers) == 30


def test_a_ticker_spelled_twice_is_refused() -> None:
    pairs = [*EQUAL.items(), ("brk-b", "0.1"), ("BRK.B", "0.1"), ("aapl", "0.1")]
    with pytest.raises(InvalidPortfolio, match=r"each ticker stands once, not AAPL, BRK\.B"):
        parse_portfolio(pairs)


def test_tickers_outside_the_universe_are_refused_by_name() -> None:
    assert parse_portfolio(EQUAL, universe=FIVE) == parse_portfolio(EQUAL)
    with pytest.raises(InvalidPortfolio, match="epoch's universe: AAPL, MSFT"):
        parse_portfolio(EQUAL, universe={"AMZN", "GOOGL", "NVDA"})


def test_limits_follow_the_rule_set() -> None:
    wide = QUANTA.changed(epoch__max_weight=Decimal("0.5"), epoch__min_positions=2)
    assert parse_portfolio({"AAPL": "0.5", "MSFT": "0.5"}, params=wide).tickers == ("AAPL", "MSFT")
    coarse = QUANTA.changed(epoch__weight_decimals=2)
    with pytest.raises(InvalidPortfolio, match=r"0\.199 has over 2 decimals"):
        portfolio_hash(EQUAL | {"NVDA": "0.199"}, coarse)


@pytest.mark.parametrize(
    ("amount", "rao"),
    [
        ("10", 10 * RAO),
        (Decimal("50.0"), 50 * RAO),
        ("10.000000001", 10 * RAO + 1),
        ("10.0000000000", 10 * RAO),
        (Decimal("1E+4"), 10_000 * RAO),
    ],
)
def test_antes_are_exact_rao(amount: Decimal | str, rao: int) -> None:
    assert ante_rao(amount) == rao


@pytest.mark.parametrize(
    ("amount", "message"),
    [
        ("9.999999999", "10 to 10000 ALPHA, not 9.999999999"),
        ("10000.000000001", "10 to 10000 ALPHA, not 10000.000000001"),
        ("10.0000000001", "at most 9 decimals, not 10.0000000001"),
        (Decimal("Infinity"), "Infinity"),
        (Decimal("NaN"), "NaN"),
        ("-50", "not the str '-50'"),
        (50.0, "not the float 50.0"),
    ],
)
def test_an_ante_outside_its_limits_is_refused_by_name(amount: object, message: str) -> None:
    with pytest.raises(InvalidCommitment, match=message):
        ante_rao(amount)  # type: ignore[arg-type]


@given(st.integers(10 * RAO, 10_000 * RAO))
@settings(deadline=None)
def test_no_rao_of_an_ante_is_lost(rao: int) -> None:
    assert ante_rao(Decimal(rao).scaleb(-9)) == rao


W01 = Epoch(2025, 1)
COLUMNS = [
    "epoch_id",
    "hotkey",
    "ticker",
    "weight",
    "submitted_weight",
    "source_epoch",
    "filled_epochs",
    "history_epoch",
    "committed_at",
]


def reveals(epoch: Epoch, *miners: str) -> pd.DataFrame:
    """Accepted positions: five equal weights for each miner, in reverse order."""
    rows = [(miner, ticker) for miner in reversed(miners) for ticker in reversed(FIVE)]
    frame = pd.DataFrame(rows, columns=["hotkey", "ticker"], dtype="object")
    committed = pd.Timestamp(epoch.opens_at) - pd.Timedelta(hours=1)
    return frame.assign(
        weight=0.2,
        submitted_weight=0.1998,
        committed_at=pd.Series(committed, index=frame.index, dtype="datetime64[ns, UTC]"),
    )


def by_miner(table: pd.DataFrame) -> dict[str, tuple[str, int, str]]:
    first = table.drop_duplicates("hotkey").set_index("hotkey")
    return {
        str(miner): (source, int(filled), history)
        for miner, source, filled, history in zip(
            first.index,
            first["source_epoch"],
            first["filled_epochs"],
            first["history_epoch"],
            strict=True,
        )
    }


def run(*epochs: tuple[str, ...]) -> list[pd.DataFrame]:
    """The table after each epoch in a row, given who had a portfolio accepted in it."""
    tables: list[pd.DataFrame] = []
    epoch = W01
    for miners in epochs:
        previous = tables[-1] if tables else None
        tables.append(standing_portfolios(reveals(epoch, *miners), previous, epoch=epoch))
        epoch = epoch.next()
    return tables


def test_at_genesis_the_accepted_portfolios_stand() -> None:
    (table,) = run(("bob", "alice"))
    assert list(table.columns) == COLUMNS
    assert set(table["epoch_id"]) == {"2025-Q1-W01"}
    assert list(table["hotkey"]) == ["alice"] * 5 + ["bob"] * 5
    assert list(table["ticker"]) == list(FIVE) * 2
    assert list(table.index) == list(range(10))
    assert by_miner(table)["alice"] == ("2025-Q1-W01", 0, "2025-Q1-W01")


def test_a_missing_portfolio_is_filled_with_the_last_one() -> None:
    first, second, third = run(("alice", "bob"), ("bob",), ("alice",))
    assert by_miner(second) == {
        "alice": ("2025-Q1-W01", 1, "2025-Q1-W01"),
        "bob": ("2025-Q1-W02", 0, "2025-Q1-W01"),
    }
    assert by_miner(third) == {
        "alice": ("2025-Q1-W03", 0, "2025-Q1-W01"),
        "bob": ("2025-Q1-W02", 1, "2025-Q1-W01"),
    }
    carried = ["ticker", "weight", "submitted_weight", "committed_at"]
    assert second.loc[:4, carried].equals(first.loc[:4, carried])


def test_five_missing_portfolios_in_a_row_end_a_history() -> None:
    tables = run(("alice",), *[()] * 5, ("alice",))
    filled = [by_miner(table).get("alice", ("", -1, ""))[1] for table in tables]
    assert filled == [0, 1, 2, 3, 4, -1, 0]
    assert by_miner(tables[-1])["alice"] == ("2025-Q1-W07", 0, "2025-Q1-W07")


def test_a_portfolio_after_four_missing_ones_keeps_the_history() -> None:
    tables = run(("alice",), *[()] * 4, ("alice",))
    assert by_miner(tables[-1])["alice"] == ("2025-Q1-W06", 0, "2025-Q1-W01")


def test_how_many_missing_portfolios_end_a_history_is_a_parameter() -> None:
    (table,) = run(("alice",))
    strict = QUANTA.changed(scoring__max_filled_epochs=1)
    empty = reveals(W01.next())
    assert standing_portfolios(empty, table, epoch=W01.next(), params=strict).empty


def test_a_miner_that_reveals_is_not_mixed_with_its_last_portfolio() -> None:
    (table,) = run(("alice",))
    new = reveals(W01.next(), "alice").replace({"ticker": {"NVDA": "TSLA"}})
    held = standing_portfolios(new, table, epoch=W01.next())
    assert list(held["ticker"]) == ["AAPL", "AMZN", "GOOGL", "MSFT", "TSLA"]


def test_empty_tables_keep_their_types() -> None:
    full, still_full = run(("alice",), ())
    nothing, still_nothing = run((), ())
    assert nothing.empty
    assert still_nothing.empty
    for table in (still_full, nothing, still_nothing):
        assert table.dtypes.equals(full.dtypes)
    assert {name: str(kind) for name, kind in full.dtypes.items()} == {
        **dict.fromkeys(COLUMNS, "object"),
        "weight": "float64",
        "submitted_weight": "float64",
        "filled_epochs": "int64",
        "committed_at": "datetime64[ns, UTC]",
    }


def test_the_table_before_must_be_of_the_epoch_before() -> None:
    (table,) = run(("alice",))
    later = W01.next().next()
    with pytest.raises(InvalidEpoch, match="W03 follows on 2025-Q1-W02, not on 2025-Q1-W01"):
        standing_portfolios(reveals(later, "alice"), table, epoch=later)


def test_inputs_are_left_as_they_were() -> None:
    (table,) = run(("alice", "bob"))
    accepted = reveals(W01.next(), "bob")
    copies = table.copy(), accepted.copy()
    standing_portfolios(accepted, table, epoch=W01.next())
    pd.testing.assert_frame_equal(table, copies[0])
    pd.testing.assert_frame_equal(accepted, copies[1])


@given(
    st.lists(
        st.sets(st.sampled_from(["alice", "bob", "carol"])).map(lambda who: tuple(sorted(who))),
        min_size=1,
        max_size=12,
    )
)
@settings(deadline=None, max_examples=25)
def test_standing_follows_from_who_revealed_when(epochs: list[tuple[str, ...]]) -> None:
    table = by_miner(run(*epochs)[-1])
    for miner in ("alice", "bob", "carol"):
        seen = [index for index, miners in enumerate(epochs) if miner in miners]
        missing = len(epochs) - 1 - seen[-1] if seen else 5
        assert (miner in table) == (missing < 5)
        if miner in table:
            # Five missing in a row are six epochs from one reveal to the next
            breaks = [b for a, b in pairwise(seen) if b - a > 5]
            start = breaks[-1] if breaks else seen[0]
            ids = [f"2025-Q1-W{index + 1:02d}" for index in (seen[-1], start)]
            assert table[miner] == (ids[0], missing, ids[1])


def test_a_portfolio_is_a_value() -> None:
    assert Portfolio((("AAPL", Decimal("0.2")),)) == Portfolio((("AAPL", Decimal("0.20")),))


def test_accepted_positions_are_those_of_accepted_reveals_alone() -> None:
    reveals = pd.DataFrame(
        {
            "hotkey": ["m1", "m1", "m2"],
            "verdict": ["hash_mismatch", "accepted", "expired"],
            "positions": ["XOM:0.200000", "MSFT:0.150500|AAPL:0.850000", "KO:0.200000"],
        }
    )
    moment = pd.Timestamp("2019-06-02 12:00", tz="UTC")
    commitments = pd.DataFrame({"hotkey": ["m1", "m2"], "received_at": [moment, moment]})
    found = accepted_positions(reveals, commitments)
    assert found["ticker"].tolist() == ["AAPL", "MSFT"]
    # 0.85 and 0.1505 sum to 1.0005
    assert found["weight"].tolist() == [850000 / 1000500, 150500 / 1000500]
    assert found["submitted_weight"].tolist() == [0.85, 0.1505]
    assert found["committed_at"].tolist() == [moment, moment]


def test_no_accepted_reveal_is_an_empty_frame_with_its_types() -> None:
    reveals = pd.DataFrame({"hotkey": [], "verdict": [], "positions": []}, dtype=object)
    commitments = pd.DataFrame(
        {"hotkey": pd.Series([], dtype=object), "received_at": pd.to_datetime([], utc=True)}
    )
    found = accepted_positions(reveals, commitments)
    assert found.empty
    assert str(found["committed_at"].dtype) == "datetime64[ns, UTC]"
    assert str(found["weight"].dtype) == "float64"
