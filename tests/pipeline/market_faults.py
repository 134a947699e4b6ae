"""Three vendors over one truth, and what can go wrong with any of them.

Vendors are real implementations of ``PriceVendor`` over frames, in the formats that real ones have:
two as traded, one adjusted for splits. A scenario is one or two faults; all scenarios are settled
at once, each under tickers of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import combinations, pairwise, product
from typing import Any

import numpy as np
import pandas as pd

from quanta_pipelines.adapters.price_vendors import (
    OBSERVATION_TYPES,
    PriceVendor,
    recorded_closes,
)
from quanta_pipelines.protocol.oracle import settle_closes, settled_values
from quanta_pipelines.protocol.params import QUANTA

VENDORS = ("tiingo", "polygon", "yahoo")  # in the order of primaries
BASIS = {"tiingo": "as_traded", "polygon": "as_traded", "yahoo": "split_adjusted"}
FETCHED_AT = pd.Timestamp("2022-12-30 02:00", tz="UTC")
CLOSE_ENOUGH = 1e-9
TICKERS = ("AAPL", "JPM", "KO")


@dataclass(frozen=True, slots=True, eq=False)
class FrameVendor:
    """A vendor whose observations are a frame."""

    name: str
    rows: pd.DataFrame

    def tickers(self) -> tuple[str, ...]:
        return tuple(sorted(self.rows["ticker"].unique()))

    def observe(self, tickers: Sequence[str], first: date, last: date) -> pd.DataFrame:
        days = self.rows["session"].between(pd.Timestamp(first), pd.Timestamp(last))
        seen = self.rows[days & self.rows["ticker"].isin(list(tickers))]
        return seen.reindex(columns=list(OBSERVATION_TYPES)).astype(OBSERVATION_TYPES)


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """What really happened: ticker, session, close as traded, volume, dividend, split.

    Faults strike ``subject`` around ``split_day`` and on ``dividend_day``; ``other`` is the
    security that is mistaken for it.
    """

    truth: pd.DataFrame
    subject: str
    other: str
    split_day: pd.Timestamp
    dividend_day: pd.Timestamp

    def day(self, offset: int) -> pd.Timestamp:
        """A session counted from the day of the split."""
        days = pd.DatetimeIndex(self.truth["session"].unique()).sort_values()
        return days[days.get_loc(self.split_day) + offset]

    def honest(self, vendor: str) -> pd.DataFrame:
        """The truth as this vendor reports it."""
        rows = self.truth.assign(vendor=vendor, basis=BASIS[vendor], fetched_at=FETCHED_AT)
        if BASIS[vendor] == "as_traded":
            return rows
        ahead = rows.groupby("ticker")["split"].transform(lambda s: s[::-1].cumprod()[::-1] / s)
        return rows.assign(
            close=rows["close"] / ahead,
            dividend=rows["dividend"] / ahead,
            volume=rows["volume"] * ahead,
        )


@cache
def recorded_market() -> Market:
    """Three recorded stocks as traded, with a split of AAPL and a dividend one day later."""
    closes = recorded_closes().loc["2019-06-10":"2019-07-31", list(TICKERS)]
    split_day = pd.Timestamp("2019-07-12")
    truth = closes.melt(ignore_index=False, var_name="ticker", value_name="close")
    truth = truth.rename_axis("session").reset_index()
    there = (truth["ticker"] == "AAPL") & (truth["session"] == split_day)
    before = (truth["ticker"] == "AAPL") & (truth["session"] < split_day)
    dividend_day = pd.Timestamp("2019-07-15")
    paid = (truth["ticker"] == "AAPL") & (truth["session"] == dividend_day)
    truth = truth.assign(
        close=truth["close"].where(~before, truth["close"] * 4.0),
        split=np.where(there, 4.0, 1.0),
        dividend=np.where(paid, 0.4, 0.0),  # some 0.8 %
        volume=1e6 + 1000.0 * np.arange(len(truth)),
    )
    return Market(truth, "AAPL", "JPM", split_day, dividend_day)


Fault = Callable[[pd.DataFrame, Market], pd.DataFrame]


def vendor_down(rows: pd.DataFrame, market: Market) -> pd.DataFrame:
    return rows.head(0)


def wrong_scale(rows: pd.DataFrame, market: Market) -> pd.DataFrame:
    weeks = rows["session"].between(market.day(-7), market.day(7))
    return _times(rows, (rows["ticker"] == market.subject) & weeks, 1.07)


def bad_print(rows: pd.DataFrame, market: Market) -> pd.DataFrame:
    return _times(rows, _at(rows, market, market.split_day), 1.5)


def stale_file(rows: pd.DataFrame, market: Market) -> pd.DataFrame:
    """Three sessions repeat the one before them, of every ticker."""
    days = [market.day(offset) for offset in (-1, 0, 1)]
    old = rows[rows["session"] == market.day(-2)]
    return pd.concat(
        [rows[~rows["session"].isin(days)], *(old.assign(session=day) for day in days)]
    )


def missing_day(rows: pd.DataFrame, market: Market) -> pd.DataFrame:
    return rows[rows["session"] != market.split_day]


def ticker_reused(rows: pd.DataFrame, market: Market) -> pd.DataFrame:
    """From two sessions before the split on, the subject's rows are those of another security."""
    later = rows["session"] >= market.day(-2)
    gone = later & (rows["ticker"] == market.subject)
    taken = rows[later & (rows["ticker"] == market.other)].assign(ticker=market.subject)
    return pd.concat([rows[~gone], taken])


def split_missed(rows: pd.DataFrame, market: Market) -> pd.DataFrame:
    there = _at(rows, market, market.split_day)
    return rows.assign(split=rows["split"].mask(there, 1.0))


def dividend_missed(rows: pd.DataFrame, market: Market) -> pd.DataFrame:
    there = _at(rows, market, market.dividend_day)
    return rows.assign(dividend=rows["dividend"].mask(there, 0.0))


def session_shifted(rows: pd.DataFrame, market: Market) -> pd.DataFrame:
    """Every row is dated one session late."""
    days = pd.DatetimeIndex(market.truth["session"].unique()).sort_values()
    following = dict(pairwise(days))
    moved = rows.assign(session=rows["session"].map(following))
    return moved[moved["session"].notna()].astype({"session": "datetime64[ns]"})


def fetched_too_early(rows: pd.DataFrame, market: Market) -> pd.DataFrame:
    """The clock of the fetch says that the split was still to come."""
    early = market.day(-3).tz_localize("UTC")
    return rows.assign(fetched_at=early)


def duplicated_rows(rows: pd.DataFrame, market: Market) -> pd.DataFrame:
    return pd.concat([rows, rows[_at(rows, market, market.split_day)]])


def fetched_without_zone(rows: pd.DataFrame, market: Market) -> pd.DataFrame:
    return rows.assign(fetched_at=rows["fetched_at"].dt.tz_localize(None))


def _at(rows: pd.DataFrame, market: Market, day: pd.Timestamp) -> "pd.Series[bool]":
    return (rows["ticker"] == market.subject) & (rows["session"] == day)


def _times(rows: pd.DataFrame, there: "pd.Series[bool]", factor: float) -> pd.DataFrame:
    return rows.assign(close=rows["close"].mask(there, rows["close"] * factor))


SETTLED: dict[str, Fault] = {  # faults after which the epoch is settled or held
    "vendor down": vendor_down,
    "wrong scale for three weeks": wrong_scale,
    "stale file": stale_file,
    "one bad print": bad_print,
    "missing day": missing_day,
    "ticker reused": ticker_reused,
    "split missed": split_missed,
    "dividend missed": dividend_missed,
    "session one late": session_shifted,
    "fetch dated before the split": fetched_too_early,
}
STOPPING: dict[str, Fault] = {  # faults that no rule can settle
    "duplicated rows": duplicated_rows,
    "fetch without a time zone": fetched_without_zone,
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """Faults by vendor, in the order in which they happen."""

    faults: tuple[tuple[str, str], ...]  # vendor, name of the fault

    def rows(self, market: Market) -> pd.DataFrame:
        """What the three vendors answer."""
        answers = [
            answer(market, vendor, tuple(name for where, name in self.faults if where == vendor))
            for vendor in VENDORS
        ]
        return pd.concat([rows for rows in answers if len(rows)], ignore_index=True)


@cache
def answer(market: Market, vendor: str, faults: tuple[str, ...]) -> pd.DataFrame:
    """What a vendor with these faults answers when it is asked for everything."""
    rows = market.honest(vendor)
    for name in faults:
        rows = (SETTLED | STOPPING)[name](rows, market)
    asked: PriceVendor = FrameVendor(vendor, rows)
    days = market.truth["session"]
    return asked.observe(asked.tickers(), days.min().date(), days.max().date())


def alone(faults: Sequence[str] = tuple(SETTLED)) -> list[Scenario]:
    return [Scenario(((vendor, name),)) for name, vendor in product(faults, VENDORS)]


def at_two_vendors(faults: Sequence[str] = tuple(SETTLED)) -> list[Scenario]:
    """Every pair of faults, each at each of two vendors."""
    return [
        Scenario(((one, first), (two, second)))
        for one, two in combinations(VENDORS, 2)
        for first, second in product(faults, faults)
    ]


def at_one_vendor() -> list[Scenario]:
    return [
        Scenario(((vendor, first), (vendor, second)))
        for vendor in VENDORS
        for first, second in combinations([name for name in SETTLED if name != "vendor down"], 2)
    ]


def settled(
    market: Market,
    scenarios: Sequence[Scenario],
    answered: Callable[[Scenario], pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """Settled rows of all scenarios beside the truth; ``answered`` gives what vendors answer.

    ``scenario`` is the number of the scenario. ``wrong`` rows are settled and differ from the
    truth, in their close or in their return since the close before, by more than 1e-9.
    """
    seen = pd.concat(
        [
            rows.assign(ticker=f"{number:04d} " + rows["ticker"])
            for number, rows in enumerate(map(answered or (lambda s: s.rows(market)), scenarios))
        ],
        ignore_index=True,
    )
    table = settle_closes(seen, asked=VENDORS)
    bases = settled_values(seen, asked=VENDORS)["close"].notna()
    truth = pd.concat(
        [
            market.truth.assign(ticker=f"{number:04d} " + market.truth["ticker"])
            for number in range(len(scenarios))
        ],
        ignore_index=True,
    )[["ticker", "session", "close", "dividend", "split"]].rename(
        columns={name: f"{name}_true" for name in ("close", "dividend", "split")}
    )
    table = table.assign(base=bases).merge(
        truth, on=["ticker", "session"], how="outer", validate="1:1"
    )
    table["scenario"] = table["ticker"].str[:4].astype(int)
    table["status"] = table["status"].fillna("missing")
    table["anomaly"] = table["anomaly"].eq(True)
    return judged(table.sort_values(["ticker", "session"], ignore_index=True))


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """Columns ``wrong``, ``close_error`` and ``return_error`` beside the settled rows."""
    expected = np.full(len(table), np.nan)
    columns = (table[name].to_numpy() for name in ("ticker", "close_true", "dividend_true"))
    ticker, close, dividend = columns
    split, base = table["split_true"].to_numpy(), table["base"].eq(True).to_numpy()
    shares, cash, before = 1.0, 0.0, np.nan
    for at in range(len(table)):  # one share, held since the last close that was agreed on
        if at == 0 or ticker[at] != ticker[at - 1]:
            shares, cash, before = 1.0, 0.0, np.nan
        cash += dividend[at] * shares
        shares *= split[at]
        expected[at] = (close[at] * shares + cash) / before - 1.0
        if base[at]:
            shares, cash, before = 1.0, 0.0, close[at]
    is_settled = table["status"] == "settled"
    table["close_error"] = (table["close"] / table["close_true"] - 1.0).abs().where(is_settled, 0.0)
    table["return_error"] = (table["total_return"] - expected).abs().where(is_settled, 0.0)
    table["return_error"] = table["return_error"].fillna(0.0)
    table["wrong"] = table[["close_error", "return_error"]].max(axis=1) > CLOSE_ENOUGH
    # a return that exists in truth and is not given, though its row says settled
    table["lost"] = is_settled & table["total_return"].isna() & ~np.isnan(expected)
    return table


def within_tolerance(table: pd.DataFrame) -> "pd.Series[bool]":
    """Rows that are off by no more than two vendors may differ, in the close and in each return.

    Two that agree lie within the tolerance of their median, so up to twice that apart. A return
    rests on two closes, each of which may be that far off.
    """
    rules = QUANTA.market_data
    limit = np.maximum(rules.agreement_bps / 10_000, rules.agreement_dollars / table["close_true"])
    return (table["close_error"] <= 2.01 * limit) & (table["return_error"] <= 4.1 * limit)


def outcomes(table: pd.DataFrame, scenarios: Sequence[Scenario]) -> pd.DataFrame:
    """One row per scenario: how it ended, and how many sessions of how many were lost."""
    lost = table["status"].ne("settled")
    flagged = table["wrong"] & table["anomaly"] & ~within_tolerance(table)
    near = table["wrong"] & ~flagged
    by = table["scenario"]
    found: dict[str, Any] = {
        "faults": [" + ".join(name for _, name in one.faults) for one in scenarios],
        "vendors": [
            ", ".join(dict.fromkeys(vendor for vendor, _ in one.faults)) for one in scenarios
        ],
        "lost": lost.groupby(by).sum(),
        "flagged": flagged.groupby(by).sum(),
        "near": near.groupby(by).sum(),
        "rows": lost.groupby(by).size(),
    }
    return pd.DataFrame(found)


def assert_nothing_is_silent(
    market: Market,
    scenarios: Sequence[Scenario],
    answered: Callable[[Scenario], pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """The settled rows, of which each is true, held, flagged, or off by less than the tolerance."""
    table = settled(market, scenarios, answered)
    silent = table[table["wrong"] & ~table["anomaly"] & ~within_tolerance(table)]
    shown = silent[["scenario", "ticker", "session", "close", "close_true", "total_return"]]
    assert silent.empty, f"{scenarios[int(silent['scenario'].iloc[0])]}\n{shown.head(10)}"
    assert not table["lost"].any()
    return table
